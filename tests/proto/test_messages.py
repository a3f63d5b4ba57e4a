"""Row 1.13: sessions over whole messages, and that they are the same as over bytes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.scripted import HOST, Script, error_message, greeting, message
from proto.scripted_messages import ByteScript, MessageScript, greeted
from proto.websocket_peer import EXAMPLES
from pusher_proto import (
    ChannelEvent,
    CloseTransport,
    ConnectionEnded,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    ConnectionUnsafe,
    LocalProtocolError,
    Message,
    OpenMessages,
    Options,
    ProtocolViolation,
    SendMessage,
)
from pusher_proto._wire.messages import Messages
from pusher_proto.recording import recording_session, replay

ROOM = message("price", '{"n":1}', "room")
JOINED = message("pusher_internal:subscription_succeeded", "{}", "room")


def data_of(script: Script) -> list[Any]:
    """Return the data of the messages of channels since the last look."""
    return [event.data for event in script.take() if isinstance(event, ChannelEvent)]


# Sending and receiving.


def test_1_13_a_connection_is_requested_with_everything_that_belongs_to_its_url() -> None:
    script = MessageScript(Options.from_host(HOST, key="k", path="/p", close_timeout=3)).connect()
    [asked] = script.acts()
    assert asked == OpenMessages(1, HOST, 443, True, asked.target, 3)
    assert asked.target.startswith("/p/app/k?")
    assert "protocol=7" in asked.target
    assert script.session.state is ConnectionState.CONNECTING


def test_there_is_no_upgrade_and_the_greeting_establishes_the_connection() -> None:
    script = MessageScript().connect()
    script.acts()
    script.open()
    assert script.acts() == []
    script.greet()
    assert ConnectionEstablished in map(type, script.take())
    assert script.session.socket_id == "1.1"


def test_messages_go_in_both_directions_whole() -> None:
    script = greeted().subscribe("room")
    assert script.acts() == [{"event": "pusher:subscribe", "data": {"channel": "room"}}]
    script.text(JOINED).text(ROOM)
    assert data_of(script) == [{"n": 1}]


@pytest.mark.parametrize("size", [10, 1000, 1024, 5000])
def test_each_size_of_a_message_is_read(size: int) -> None:
    script = greeted("room")
    script.text(message("e", "x" * size, "room"))
    assert data_of(script) == ["x" * size]


def test_a_ping_is_answered_and_counts_as_activity() -> None:
    script = greeted(activity_timeout=30)
    script.wait(29).send("pusher:ping", {})
    assert script.acts() == [{"event": "pusher:pong", "data": {}}]
    script.wait(29)
    assert script.acts() == []
    script.wait(1)
    assert script.acts() == [{"event": "pusher:ping", "data": {}}]


def test_a_server_that_does_not_answer_a_ping_is_given_up_at_once() -> None:
    script = greeted(activity_timeout=30, pong_timeout=10)
    script.wait(30)
    script.acts()
    script.wait(10)
    assert CloseTransport(1, abort=True) in script.acts()
    assert script.lost() == (1006, "the server did not answer a ping", True)


def test_bytes_are_counted_as_utf_8() -> None:
    script = greeted()
    before = script.session.stats
    text = message("e", "x", "room").decode().replace("x", "\u00e9\u20ac")
    script.binary(b"12345")
    script.text(text).send("pusher:ping", {})
    after = script.session.stats
    assert after.bytes_received - before.bytes_received == len(text.encode()) + 5 + len(
        message("pusher:ping", {})
    )
    assert after.bytes_sent - before.bytes_sent == len(b'{"event":"pusher:pong","data":{}}')


def test_messages_that_wait_to_be_sent_are_limited_by_the_outbox() -> None:
    script = greeted(outbox_limit=100)
    script.writes = False
    script.subscribe("private-room").send(
        "pusher_internal:subscription_succeeded", "{}", "private-room"
    )
    with pytest.raises(LocalProtocolError):
        for _ in range(5):
            script.do(script.session.trigger, "private-room", "client-e", "x" * 40)


def test_reading_pauses_when_the_application_takes_nothing() -> None:
    script = greeted("room", receive_buffer=1000)
    script.pulls = False
    for _ in range(10):
        script.text(message("e", "x" * 200, "room"))
    assert not script.session.wants_data(1)
    script.pulls = True
    script.pump()
    assert script.session.wants_data(1)


# Bad messages.


def test_a_message_past_the_limit_ends_the_connection() -> None:
    script = greeted("room", max_message_size=200)
    script.text(message("e", "x" * 200, "room"))
    assert script.acts()[0] == ("close", 1009, "message of more than 200 bytes")
    assert script.lost() == (1009, "message of more than 200 bytes", True)


def test_the_limit_counts_bytes_and_a_message_of_the_limit_passes() -> None:
    data = "\u20ac" * 100
    text = json.dumps({"event": "e", "channel": "room", "data": data}, ensure_ascii=False)
    script = greeted("room", max_message_size=len(text.encode()))
    script.text(text)
    assert data_of(script) == [data]
    script.text(text + " ")
    assert script.lost() is not None


def test_text_with_a_lone_surrogate_ends_the_connection() -> None:
    script = greeted()
    script.text('{"event":"e","channel":"room","data":"\ud800"}')
    assert script.acts()[0] == ("close", 1007, "text that is not UTF-8")
    assert script.lost() == (1007, "text that is not UTF-8", True)


def test_a_binary_message_is_reported_and_costs_nothing_else() -> None:
    script = greeted()
    script.binary(b"12345")
    [violation] = script.take(ProtocolViolation)
    assert isinstance(violation, ProtocolViolation)
    assert violation.reason == "a binary message of 5 bytes: the protocol has none"
    assert script.session.state is ConnectionState.CONNECTED


def test_texts_are_reported_where_they_are_wanted() -> None:
    script = greeted("room")
    script.session.report_messages(Message)
    script.text(ROOM)
    assert [type(event) for event in script.take()] == [Message, ChannelEvent]


# The end.


def test_the_application_closes_by_1000() -> None:
    script = greeted().end()
    assert script.acts() == [("close", 1000, "")]
    assert script.session.closed


def test_a_close_that_is_not_confirmed_is_followed_by_an_abort() -> None:
    script = greeted(close_timeout=3)
    script.answers = False
    script.end().text(ROOM).wait(3)
    assert script.acts() == [("close", 1000, ""), CloseTransport(1, abort=True)]
    assert script.take(ChannelEvent) == []
    assert script.session.closed


def test_an_attempt_that_is_given_up_is_aborted() -> None:
    script = MessageScript().connect()
    script.acts()
    script.disconnect()
    assert script.acts() == [CloseTransport(1, abort=True)]


def test_an_attempt_takes_no_longer_than_the_limit() -> None:
    script = MessageScript(connect_timeout=5).connect().wait(5)
    assert script.lost() == (
        None,
        "no connection within 5 s: name lookup, TCP or TLS did not end",
        True,
    )


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011, 4001, 4200])
def test_a_close_code_means_what_it_means_over_bytes(code: int) -> None:
    losses = []
    for script in (ByteScript(), MessageScript()):
        script.connect().greet()
        if code == 1006:
            script.eof()
        else:
            script.close(None if code == 1005 else code, "" if code == 1005 else "why")
        losses.append(script.lost())
    assert losses[0] == losses[1] is not None


def test_a_loss_keeps_the_exception_of_the_library() -> None:
    below = OSError("of the library")
    ended = ConnectionEnded(4200, "restart")
    ended.__cause__ = below
    script = greeted().eof(ended)
    [loss] = script.take(ConnectionLost)
    assert isinstance(loss, ConnectionLost)
    assert isinstance(loss.error, ConnectionEnded)
    assert (loss.error.code, loss.error.__cause__) == (4200, below)
    assert script.session.last_error is loss.error


def test_a_refusal_by_status_is_what_it_is_over_bytes() -> None:
    for status, reason in ((403, "Forbidden"), (503, "Busy"), (302, "Found")):
        seen = []
        for script in (ByteScript(), MessageScript()):
            script.connect()
            for _ in range(3):
                if script.session.state is not ConnectionState.FAILED:
                    script.refuse(status, reason)
                    seen.append(script.lost())
                    if script.session.retry_at is not None:
                        script.retry()
        half = len(seen) // 2
        assert [each and (each[0], each[2]) for each in seen[:half]] == [
            each and (each[0], each[2]) for each in seen[half:]
        ]


@pytest.mark.parametrize("seconds", [0, 7, 3600])
def test_retry_after_is_what_it_is_over_bytes(seconds: int) -> None:
    delays = []
    for script in (ByteScript(), MessageScript()):
        script.connect()
        script.refuse(503, "Busy", retry_after=seconds)
        assert isinstance(script.session.last_error, ConnectionEnded)
        delays.append((script.delay(), script.session.last_error.retry_after))
    assert delays[0] == delays[1]
    if seconds:
        assert delays[0] == (min(seconds, 30.0), seconds)


def test_an_error_with_retry_after_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(ConnectionEnded(503, "Busy", retry_after=7.0)))
    assert (error.code, error.reason, error.hint, error.retry_after) == (503, "Busy", "", 7.0)


def test_a_status_without_words_gets_some() -> None:
    script = MessageScript().connect().fail(ConnectionEnded(503, ""))
    assert script.lost() == (503, "the upgrade was answered with HTTP 503", True)


def test_a_close_code_before_the_connection_is_open_is_a_failed_attempt() -> None:
    script = MessageScript().connect().fail(ConnectionEnded(4001, "who are you"))
    assert script.lost() == (None, "who are you", True)


def test_a_certificate_that_was_not_accepted_is_final_at_first() -> None:
    script = MessageScript().connect().fail(ConnectionUnsafe("not good", verify_code=18))
    assert script.session.state is ConnectionState.FAILED


def test_an_error_of_the_network_names_the_place_and_no_proxy() -> None:
    script = MessageScript(proxy="http://proxy.test:1").connect()
    assert script.acts()[0].host == HOST  # the function of the application decides on the way
    script.fail(ConnectionRefusedError())
    assert script.lost() == (None, "could not reach ws.test:80: connection refused", True)


# Numbers.


def test_a_message_for_an_unknown_or_other_transport_is_ignored() -> None:
    script = greeted()
    script.do(script.session.receive_message, 9, ROOM.decode())
    streams = ByteScript().connect().greet()
    streams.take()
    streams.do(streams.session.receive_message, 1, ROOM.decode())
    assert script.take() == streams.take() == []


def test_effects_of_a_connection_that_ended_are_dropped() -> None:
    script = greeted()
    session = script.session
    session.subscribe("room", now=script.now)
    session.transport_closed(1, None, now=script.now)
    assert [
        effect for effect in iter(session.next_effect, None) if isinstance(effect, SendMessage)
    ] == []


# Recordings.


def test_a_recording_of_messages_is_replayed() -> None:
    lines: list[str] = []
    session = recording_session(
        Options.from_host(HOST, key="key", tls=False), lines.append, messages=True
    )
    seen: list[Any] = []

    def do(command: Callable[..., None], *args: Any) -> None:
        command(*args, now=float(len(lines)))
        seen.extend(iter(session.next_effect, None))
        seen.extend(iter(session.next_event, None))

    do(session.connect)
    do(session.transport_opened, 1)
    do(session.receive_message, 1, greeting().decode())
    do(session.subscribe, "room")
    do(session.receive_message, 1, b"binary")
    do(session.transport_closed, 1, ConnectionEnded(4200, "restart"))
    do(session.handle_timeout)
    do(session.transport_opened, 2)
    do(session.receive_message, 2, "\ud800")
    do(session.close)
    again = [each for each in replay(lines) if not isinstance(each, tuple)]
    assert sorted(map(repr, again)) == sorted(map(repr, seen))
    assert sum(isinstance(each, OpenMessages) for each in again) == 2
    assert 1007 in [each.code for each in again if isinstance(each, ConnectionLost)]


# The layer that replaces the WebSocket.


def test_messages_have_what_a_websocket_has() -> None:
    messages = Messages(max_message_size=10)
    assert messages.receive_data("x") == []
    assert messages.open() == messages.data_to_send() == b""
    messages.another_second()
    assert messages.receive_data("x") == [b"x"]
    assert (messages.inflated, messages.incomplete, messages.answer_began) == (0, None, False)
    assert messages.send_close() == b""
    assert messages.receive_data("x") == []


# The same as over bytes.

TEXTS = [
    greeting(),
    greeting({"socket_id": "2.2", "activity_timeout": 5}),
    b"no JSON",
    b"",
    b'{"event":1}',
    message("pusher:ping", {}),
    message("pusher:pong", {}),
    message("pusher:unknown", {}),
    JOINED,
    ROOM,
    message("pusher_internal:subscription_succeeded", "{}", "private-room"),
    message("client-e", "{}", "private-room", user_id="7"),
    message("pusher_internal:subscription_count", '{"subscription_count":3}', "room"),
    message("pusher:subscription_error", {"type": "AuthError", "status": 401}, "private-room"),
    message("e", "\u20ac" * 100, "room"),
    message("e", "x" * 3000, "room"),
    *(error_message(code) for code in (None, 4001, 4009, 4100, 4200, 4301)),
    error_message(4100, "full", "room"),
]


def act(name: str, *args: Any) -> Callable[[Script], object]:
    def given_to(script: Script) -> object:
        return getattr(script, name)(*args)

    given_to.__qualname__ = f"{name}{args!r}"
    return given_to


def command(name: str, *args: Any) -> Callable[[Script], object]:
    def given_to(script: Script) -> object:
        try:
            return script.do(getattr(script.session, name), *args)
        except LocalProtocolError as error:
            return str(error)

    given_to.__qualname__ = f"session.{name}{args!r}"
    return given_to


OF_THE_NETWORK = [
    *(act("text", text) for text in TEXTS),
    act("binary", b"123"),
    *(act("close", code, "why") for code in (1000, 1001, 1011, 4004, 4009, 4100, 4200, 4301)),
    act("close", None),
    act("eof"),
    act("eof", ConnectionResetError("reset")),
]
"""Inputs that need an open connection."""
OF_ATTEMPTS = [
    act("greet"),
    act("accept"),
    act("fail", ConnectionRefusedError()),
    act("refuse", 403, "Forbidden"),
    act("refuse", 503, "Busy"),
]
"""Inputs that need a connection that is being opened."""
ANY_TIME = [
    *(command(name) for name in ("connect", "disconnect", "reconnect", "ping", "signin")),
    *(command("subscribe", name) for name in ("room", "private-room", "presence-room")),
    command("unsubscribe", "room"),
    command("trigger", "private-room", "client-e", {"n": 1}),
    command("send_event", "own", [1], "room"),
    *(act("wait", seconds) for seconds in (0.5, 3.0, 40.0)),
]

steps = st.lists(
    st.one_of(*map(st.sampled_from, (OF_THE_NETWORK, ANY_TIME, OF_ATTEMPTS))), max_size=25
)


def played(script: Script, given: list[Callable[[Script], object]]) -> list[Any]:
    """Return what each step brought about: events, messages of the client, and how things are."""
    seen: list[Any] = []
    script.connect()
    for step in [act("greet"), *given, command("close"), act("wait", 5.0)]:
        stream = script.streams.get(script.transport)
        wanted = None
        if step in OF_THE_NETWORK:
            wanted = stream is not None and stream.opened
        elif step in OF_ATTEMPTS or step.__qualname__ == "greet()":
            wanted = stream is not None and not stream.opened
        result = step(script) if wanted is not False else None
        session = script.session
        sent = [each for each in script.acts() if isinstance(each, dict)]
        looks = session.state, session.socket_id, session.retry_at, session.next_deadline()
        said = result if isinstance(result, str) else None
        seen.append((step.__qualname__, [*map(repr, script.take())], sent, looks, said))
    assert script.session.closed
    return seen


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps)
def test_any_session_over_messages_gives_the_same_events_as_over_bytes(
    given_steps: list[Callable[[Script], object]],
) -> None:
    options: dict[str, Any] = {
        "max_message_size": 2000,
        "pong_timeout": 5.0,
        "activity_timeout": 30.0,
    }
    over_bytes = played(ByteScript(**options), given_steps)
    over_messages = played(MessageScript(**options), given_steps)
    for one, other in zip(over_bytes, over_messages, strict=True):
        assert one == other


def test_a_session_with_a_restart_over_both_is_the_same() -> None:
    steps_of_one = [
        command("subscribe", "room"),
        act("text", JOINED),
        act("text", ROOM),
        act("close", 4200, "why"),
        act("wait", 0.5),
        act("greet"),
        act("text", JOINED),
    ]
    seen = played(MessageScript(), steps_of_one)
    assert seen == played(ByteScript(), steps_of_one)
    assert str(seen).count("ConnectionEstablished(") == 2
    assert json.dumps([sent for _, _, sent, *_ in seen]).count("pusher:subscribe") == 2
