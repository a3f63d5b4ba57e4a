"""One connection to the server, to the byte: upgrade, greeting, errors, pings, malformed messages, the end."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64decode
from typing import Any

import pytest

from proto.scripted import (
    Script,
    connected,
    connecting,
    error_message,
    greeting,
    message,
    upgraded,
    upgrading,
)
from proto.websocket_peer import BINARY, CLOSE, CONTINUATION, PING, TEXT, answer, close, frame
from pusher_proto import (
    ChannelEvent,
    CloseTransport,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    OpenTransport,
    ProtocolViolation,
    RetryScheduled,
    SendData,
    ServerError,
    StateChanged,
)

CONNECTING, CONNECTED = ConnectionState.CONNECTING, ConnectionState.CONNECTED
FAILED = ConnectionState.FAILED

PING_SENT = {"event": "pusher:ping", "data": {}}
PONG_SENT = {"event": "pusher:pong", "data": {}}

SIGNATURE = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"


def subscribed(*channels: str, **options: Any) -> Script:
    """Return a connected script with these channels confirmed, looks taken."""
    script = connected(**options)
    for channel in channels:
        script.subscribe(channel)
        script.send("pusher_internal:subscription_succeeded", "{}", channel)
    script.take()
    script.acts()
    return script


BEHIND_UPGRADE = (
    "the server accepted the upgrade and ended the connection before its greeting ({}): Sockudo does so for an unknown "
    "key, a disabled app and an app over max_connections; check the key"
)


def follows(script: Script) -> str:
    """Say what follows the loss that just happened, by what is seen of it."""
    delay = script.delay()
    if delay is None:
        return "refused" if script.session.state is FAILED else "nothing"
    if delay == 0:
        return "at once"
    return "back off" if delay < 1 else "wait" if delay < 2 else "slow"


# Opening.


def test_connecting_asks_for_a_transport_and_then_for_the_upgrade() -> None:
    script = Script().connect()
    assert script.acts() == [OpenTransport(1, "ws.test", 80, False)]
    script.open()
    assert script.acts() == [
        "GET /app/key?client=pusher-proto-python&version=0.1.0&protocol=7 HTTP/1.1"
    ]
    script.upgrade()
    assert script.acts() == []
    script.greet()
    assert script.acts() == []
    assert script.take() == [
        StateChanged(ConnectionState.INITIALIZED, CONNECTING, "connecting"),
        StateChanged(CONNECTING, CONNECTED, ""),
        ConnectionEstablished("1.1", None),
    ]


def test_each_key_of_an_upgrade_is_drawn_from_the_rng_of_the_session() -> None:
    """The key is sixteen bytes (RFC 6455, 4.1), and the same session draws the same ones."""

    def keys(seed: int) -> list[bytes]:
        script = upgrading(seed=seed).eof().retry().open()
        sent = [script.streams[2].sent, upgrading(seed=seed).streams[1].sent]
        return [re.findall(rb"Sec-WebSocket-Key: (\S+)\r\n", data)[0] for data in sent]

    assert keys(1) == keys(1)
    assert len({*keys(1), *keys(2)}) == 4
    assert [len(b64decode(key, validate=True)) for key in keys(1)] == [16, 16]


def test_a_greeting_in_the_packet_of_the_upgrade_counts() -> None:
    script = upgrading().subscribe("room")
    upgrade = answer_of(script)
    script.receive(upgrade + frame(greeting()) + frame(b"{}"))
    assert script.session.socket_id == "1.1"
    assert script.acts() == [{"event": "pusher:subscribe", "data": {"channel": "room"}}]
    assert [type(event) for event in script.take()] == [
        StateChanged,
        ConnectionEstablished,
        ProtocolViolation,
    ]


def answer_of(script: Script) -> bytes:
    from proto.scripted import upgrade_for

    return upgrade_for(script.streams[script.transport].sent)


def test_bytes_before_the_transport_is_open_are_ignored() -> None:
    script = connecting().receive(answer())
    assert (script.acts(), script.take(), script.session.stats.bytes_received) == ([], [], 0)
    script.open().upgrade().greet()
    assert script.session.state is CONNECTED


# The greeting.


@pytest.mark.parametrize(
    ("socket_id", "text"),
    [("123.456", "123.456"), ("anything at all", "anything at all"), (7, "7"), (1.5, "1.5")],
)
@pytest.mark.parametrize("as_object", [False, True])
def test_a_socket_id_is_opaque_text(socket_id: object, text: str, as_object: bool) -> None:
    script = upgraded()
    data = {"socket_id": socket_id, "activity_timeout": 30}
    script.send("pusher:connection_established", data if as_object else json.dumps(data))
    assert script.take() == [
        StateChanged(CONNECTING, CONNECTED, ""),
        ConnectionEstablished(text, None),
    ]
    assert script.session.socket_id == text


NO_GREETING = "expected a greeting, got a greeting without a socket id"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"socket_id": None},
        {"socket_id": ""},
        {"socket_id": True},
        {"socket_id": ["1.1"]},
        "not JSON",
        "[]",
        None,
        5,
    ],
)
def test_a_greeting_without_a_socket_id_ends_the_attempt(data: object) -> None:
    script = upgraded().send("pusher:connection_established", data)
    assert script.acts() == [("close", 1002, ""), CloseTransport(1)]
    assert script.lost() == (1002, NO_GREETING, True)
    assert script.session.state is CONNECTING


@pytest.mark.parametrize(
    "event", ["price", "pusher:pong", "pusher_internal:subscription_succeeded", "x" * 300]
)
@pytest.mark.parametrize("channel", [None, "room"])
def test_any_other_first_message_ends_the_attempt(event: str, channel: str | None) -> None:
    script = upgraded().send(event, {}, channel)
    assert script.acts() == [("close", 1002, ""), CloseTransport(1)]
    shown = event if len(event) < 64 else "x" * 63 + "…"
    losses, plans = script.take(ConnectionLost), script.take(RetryScheduled)
    assert losses == [ConnectionLost(1002, f"expected a greeting, got {shown}", True)]
    assert plans == []


def test_after_a_wrong_first_message_the_next_attempt_waits_for_a_second() -> None:
    assert follows(upgraded().send("price")) == "wait"


def test_a_ping_before_the_greeting_is_answered() -> None:
    script = upgraded().send("pusher:ping")
    assert script.acts() == [PONG_SENT]
    script.greet()
    assert script.session.state is CONNECTED


def test_rubbish_before_the_greeting_is_reported_and_the_greeting_awaited() -> None:
    script = upgraded().text(b"rubbish")
    assert [type(event) for event in script.take()] == [ProtocolViolation]
    script.greet()
    assert script.session.state is CONNECTED


def test_a_second_greeting_changes_nothing() -> None:
    script = connected().greet({"socket_id": "2.2", "activity_timeout": 1})
    assert script.take() == [
        ProtocolViolation("a second greeting", '{"socket_id": "2.2", "activity_timeout": 1}')
    ]
    assert (script.session.socket_id, script.acts()) == ("1.1", [])
    assert script.session.next_deadline() == script.now + 30  # STABLE; then ACTIVITY after 120


def seconds_to_ping(script: Script, **options: Any) -> float:
    """Return after how many seconds of silence the client sends a ping."""
    began = script.now
    while not script.frames():
        due = script.session.next_deadline()
        assert due is not None
        script.wait(due - script.now)
    return script.now - began


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(30, 30), (1, 1), (0.5, 1), (1.5, 1.5), (120, 120), (3600, 120), (10**30, 120)],
)
def test_the_smaller_activity_timeout_counts_and_at_least_a_second(
    said: float, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    script = upgraded().greet({"socket_id": "1.1", "activity_timeout": said})
    assert seconds_to_ping(script) == seconds
    assert warnings(caplog) == []


@pytest.mark.parametrize("said", [30, 120, 0])
def test_an_override_counts_whatever_the_server_says(said: float) -> None:
    given = upgraded(activity_override=300.0)
    script = given.greet({"socket_id": "1.1", "activity_timeout": said})
    assert seconds_to_ping(script) == 300.0


@pytest.mark.parametrize("said", [30, 120, 0])
def test_our_own_activity_timeout_counts_when_it_is_smaller(said: float) -> None:
    script = upgraded(activity_timeout=0.25).greet({"socket_id": "1.1", "activity_timeout": said})
    assert seconds_to_ping(script) == 0.25


@pytest.mark.parametrize(
    "fields",
    [
        "",
        ', "activity_timeout": 0',
        ', "activity_timeout": -5',
        ', "activity_timeout": "1"',
        ', "activity_timeout": 1e999',
        ', "activity_timeout": -1e999',
        ', "activity_timeout": null',
        ', "activity_timeout": true',
        ', "activity_timeout": [1]',
    ],
)
def test_nonsense_for_an_activity_timeout_counts_as_absent_and_is_warned_of_once(
    fields: str, caplog: pytest.LogCaptureFixture
) -> None:
    script = upgraded()
    script.send("pusher:connection_established", '{"socket_id": "1.1"' + fields + "}")
    assert script.session.socket_id == "1.1"
    assert seconds_to_ping(script) == 120
    assert warnings(caplog) == [
        "the server's activity_timeout is invalid: pinging it after 120 s of silence instead"
    ]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Errors before the greeting are the verdict on the attempt.

CLASSES = [
    (1000, "back off"),
    (3999, "back off"),
    (4000, "refused"),
    (4001, "refused"),
    (4004, "refused"),
    (4009, "refused"),
    (4099, "refused"),
    (4100, "wait"),
    (4199, "wait"),
    (4200, "at once"),
    (4299, "at once"),
    (4300, "wait"),
    (4301, "wait"),
    (4399, "wait"),
    (4400, "back off"),
    (4999, "back off"),
]


@pytest.mark.parametrize(("code", "expected"), [*CLASSES, (None, "back off"), (10**20, "back off")])
def test_an_error_before_the_greeting_ends_the_attempt(code: int | None, expected: str) -> None:
    """Reverb sends the error and leaves the socket open: the client closes it (protocol 6.4)."""
    script = upgraded().error(code, "why not")
    assert script.acts() == [("close", 1000, ""), CloseTransport(1)]
    assert follows(script) == expected


def test_an_error_that_refuses_is_reported_with_its_code_and_what_to_do() -> None:
    script = upgraded().error(4001, "App key key not in this cluster")
    assert script.take() == [
        StateChanged(CONNECTING, FAILED, "App key key not in this cluster"),
        ConnectionLost(4001, "App key key not in this cluster", False),
    ]
    assert str(script.session.failure) == (
        "the server refused the connection with code 4001: App key key not in this cluster (check the key and the "
        "cluster or host: this server does not know the app)"
    )
    script.wait(3600)
    assert (script.acts()[2:], script.session.next_deadline()) == ([], None)


def test_a_close_frame_after_the_error_before_the_greeting_changes_nothing_more() -> None:
    """Pusher up to protocol 5, and Soketi: the error, then the close frame with the same code."""
    script = upgraded().receive(frame(error_message(4001)) + close(4001))
    assert [type(event) for event in script.take()] == [StateChanged, ConnectionLost]


def test_an_error_on_a_channel_before_the_greeting_is_a_verdict_too() -> None:
    script = upgraded().text(error_message(4100, channel="room"))
    assert follows(script) == "wait"


# The end by a close frame.


ONCE_GOOD = {4004: "wait", 4009: "slow"}
"""The retries after these on a connection that was established; other refusals are tried again slowly."""


def once_good(code: int | None, expected: str) -> str:
    return ONCE_GOOD.get(code or 0, "slow") if expected == "refused" else expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *CLASSES,
        (None, "back off"),
        (1001, "back off"),
        (1002, "back off"),
        (1003, "back off"),
        (1007, "back off"),
        (1009, "back off"),
        (1011, "back off"),
        (1012, "back off"),
        (3000, "back off"),
    ],
)
def test_a_close_code_says_by_its_range_what_follows(code: int | None, expected: str) -> None:
    script = connected().wait(11).close(code, "bye" if code else "")
    expected = once_good(code, expected)
    assert script.acts()[1:2] == [CloseTransport(1)]
    events = script.take()
    lost = [event for event in events if isinstance(event, ConnectionLost)]
    assert lost == [ConnectionLost(code or 1005, "bye" if code else "", expected != "refused")]
    for event in events:
        script._events.append(event)
    assert follows(script) == expected


def test_the_close_frame_is_answered_before_the_transport_is_closed() -> None:
    script = connected().close(4200, "restarting")
    assert script.acts() == [("close", 4200, "restarting"), CloseTransport(1)]
    assert script.take() == [
        StateChanged(CONNECTED, CONNECTING, "restarting"),
        ConnectionLost(4200, "restarting", True),
        RetryScheduled(1, 0.0),
    ]


def test_what_was_received_before_the_close_frame_is_delivered_first() -> None:
    script = subscribed("room")
    script.receive(frame(message("price", "1", "room")) + close(1001))
    events = script.take()
    assert [type(event) for event in events] == [
        ChannelEvent,
        StateChanged,
        ConnectionLost,
        RetryScheduled,
    ]


def test_after_the_close_frame_nothing_is_read() -> None:
    script = subscribed("room")
    script.receive(close(1001) + frame(message("price", "1", "room")))
    assert [type(event) for event in script.take()] == [
        StateChanged,
        ConnectionLost,
        RetryScheduled,
    ]


def test_nothing_is_sent_to_a_server_that_has_closed_in_the_same_packet() -> None:
    script = upgraded().subscribe("room").receive(frame(greeting()) + close(1001))
    assert script.acts() == [("close", 1001, ""), CloseTransport(1)]


# The end without a close frame.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "the connection ended without a close frame"),
        ("connection reset", "connection reset"),
        (ConnectionResetError("by peer"), "the connection to ws.test:80 broke: by peer"),
    ],
)
def test_a_bare_end_is_reported_as_1006(error: Any, reason: str) -> None:
    script = connected().eof(error)
    assert script.lost() == (1006, reason, True)
    assert script.acts() == []


@pytest.mark.parametrize(
    ("make", "code", "reason"),
    [
        (connecting, None, "the connection ended before it was open"),
        (upgrading, None, "the connection ended before it was open"),
        (upgraded, 1006, BEHIND_UPGRADE.format("the connection ended without a close frame")),
    ],
)
def test_an_end_during_the_attempt_says_how_far_it_got(make: Any, code: Any, reason: str) -> None:
    assert make().eof().lost() == (code, reason, True)


WHOLE = message("price", "zwölf", "room").replace(b"\\u00f6", "ö".encode())


@pytest.mark.parametrize(
    "part",
    [
        frame(WHOLE)[:1],
        frame(WHOLE)[:-1],
        frame(WHOLE)[: frame(WHOLE).index(b"\xc3") + 1],
        frame(WHOLE[:20], fin=False),
        frame(WHOLE[:20], fin=False) + frame(WHOLE[20:], CONTINUATION)[:-1],
    ],
)
def test_a_message_cut_off_by_the_end_is_never_delivered(part: bytes) -> None:
    """Fault N4: in the middle of a frame, of a character, of a fragmented message."""
    script = subscribed("room").receive(part).eof()
    assert [type(event) for event in script.take()] == [
        StateChanged,
        ConnectionLost,
        RetryScheduled,
    ]


def test_a_message_in_pieces_is_delivered_when_it_is_whole() -> None:
    script = subscribed("room").receive(frame(WHOLE[:20], fin=False))
    assert script.take() == []
    script.receive(frame(WHOLE[20:], CONTINUATION))
    assert script.take() == [ChannelEvent("room", "price", "zwölf")]


# An error shortly before an end without a code gives its code.


@pytest.mark.parametrize(("code", "expected"), CLASSES)
def test_an_error_just_before_a_bare_end_stands_for_its_code(code: int, expected: str) -> None:
    """Reverb always ends connections like this: the error, then the end of TCP."""
    script = connected().error(code, "why").wait(5).eof()
    events = script.take(ServerError, ConnectionLost)
    bare = ConnectionLost(1006, "the connection ended without a close frame", True)
    stands = expected in ("wait", "at once") and code < 4300
    assert events == [
        ServerError(code, "why"),
        ConnectionLost(code, "why", True) if stands else bare,
    ]


@pytest.mark.parametrize(("code", "expected"), CLASSES)
def test_what_follows_such_an_end_is_by_the_range_of_the_error(code: int, expected: str) -> None:
    expected = expected if 4100 <= code < 4300 else "back off"
    assert follows(connected().error(code).eof()) == expected


@pytest.mark.parametrize("code", [None, 1000, 1001, 3999])
def test_an_error_just_before_a_close_without_a_code_of_pushers_stands_for_it(
    code: int | None,
) -> None:
    script = connected().error(4100, "unknown").close(code)
    assert script.lost() == (4100, "unknown", True)


@pytest.mark.parametrize("code", [4000, 4003, 4100])
def test_a_code_of_pushers_own_in_the_close_frame_wins_and_the_error_says_why(code: int) -> None:
    script = connected().error(4200, "because").close(code)
    assert script.lost() == (code, "because", True)
    script = connected().error(4200, "because").close(code, "said again")
    assert script.lost() == (code, "said again", True)


@pytest.mark.parametrize(
    "following",
    [
        message("price", "1", "room"),
        message("pusher:pong"),
        message("pusher:unknown"),
        message("pusher_internal:subscription_count", '{"subscription_count":1}', "room"),
    ],
)
def test_an_error_followed_by_another_message_is_forgotten(following: bytes) -> None:
    script = connected().error(4001).text(following).eof("reset")
    assert script.lost() == (1006, "reset", True)


def test_the_last_of_two_errors_is_remembered() -> None:
    assert connected().error(4001).error(4200, "again").eof().lost() == (4200, "again", True)


def test_an_error_about_a_channel_is_not_remembered() -> None:
    script = connected().text(error_message(4009, channel="private-x")).eof("reset")
    assert script.lost() == (1006, "reset", True)


@pytest.mark.parametrize("together", [False, True])
def test_an_error_about_the_only_channel_asked_for_is_not_remembered(together: bool) -> None:
    """Reverb names no channel when it refuses one: 4009, and the socket stays open."""
    script = connected().subscribe("private-x")
    if together:
        script.receive(frame(error_message(4009)) + close(1001, b"going away"))
    else:
        script.receive(frame(error_message(4009))).close(1001, "going away")
    assert script.lost() == (1001, "going away", True)


def test_an_error_without_a_code_leaves_the_end_its_own() -> None:
    bare = "the connection ended without a close frame"
    assert connected().error(None, "hm").eof().lost() == (1006, bare, True)
    assert connected().error(None, "hm").close(1001).lost() == (1001, "", True)


def test_an_error_alone_ends_nothing() -> None:
    script = connected().error(4001, "whatever").wait(60)
    assert script.take() == [ServerError(4001, "whatever")]
    assert script.session.state is CONNECTED


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"code": 4301, "message": "too many"}, ServerError(4301, "too many")),
        ('{"code": 4301, "message": "too many"}', ServerError(4301, "too many")),
        ({"code": "4301", "message": "too many"}, ServerError(4301, "too many")),
        ({"code": None, "message": "odd"}, ServerError(None, "odd")),
        ({"message": "odd"}, ServerError(None, "odd")),
        ({"code": True, "message": "odd"}, ServerError(None, "odd")),
        ({"code": "x", "message": "odd"}, ServerError(None, "odd")),
        ({"code": "99999", "message": "odd"}, ServerError(99999, "odd")),
        ({"code": "100000", "message": "odd"}, ServerError(None, "odd")),
        ({"code": "٤٣٠١", "message": "odd"}, ServerError(None, "odd")),
        ({"code": 4302, "type": "ServerError", "error": "soketi's"}, ServerError(4302, "soketi's")),
        ({"code": 4302}, ServerError(4302, '{"code":4302}')),
        ({"code": 1, "message": {"a": 1}}, ServerError(1, '{"a":1}')),
        ("plain text", ServerError(None, "plain text")),
        ("[1]", ServerError(None, "[1]")),
        (7, ServerError(None, "7")),
        (None, ServerError(None, "")),
        ({"code": 4009, "message": "no", "channel": "room"}, ServerError(4009, "no", "room")),
        ({"code": 4009, "message": "no", "channel": 3}, ServerError(4009, "no")),
        ({"code": 4300, "message": "x" * 300}, ServerError(4300, "x" * 127 + "…")),
    ],
)
def test_an_error_is_read_in_every_shape_seen(data: Any, expected: ServerError) -> None:
    assert connected().send("pusher:error", data).take() == [expected]


def test_a_signature_that_the_server_quotes_is_not_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Pusher: "Invalid signature: Expected HMAC SHA256 hex digest of ..., but got KEY:..."."""
    caplog.set_level(logging.DEBUG)
    quoting = f"Invalid signature: Expected ... , but got key:{SIGNATURE}"
    script = connected().error(None, quoting)
    assert script.take() == [ServerError(None, "Invalid signature: Expected ... , but got key:***")]
    script.text(b"{" + quoting.encode())
    script.close(4001, f"key:{SIGNATURE}")
    assert SIGNATURE not in repr(script.take())
    assert SIGNATURE not in caplog.text
    assert SIGNATURE not in str(script.session.failure)
    assert SIGNATURE not in script.session.last_loss


