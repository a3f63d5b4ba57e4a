"""Dispatch of messages to channels, to the user or to none of them, and what is never logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.scripted import Script, connected, error_message, message
from proto.websocket_peer import frame
from pusher_proto import (
    AuthResponse,
    ChannelEvent,
    ChannelState,
    Event,
    MemberAdded,
    Message,
    OwnKey,
    ProtocolMessage,
    ProtocolViolation,
    ServerError,
    SignedIn,
    SignInFailed,
    Subscribed,
    SubscriptionCount,
    Unsubscribed,
    UserEvent,
)
from pusher_proto._wire.fast_lane import LONG
from pusher_proto.testing.strategies import texts

SUCCEEDED = "pusher_internal:subscription_succeeded"


def on(*channels: str, **options: Any) -> Script:
    """Return a connected script with these channels confirmed, looks taken."""
    script = connected(**options)
    for channel in channels:
        script.subscribe(channel)
        data: Any = "{}"
        if channel.startswith("presence-"):
            data = {"presence": {"ids": ["1"], "hash": {"1": None}, "count": 1}}
        script.send(SUCCEEDED, data, channel)
    script.take()
    script.acts()
    return script


def debug_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = [record for record in caplog.records if record.name == "pusher_proto.session"]
    assert {record.levelno for record in ours} <= {logging.DEBUG}
    return [record.getMessage() for record in ours]


# Messages of channels.


@pytest.mark.parametrize(
    ("data", "value", "raw"),
    [
        ('{"a": 1}', {"a": 1}, '{"a": 1}'),
        ({"a": 1}, {"a": 1}, '{"a":1}'),
        ("plain text", "plain text", "plain text"),
        ("", "", ""),
        ("123", 123, "123"),
        ([1], [1], "[1]"),
        (None, None, ""),
        ("null", None, "null"),
    ],
)
def test_a_message_is_delivered_with_its_data_as_received_and_decoded(
    data: Any, value: Any, raw: str
) -> None:
    (event,) = on("room").send("price", data, "room").take()
    assert event == ChannelEvent("room", "price", data)
    assert isinstance(event, ChannelEvent)
    assert (event.data, event.raw_data) == (value, raw)


def test_who_sent_a_client_event_and_unknown_keys_are_kept() -> None:
    script = on("presence-room", auth=OwnKey("key", "secret", member={"user_id": "1"}))
    script.send("client-typing", {"x": 1}, "presence-room", user_id=7, serial=9)
    script.send("client-typing", {"x": 1}, "presence-room", user_id="eve", tags={"a": "b"})
    assert script.take() == [
        ChannelEvent("presence-room", "client-typing", {"x": 1}, "7", {"serial": 9}),
        ChannelEvent("presence-room", "client-typing", {"x": 1}, "eve", {"tags": {"a": "b"}}),
    ]


@pytest.mark.parametrize("user_id", [True, None, 1.5, ["1"], {"id": "1"}])
def test_a_user_id_that_is_none_is_left_out(user_id: Any) -> None:
    assert on("room").send("x", "1", "room", user_id=user_id).take() == [
        ChannelEvent("room", "x", "1")
    ]


def test_messages_of_several_channels_keep_their_order() -> None:
    script = on("a", "b")
    script.receive(b"".join(frame(message("n", str(n), "a" if n % 3 else "b")) for n in range(100)))
    assert script.take() == [ChannelEvent("a" if n % 3 else "b", "n", str(n)) for n in range(100)]


def test_a_message_before_the_success_is_delivered() -> None:
    """The server may publish as soon as it has read the subscribe (protocol 8)."""
    script = connected().subscribe("room").send("price", "1", "room")
    assert script.take() == [ChannelEvent("room", "price", "1")]


def test_a_message_for_a_channel_that_was_unsubscribed_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fault M20: it was on its way when the channel was unsubscribed."""
    caplog.set_level(logging.DEBUG)
    script = on("room", "other").do(on("x").session.unsubscribe, "x")
    script.do(script.session.unsubscribe, "room")
    script.send("price", "1", "room").send("price", "2", "other")
    assert script.take() == [Unsubscribed("room"), ChannelEvent("other", "price", "2")]


def test_a_message_for_a_channel_that_is_being_left_is_dropped() -> None:
    script = connected().subscribe("room")
    script.do(script.session.unsubscribe, "room").send("price", "1", "room")
    assert script.take() == [Unsubscribed("room")]


def test_a_message_for_a_refused_channel_is_dropped() -> None:
    script = connected().subscribe("room").text(error_message(4009, channel="room"))
    script.take()
    assert script.send("price", "1", "room").take() == []


