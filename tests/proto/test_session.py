"""The session as a driver sees it: reading and its pauses, the outbox, liveness over time, late answers, looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from proto.scripted import (
    START,
    Script,
    connected,
    connecting,
    forgetful,
    greeting,
    message,
    upgraded,
)
from proto.websocket_peer import answer, frame
from pusher_proto import (
    AuthEndpoint,
    Authorize,
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ChannelState,
    Closed,
    CloseTransport,
    ConnectionLost,
    ConnectionState,
    InvalidName,
    LocalProtocolError,
    NotSubscribed,
    OpenTransport,
    OutboxFull,
    OwnKey,
    RetryScheduled,
    SendData,
    Session,
    SignInFailed,
    Subscribed,
    SubscriptionFailed,
    UnsupportedFeature,
    UserState,
)
from pusher_proto.events import SMALL, size_of
from simulation import World

CONNECTED = ConnectionState.CONNECTED
CONNECTING = ConnectionState.CONNECTING
SUCCEEDED = "pusher_internal:subscription_succeeded"
SIZE = size_of(ChannelEvent("room", "n", "0"))
PING_SENT = {"event": "pusher:ping", "data": {}}


def on(*channels: str, **options: Any) -> Script:
    """Return a connected script with these channels confirmed, looks taken."""
    script = connected(**options).subscribe(*channels)
    for channel in channels:
        script.send(SUCCEEDED, "{}", channel)
    return forgetful(script)


def stalled(waiting: int, **options: Any) -> Script:
    """Return a script whose application takes nothing while so many messages wait for it."""
    options.setdefault("receive_buffer", 8 * SIZE)
    script = on("room", **options)
    script.pulls = False
    for number in range(waiting):
        script.send("n", str(number), "room")
    return script


def subscribe_frame(channel: str, **data: str) -> dict[str, Any]:
    return {"event": "pusher:subscribe", "data": {"channel": channel, **data}}


# Reading pauses.


def test_reading_stops_at_the_high_mark_and_continues_at_the_low_one() -> None:
    script = stalled(7)
    session = script.session
    assert session.wants_data(1)
    script.send("n", "7", "room")
    assert not session.wants_data(1)
    marks = []
    while (event := session.next_event()) is not None:
        assert isinstance(event, ChannelEvent)
        marks.append((event.data, session.wants_data(1)))
    assert marks == [(n, n >= 3) for n in range(8)]


def test_bytes_received_although_reading_is_stopped_are_processed() -> None:
    script = stalled(8).send("n", "8", "room")
    script.pulls = True
    script.pump()
    assert [event.wire_data for event in script.take() if isinstance(event, ChannelEvent)] == [
        str(n) for n in range(9)
    ]


def test_events_that_no_bytes_brought_fill_the_queue_too() -> None:
    script = connected(receive_buffer=4 * SMALL)
    script.pulls = False
    for name in "abcd":
        script.subscribe(name)
        script.do(script.session.unsubscribe, name)
    assert not script.session.wants_data(1)
    script.pulls = True
    script.pump()
    assert script.session.wants_data(1)


def test_only_the_websocket_is_paused() -> None:
    script = stalled(8, auth=AuthEndpoint("http://auth.test/"))
    script.subscribe("private-x")
    assert script.transport == 2
    assert [script.session.wants_data(number) for number in (1, 2, 3, 99)] == [
        False,
        True,
        True,
        True,
    ]


def test_the_next_connection_is_made_although_events_are_not_taken() -> None:
    script = stalled(8).eof("reset").retry()
    assert script.session.wants_data(2)
    script.open()
    assert script.session.wants_data(2)
    script.upgrade()
    assert script.session.wants_data(2)
    script.text(greeting())
    assert script.session.state is CONNECTED
    assert not script.session.wants_data(2)
    script.pulls = True
    script.pump()
    assert script.session.wants_data(2)


def test_pings_are_sent_while_reading_is_stopped_and_no_pong_is_missed() -> None:
    script = forgetful(
        upgraded(receive_buffer=8 * SIZE).greet({"socket_id": "1.1", "activity_timeout": 10})
    )
    script.subscribe("room").send(SUCCEEDED, "{}", "room")
    forgetful(script)
    script.pulls = False
    for number in range(8):
        script.send("n", str(number), "room")
    script.wait(100)
    assert script.frames() == [PING_SENT] * 10
    assert script.session.state is CONNECTED


def test_a_pong_that_is_awaited_when_reading_stops_is_not_missed() -> None:
    script = on("room", receive_buffer=2 * SMALL)
    script.pulls = False
    script.wait(120).do(script.session.unsubscribe, "room")
    assert script.frames()[0] == PING_SENT
    script.subscribe("a").do(script.session.unsubscribe, "a")
    assert not script.session.wants_data(1)
    script.frames()
    assert PING_SENT not in script.wait(119.9).frames()
    assert script.wait(0.1).frames() == [PING_SENT]
    assert script.session.state is CONNECTED


def test_once_reading_continues_a_pong_is_awaited_again() -> None:
    script = stalled(8).wait(500)
    script.pulls = True
    script.pump()
    script.send("n", "8", "room").acts()
    assert script.wait(120).frames() == [PING_SENT]
    script.wait(29.9)
    assert script.session.state is CONNECTED
    script.wait(0.1)
    assert script.session.state is CONNECTING


def test_an_answer_to_a_subscribe_is_not_missed_while_nothing_is_read() -> None:
    script = stalled(8).subscribe("late")
    script.wait(500)
    assert script.session.channel("late").state is ChannelState.SUBSCRIBING
    script.pulls = True
    script.pump()
    assert not [event for event in script.take() if isinstance(event, SubscriptionFailed)]
    script.send(SUCCEEDED, "{}", "late")
    assert script.take() == [Subscribed("late")]


def test_once_reading_continues_a_subscribe_has_all_its_time_again() -> None:
    script = stalled(8).subscribe("late")
    script.wait(29)
    script.pulls = True
    script.pump()
    forgetful(script).wait(
        30.9
    )  # one second later its time would have been over: from then it has all of it
    assert script.take() == []
    script.wait(0.1)
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert script.session.channel("late").state is ChannelState.TIMED_OUT


def test_an_answer_to_a_sign_in_is_not_missed_while_nothing_is_read() -> None:
    auth = OwnKey("key", "a-secret-of-the-app", user={"id": "7"})
    script = stalled(8, auth=auth)
    script.do(script.session.signin)
    script.wait(500)
    script.pulls = True
    script.pump()
    assert not [event for event in script.take() if isinstance(event, SignInFailed)]
    script.wait(30)
    assert [type(event) for event in script.take()] == [SignInFailed]


def test_silence_starts_again_when_reading_continues() -> None:
    """Data that waited in the network while nothing was read does not count as silence."""
    script = upgraded(receive_buffer=SIZE).greet({"socket_id": "1.1", "activity_timeout": 10})
    script.subscribe("room")
    script.pulls = False
    script.wait(5).send("n", "1", "room")
    forgetful(script)
    assert script.wait(10).frames() == [PING_SENT]
    script.now += 5
    script.do(script.session.handle_timeout)
    script.pulls = True
    script.pump()
    assert script.wait(9.5).frames() == []
    assert script.wait(0.5).frames() == [PING_SENT]


def test_a_queue_of_one_event_works() -> None:
    script = stalled(1, receive_buffer=SIZE)
    assert not script.session.wants_data(1)
    assert script.session.next_event() is not None
    assert script.session.wants_data(1)


# The outbox.


def typing(script: Script, size: int = 50) -> None:
    script.do(script.session.trigger, "private-room", "client-x", "x" * size)


def test_client_events_are_refused_while_too_many_bytes_wait_to_be_sent() -> None:
    script = on("private-room", outbox_limit=400)
    script.writes = False
    typing(script)
    typing(script)
    typing(script)
    assert len(script.acts()) == 3
    full = r"^\d+ bytes wait to be sent already \(Options.outbox_limit\): try later$"
    for _ in range(2):
        with pytest.raises(OutboxFull, match=full):
            typing(script)
    assert script.acts() == []
    script.do(script.session.data_sent, 1, 400)
    typing(script)
    assert len(script.acts()) == 1


def test_more_bytes_sent_than_were_to_be_sent_give_no_credit() -> None:
    script = on("private-room", outbox_limit=200)
    script.writes = False
    script.do(script.session.data_sent, 1, 10**9)
    typing(script)
    with pytest.raises(OutboxFull):
        typing(script)


def test_bytes_sent_in_a_row_are_one_effect() -> None:
    script = connected()
    for name in "abc":
        script.session.subscribe(name, now=script.now)
    effect = script.session.next_effect()
    assert isinstance(effect, SendData)
    assert script.session.next_effect() is None


def test_what_is_sent_on_two_transports_stays_apart_and_in_order() -> None:
    script = connected(auth=AuthEndpoint("http://auth.test/"))
    for name in ("a", "private-b", "c"):
        script.session.subscribe(name, now=script.now)
    kinds = []
    while (effect := script.session.next_effect()) is not None:
        kinds.append((type(effect), effect.transport))  # type: ignore[union-attr]  # all effects here concern one
    assert kinds == [(SendData, 1), (OpenTransport, 2), (SendData, 1)]


# Client events.


@pytest.mark.parametrize(
    ("channel", "event", "data", "error"),
    [
        ("room", "client-x", 1, UnsupportedFeature),
        ("private-encrypted-room", "client-x", 1, UnsupportedFeature),
        ("private-other", "client-x", 1, NotSubscribed),
        ("private-room", "x", 1, InvalidName),
        ("private-room", "client-x", "x" * 10_240, LocalProtocolError),
        ("private-room", "client-x", math.nan, LocalProtocolError),
        ("private-room", "client-x", object(), LocalProtocolError),
    ],
)
def test_a_client_event_that_cannot_be_right_is_refused_and_nothing_is_sent(
    channel: str, event: str, data: Any, error: type[Exception]
) -> None:
    script = on("private-room")
    with pytest.raises(error):
        script.do(script.session.trigger, channel, event, data)
    assert (script.acts(), script.take()) == ([], [])


def test_a_client_event_is_sent_as_it_was_given() -> None:
    script = on("private-room")
    script.do(script.session.trigger, "private-room", "client-x", {"a": [1, None]})
    assert script.acts() == [
        {"event": "client-x", "channel": "private-room", "data": {"a": [1, None]}}
    ]


# Liveness.


def silent(activity: float = 1, **options: Any) -> Script:
    """Return a connected script whose server wants a ping after so much silence."""
    script = upgraded(**options).greet({"socket_id": "1.1", "activity_timeout": activity})
    return forgetful(script)


def test_silence_is_followed_by_a_ping_and_then_by_the_end() -> None:
    """Fault N1, to the moment."""
    script = silent()
    assert script.wait(0.999).frames() == []
    assert script.wait(0.001).frames() == [PING_SENT]
    script.wait(29.999)
    assert (script.acts(), script.take()) == ([], [])
    assert script.wait(0.001).acts() == [
        CloseTransport(1, abort=True),
        OpenTransport(2, "ws.test", 80, False),
    ]


def test_a_blackhole_is_detected_and_everything_is_restored() -> None:
    """Fault N1, in the simulated world: every wanted channel is subscribed again, once."""
    world = World(activity_timeout=1)
    device = world.connected()
    device.subscribe("room", "private-room")
    world.run(0.5)
    world.network.blackhole = True
    began = world.now
    took = world.run_until(lambda: device.of(ConnectionLost))
    assert 30.5 <= took <= 31.5
    assert [loss.reason for loss in device.of(ConnectionLost)] == [
        "the server did not answer a ping"
    ]
    world.network.blackhole = False
    device.take()
    world.server.received.clear()
    world.run(60)
    assert [event.channel for event in device.of(Subscribed)] == ["room", "private-room"]
    assert world.now > began
    subscribes = [
        each.channel for each in world.server.received if each.event == "pusher:subscribe"
    ]
    assert len(subscribes) == 2


@pytest.mark.parametrize(
    "data",
    [
        frame(message("price", "1", "room")),
        frame(b"rubbish"),
        frame(b"", 0x9),
        frame(b"", 0xA),
        frame(b"\x00", 0x2),
        frame(b"x" * 1000)[:20],
    ],
)
def test_any_received_message_counts_as_activity(data: bytes) -> None:
    """Fault N1d: the server ignores pings, and something comes."""
    script = silent().wait(1)
    assert script.frames() == [PING_SENT]
    script.wait(29).receive(data).wait(0.999)
    assert script.session.state is CONNECTED
    assert PING_SENT not in script.frames()
    assert script.wait(0.001).frames() == [PING_SENT]


def test_traffic_puts_the_ping_off() -> None:
    script = silent(10)
    for _ in range(20):
        script.wait(9).send("price", "1", "room")
    assert script.frames() == []
    assert script.wait(10).frames() == [PING_SENT]


def test_an_hour_that_passes_at_once_costs_one_ping() -> None:
    """Fault K3: the clock jumps; no burst of pings or of attempts."""
    script = silent()
    script.now += 3600
    script.do(script.session.handle_timeout)
    assert script.frames() == [PING_SENT]
    script.send("pusher:pong")
    assert script.wait(0.9).frames() == []
    assert script.session.state is CONNECTED
    script = connecting().fail()
    script.take()
    script.now += 3600
    script.do(script.session.handle_timeout)
    assert script.acts() == [OpenTransport(2, "ws.test", 80, False)]
    assert script.take(RetryScheduled) == []


def test_a_ping_that_is_sent_late_is_awaited_from_when_it_was_sent() -> None:
    """Fault K5: the program was blocked for five seconds."""
    script = silent()
    script.now += 6
    script.do(script.session.handle_timeout)
    assert script.frames() == [PING_SENT]
    assert script.wait(29.9).frames() == []
    assert script.session.state is CONNECTED
    script.wait(0.1)
    assert script.session.state is CONNECTING


def test_time_that_goes_back_is_taken_for_standing_still() -> None:
    script = silent(10).wait(5)
    for step in (0, -1, -1000, 3):
        script.now += step
        script.send("price", "1", "room")
        script.do(script.session.handle_timeout)
    assert script.session.next_deadline() == START + 10
    script.now = START + 10
    script.do(script.session.handle_timeout)
    assert script.session.next_deadline() == START + 15
    assert script.frames() == []


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("connect", ()),
        ("disconnect", ()),
        ("subscribe", ("room",)),
        ("unsubscribe", ("room",)),
        ("signin", ()),
        ("ping", ()),
        ("transport_opened", (1,)),
        ("transport_failed", (1, "no")),
        ("transport_closed", (1,)),
        ("receive_data", (1, b"x")),
        ("data_sent", (1, 1)),
        ("authorized", (1, None)),
        ("authorization_failed", (1, KeyError())),
        ("handle_timeout", ()),
    ],
)
def test_every_input_advances_the_time(name: str, args: tuple[Any, ...]) -> None:
    script = Script()
    getattr(script.session, name)(*args, now=START + 1000)
    script.disconnect().connect()
    assert script.session.next_deadline() == START + 1010


def test_a_ping_on_demand_is_sent_and_awaited() -> None:
    script = connected()
    script.do(script.session.ping)
    assert script.frames() == [PING_SENT]
    script.wait(30)
    assert script.lost() == (1006, "the server did not answer a ping", True)


def test_pings_on_demand_do_not_prolong_the_wait_for_a_pong() -> None:
    script = connected()
    for _ in range(6):
        script.do(script.session.ping).wait(5)
    assert script.session.state is CONNECTING
    assert script.session.last_loss == "the server did not answer a ping"


@pytest.mark.parametrize(
    "make",
    [Script, connecting, upgraded, lambda: connected().disconnect(), lambda: connected().end()],
)
def test_without_a_connection_nothing_is_pinged(make: Callable[[], Script]) -> None:
    script = forgetful(make())
    deadline = script.session.next_deadline()
    script.do(script.session.ping)
    assert (script.acts(), script.session.next_deadline()) == ([], deadline)


def test_a_pong_gives_the_round_trip() -> None:
    script = connected()
    script.do(script.session.ping).wait(0.25).send("pusher:pong")
    script.wait(1).send("pusher:pong")
    assert script.session.stats.round_trip == 0.25


# Deadlines that others own are fired.


def asking(**options: Any) -> Script:
    """Return a connected script whose application signs authorizations."""
    return connected(auth=None, **options)


def test_an_authorizer_that_does_not_answer_fails_the_channel_and_it_is_tried_again() -> None:
    script = asking().subscribe("private-x")
    assert script.acts() == [Authorize(1, AuthRequest("1.1", "private-x"))]
    script.wait(10)
    (failure,) = script.take()
    assert isinstance(failure, SubscriptionFailed)
    assert failure.retry_in is not None
    script.wait(failure.retry_in)
    assert script.acts() == []  # the first call has not returned yet
    script.do(script.session.authorized, 1, AuthResponse("key:late"))
    assert script.acts() == [Authorize(2, AuthRequest("1.1", "private-x"))]
    script.do(script.session.authorized, 2, AuthResponse("key:sig"))
    assert script.acts() == [subscribe_frame("private-x", auth="key:sig")]


def test_an_authorizer_that_raises_fails_the_channel() -> None:
    script = asking().subscribe("private-x")
    script.do(script.session.authorization_failed, 1, KeyError("no"))
    (failure,) = script.take()
    assert isinstance(failure, SubscriptionFailed)
    assert script.session.channel("private-x").state is ChannelState.FAILED


def test_an_answer_for_a_connection_that_is_gone_is_dropped() -> None:
    """Fault U6: an authorization is for one socket id."""
    script = forgetful(asking().subscribe("private-x")).eof("reset").retry()
    script.greet({"socket_id": "2.2", "activity_timeout": 120})
    assert not any(isinstance(act, Authorize) for act in script.acts())
    script.do(script.session.authorized, 1, AuthResponse("key:old"))
    assert script.acts() == [Authorize(2, AuthRequest("2.2", "private-x"))]
    script.do(script.session.authorized, 2, AuthResponse("key:new"))
    assert script.acts() == [subscribe_frame("private-x", auth="key:new")]


def test_a_subscribe_that_is_not_answered_is_reported_after_its_time() -> None:
    script = connected().subscribe("room").wait(30)
    assert [type(event) for event in script.take()] == [SubscriptionFailed]


def test_a_sign_in_that_is_not_answered_is_reported_after_its_time() -> None:
    script = connected(auth=OwnKey("key", "secret", user={"id": "u"}))
    script.do(script.session.signin)
    assert script.session.user.state is UserState.SIGNING_IN
    script.wait(10)
    assert [type(event) for event in script.take()] == [SignInFailed]
    assert script.session.wants_user


def http(body: str, status: str = "200 OK") -> bytes:
    return answer(status, [("Content-Length", str(len(body)))], body.encode())


def at_endpoint(**options: Any) -> Script:
    """Return a script whose request for an authorization stands on transport 2."""
    options.setdefault("auth", AuthEndpoint("http://auth.test/sign"))
    return connected(**options).subscribe("private-x").open()


def test_an_auth_endpoint_is_asked_over_its_own_transport() -> None:
    script = at_endpoint()
    assert script.acts() == [
        OpenTransport(2, "auth.test", 80, False),
        ("POST /sign HTTP/1.1", "socket_id=1.1&channel_name=private-x"),
    ]
    script.receive(http('{"auth":"key:sig"}'))
    assert script.acts() == [subscribe_frame("private-x", auth="key:sig")]
    assert script.wait(15).acts() == [CloseTransport(2)]


def test_an_auth_endpoint_that_cannot_be_reached_is_asked_again() -> None:
    script = connected(auth=AuthEndpoint("http://auth.test/sign")).subscribe("private-x")
    script.fail()
    assert script.wait(5).acts() == [
        OpenTransport(2, "auth.test", 80, False),
        OpenTransport(3, "auth.test", 80, False),
    ]


def test_an_auth_endpoint_whose_answer_never_ends_is_left() -> None:
    script = at_endpoint()
    script.acts()
    script.receive(b"HTTP/1.1 200 OK\r\n").wait(10)
    assert script.acts()[:1] == [CloseTransport(2, abort=True)]
    assert [type(event) for event in script.take()] == [SubscriptionFailed]


def test_a_request_for_many_channels_that_cannot_be_made_fails_them_all() -> None:
    def headers() -> dict[str, str]:
        raise LookupError("no token")

    script = connected(auth=AuthEndpoint("http://auth.test/", headers=headers, batch=9))
    script.subscribe("private-x", "private-y")
    due = script.session.next_deadline()
    assert due is not None
    script.wait(due - script.now)
    failures = script.take(SubscriptionFailed)
    assert [event.channel for event in failures if isinstance(event, SubscriptionFailed)] == [
        "private-x",
        "private-y",
    ]
    assert script.acts() == []


def test_losing_the_connection_ends_the_requests_in_progress_and_begins_no_other() -> None:
    script = connected(auth=AuthEndpoint("http://auth.test/"), auth_connections=2)
    script.subscribe(*(f"private-{number}" for number in range(10)))
    script.acts()
    script.transport = 1
    script.eof("reset")
    assert script.acts() == [CloseTransport(2, abort=True), CloseTransport(3, abort=True)]


def test_closing_ends_the_transports_of_the_endpoint_too() -> None:
    script = at_endpoint(answers=False)
    script.receive(http('{"auth":"key:sig"}'))
    script.subscribe("private-y")
    script.acts()
    script.end()
    assert script.acts() == [CloseTransport(2, abort=True), ("close", 1000, "")]
    assert script.take(Closed) == []
    script.transport = 1
    script.eof()
    assert script.take(Closed) == []
    script.transport = 2
    script.eof()
    assert script.take(Closed) == [Closed()]


# Late, unknown and repeated answers.


def test_answers_for_unknown_numbers_are_ignored() -> None:
    script = connected()
    session = script.session
    deadline = session.next_deadline()
    for number in (0, -1, 2, 99):
        script.do(session.transport_opened, number)
        script.do(session.transport_failed, number, "no")
        script.do(session.transport_closed, number)
        script.do(session.receive_data, number, b"HTTP/1.1 200 OK\r\n\r\n")
        script.do(session.data_sent, number, 5)
        script.do(session.authorized, number, AuthResponse("key:sig"))
        script.do(session.authorization_failed, number, KeyError())
        script.do(session.call_ended, number, {})
    assert (script.acts(), script.take(), session.next_deadline()) == ([], [], deadline)
    assert session.state is CONNECTED


def test_answers_for_what_is_finished_are_ignored() -> None:
    script = connected().eof("reset")
    forgetful(script)
    for _ in range(2):
        script.do(script.session.transport_opened, 1)
        script.do(script.session.transport_failed, 1, "again")
        script.do(script.session.transport_closed, 1, "again")
        script.do(script.session.receive_data, 1, frame(greeting()))
    assert (script.acts(), script.take()) == ([], [])


def test_opening_twice_is_opening_once() -> None:
    script = connecting().open().open()
    assert len(script.acts()) == 1


def test_a_transport_that_failed_although_it_was_open_is_gone() -> None:
    script = connected()
    script.do(script.session.transport_failed, 1, "odd")
    assert script.lost() == (1006, "odd", True)


def test_no_bytes_are_nothing() -> None:
    script = connected()
    script.receive(b"")
    assert script.session.stats.bytes_received == connected().session.stats.bytes_received


def test_firing_when_nothing_is_due_does_nothing() -> None:
    for make in (Script, connecting, connected):
        script = forgetful(make())
        deadline = script.session.next_deadline()
        script.do(script.session.handle_timeout)
        assert (script.acts(), script.take(), script.session.next_deadline()) == ([], [], deadline)


# The end.


def test_after_closed_every_input_does_nothing() -> None:
    script = connected(auth=None).subscribe("private-x").end().close(1000)
    assert script.take()[-1:] == [Closed()]
    script.acts()
    session = script.session
    for command in (session.connect, session.disconnect, session.close, session.signin):
        script.do(command)
    script.do(session.ping).do(session.handle_timeout)
    script.do(session.subscribe, "any name !").do(session.unsubscribe, "private-x")
    script.do(session.trigger, "private-x", "client-x", object())
    script.do(session.send_event, "any", object())
    script.do(session.authorized, 1, AuthResponse("key:sig"))
    script.do(session.receive_data, 1, frame(greeting()))
    assert (script.acts(), script.take(), session.next_deadline()) == ([], [], None)
    assert (session.closed, session.state) == (True, ConnectionState.DISCONNECTED)


def test_while_closing_commands_no_longer_count() -> None:
    script = forgetful(connected(answers=False).end())
    session = script.session
    script.do(session.subscribe, "room").do(session.unsubscribe, "room").do(session.signin)
    script.do(session.trigger, "private-x", "client-x", 1)
    assert (script.acts(), script.take(), session.channels()) == ([], [], ())


# Looks.


def test_looks_before_anything_happened() -> None:
    session = Script().session
    assert session.state is ConnectionState.INITIALIZED
    assert (session.socket_id, session.failure, session.last_loss) == (None, None, "")
    assert (session.retry_at, session.next_deadline(), session.closed) == (None, None, False)
    assert (session.channels(), session.wants_user, session.events.changes) == ((), False, 0)
    assert session.channel("room").state is ChannelState.IDLE
    assert session.user.state is UserState.SIGNED_OUT
    assert session.next_effect() is None
    assert session.next_event() is None


def test_looks_while_connected() -> None:
    script = connected(auth=OwnKey("key", "secret", user={"id": "u"})).subscribe("b", "a")
    script.do(script.session.signin)
    script.send("pusher:signin_success", {"user_data": '{"id":"u"}'})
    session = script.session
    assert (session.state, session.socket_id) == (CONNECTED, "1.1")
    assert session.channels() == ("b", "a")
    assert session.channel("a").state is ChannelState.SUBSCRIBING
    assert (session.user.state, session.user.id) == (UserState.SIGNED_IN, "u")


def test_the_socket_id_is_gone_with_the_connection() -> None:
    assert connected().eof().session.socket_id is None


def test_why_the_last_connection_ended_is_kept() -> None:
    script = connecting().fail("no route")
    assert script.session.last_loss == "no route"
    assert script.retry().greet().session.last_loss == "no route"


def test_a_session_without_an_rng_makes_its_own() -> None:
    options = Script().session.options
    delays = set()
    for _ in range(3):
        session = Session(options)
        session.connect(now=0.0)
        session.transport_failed(1, "refused", now=0.0)
        delays.add(session.retry_at)
    assert len(delays) == 3


# Signing in before subscribing.


def test_D3_channels_do_not_wait_for_the_authorization_of_the_sign_in() -> None:
    script = upgraded(auth=None).subscribe("room")
    script.do(script.session.signin).greet()
    assert script.acts() == [Authorize(1, AuthRequest("1.1", None)), subscribe_frame("room")]
    script.do(script.session.authorized, 1, AuthResponse("key:sig", user_data='{"id":"u"}'))
    assert script.acts() == [
        {"event": "pusher:signin", "data": {"auth": "key:sig", "user_data": '{"id":"u"}'}},
    ]


def test_a_presence_authorization_that_names_no_member_waits_for_the_sign_in() -> None:
    script = upgraded(auth=None).subscribe("presence-room")
    script.do(script.session.signin).greet()
    script.do(script.session.authorized, 1, AuthResponse("key:user", user_data='{"id":"u"}'))
    script.do(script.session.authorized, 2, AuthResponse("key:room"))
    assert [act["event"] for act in script.frames()] == ["pusher:signin"]
    script.send("pusher:signin_success", {"user_data": '{"id":"u"}'})
    assert script.frames() == [
        subscribe_frame("#server-to-user-u"),
        subscribe_frame("presence-room", auth="key:room"),
    ]


def test_an_answer_to_the_sign_in_after_the_connection_was_lost_sends_nothing() -> None:
    script = upgraded(auth=None).subscribe("room")
    script.do(script.session.signin).greet().eof("reset")
    script.acts()
    script.do(script.session.authorized, 1, AuthResponse("key:sig", user_data='{"id":"u"}'))
    assert script.acts() == []