# HTTP instead of the upgrade.


@pytest.mark.parametrize(
    "status",
    [
        "200 OK",
        "301 Moved Permanently",
        "304 Not Modified",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "408 Request Timeout",
        "418 I'm a teapot",
        "425 Too Early",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ],
)
def test_an_http_answer_instead_of_the_upgrade_is_tried_again_after_a_second(status: str) -> None:
    script = upgrading().receive(answer(status, [("Content-Length", "0")]))
    assert script.acts() == [CloseTransport(1, abort=True)]
    events = script.take()
    code, _, phrase = status.partition(" ")
    reason = f"the upgrade was answered with HTTP {code} {phrase}"
    if code.startswith("30"):
        reason += " to an unknown place (redirects are not followed)"
    lost = [event for event in events if isinstance(event, ConnectionLost)]
    assert lost == [ConnectionLost(int(code), reason, True)]
    script._events += events
    assert follows(script) == "wait"


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://else.test/x", "https://else.test/x"),
        ("https://me:hidden@else.test/app/key?token=hidden", "https://***@else.test/app/key?***"),
    ],
)
def test_a_redirect_is_named_and_not_followed(location: str, named: str) -> None:
    script = upgrading().receive(answer("302 Found", [("Location", location)]))
    assert script.lost() == (
        302,
        f"the upgrade was answered with HTTP 302 Found to {named} (redirects are not followed)",
        True,
    )


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        ("7", 7.0),
        ("3600", 30.0),
        ("0", None),
        ("-1", None),
        ("1.5", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("9" * 400, None),
        ("٣", None),
    ],
)
def test_retry_after_is_honoured_up_to_the_cap(value: str, delay: float | None) -> None:
    head = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {value}\r\n\r\n".encode()
    got = upgrading().receive(head).delay()
    assert got is not None
    assert got == delay or (delay is None and 1 <= got < 2)


