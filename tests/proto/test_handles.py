"""The handle of a channel and of the user: what can be asked of them without waiting."""

from __future__ import annotations

import pytest

from proto.fake_client import connected, subscribed
from pusher_proto import (
    ChannelKind,
    ChannelState,
    InvalidName,
    Member,
    NotSubscribed,
    SignInError,
    SubscriptionError,
    UnsupportedFeature,
    UserState,
)
from simulation import World


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("room", ChannelKind.PUBLIC),
        ("private-room", ChannelKind.PRIVATE),
        ("presence-room", ChannelKind.PRESENCE),
        ("private-encrypted-room", ChannelKind.ENCRYPTED),
    ],
)
def test_a_handle_knows_its_name_and_kind_before_anything_happened(
    name: str, kind: ChannelKind
) -> None:
    channel = connected(World()).channel(name)
    assert (channel.name, channel.kind, channel.state) == (name, kind, ChannelState.IDLE)
    assert (channel.last_error, channel.subscription_count, channel.server_count) == (None,) * 3
    assert (dict(channel.members), channel.me) == ({}, None)
    assert repr(channel) == f"<FakeChannel {name!r} IDLE>"


def test_a_handle_shows_where_the_subscription_is() -> None:
    world = World()
    client = connected(world)
    channel = client.subscribe("private-room")
    states = [channel.state]
    channel.wait_subscribed()
    world.run(1)
    states.append(channel.state)
    assert channel.subscription_count == 1
    assert repr(channel) == "<FakeChannel 'private-room' SUBSCRIBED>"
    client.disconnect()
    states.append(channel.state)
    channel.unsubscribe()
    states.append(channel.state)
    assert [state.name for state in states] == [
        "SUBSCRIBING",
        "SUBSCRIBED",
        "PENDING",
        "UNSUBSCRIBED",
    ]


def test_a_handle_shows_why_the_channel_was_refused() -> None:
    world = World()
    world.act(world.server.refuse_channel, "room", message="not you", times=1)
    client = connected(world)
    channel = client.subscribe("room")
    world.run(1)
    shown = [(channel.state, type(channel.last_error))]
    channel.unsubscribe()
    shown.append((channel.state, type(channel.last_error)))
    assert shown == [
        (ChannelState.FAILED, SubscriptionError),
        (ChannelState.UNSUBSCRIBED, type(None)),
    ]


def test_a_handle_of_a_presence_channel_shows_who_is_there() -> None:
    world = World()
    member = {"user_id": "me", "user_info": {"name": "I"}}
    client, [channel] = subscribed(
        world, "presence-room", options=world.options(auth=world.own_key(member=member))
    )
    alone, me = channel.members, [channel.me]
    other = world.options(auth=world.own_key(member={"user_id": "other"}))
    connected(world, other).subscribe("presence-room").wait_subscribed()
    world.run(1)
    assert sorted(channel.members) == ["me", "other"]
    assert sorted(alone) == ["me"]
    assert channel.server_count == 1
    client.disconnect()
    assert len(channel.members) == 0
    assert [*me, channel.me] == [Member("me", {"name": "I"}), None]


def test_a_client_event_goes_to_the_others() -> None:
    world = World()
    _, [sender] = subscribed(world, "private-room")
    _, [receiver] = subscribed(world, "private-room")
    own, others = sender.events("client-typing"), receiver.events("client-typing")
    sender.trigger("client-typing", {"who": "me"})
    world.run(1)
    assert [event.data for event in others.ready()] == [{"who": "me"}]
    assert own.ready() == []


def test_a_client_event_that_is_wrong_raises() -> None:
    world = World()
    client, [channel, public] = subscribed(world, "private-room", "room")
    with pytest.raises(InvalidName, match="starts with 'client-'"):
        channel.trigger("typing", 1)
    with pytest.raises(UnsupportedFeature):
        public.trigger("client-typing", 1)
    with pytest.raises(NotSubscribed):
        client.channel("private-other").trigger("client-typing", 1)


def test_leaving_the_block_of_a_channel_unsubscribes() -> None:
    world = World()
    client = connected(world)
    with client.subscribe("room") as channel:
        channel.wait_subscribed()
        assert list(client.channels) == ["room"]
    assert client.channels == {}
    with client.subscribe("room") as channel:
        client.close()
    assert channel.state is not ChannelState.SUBSCRIBED


def test_the_user_is_known_while_signed_in() -> None:
    world = World()
    data = {"id": "7", "user_info": {"name": "Seven"}}
    client = connected(world, world.options(auth=world.own_key(user=data)))
    user = client.user
    assert (user.id, user.data, user.state, user.last_error) == (
        None,
        None,
        UserState.SIGNED_OUT,
        None,
    )
    client.signin()
    assert user.state is UserState.SIGNING_IN
    client.wait_signed_in()
    assert (user.id, user.data, user.state) == ("7", data, UserState.SIGNED_IN)
    client.disconnect()
    assert (user.id, user.data, user.state) == (None, None, UserState.SIGNED_OUT)


def test_a_message_sent_to_the_user_after_the_wait_for_the_sign_in_arrives() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    client.signin()
    assert client.wait_signed_in() == "7"
    world.act(world.server.send_to_user, "7", "note", 1)
    assert client.user.wait_for("note", timeout=5).data == 1


def test_a_server_that_does_not_confirm_the_user_s_channel_delays_the_wait_by_a_second() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    client.signin()
    world.act(world.server.delay, 300.0, "subscribe")
    began = world.now
    assert client.wait_signed_in() == "7"
    assert 1.0 < world.now - began < 1.5
    with client.no_time():
        assert client.wait_signed_in() == "7"


def test_the_user_shows_why_it_was_not_signed_in() -> None:
    world = World()
    client = connected(world)
    client.signin()
    assert client.user.state is UserState.FAILED
    assert isinstance(client.user.last_error, SignInError)


def test_C4_a_presence_channel_refreshes_its_members() -> None:
    world = World()
    options = world.options(auth=world.own_key(member={"user_id": "me"}))
    client, [room] = subscribed(world, "presence-room", options=options)
    world.server.received.clear()
    room.refresh_members()
    room.wait_subscribed()
    heard = [message.event for message in world.server.received]
    assert heard == ["pusher:unsubscribe", "pusher:ping", "pusher:subscribe"]
    assert list(room.members) == ["me"]
    assert client.stats.roster_drifts == 0
    with pytest.raises(UnsupportedFeature, match="has no members"):
        client.channel("room").refresh_members()
