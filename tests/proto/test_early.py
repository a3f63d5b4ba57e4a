"""Messages before the success that ends a gap: held, so that the gap is reported before what follows it."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pusher_proto import (
    CatchUp,
    CaughtUp,
    ChannelEvent,
    ConnectionEstablished,
    DecryptionFailed,
    Event,
    Subscribed,
    SubscriptionFailed,
    Unsubscribed,
)
from pusher_proto._channels.early import EarlyMessages
from simulation import Device, World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "60"))
NEWS = (ChannelEvent, DecryptionFailed, Subscribed, SubscriptionFailed, CaughtUp)


def lost(*channels: str, answered_in: float = 5.0, **options: Any) -> tuple[World, Device]:
    """Return a device whose connection was lost, and whose new subscribes are answered late."""
    world = World()
    device = world.connected(world.options(**options))
    device.subscribe(*channels)
    world.run(1)
    world.act(world.server.delay, answered_in, "subscribe")
    world.act(world.server.drop, 4200)
    world.run(1)
    assert device.of(ConnectionEstablished)
    device.take()
    return world, device


def news(device: Device) -> list[Event]:
    return [event for event in device.take() if isinstance(event, NEWS)]


def gap(event: Event) -> float:
    assert isinstance(event, Subscribed)
    assert event.offline_for is not None
    return event.offline_for


def test_a_gap_is_reported_before_the_messages_that_follow_it() -> None:
    world, device = lost("room")
    world.say("price", 7, "room")
    assert news(device) == []
    world.run(5)
    subscribed, message = news(device)
    assert gap(subscribed) > 4
    assert message == ChannelEvent("room", "price", 7)


def test_messages_before_the_first_success_are_not_held() -> None:
    """There is no gap."""
    world = World()
    device = world.connected()
    world.act(world.server.delay, 5.0, "subscribe")
    device.subscribe("room")
    world.run(1)
    world.say("price", 7, "room")
    assert news(device) == [ChannelEvent("room", "price", 7)]


def test_a_cache_channel_gives_early_events_unmarked_and_its_last_event_after_them() -> None:
    world, device = lost("cache-x")
    world.say("price", 7, "cache-x")
    world.server.publish("cache-x", "price", 8, now=world.now)
    world.run(5)
    _, early, cached = news(device)
    assert early == ChannelEvent("cache-x", "price", 7)
    assert cached == ChannelEvent("cache-x", "price", "8", cached=True)


def test_messages_of_encrypted_channels_are_held_as_well() -> None:
    world, device = lost("private-encrypted-x")
    world.say("price", 7, "private-encrypted-x")  # encrypted with no key at all
    assert news(device) == []
    world.run(5)
    subscribed, failed = news(device)
    assert gap(subscribed) > 4
    assert isinstance(failed, DecryptionFailed)


def test_messages_of_the_subscription_before_a_refresh_are_not_held() -> None:
    """They lie before the gap. The pong to the ping behind the unsubscribe tells them from later ones."""
    world = World()
    device = world.connected(world.options(auth=world.own_key(member={"user_id": "me"})))
    device.subscribe("presence-room")
    world.run(1)
    world.act(world.server.delay, 5.0, "subscribe")
    device.take()
    device.do(device.session.refresh_members, "presence-room")
    world.say("price", 7, "presence-room")
    assert news(device) == [ChannelEvent("presence-room", "price", 7)]
    world.run(1)
    world.say("price", 8, "presence-room")
    world.run(5)
    subscribed, message = news(device)
    assert gap(subscribed) > 4
    assert message == ChannelEvent("presence-room", "price", 8)


def test_a_channel_that_catches_up_holds_them_by_itself() -> None:
    world = World()
    device = world.connected()
    device.subscribe("room", catch_up=CatchUp(lambda _: [("price", "6"), ("price", "7")]))
    world.run(1)
    world.act(world.server.delay, 5.0, "subscribe")
    world.act(world.server.drop, 4200)
    world.run(1)
    device.take()
    world.say("price", 8, "room")
    world.run(6)
    kinds = [type(event) for event in news(device)]
    assert kinds == [Subscribed, ChannelEvent, ChannelEvent, CaughtUp, ChannelEvent]


def test_a_subscribe_that_is_not_answered_in_time_holds_nothing_longer() -> None:
    """Some servers answer no subscribe of some kinds, and still send the messages."""
    world, device = lost("room", answered_in=1000.0, subscribe_timeout=10.0)
    world.say("price", 7, "room")
    world.run(10)
    world.say("price", 8, "room")
    failed, *messages = news(device)
    assert isinstance(failed, SubscriptionFailed)
    assert messages == [ChannelEvent("room", "price", 7), ChannelEvent("room", "price", 8)]


@pytest.mark.parametrize("how", ["lost", "refused", "left"])
def test_messages_of_a_subscribe_that_fails_lie_in_the_gap_that_is_reported_later(how: str) -> None:
    world, device = lost("room", "other")
    world.say("price", 7, "room")
    match how:
        case "lost":
            world.act(world.server.drop, 4200)
        case "refused":
            data = {"type": "AuthError", "error": "not now", "status": 503}
            world.say("pusher:subscription_error", data, "room")
        case _:
            device.unsubscribe("room")
            assert Unsubscribed("room") in device.take()
    world.act(world.server.delay, 0.0)
    world.run(60)
    assert ChannelEvent("room", "price", 7) not in device.take()
    assert not device.session._subscriptions._subscribing.early


def test_of_many_messages_the_oldest_do_not_wait() -> None:
    """Held messages must not stop reading: the success has to be read."""
    world, device = lost("room", "other", receive_buffer=16 * 200)
    world.say("price", 0, "other")
    for number in range(5):
        world.say("price", f"{number}{'x' * 60}", "room")
    given = [str(event.data)[0] for event in device.of(ChannelEvent)]
    assert given == ["0", "1", "2", "3"]
    assert {event.channel for event in device.of(ChannelEvent)} == {"room"}
    device.take()
    world.run(5)
    later = [(event.channel, str(event.data)[0]) for event in device.of(ChannelEvent)]
    assert sorted(later) == [("other", "0"), ("room", "4")]


messages = st.builds(
    ChannelEvent,
    st.sampled_from(("a", "b", "c")),
    st.just("price"),
    st.text("x", max_size=40),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.one_of(messages, st.sampled_from(("a", "b", "c")))), st.integers(0, 2000))
def test_each_message_is_emitted_once_in_the_order_of_its_channel(
    steps: list[Any], receive_buffer: int
) -> None:
    """Channels are confirmed in any order; whatever is held is bounded."""
    emitted: list[Any] = []
    early = EarlyMessages(receive_buffer, emitted.append)
    sent: list[ChannelEvent] = []
    for step in steps:
        if isinstance(step, str):
            early.release(step)
            assert [e for e in emitted if e.channel == step] == [
                e for e in sent if e.channel == step
            ]
        else:
            sent.append(step)
            early.hold(step)
        assert early._size <= receive_buffer // 16
        assert len(emitted) + len(early) == len(sent)
    for channel in ("a", "b", "c"):
        early.release(channel)
        assert [e for e in emitted if e.channel == channel] == [
            e for e in sent if e.channel == channel
        ]
    assert (len(early), early._size) == (0, 0)