def test_the_status_counts_although_the_body_never_arrives() -> None:
    script = upgrading().receive(answer("403 Forbidden", [("Content-Length", "1000000")]))
    assert script.lost() == (403, "the upgrade was answered with HTTP 403 Forbidden", True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not valid HTTP"),
        (answer(headers=[]), "the answer has no header 'Upgrade: websocket'"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 16384, "the answer's head exceeds 16384 bytes"),
    ],
)
def test_an_answer_that_is_not_an_upgrade_is_retried_after_a_second(
    data: bytes, reason: str
) -> None:
    script = upgrading().receive(data)
    assert script.acts() == [CloseTransport(1, abort=True)]
    events = script.take()
    assert events[0] == ConnectionLost(None, reason, True)
    hint = getattr(events[0], "hint", "")
    assert ("another service answers" in hint) is data.startswith(b"SSH")
    script._events += events
    assert follows(script) == "wait"


# Pings and pongs.


def test_a_ping_of_the_protocol_is_answered_before_receive_data_returns() -> None:
    script = connected()
    shapes: list[object] = ["{}", {}, None]
    for data in shapes:
        script.session.receive_data(1, frame(message("pusher:ping", data)), now=script.now)
        effect = script.session.next_effect()
        assert isinstance(effect, SendData)
        assert script.session.next_effect() is None
    assert script.take() == []


