"""Channels across connections: what is requested, what the answers mean, and that the last command wins."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    CacheMiss,
    ChannelEvent,
    ChannelState,
    InvalidName,
    LocalProtocolError,
    ProtocolViolation,
    ServerError,
    Subscribed,
    SubscriptionCount,
    SubscriptionError,
    SubscriptionFailed,
    Unsubscribed,
)
from pusher_proto.testing import Shape
from simulation import Device, World

C = ChannelState
EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "60"))
SUBSCRIBE, UNSUBSCRIBE = "pusher:subscribe", "pusher:unsubscribe"
SUCCEEDED = "pusher_internal:subscription_succeeded"


def world_with(*channels: str, **options: Any) -> tuple[World, Device]:
    """Return a world and a device that is subscribed to `channels`, events and messages so far taken."""
    world = World()
    options.setdefault("auth", world.own_key(member={"user_id": "me"}))
    device = world.connected(world.options(**options))
    device.subscribe(*channels)
    world.run(1)
    device.take()
    world.heard()
    return world, device


def asking(*channels: str, **options: Any) -> tuple[World, Device]:
    """Return a world and a device whose subscribes the server will answer after five seconds."""
    world, device = world_with(**options)
    world.act(world.server.delay, 5.0, "subscribe")
    device.subscribe(*channels)
    world.run(1)
    return world, device


def state_of(device: Device, name: str) -> ChannelState:
    return device.session.channel(name).state


def without_pings(world: World) -> list[tuple[str, str | None]]:
    """Return what the clients sent but the pings that close a question."""
    return [heard for heard in world.heard() if heard[0] != "pusher:ping"]


def failed(device: Device) -> SubscriptionFailed:
    """Return the failure, which is the only event."""
    (event,) = device.take()
    assert isinstance(event, SubscriptionFailed)
    assert device.session.channel(event.channel).last_error is event.error
    return event


# Wanting.


def test_a_public_channel_is_subscribed_without_an_authorization() -> None:
    world, device = world_with()
    device.subscribe("room")
    world.run(1)
    assert [m.data for m in world.server.received] == [{"channel": "room"}]
    assert device.take() == [Subscribed("room"), SubscriptionCount("room", 1)]
    assert state_of(device, "room") is C.SUBSCRIBED


def test_a_channel_that_needs_an_authorization_is_subscribed_with_it() -> None:
    world, device = world_with(auth=None)
    device.subscribe("private-a", "presence-b")
    for number, request in device.asked:
        authorization = world.authorization(request, member={"user_id": 5})
        device.do(device.session.authorized, number, authorization)
    world.run(1)
    a, b = (world.authorization(request, member={"user_id": 5}) for _, request in device.asked)
    assert [m.data for m in world.server.received] == [
        {"channel": "private-a", "auth": a.auth},
        {
            "channel": "presence-b",
            "auth": b.auth,
            "channel_data": '{"user_id":"5","user_info":null}',
        },
    ]
    assert device.of(SubscriptionFailed) == []


def test_channels_wanted_before_there_is_a_connection_are_requested_in_that_order() -> None:
    world = World()
    device = world.device(connect=False)
    names = ["room", "private-b", "a", "private-a"]
    device.subscribe(*names)
    assert [state_of(device, name) for name in names] == [C.PENDING] * 4
    device.connect()
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, name) for name in names]
    assert device.session.channels() == tuple(names)


def test_wanting_twice_is_wanting_once() -> None:
    world, device = world_with("room")
    device.subscribe("room")
    world.act(world.server.delay, 1.0)
    device.subscribe("slow", "slow")
    world.run(0.5)
    device.subscribe("slow")
    world.run(2)
    assert world.heard() == [(SUBSCRIBE, "slow")]
    assert device.take() == [Subscribed("slow"), SubscriptionCount("slow", 1)]


@pytest.mark.parametrize("name", ["", "a b", "#server-to-user-1", "x" * 201, "a\r\nb", "a:b"])
def test_a_name_that_is_not_allowed_is_refused_and_changes_nothing(name: str) -> None:
    world, device = world_with()
    with pytest.raises(InvalidName):
        device.subscribe(name)
    world.run(1)
    assert (world.heard(), device.take(), device.session.channels()) == ([], [], ())


def test_there_are_no_more_channels_than_the_options_allow() -> None:
    world, device = world_with("a", "b", max_channels=2)
    with pytest.raises(
        LocalProtocolError, match=r"there are 2 channels already \(Options.max_channels"
    ):
        device.subscribe("c")
    device.subscribe("b")
    device.unsubscribe("a")
    device.subscribe("c")
    world.run(1)
    assert device.session.channels() == ("b", "c")


def test_C10_each_connection_has_every_wanted_channel_subscribed_once_presence_channels_last() -> (
    None
):
    names = ["room", "private-a", "private-encrypted-c", "cache-d", "presence-b"]
    world, device = world_with("room", "private-a", "presence-b", "private-encrypted-c", "cache-d")
    for _ in range(3):
        world.act(world.server.drop, 4200)
        world.run(20)
        assert world.heard() == [(SUBSCRIBE, name) for name in names]
        assert [state_of(device, name) for name in names] == [C.SUBSCRIBED] * 5
        assert device.of(SubscriptionFailed) == []


def test_a_success_after_a_drop_says_how_long_the_channel_was_away() -> None:
    world, device = world_with("room")
    world.network.refuse = True
    world.run(10)
    gone = world.now
    world.reset(device)
    world.run(20)
    assert state_of(device, "room") is C.PENDING
    world.network.refuse = False
    world.run_until(lambda: device.of(Subscribed))
    (first,) = device.of(Subscribed)
    assert first.offline_for is not None
    assert 10 <= first.offline_for - (world.now - gone) < 12  # the last byte was earlier
    world.run(0.0)
    world.reset(device)
    gone = world.now
    world.run_until(lambda: len(device.of(Subscribed)) == 2)
    assert device.of(Subscribed)[1] == Subscribed("room", world.now - gone)


# Leaving.


def test_a_subscribed_channel_is_unsubscribed_at_once() -> None:
    world, device = world_with("room")
    device.unsubscribe("room")
    assert state_of(device, "room") is C.UNSUBSCRIBED
    world.run(1)
    assert (world.heard(), device.take()) == ([(UNSUBSCRIBE, "room")], [Unsubscribed("room")])
    assert world.server.channels() == []


def test_leaving_what_is_not_wanted_is_nothing() -> None:
    world, device = world_with("room")
    device.unsubscribe("other")
    device.unsubscribe("room")
    device.unsubscribe("room")
    world.run(1)
    assert (world.heard(), device.take()) == ([(UNSUBSCRIBE, "room")], [Unsubscribed("room")])


def test_a_channel_left_before_there_is_a_connection_is_never_asked_for() -> None:
    world = World()
    device = world.device(connect=False)
    device.subscribe("room")
    device.unsubscribe("room")
    device.connect()
    world.run(1)
    assert world.heard() == []


def test_a_channel_unsubscribed_while_it_is_authorized_is_never_requested() -> None:
    world, device = world_with(auth=None)
    device.subscribe("private-a")
    device.unsubscribe("private-a")
    assert state_of(device, "private-a") is C.UNSUBSCRIBED
    number, request = device.asked[0]
    device.do(device.session.authorized, number, world.authorization(request))
    world.run(1)
    assert (world.heard(), device.take()) == ([], [Unsubscribed("private-a")])


def test_a_refused_channel_is_unsubscribed_silently() -> None:
    world, device = world_with(auth=AuthResponse("key:wrong"))
    device.subscribe("private-a")
    world.run(1)
    world.heard()
    device.take()
    device.unsubscribe("private-a")
    world.run(1)
    assert (world.heard(), device.take()) == ([], [Unsubscribed("private-a")])
    assert state_of(device, "private-a") is C.UNSUBSCRIBED


def test_events_between_leaving_and_the_server_s_knowing_are_dropped() -> None:
    world, device = world_with("room")
    device.unsubscribe("room")
    world.say("late", 1, "room")
    world.say("pusher:cache_miss", None, "room")
    world.say("pusher_internal:subscription_count", {"subscription_count": 1}, "room")
    assert device.take() == [Unsubscribed("room")]


@pytest.mark.parametrize("name", ["room", "private-a", "presence-b", "private-encrypted-c"])
def test_a_channel_left_before_its_answer_is_left_after_it(name: str) -> None:
    world, device = asking(name)
    device.unsubscribe(name)
    assert state_of(device, name) is C.UNSUBSCRIBING
    device.unsubscribe(name)
    world.run(1)
    assert (world.heard(), device.take()) == ([(SUBSCRIBE, name)], [Unsubscribed(name)])
    world.say("early", "dropped", name)
    world.run(5)
    assert (world.heard(), device.take()) == ([(UNSUBSCRIBE, name)], [])
    assert (state_of(device, name), world.server.channels()) == (C.UNSUBSCRIBED, [])


@pytest.mark.parametrize("name", ["room", "private-a", "presence-b", "private-encrypted-c"])
def test_wanted_again_before_the_answer_nothing_is_sent(name: str) -> None:
    world, device = asking(name)
    device.unsubscribe(name)
    device.subscribe(name)
    assert state_of(device, name) is C.SUBSCRIBING
    world.run(10)
    assert world.heard() == [(SUBSCRIBE, name)]
    reported = [event for event in device.take() if not isinstance(event, SubscriptionCount)]
    assert reported == [Unsubscribed(name), Subscribed(name)]
    assert world.server.subscriptions(name) == {device.session.socket_id}


def test_wanted_again_in_time_keeps_neither_the_auth_nor_the_absence_of_the_subscription_before() -> (
    None
):
    world, device = world_with("presence-b", auth=None)
    first = world.own_key(member={"user_id": "first"})
    device.subscribe("presence-b", auth=first)
    world.run(1)
    world.act(world.server.delay, 5.0, "subscribe")
    number, request = device.asked[0]
    device.do(device.session.authorized, number, world.authorization(request))
    world.run(1)
    device.unsubscribe("presence-b")
    device.subscribe("presence-b")
    assert device.session._subscriptions.channels["presence-b"].auth is None


def test_leaving_a_channel_that_was_away_and_wanting_it_again_is_a_new_beginning() -> None:
    world, device = world_with("presence-b")
    world.act(world.server.delay, 1.0, "subscribe")
    world.act(world.server.drop, 4200)
    world.run_until(lambda: state_of(device, "presence-b") is C.SUBSCRIBING)
    device.take()
    device.unsubscribe("presence-b")
    device.subscribe("presence-b")
    world.run(5)
    assert device.take() == [Unsubscribed("presence-b"), Subscribed("presence-b", None)]
    assert device.session.channel("presence-b").me is not None


def test_a_channel_being_unsubscribed_is_not_subscribed_on_the_next_connection() -> None:
    world, device = asking("room")
    device.unsubscribe("room")
    world.act(world.server.drop, 4200)
    world.run(10)
    assert world.heard() == [(SUBSCRIBE, "room")]
    assert (state_of(device, "room"), device.session.channels()) == (C.UNSUBSCRIBED, ())


def test_a_channel_that_is_refused_while_being_left_is_out_and_nothing_is_reported() -> None:
    world, device = asking("room")
    world.act(world.server.refuse_channel, "room", shape="soketi")
    device.unsubscribe("room")
    device.take()
    world.run(10)
    assert (device.take(), state_of(device, "room")) == ([], C.UNSUBSCRIBED)
    assert world.heard() == [(SUBSCRIBE, "room")]


def test_a_channel_being_left_whose_subscribe_is_never_answered_is_left_after_a_time() -> None:
    world, device = world_with(subscribe_timeout=30.0)
    world.act(world.server.refuse_channel, "room", shape="silent")
    device.subscribe("room")
    world.run(1)
    device.unsubscribe("room")
    world.run(28.9)
    assert world.heard() == [(SUBSCRIBE, "room")]
    world.run(0.2)
    assert (world.heard(), state_of(device, "room")) == ([(UNSUBSCRIBE, "room")], C.UNSUBSCRIBED)
    assert [e for e in device.take() if not isinstance(e, ServerError)] == [Unsubscribed("room")]


def test_existing_subscription_answers_a_channel_being_left_too() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("presence-b")
    world.run(1)
    device.unsubscribe("presence-b")
    world.say(
        "pusher:error",
        {"code": None, "message": "Existing subscription to channel presence-b"},
    )
    assert (world.heard(), device.take()) == (
        [(SUBSCRIBE, "presence-b"), (UNSUBSCRIBE, "presence-b")],
        [Unsubscribed("presence-b")],
    )


# Successes that no channel waits for.


def test_a_success_for_a_channel_never_asked_for_is_ignored() -> None:
    world, device = world_with()
    world.say(SUCCEEDED, {}, "room")
    assert (device.take(), world.heard(), state_of(device, "room")) == ([], [], C.IDLE)


def test_a_success_for_a_channel_that_was_unsubscribed_is_ignored() -> None:
    world, device = world_with("room")
    device.unsubscribe("room")
    world.say(SUCCEEDED, {}, "room")
    assert (device.take(), world.heard()) == ([Unsubscribed("room")], [(UNSUBSCRIBE, "room")])


def test_a_second_success_is_ignored() -> None:
    world, device = world_with("room")
    world.say(SUCCEEDED, {}, "room")
    assert (device.take(), world.heard(), state_of(device, "room")) == ([], [], C.SUBSCRIBED)


def test_a_success_during_the_authorization_is_ignored() -> None:
    world, device = world_with(auth=None)
    device.subscribe("private-a")
    world.say(SUCCEEDED, {}, "private-a")
    assert (device.take(), state_of(device, "private-a")) == ([], C.AUTHORIZING)


# No answer.


def unanswered(name: str, **options: Any) -> tuple[World, Device]:
    """Return a world whose server answers the subscribe to `name` after 40 s, ten after the client has given up."""
    world, device = world_with(subscribe_timeout=30.0, **options)
    world.act(world.server.delay, 40.0, "subscribe")
    device.subscribe(name)
    world.run(30.5)
    return world, device


def test_silence_is_a_failure_after_subscribe_timeout() -> None:
    world, device = world_with("room", subscribe_timeout=30.0)
    world.act(world.server.refuse_channel, "silent", shape="silent")
    device.subscribe("silent")
    world.run(29.9)
    assert device.take() == []
    world.run(0.2)
    failure = failed(device)
    assert isinstance(failure.error, SubscriptionError)
    assert str(failure.error) == "the server did not answer the subscribe to 'silent' within 30 s"
    assert failure.channel == "silent"
    assert failure.retry_in is not None
    assert (state_of(device, "silent"), state_of(device, "room")) == (C.TIMED_OUT, C.SUBSCRIBED)


def test_a_late_success_counts() -> None:
    world, device = unanswered("room")
    world.say("early", 1, "room")
    failed_event, early = device.take()
    assert (type(failed_event), early) == (SubscriptionFailed, ChannelEvent("room", "early", 1))
    world.run(20)
    assert device.take() == [Subscribed("room"), SubscriptionCount("room", 1)]
    assert device.session.channel("room").last_error is None


def test_a_late_refusal_counts() -> None:
    world, device = unanswered("room")
    world.act(world.server.refuse_channel, "room", shape="soketi")
    device.take()
    world.run(20)
    assert str(failed(device).error) == "the server refused 'room': The connection is unauthorized."
    assert state_of(device, "room") is C.FAILED


def test_without_an_answer_it_is_requested_again_with_the_next_connection() -> None:
    world, device = unanswered("room")
    world.act(world.server.delay, 0.0)
    world.act(world.server.drop, 4200)
    world.run(5)
    assert world.heard() == [(SUBSCRIBE, "room"), (SUBSCRIBE, "room")]
    assert device.of(Subscribed) == [Subscribed("room")]


def test_without_an_answer_it_is_requested_again_when_subscribed_again() -> None:
    world, device = unanswered("room")
    world.act(world.server.delay, 0.0)
    device.take()
    device.subscribe("room")
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, "room"), (SUBSCRIBE, "room")]
    assert device.take() == [Subscribed("room"), SubscriptionCount("room", 1)]
    world.run(20)  # the first is answered: "Existing subscription"
    assert [type(event) for event in device.take()] == [ServerError]
    assert state_of(device, "room") is C.SUBSCRIBED


@pytest.mark.parametrize("name", ["room", "private-a", "presence-b", "private-encrypted-c"])
def test_two_late_answers_to_two_subscribes_are_one_subscription(name: str) -> None:
    world, device = unanswered(name)
    device.subscribe(name)
    world.run(100)
    assert world.heard() == [(SUBSCRIBE, name), (SUBSCRIBE, name)]
    assert device.of(Subscribed) == [Subscribed(name)]
    assert state_of(device, name) is C.SUBSCRIBED
    if name == "presence-b":
        assert list(device.session.channel(name).members) == ["me"]


def test_left_without_an_answer_it_is_unsubscribed_at_once() -> None:
    world, device = unanswered("room")
    device.take()
    device.unsubscribe("room")
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, "room"), (UNSUBSCRIBE, "room")]
    assert (device.take()[0], state_of(device, "room")) == (Unsubscribed("room"), C.UNSUBSCRIBED)


@pytest.mark.parametrize("when", ["after subscribe_timeout", "before it"])
def test_a_late_success_for_an_unsubscribed_channel_is_undone(when: str) -> None:
    world, device = world_with(subscribe_timeout=30.0)
    world.act(world.server.delay, 40.0, "subscribe")
    device.subscribe("room")
    world.run(31 if when == "after subscribe_timeout" else 29)
    device.unsubscribe("room")
    world.run(20)
    assert world.server.channels() == []
    assert world.heard() == [(SUBSCRIBE, "room"), (UNSUBSCRIBE, "room"), (UNSUBSCRIBE, "room")]
    assert [e for e in device.take() if isinstance(e, Subscribed | ChannelEvent)] == []


def test_a_thousand_such_successes_are_undone_once() -> None:
    world, device = world_with(subscribe_timeout=1.0)
    world.act(world.server.refuse_channel, "room", shape="silent")
    device.subscribe("room")
    world.run(2)
    device.unsubscribe("room")
    world.run(1)
    world.heard()
    for _ in range(1000):
        world.say("pusher_internal:subscription_succeeded", "{}", "room")
    assert world.heard() == [(UNSUBSCRIBE, "room")]


def test_what_was_given_up_is_remembered_for_its_connection_and_to_a_limit() -> None:
    world, device = world_with(subscribe_timeout=1.0, max_channels=2)
    for name in ("a", "b", "c"):
        world.act(world.server.refuse_channel, name, shape="silent")
        device.subscribe(name)
        world.run(2)
        device.unsubscribe(name)
    world.run(1)
    world.heard()
    for name in ("a", "b", "c"):
        world.say(SUCCEEDED, {}, name)
    assert world.heard() == [(UNSUBSCRIBE, "a"), (UNSUBSCRIBE, "b")]
    world.act(world.server.drop, 4200)
    world.run(5)
    world.say(SUCCEEDED, {}, "a")
    assert world.heard() == []


def test_a_refused_unsubscribe_is_not_attributed_to_another_channel() -> None:
    world, device = unanswered("room")
    device.subscribe("other")  # answered after 40 s, and the only one that is requested
    device.take()
    device.unsubscribe("room")
    world.run(1)
    message = "No current subscription to channel room, or subscription in progress"
    assert device.take() == [Unsubscribed("room"), ServerError(None, message, "room")]
    assert state_of(device, "other") is C.SUBSCRIBING


def test_a_refused_unsubscribe_is_not_the_answer_to_the_subscribe_that_followed() -> None:
    world, device = unanswered("room")
    world.act(world.server.delay, 0.5, "subscribe")
    device.unsubscribe("room")
    device.subscribe("room")
    device.take()
    world.run(5)
    message = "No current subscription to channel room, or subscription in progress"
    assert device.take() == [
        ServerError(None, message, "room"),
        Subscribed("room"),
        SubscriptionCount("room", 1),
    ]


def test_existing_subscription_is_a_success_where_it_carries_nothing_else() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("private-a")
    message = "Existing subscription to channel private-a"
    world.say("pusher:error", {"code": None, "message": message})
    assert device.take() == [Subscribed("private-a")]


def test_existing_subscription_brings_no_cached_event() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("cache-x")
    world.say("pusher:error", {"message": "Existing subscription to channel cache-x"})
    world.say("price", 1, "cache-x")
    assert device.take() == [Subscribed("cache-x"), ChannelEvent("cache-x", "price", 1)]


def test_a_presence_channel_that_exists_already_is_left_and_joined_again_for_its_members() -> None:
    world, device = world_with(auth=None, auth_timeout=60.0, subscribe_timeout=30.0)
    world.act(world.server.delay, 40.0, "subscribe")

    def answer() -> None:
        number, request = device.asked[-1]
        device.do(
            device.session.authorized,
            number,
            world.authorization(request, member={"user_id": "me"}),
        )

    device.subscribe("presence-b")
    answer()
    world.run(31)
    device.subscribe("presence-b")
    world.run(
        15
    )  # the first subscribe is answered while the authorization for the second is pending
    assert state_of(device, "presence-b") is C.AUTHORIZING
    world.act(world.server.delay, 0.0)
    device.take()
    answer()
    world.run(5)
    answer()
    world.run(5)
    failure, *rest = device.take()
    assert isinstance(failure, SubscriptionFailed)
    assert failure.retry_in is not None
    assert 1.0 <= failure.retry_in <= 2.0
    assert rest == [Subscribed("presence-b")]
    assert list(device.session.channel("presence-b").members) == ["me"]


def test_a_presence_channel_that_always_exists_already_is_tried_less_and_less_often() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("presence-b")
    message = "Existing subscription to channel presence-b"
    delays = []
    for _ in range(12):
        world.say("pusher:error", {"code": None, "message": message})
        delay = failed(device).retry_in
        assert delay is not None
        delays.append(delay)
        world.run(delay)
    assert min(delays) >= 1.0
    assert max(delays) > 8.0
    first, *heard = [message for message in world.heard() if message[0] != "pusher:ping"]
    assert [first, *heard[:3]] == [(SUBSCRIBE, "presence-b"), (UNSUBSCRIBE, "presence-b")] * 2


# The server's refusals.


@pytest.mark.parametrize("name", ["room", "private-a", "presence-b", "private-encrypted-c"])
@pytest.mark.parametrize(
    ("shape", "code", "kept", "message"),
    [
        ("pusher", None, None, "Invalid signature: Expected"),
        ("pusher", 4009, 4009, "Invalid signature: Expected"),
        ("error", 4009, 4009, "Invalid signature: Expected"),
        ("soketi", None, 401, "The connection is unauthorized."),
        ("soketi", 4100, 4100, "The connection is unauthorized."),
        ("internal", 4009, 4009, "Invalid signature: Expected"),
    ],
)
def test_a_refusal_in_every_shape_fails_that_channel_alone(
    name: str, shape: Shape, code: int | None, kept: int | None, message: str
) -> None:
    world, device = world_with("there")
    world.act(world.server.refuse_channel, name, shape=shape, code=code)
    device.subscribe(name, "other")
    world.run(1)
    failure, *rest = device.take()
    assert isinstance(failure, SubscriptionFailed)
    assert isinstance(failure.error, SubscriptionError)
    assert not isinstance(failure.error, AuthorizationError)
    assert failure.channel == name
    assert (failure.retry_in is not None) == (code == 4100)  # a channel that is full
    assert (failure.error.channel, failure.error.code) == (name, kept)
    assert str(failure.error).startswith(f"the server refused '{name}': {message}")
    assert rest == [Subscribed("other"), SubscriptionCount("other", 1)]
    assert [state_of(device, each) for each in (name, "there", "other")] == [
        C.FAILED,
        C.SUBSCRIBED,
        C.SUBSCRIBED,
    ]
    world.run(100 if code != 4100 else 50)
    assert world.heard() == [(SUBSCRIBE, name), (SUBSCRIBE, "other")]


def test_a_refusal_without_a_reason_says_which_channel() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("room")
    world.say("pusher:subscription_error", None, "room")
    assert str(failed(device).error) == "the server refused 'room'"


def test_a_refused_channel_is_tried_again_with_the_next_connection() -> None:
    world, device = world_with()
    world.act(world.server.refuse_channel, "private-a", times=1)
    device.subscribe("private-a")
    world.run(1)
    assert isinstance(failed(device).error, SubscriptionError)
    world.act(world.server.drop, 4200)
    world.run(5)
    assert device.of(Subscribed) == [Subscribed("private-a")]
    assert device.session.channel("private-a").last_error is None


def test_a_refused_channel_is_tried_again_when_subscribed_again() -> None:
    world, device = world_with(auth=None)
    world.act(world.server.refuse_channel, "private-a", times=1)
    device.authorizer = world.authorization
    for _ in range(2):
        device.subscribe("private-a")
        world.run(1)
    assert [type(event) for event in device.take()] == [
        SubscriptionFailed,
        Subscribed,
        SubscriptionCount,
    ]
    assert len(device.asked) == 2


def test_errors_that_name_no_channel_are_attributed_to_the_right_one() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("private-a", "private-a,b", "presence-c")
    for name, reported in (
        ("private-a,b", "private-a,b"),
        ('presence-c:{"user_id":"me"}', "presence-c"),
        ("private-a", "private-a"),
    ):
        message = f"Invalid signature: Expected HMAC SHA256 hex digest of 1.2:{name}, but got x"
        world.say("pusher:error", {"code": None, "message": message})
        assert failed(device).channel == reported


def test_an_error_that_names_nothing_is_attributed_to_the_only_requested_channel() -> None:
    world, device = world_with("there")
    world.server.mute(now=world.now)
    device.subscribe("private-a")
    world.say("pusher:error", '{"code":4009,"message":"Connection is unauthorized"}')
    assert device.take() == []
    assert world.heard() == [(SUBSCRIBE, "private-a"), ("pusher:ping", None)]
    world.say("pusher:pong")
    failure = failed(device)
    assert failure.channel == "private-a"
    assert isinstance(failure.error, SubscriptionError)
    assert failure.error.code == 4009


def test_an_error_that_names_nothing_is_attributed_to_none_of_several() -> None:
    world, device = world_with()
    world.server.mute(now=world.now)
    device.subscribe("private-a", "private-b")
    world.say("pusher:error", {"code": 4009, "message": "Connection is unauthorized"})
    world.say("pusher:pong")
    assert device.take() == [ServerError(4009, "Connection is unauthorized")]
    assert [state_of(device, n) for n in ("private-a", "private-b")] == [C.SUBSCRIBING] * 2
    world.run(31)
    for reported in device.take():
        assert isinstance(reported, SubscriptionFailed)
        assert str(reported.error).endswith(
            "this error of the server may be about it: 'Connection is unauthorized' (4009)"
        )


def test_an_error_about_an_unsubscribed_channel_is_not_attributed_to_another() -> None:
    world, device = asking("private-a")
    message = "Invalid signature: Expected HMAC SHA256 hex digest of 1.2:private-gone, but got x"
    world.say("pusher:error", {"code": None, "message": message})
    assert device.take() == [ServerError(None, message, "private-gone")]
    assert state_of(device, "private-a") is C.SUBSCRIBING


def test_a_channel_that_was_blamed_wrongly_is_subscribed_when_the_success_arrives() -> None:
    world, device = asking("private-a")
    world.say("pusher:error", {"code": 4009, "message": "The client is not a member"})
    world.run(1)
    assert isinstance(failed(device), SubscriptionFailed)
    world.run(10)
    assert device.take() == [Subscribed("private-a"), SubscriptionCount("private-a", 1)]
    assert device.session.channel("private-a").last_error is None


def test_a_channel_that_was_blamed_wrongly_and_left_is_left_on_the_server_too() -> None:
    world, device = asking("private-a")
    world.say("pusher:error", {"code": 4009, "message": "The client is not a member"})
    world.run(1)
    assert state_of(device, "private-a") is C.FAILED
    device.unsubscribe("private-a")
    world.run(10)
    assert without_pings(world) == [(SUBSCRIBE, "private-a"), (UNSUBSCRIBE, "private-a")]
    assert world.server.channels() == []


def test_a_channel_being_left_that_was_blamed_wrongly_is_left_on_the_server_too() -> None:
    world, device = asking("private-a")
    device.unsubscribe("private-a")
    world.say("pusher:error", {"code": 4009, "message": "The client is not a member"})
    world.run(1)
    assert (state_of(device, "private-a"), device.take()) == (
        C.UNSUBSCRIBED,
        [Unsubscribed("private-a")],
    )
    world.run(10)
    assert without_pings(world) == [(SUBSCRIBE, "private-a"), (UNSUBSCRIBE, "private-a")]
    assert world.server.channels() == []


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("pusher:error", {"code": 4300, "message": "odd"}),
        ("pusher:subscription_error", {"error": "odd", "status": 4300}),
        ("pusher_internal:subscription_error", '{"code":4300,"message":"odd"}'),
    ],
)
@pytest.mark.parametrize("name", ["room", "unknown"])
def test_an_error_about_a_channel_that_is_not_being_asked_for_is_reported_and_changes_nothing(
    name: str, event: str, data: Any
) -> None:
    world, device = world_with("room")
    world.say(event, data, name)
    assert device.take() == [ServerError(4300, "odd", name)]
    assert state_of(device, "room") is C.SUBSCRIBED


# Messages.


def test_messages_may_arrive_before_the_success() -> None:
    world, device = asking("room", "cache-x")
    world.say("early", 1, "room")
    world.say("early", 2, "cache-x")
    assert device.take() == [ChannelEvent("room", "early", 1), ChannelEvent("cache-x", "early", 2)]


def test_messages_for_channels_without_a_subscription_are_dropped() -> None:
    world, device = world_with("room", auth=None)
    device.subscribe("private-a")
    world.say("x", 1, "private-a")
    world.say("x", 1, "other")
    world.say("pusher_internal:unheard_of", {}, "room")
    world.say("pusher:unheard_of", {}, "other")
    assert device.take() == []


# Cache channels.


@pytest.mark.parametrize("name", ["cache-x", "private-cache-x", "presence-cache-x"])
def test_a_cache_channel_begins_with_its_last_event_after_each_success(name: str) -> None:
    world, device = world_with()
    world.publish(name, "price", 1)
    device.subscribe(name)
    world.run(1)
    world.publish(name, "price", 2)
    reported = [e for e in device.take() if not isinstance(e, SubscriptionCount)]
    assert reported == [
        Subscribed(name),
        ChannelEvent(name, "price", "1", cached=True),
        ChannelEvent(name, "price", "2"),
    ]
    world.act(world.server.drop, 4200)
    world.run(5)
    world.publish(name, "price", 3)
    again = device.of(ChannelEvent)
    assert [(event.data, event.cached) for event in again] == [(2, True), (3, False)]


def test_a_cache_channel_without_an_event_begins_with_a_miss() -> None:
    world, device = world_with()
    device.subscribe("cache-x")
    world.run(1)
    world.publish("cache-x", "price", 1)
    assert device.take() == [
        Subscribed("cache-x"),
        CacheMiss("cache-x"),
        SubscriptionCount("cache-x", 1),
        ChannelEvent("cache-x", "price", "1"),
    ]


def test_a_miss_is_reported_on_any_channel_that_is_subscribed() -> None:
    world, device = world_with("room")
    world.say("pusher:cache_miss", None, "room")
    world.say("pusher:cache_miss", None, "other")
    assert device.take() == [CacheMiss("room")]


# subscription_count.


@pytest.mark.parametrize(
    ("data", "count"),
    [
        ({"subscription_count": 7}, 7),
        ('{"subscription_count":7}', 7),
        ({"subscription_count": 0}, 0),
    ],
)
def test_the_count_is_kept_and_reported(data: Any, count: int) -> None:
    world, device = world_with("room")
    world.say("pusher_internal:subscription_count", data, "room")
    assert device.take() == [SubscriptionCount("room", count)]
    assert device.session.channel("room").subscription_count == count


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        "many",
        {"subscription_count": "7"},
        {"subscription_count": -1},
        {"subscription_count": True},
        {"subscription_count": 1.5},
        {"subscription_count": None},
    ],
)
def test_a_count_that_is_none_is_reported(data: Any) -> None:
    world, device = world_with("room")
    world.say("pusher_internal:subscription_count", data, "room")
    (report,) = device.take()
    assert isinstance(report, ProtocolViolation)
    assert report.reason == "a subscription_count without a count"
    assert device.session.channel("room").subscription_count == 1


def test_the_count_of_a_channel_without_a_subscription_is_nothing() -> None:
    world, device = world_with()
    world.say("pusher_internal:subscription_count", {"subscription_count": 3}, "room")
    assert device.take() == []


# Whatever comes.

CONTROL = (
    "pusher:error",
    SUCCEEDED,
    "pusher:subscription_error",
    "pusher_internal:subscription_error",
    "pusher_internal:subscription_count",
    "pusher:cache_miss",
    "pusher_internal:member_added",
    "pusher_internal:member_removed",
    "pusher:signin_success",
    "pusher_internal:watchlist_events",
    "online",
    "message",
    "client-message",
)
KINDS = ("room", "cache-x", "private-a", "presence-b", "private-encrypted-c", "#server-to-user-ada")
words = st.sampled_from(
    [
        "presence",
        "ids",
        "hash",
        "count",
        "user_id",
        "user_info",
        "code",
        "message",
        "error",
        "status",
        "subscription_count",
        "events",
        "name",
        "user_ids",
        "nonce",
        "ciphertext",
        "user_data",
        "id",
    ]
)
texts = st.sampled_from(
    [
        "",
        "{}",
        "[[",
        "online",
        "Existing subscription to channel presence-b",
        "digest of 1.2:private-a:{}, but got x",
        "digest of 1.2::user::{}",
        "No current subscription to channel room, or subscription in progress",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
said = st.tuples(
    st.sampled_from(CONTROL),
    st.one_of(values, values.map(json.dumps)),
    st.sampled_from([None, *KINDS]),
)


@given(st.lists(said, max_size=12), st.booleans())
@settings(max_examples=EXAMPLES, deadline=None)
def test_whatever_a_server_says_nothing_raises_and_the_connection_is_kept(
    messages: list[tuple[str, Any, str | None]], subscribed: bool
) -> None:
    world = World()
    auth = world.own_key(member={"user_id": "me"}, user={"id": "ada"})
    device = world.connected(world.options(auth=auth))
    if not subscribed:
        world.server.mute(now=world.now)
    device.do(device.session.signin)
    device.subscribe(*KINDS[:-1])
    world.run(1)
    socket_id = device.session.socket_id
    for event, data, channel in messages:
        world.say(event, data, channel)
        for name in KINDS:
            snapshot = device.session.channel(name)
            assert snapshot.members.count == 0 or snapshot.state is C.SUBSCRIBED
    assert device.session.socket_id == socket_id
    for name in KINDS[:-1]:
        device.unsubscribe(name)
    world.run(100)
    assert device.session.channels() == ()


# The models: the last command wins, whatever happens in between.

NAMES = ("a", "cache-b", "private-c", "presence-d", "private-encrypted-e")


class SubscriptionsModel(RuleBasedStateMachine):
    """One device wants and leaves channels while answers are late, authorizations fail and connections end."""

    delays: tuple[float, ...] = (0.0, 0.015, 0.5, 6.0)

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.world = World(seed)
        self.wanted: set[str] = set()
        self.answered = 0
        self.device = self.world.device(self.world.options(auth=None))

    names_ = st.sampled_from(NAMES)

    @rule(name=names_)
    def want(self, name: str) -> None:
        self.wanted.add(name)
        self.device.subscribe(name)

    @rule(name=names_)
    def leave(self, name: str) -> None:
        self.wanted.discard(name)
        self.device.unsubscribe(name)

    @rule(name=names_)
    def leave_and_want(self, name: str) -> None:
        self.leave(name)
        self.want(name)

    @rule(name=names_)
    def leave_once_subscribed(self, name: str) -> None:
        self.want(name)
        self.settle()
        self.leave(name)

    @rule()
    def lose_the_connection(self) -> None:
        self.world.reset(self.device)

    @rule()
    def lose_the_server(self) -> None:
        self.world.act(self.world.server.drop, 4200)

    @rule()
    def disconnect_and_connect(self) -> None:
        self.device.do(self.device.session.disconnect)
        self.device.connect()

    @rule(name=names_, event=st.sampled_from(["x", "client-x"]))
    def publish(self, name: str, event: str) -> None:
        self.world.server.publish(name, event, 1, now=self.world.now)
        self.world.flush()

    @rule(byte=st.integers(0, 255))
    def rotate_the_key(self, byte: int) -> None:
        self.world.act(self.world.server.rotate_key, bytes([byte] * 32))

    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        seconds = data.draw(st.sampled_from(self.delays))
        self.world.act(self.world.server.delay, seconds, "subscribe")

    @rule(
        count=st.integers(1, 6),
        answer=st.sampled_from(["authorization", "authorization", "fail", "refuse"]),
    )
    def answer(self, count: int, answer: str) -> None:
        """Answer requests, of whatever connection, the oldest first."""
        session = self.device.session
        for number, request in self.device.asked[self.answered : self.answered + count]:
            self.answered += 1
            result: AuthResponse | BaseException = self.authorization(request)
            if answer == "fail":
                result = ConnectionError("for the moment")
            elif answer == "refuse":
                result = AuthorizationError("no", channel=request.channel)
            command = (
                session.authorized
                if isinstance(result, AuthResponse)
                else session.authorization_failed
            )
            self.device.do(command, number, result)

    def authorization(self, request: AuthRequest) -> AuthResponse:
        return self.world.authorization(request, member={"user_id": "me"})

    @rule(seconds=st.sampled_from([0.005, 0.015, 0.03, 0.6, 8.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.run(seconds)

    def settle(self) -> None:
        """Let everything be answered from now on, and repeat refused requests, as an application may."""
        self.world.act(self.world.server.delay, 0.0)
        for _ in range(8):
            self.world.run(15)
            for name in self.wanted:
                if state_of(self.device, name) in (C.FAILED, C.TIMED_OUT):
                    self.device.subscribe(name)
            while self.answered < len(self.device.asked):
                self.answer(1, "authorization")
        self.world.run(15)

    def teardown(self) -> None:
        self.settle()
        device, server = self.device, self.world.server
        there = {name for name in NAMES if server.subscriptions(name)}
        assert there == self.wanted
        assert {name: state_of(device, name) for name in self.wanted} == dict.fromkeys(
            self.wanted, C.SUBSCRIBED
        )
        assert set(device.session.channels()) == self.wanted
        self.check_failures()
        self.check_messages()
        self.check_delivery()

    def check_delivery(self) -> None:
        """An event that is published now arrives once on each subscribed channel, and on no other."""
        self.device.take()
        for name in NAMES:
            self.world.publish(name, "last", 2)
        self.answer(6, "authorization")  # for a new key, perhaps
        self.world.run(1)
        reported = [
            (event.channel, event.name, event.data) for event in self.device.of(ChannelEvent)
        ]
        assert sorted(reported) == sorted((name, "last", 2) for name in self.wanted)

    def check_failures(self) -> None:
        """Nothing was sent that the server had a reason to refuse, such as an authorization for another socket."""
        errors = [event.error for event in self.device.of(SubscriptionFailed)]
        assert [error for error in errors if not isinstance(error, AuthorizationError)] == []
        assert self.device.of(ServerError) == []

    def check_messages(self) -> None:
        """On one connection no channel is subscribed twice without an unsubscribe between."""
        subscribed: set[tuple[int, str | None]] = set()
        for message in self.world.server.received:
            place = message.connection, message.channel
            if message.event == SUBSCRIBE:
                assert place not in subscribed
                subscribed.add(place)
            elif message.event == UNSUBSCRIBE:
                subscribed.remove(place)


class PatienceModel(SubscriptionsModel):
    """The same with late answers, which the client no longer waits for."""

    delays = (0.0, 0.5, 20.0, 40.0, 70.0)

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    def check_failures(self) -> None:
        for error in (event.error for event in self.device.of(SubscriptionFailed)):
            assert "signature" not in str(error)

    def check_messages(self) -> None:
        pass  # an unanswered subscribe may be repeated


TestWishModel = SubscriptionsModel.TestCase
TestWishModel.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
TestPatienceModel = PatienceModel.TestCase
TestPatienceModel.settings = settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None)
