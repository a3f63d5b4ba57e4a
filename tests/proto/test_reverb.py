"""Laravel Reverb, after its source: its differences from Pusher, written by hand to the byte.

(`Protocols/Pusher` of laravel/reverb: EventHandler, Server, PusherException, the channel classes and ClientEvent.)
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from proto.scripted import Script, connecting, forgetful
from pusher_proto import (
    CacheMiss,
    ChannelEvent,
    ChannelState,
    CloseTransport,
    ConnectionState,
    Member,
    MemberAdded,
    MemberRemoved,
    Options,
    OwnKey,
    ProtocolViolation,
    ServerError,
    SignInFailed,
    Subscribed,
    SubscriptionError,
    SubscriptionFailed,
)

SECRET = "a-secret-of-the-app"


def reverb(**more: Any) -> Options:
    member = {"user_id": "1", "user_info": {"name": "Ada"}}
    own_key = OwnKey("key", SECRET, member=member, user={"id": "1"})
    return Options.for_reverb("ws.test", key="key", tls=False, **{"auth": own_key} | more)


def at_reverb(**more: Any) -> Script:
    script = connecting(reverb(**more))
    return forgetful(script.greet({"socket_id": "1.1", "activity_timeout": 30}))


def send(script: Script, event: str, data: Any = None, channel: str | None = None) -> Script:
    """Send a message whose data is JSON in a string, as Reverb writes all that has data."""
    return script.send(event, None if data is None else json.dumps(data), channel)


def error(script: Script, code: int, text: str) -> Script:
    return send(script, "pusher:error", {"code": code, "message": text})


def subscribed(*channels: str, **more: Any) -> Script:
    script = at_reverb(**more).subscribe(*channels)
    for channel in channels:
        roster = {"presence": {"count": 1, "ids": ["1"], "hash": {"1": {"name": "Ada"}}}}
        data = roster if channel.startswith("presence-") else {}
        send(script, "pusher_internal:subscription_succeeded", data, channel)
    return forgetful(script)


# Errors.


@pytest.mark.parametrize(
    ("code", "text"),
    [(4301, "Rate limit exceeded"), (4200, "Invalid message format"), (4009, "Unauthorized")],
)
def test_an_error_whose_data_is_a_string_is_read_and_closes_nothing(code: int, text: str) -> None:
    script = subscribed("room")
    error(script, code, text).wait(10)
    assert script.take() == [ServerError(code, text)]
    assert script.session.state is ConnectionState.CONNECTED
    assert script.acts() == []
    send(script, "price", {"cents": 1}, "room")
    assert [event.data for event in script.take() if isinstance(event, ChannelEvent)] == [
        {"cents": 1}
    ]


def test_a_bad_signature_is_4009_without_a_channel_and_refuses_the_one_that_waits() -> None:
    script = at_reverb().subscribe("private-orders")
    error(script, 4009, "Connection is unauthorized").send("pusher:pong")
    (failed,) = script.take(SubscriptionFailed)
    assert isinstance(failed, SubscriptionFailed)
    assert (failed.channel, type(failed.error)) == ("private-orders", SubscriptionError)
    assert script.session.state is ConnectionState.CONNECTED


def test_an_error_and_then_the_bare_end_of_the_stream_is_a_close_code() -> None:
    script = at_reverb()
    error(script, 4201, "Pong reply not received in time").eof()
    assert script.lost() == (4201, "Pong reply not received in time", True)
    assert script.session.state is ConnectionState.CONNECTING


def test_an_error_long_before_the_end_has_nothing_to_do_with_it() -> None:
    script = at_reverb()
    error(script, 4001, "about something else").wait(6).eof()
    lost = script.lost()
    assert lost is not None
    assert (lost[0], lost[2]) == (1006, True)


@pytest.mark.parametrize(
    ("code", "text"), [(4009, "Origin not allowed"), (4001, "Application does not exist")]
)
def test_a_refusal_instead_of_the_greeting_leaves_the_socket_open_and_we_close_it(
    code: int, text: str
) -> None:
    script = connecting(reverb()).open().upgrade()
    script.acts()
    error(script, code, text)
    assert script.session.state is ConnectionState.FAILED
    assert script.session.failure is not None
    assert (script.session.failure.code, script.session.failure.reason) == (code, text)
    assert script.acts() == [("close", 1000, ""), CloseTransport(script.transport, abort=False)]


def test_too_many_connections_is_not_a_reason_to_give_up() -> None:
    script = connecting(reverb()).open().upgrade()
    error(script, 4100, "Application is over connection quota")
    assert script.lost() == (4100, "Application is over connection quota", True)


def test_the_origin_that_reverb_demands_is_sent() -> None:
    script = connecting(reverb(origin="https://shop.test")).open()
    head = script.streams[script.transport].sent.decode()
    assert "\r\nOrigin: https://shop.test\r\n" in head
    assert "origin" not in connecting(reverb()).open().streams[1].sent.decode().lower()


# Silence.


def test_a_silent_reverb_is_pinged_after_its_thirty_seconds_and_answers_without_data() -> None:
    script = at_reverb()
    script.wait(29.9)
    assert script.acts() == []
    script.wait(0.1)
    assert script.acts() == [{"event": "pusher:ping", "data": {}}]
    script.wait(5).send("pusher:pong").wait(29.9)
    assert script.session.state is ConnectionState.CONNECTED
    assert script.session.stats.round_trip == pytest.approx(5)
    assert script.take(ProtocolViolation) == []


def test_a_ping_without_data_is_answered() -> None:
    assert at_reverb().send("pusher:ping").acts() == [{"event": "pusher:pong", "data": {}}]


# Channels.


def test_a_cache_miss_without_data_is_one() -> None:
    script = at_reverb().subscribe("cache-prices")
    send(script, "pusher_internal:subscription_succeeded", {}, "cache-prices")
    script.send("pusher:cache_miss", channel="cache-prices")
    assert script.take() == [Subscribed("cache-prices"), CacheMiss("cache-prices")]


@pytest.mark.parametrize(
    ("presence", "members"),
    [
        # PHP writes an empty array, and one whose keys count from 0, as a list.
        ({"count": 0, "ids": [], "hash": []}, {}),
        (
            {"count": 2, "ids": ["0", "1"], "hash": [{"n": "A"}, {"n": "B"}]},
            {"0": {"n": "A"}, "1": {"n": "B"}},
        ),
        ({"count": 1, "ids": [7], "hash": {"7": {"n": "A"}}}, {"7": {"n": "A"}}),
        ({"count": 1, "ids": ["7"], "hash": {"7": []}}, {"7": []}),
    ],
)
def test_rosters_in_the_shapes_of_php_are_read(
    presence: dict[str, Any], members: dict[str, Any]
) -> None:
    script = at_reverb().subscribe("presence-room")
    data = {"presence": presence}
    send(script, "pusher_internal:subscription_succeeded", data, "presence-room")
    assert script.take() == [Subscribed("presence-room")]
    roster = script.session.channel("presence-room").members
    assert {name: member.info for name, member in roster.items()} == members


def test_members_have_everything_that_was_signed_for_them() -> None:
    script = subscribed("presence-room")
    joined = {"user_id": 8, "user_info": {"name": "Bob"}, "more": 1}
    send(script, "pusher_internal:member_added", joined, "presence-room")
    send(script, "pusher_internal:member_removed", {"user_id": 8}, "presence-room")
    bob = Member("8", {"name": "Bob"})
    assert script.take() == [
        MemberAdded("presence-room", bob),
        MemberRemoved("presence-room", bob),
    ]


# Messages that Reverb refuses.


def test_a_scalar_in_a_client_event_is_an_error_of_the_server_and_ends_nothing() -> None:
    script = subscribed("private-room")
    script.do(script.session.trigger, "private-room", "client-n", 5)
    assert script.acts() == [{"event": "client-n", "data": 5, "channel": "private-room"}]
    error(script, 4200, "Invalid message format")
    assert script.acts() == [{"event": "pusher:ping", "data": {}}]
    script.send("pusher:pong")
    assert script.take() == [ServerError(4200, "Invalid message format", "private-room")]
    assert script.session.channel("private-room").state is ChannelState.SUBSCRIBED


def test_signing_in_is_answered_as_a_wrong_message_and_fails_without_a_wait() -> None:
    script = at_reverb()
    script.do(script.session.signin)
    error(script, 4200, "Invalid message format").send("pusher:pong")
    (failed,) = script.take(SignInFailed)
    assert isinstance(failed, SignInFailed)
    assert "Invalid message format" in str(failed.error)
    assert script.session.state is ConnectionState.CONNECTED


def test_a_large_client_event_is_refused_before_reverb_would() -> None:
    script = subscribed("private-room")
    script.do(script.session.trigger, "private-room", "client-x", {"x": "y" * 9400})
    with pytest.raises(Exception, match="9500"):
        script.do(script.session.trigger, "private-room", "client-x", {"x": "y" * 9500})
    assert len(script.acts()) == 1


def test_a_channel_whose_name_pusher_would_not_take_may_be_subscribed() -> None:
    script = at_reverb().subscribe("market:btc")
    assert script.acts() == [{"event": "pusher:subscribe", "data": {"channel": "market:btc"}}]