def test_a_websocket_ping_is_answered_with_its_payload() -> None:
    assert connected().ping(b"abc").acts() == [("pong", b"abc")]


def test_of_a_burst_of_websocket_pings_the_last_few_are_answered() -> None:
    burst = b"".join(frame(str(number).encode(), PING) for number in range(1000))
    pongs = connected().receive(burst).acts()
    assert pongs == [("pong", str(number).encode()) for number in range(1000 - len(pongs), 1000)]
    assert 1 <= len(pongs) <= 16


def test_answers_are_sent_in_the_order_of_what_they_answer() -> None:
    script = connected().subscribe("room")
    script.do(script.session.unsubscribe, "room").acts()
    success = message("pusher_internal:subscription_succeeded", "{}", "room")
    script.receive(frame(message("pusher:ping")) + frame(success) + frame(message("pusher:ping")))
    assert script.frames() == [
        PONG_SENT,
        {"event": "pusher:unsubscribe", "data": {"channel": "room"}},
        PONG_SENT,
    ]


@pytest.mark.parametrize("event", ["pusher:ping", "pusher:pong", "pusher:connection_established"])
def test_control_messages_with_a_channel_are_not_acted_on(event: str) -> None:
    script = subscribed("room").send(event, {}, "room")
    assert (script.acts(), script.take()) == ([], [])