@pytest.mark.parametrize(
    ("event", "channel"),
    [
        ("price", "never-asked-for"),
        ("price", ""),
        ("price", None),
        ("pusherlike", None),
        ("client-x", "private-never-asked-for"),
        ("price", "#server-to-user-1"),
    ],
)
def test_a_message_without_a_listener_is_dropped(
    event: str, channel: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = on("room")
    caplog.clear()
    script.send(event, "1", channel).send("next", "2", "room")
    assert script.take() == [ChannelEvent("room", "next", "2")]
    why = "unknown, and without a channel" if channel is None else "its channel is unknown"
    assert debug_lines(caplog) == [f"dropped {event}: {why}"]


def test_what_a_cache_channel_begins_with_is_marked() -> None:
    script = on("cache-room").send("price", "1", "cache-room").send("price", "2", "cache-room")
    assert script.take() == [
        ChannelEvent("cache-room", "price", "1", cached=True),
        ChannelEvent("cache-room", "price", "2"),
    ]


# Messages of the protocol.


@pytest.mark.parametrize("event", ["pusher:new", "pusher_internal:new", "pusher:", "pusher:cache"])
@pytest.mark.parametrize("channel", ["room", "unknown", None])
@pytest.mark.parametrize("data", [None, "{}", "rubbish", [1]])
def test_unknown_names_of_the_protocol_are_ignored(
    event: str, channel: str | None, data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault M23."""
    caplog.set_level(logging.DEBUG)
    script = on("room")
    caplog.clear()
    script.send(event, data, channel).send("next", "2", "room")
    assert script.take() == [ChannelEvent("room", "next", "2")]
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert script.acts() == []


def test_a_success_that_was_not_requested_is_ignored() -> None:
    """Fault M18: for a channel never asked for, for one that was left, and twice."""
    script = on("left", "room")
    script.do(script.session.unsubscribe, "left")
    script.take()
    script.acts()
    for channel in ("never", "left", "room"):
        script.send(SUCCEEDED, "{}", channel)
    assert (script.take(), script.acts(), script.session.channels()) == ([], [], ("room",))


RUBBISH: list[object] = [
    None,
    "not JSON",
    "null",
    "{}",
    "[]",
    5,
    {"user_id": True},
    {"user_info": {}},
    {"subscription_count": -1},
    {"subscription_count": True},
]


@pytest.mark.parametrize("data", RUBBISH)
@pytest.mark.parametrize(
    ("event", "channel"),
    [
        ("pusher_internal:member_added", "presence-room"),
        ("pusher_internal:member_removed", "presence-room"),
        ("pusher_internal:subscription_count", "room"),
    ],
)
def test_a_malformed_message_about_a_channel_is_reported_and_changes_nothing(
    event: str, channel: str, data: Any
) -> None:
    """Fault M8."""
    script = on("room", "presence-room", auth=OwnKey("key", "secret", member={"user_id": "1"}))
    before = [script.session.channel(name) for name in script.session.channels()]
    script.send(event, data, channel)
    (violation,) = script.take()
    assert isinstance(violation, ProtocolViolation)
    assert [script.session.channel(name) for name in script.session.channels()] == before
    assert script.session.stats.violations == 1
    script.send("next", "2", "room")
    assert script.take() == [ChannelEvent("room", "next", "2")]


def test_a_success_without_members_on_a_presence_channel_is_reported() -> None:
    script = connected(auth=OwnKey("key", "secret", member={"user_id": "1"}))
    script.subscribe("presence-room").send(SUCCEEDED, "{}", "presence-room")
    assert script.take() == [
        ProtocolViolation("a success on a presence channel without its members", "{}"),
        Subscribed("presence-room", None),
    ]
    script.send("pusher_internal:member_added", {"user_id": "2"}, "presence-room")
    assert [type(event) for event in script.take()] == [MemberAdded]


@pytest.mark.parametrize("event", ["pusher_internal:member_added", "pusher:cache_miss", SUCCEEDED])
def test_messages_of_the_protocol_about_unknown_channels_are_ignored(event: str) -> None:
    script = on("room").send(event, {"user_id": "2"}, "unknown")
    assert (script.take(), script.acts()) == ([], [])


def test_a_count_of_subscribers_is_reported() -> None:
    script = on("room")
    script.send("pusher_internal:subscription_count", '{"subscription_count":0}', "room")
    assert script.take() == [SubscriptionCount("room", 0)]
    assert script.session.channel("room").subscription_count == 0


def test_an_error_with_a_channel_is_about_that_channel() -> None:
    script = on("room").text(error_message(4301, "too fast", "room"))
    assert script.take() == [ServerError(4301, "too fast", "room")]
    assert script.session.channel("room").state is ChannelState.SUBSCRIBED


# The user.


def test_messages_for_the_user_reach_the_user_once_signed_in() -> None:
    script = connected(auth=OwnKey("key", "secret", user={"id": "u"}))
    script.do(script.session.signin)
    script.send("news", "0", "#server-to-user-u")
    script.send("pusher:signin_success", {"user_data": '{"id":"u"}'})
    script.send("news", "1", "#server-to-user-u").send("news", "2", "#server-to-user-v")
    script.send("pusher:spoof", "3", "#server-to-user-u")
    assert script.take() == [
        SignedIn("u", {"id": "u"}),
        UserEvent("#server-to-user-u", "news", "1"),
    ]


@pytest.mark.parametrize("data", [None, "{}", '{"user_data":5}', {"user_data": "{}"}, "rubbish"])
def test_a_malformed_success_of_the_sign_in_is_reported_and_fails_it(data: Any) -> None:
    """Fault M22."""
    script = connected(auth=OwnKey("key", "secret", user={"id": "u"}))
    script.do(script.session.signin).send("pusher:signin_success", data)
    assert [type(event) for event in script.take()] == [ProtocolViolation, SignInFailed]
    script.send("pusher:signin_success", {"user_data": '{"id":"u"}'})
    assert script.take() == [SignedIn("u", {"id": "u"})]


# Changes.


def test_events_that_are_not_messages_count_as_changes() -> None:
    script = on("room")
    before = script.session.events.changes
    script.send("price", "1", "room")
    assert script.session.events.changes == before
    script.send("pusher_internal:subscription_count", '{"subscription_count":1}', "room")
    assert script.session.events.changes == before + 1


# Secrets.

SECRETS = {
    "the secret of the app": "s3cr3t-of-the-app",
    "a signature": "5ec7e7" * 10 + "5ec7",
    "a shared secret": "c2hhcmVkLXNlY3JldC1vZi0zMi1ieXRlcyEhISEhISE=",
    "user data": "somebodys-address",
    "a bearer token": "bearer-of-bad-news",
}


def test_no_secret_is_ever_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Fault S1, for all that the middle of the core sees."""
    caplog.set_level(logging.DEBUG)
    signature, shared = SECRETS["a signature"], SECRETS["a shared secret"]
    script = connected(
        auth=OwnKey(
            "key",
            SECRETS["the secret of the app"],
            user={"id": "u", "address": SECRETS["user data"]},
        ),
        headers={"Authorization": SECRETS["a bearer token"]},
        query={"token": SECRETS["a bearer token"]},
    )
    script.do(script.session.signin)
    script.send(
        "pusher:signin_success", {"user_data": '{"address":"' + SECRETS["user data"] + '"}'}
    )
    script.subscribe("private-room")
    script.subscribe("private-encrypted-room", auth=AuthResponse(f"key:{signature}", None, shared))
    script.subscribe("presence-room", auth=AuthResponse(f"key:{signature}", '{"user_id":"1"}'))
    script.error(None, f"Invalid signature: expected ..., but got key:{signature}")
    script.send("pusher:error", f"but got {signature}")
    script.text(error_message(4009, f"key:{signature}", "presence-room"))
    script.text(b'{"event":"pusher:subscribe","data":{"auth":"key:' + signature.encode() + b'"}')
    script.send("pusher:connection_established", f'"key:{signature}"')
    script.send("price", signature, "private-room").send("price", signature, "unknown")
    script.close(4009, f"key:{signature}")
    shown = [repr(script.session.options), str(script.session.failure), script.session.last_loss]
    shown += [repr(event) for event in script.take() if not isinstance(event, ChannelEvent)]
    shown.append(caplog.text)
    for what, secret in SECRETS.items():
        if what == "user data":  # the excerpt of a malformed message holds it, and no log does
            assert secret not in caplog.text
        else:
            assert [text for text in shown if secret in text] == []
    events: list[type[Event]] = [type(event) for event in script.take()]
    assert events == []


# Messages as they were received.


@st.composite
def padded(draw: st.DrawFn) -> bytes:
    """Draw a text, some of them long: long ones have another reader."""
    return draw(texts()).encode("utf-8", "replace") + b" " * draw(st.sampled_from((0, 0, LONG)))


@given(st.lists(padded(), max_size=12))
def test_reported_messages_change_no_other_event(received: list[bytes]) -> None:
    found: dict[type[Message] | None, list[Event]] = {}
    for wanted in (None, ProtocolMessage, Message):
        script = on("room", "presence-room", "private-room")
        script.session.report_messages(wanted)
        found[wanted] = script.receive(b"".join(map(frame, received))).take()
    every = found[Message]
    assert found[ProtocolMessage] == [event for event in every if type(event) is not Message]
    assert found[None] == [event for event in every if not isinstance(event, Message)]
    for event in every:
        if isinstance(event, Message):
            of_protocol = event.channel is None or event.event.startswith(("pusher:", "pusher_int"))
            assert isinstance(event, ProtocolMessage) == of_protocol