def test_ten_thousand_websocket_pings_in_a_second_are_the_limit() -> None:
    script = connected()
    for _ in range(3):
        script.receive(frame(b"", PING) * 10_000)
        assert script.session.state is CONNECTED
        script.wait(1)
    script.receive(frame(b"", PING) * 10_000)
    assert script.receive(frame(b"", PING)).lost() == (
        1008,
        "more than 10000 pings and pongs in a second",
        True,
    )


def test_pongs_are_not_piled_up_for_a_server_that_reads_nothing() -> None:
    script = connected(outbox_limit=100)
    script.writes = False
    for _ in range(20):
        script.ping(b"x").send("pusher:ping")
    assert 0 < len(script.frames()) < 10
    assert script.close(1001).acts() == [("close", 1001, ""), CloseTransport(1)]


# A message that never ends.


def trickle(script: Script, data: bytes) -> None:
    """Let one byte come every second."""
    for index in range(len(data)):
        script.wait(1).receive(data[index : index + 1])


def test_bytes_that_make_no_message_keep_the_connection_for_a_limited_time() -> None:
    script = connected().receive(frame(b"", length=1_000_000))
    trickle(script, b"x" * 270)
    assert (script.acts(), script.session.state) == ([], CONNECTED)
    trickle(script, b"x")
    assert script.acts() == [("close", 1008, ""), CloseTransport(1)]
    events = script.take()
    reason = "the server takes too long to complete a message"
    assert events[:2] == [
        StateChanged(CONNECTED, CONNECTING, reason),
        ConnectionLost(1008, reason, True),
    ]
    script._events += events
    assert follows(script) == "wait"


def test_messages_each_of_which_ends_in_time_may_follow_without_a_gap() -> None:
    """One is always pending, and never the same for long."""
    script = subscribed("room")
    text = frame(message("price", "x" * 50, "room"))
    script.receive(text[:20])
    for _ in range(10):
        script.wait(100).receive(text[20:] + text[:20])
    assert script.take() == [ChannelEvent("room", "price", "x" * 50)] * 10


def test_the_time_for_a_message_starts_again_when_reading_continues() -> None:
    script = connected().receive(frame(b"", length=100))
    link = script.session._connector._link
    assert link is not None
    link.reading(False, script.now)
    link.reading(True, script.now + 1000)
    script.now += 1000
    trickle(script, b"x" * 20)
    assert script.session.state is CONNECTED


# Malformed messages.

NEXT = ChannelEvent("room", "next", "1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a message: Input data was truncated"),
        (b"not JSON", None),
        (b'{"event": "x"', "not a message: Input data was truncated"),
        (b"[]", "not a message: a message is a JSON object, not list"),
        (b'"s"', "not a message: a message is a JSON object, not str"),
        (b"null", "not a message: a message is a JSON object, not NoneType"),
        (b"42", "not a message: a message is a JSON object, not int"),
        (b"true", "not a message: a message is a JSON object, not bool"),
        (b"{}", "not a message: its `event` is missing or not a string"),
        (b'{"event": 5}', "not a message: its `event` is missing or not a string"),
        (b'{"event": "x", "channel": 5}', "not a message: its `channel` is not a string"),
        (b"[" * 100_000, None),
        (b'{"event":"x","channel":"room","data":' + b"[" * 600 + b"]" * 600 + b"}", None),
        (b'{"event":"x","channel":"room","data":' + b"1" * 5000 + b"}", None),
        (b"1" * 5000, None),
        (b'{"event":"x","channel":"room","data":NaN}', None),
        (b'{"event":"x","channel":"room","data":Infinity}', None),
        (b'{"event":"x","channel":"room","data":1e999}', None),
        (b'{"event":"x","channel":"room","data":"\\ud800"}', None),
        (b'\xef\xbb\xbf{"event":"x","channel":"room"}', None),
        (b'{"event":"x","channel":"room","data":"\x00"}', None),
    ],
)
def test_a_message_that_is_invalid_is_reported_once_and_the_next_is_delivered(
    text: bytes, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    script = subscribed("room")
    script.text(text).send("next", "1", "room")
    violation, *rest = script.take()
    assert rest == [NEXT]
    assert isinstance(violation, ProtocolViolation)
    assert reason is None or violation.reason == reason
    assert violation.reason.startswith("not a message: ")
    assert len(violation.reason) <= 144
    assert len(violation.excerpt) <= 128
    assert violation.excerpt[:20] == text.decode()[:20].replace("\x00", " ").replace("\ufeff", " ")
    assert warnings(caplog) == [f"{violation.reason}: {violation.excerpt}"]
    assert (script.acts(), script.session.state) == ([], CONNECTED)


def test_of_duplicate_keys_the_last_counts() -> None:
    script = subscribed("room").text(
        b'{"event":"a","event":"b","channel":"room","data":1,"data":2}'
    )
    assert script.take() == [ChannelEvent("room", "b", 2)]


def test_deep_data_in_a_string_is_delivered_unparsed() -> None:
    deep = "[" * 100_000
    (event,) = subscribed("room").send("x", deep, "room").take()
    assert isinstance(event, ChannelEvent)
    assert (event.raw_data, event.data) == (deep, deep)


def test_a_binary_message_is_reported_and_ignored() -> None:
    script = subscribed("room")
    script.receive(frame(b"\x00\xff", BINARY)).send("next", "1", "room")
    assert script.take() == [
        ProtocolViolation("a binary message of 2 bytes: the protocol has none", ""),
        NEXT,
    ]
    assert script.acts() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"\xff"), 1007),
        (frame(b"\xc3", TEXT, fin=False) + frame(b"(", CONTINUATION), 1007),
        (frame(b"", 0x3), 1002),
        (frame(b"", 0xB), 1002),
        (frame(b"{}", rsv=4), 1002),
        (frame(b"{}", rsv=2), 1002),
        (frame(b"{}", rsv=1), 1002),
        (frame(b"{}", masked=True), 1002),
        (frame(b"x" * 126, PING), 1002),
        (frame(b"", PING, fin=False), 1002),
        (frame(b"x", CLOSE), 1002),
        (close(1005), 1002),
        (close(1006), 1002),
        (close(999), 1002),
        (close(5000), 1002),
        (close(1000, b"\xff"), 1007),
        (frame(b"", CONTINUATION), 1002),
        (frame(b"", length=2**20 + 1), 1009),
    ],
)
def test_broken_frames_end_the_connection_with_the_code_of_the_rfc(data: bytes, code: int) -> None:
    script = subscribed("room").receive(data)
    (sent, end) = script.acts()
    assert (sent[:2], end) == (("close", code), CloseTransport(1))
    events = script.take()
    (loss,) = (event for event in events if isinstance(event, ConnectionLost))
    assert (loss.code, loss.will_retry) == (code, True)
    script._events += events
    assert follows(script) == "wait"


def test_events_before_a_broken_frame_are_delivered() -> None:
    script = subscribed("room")
    script.receive(frame(message("next", "1", "room")) + frame(b"{}", masked=True))
    assert script.take()[0] == NEXT


# Our own close.


def test_closing_sends_1000_and_waits_for_the_answer() -> None:
    script = connected(answers=False).disconnect()
    assert script.acts() == [("close", 1000, "")]
    script.close(1000)
    assert script.acts() == [CloseTransport(1)]
    script.eof()
    assert script.session.next_deadline() is None


def test_while_closing_received_messages_do_not_count() -> None:
    script = subscribed("room").disconnect()
    script.take()
    script.acts()
    script.send("price", "1", "room").text(b"rubbish").ping().send("pusher:ping").error(4001)
    script.receive(frame(b"", BINARY))
    assert (script.acts(), script.take()) == ([], [])


def test_a_broken_frame_while_closing_ends_the_stream() -> None:
    script = connected().disconnect()
    script.acts()
    script.receive(frame(b"{}", masked=True))
    assert (script.acts(), script.take()[1:]) == ([CloseTransport(1)], [])


def test_the_end_of_the_stream_while_closing_is_the_end() -> None:
    script = connected().disconnect()
    script.take()
    script.acts()
    script.eof().wait(60)
    assert (script.acts(), script.take()) == ([], [])


@pytest.mark.parametrize("make", [connecting, upgrading])
def test_where_there_is_no_websocket_yet_closing_needs_no_frame(make: Any) -> None:
    script = make().disconnect()
    assert script.acts() == [CloseTransport(1, abort=make is connecting)]


def test_a_websocket_without_greeting_is_closed_by_a_frame() -> None:
    assert upgraded().disconnect().acts() == [("close", 1000, "")]
