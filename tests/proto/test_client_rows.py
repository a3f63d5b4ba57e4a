"""Reports about clients in the field, and features of other clients: at least one test for each."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import fake_client
from proto.fake_client import (
    Caller,
    FakeChannel,
    FakeClient,
    FakeStream,
    connected,
    datas,
    room,
    subscribed,
)
from proto.websocket_peer import frame
from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    ChannelEvent,
    ChannelState,
    ClientClosed,
    ConnectionEnded,
    ConnectionEstablished,
    DataError,
    Event,
    InvalidName,
    LocalProtocolError,
    MemberAdded,
    Message,
    NotConnected,
    NotSubscribed,
    Options,
    OutboxFull,
    ProtocolMessage,
    ProtocolViolation,
    PusherTimeout,
    RateLimited,
    RetryScheduled,
    SignedIn,
    SignInError,
    StateChanged,
    Subscribed,
    SubscriptionFailed,
    TypedEvent,
    UnsupportedFeature,
    UserEvent,
)
from pusher_proto.client import Nothing
from pusher_proto.options import with_names
from simulation import World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "100"))
tried = settings(max_examples=EXAMPLES, deadline=None)


def publish(world: World, *values: Any, event: str = "e", **more: Any) -> None:
    fake_client.publish(world, *values, event=event, **more)


def do(command: Callable[[], object]) -> None:
    """Call a command for its effect."""
    command()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == "pusher_proto.client"
    ]


class Endpoint:
    """An authorizer that fails some times, then answers."""

    def __init__(self, world: World, failures: int, *, temporary: bool) -> None:
        self._world = world
        self._left = failures
        self._temporary = temporary

    def __call__(self, request: AuthRequest) -> Any:
        if self._left:
            self._left -= 1
            raise AuthorizationError(
                "not now", channel=request.channel, status=503, temporary=self._temporary
            )
        return self._world.authorization(request, user={"id": "7"})


def asking(failures: int, *, temporary: bool) -> tuple[World, FakeClient]:
    """Return a client whose authorizer fails some times."""
    world = World()
    endpoint = Endpoint(world, failures, temporary=temporary)
    return world, connected(world, world.options(auth=None), authorizer=endpoint)


# W7, W8: waits and loops end with final errors, and continue while an attempt is planned.


def streams_of(channel: FakeChannel) -> list[FakeStream[Any]]:
    """Return all kinds of streams of a channel."""
    return [
        iter(channel),
        channel.events(),
        channel.events("e"),
        channel.events(MemberAdded),
        channel.events("e", type=int),
        channel.events(lambda event: False),
    ]


@pytest.mark.parametrize("kind", range(6))
def test_W7_a_loop_raises_a_final_refusal(kind: int) -> None:
    _world, client = asking(9999, temporary=False)
    channel = client.subscribe("private-room")
    stream = streams_of(channel)[kind]
    with pytest.raises(AuthorizationError, match="not now"):
        for event in stream:
            assert isinstance(event, SubscriptionFailed)
    with pytest.raises(AuthorizationError, match="not now"):
        channel.wait_subscribed()
    with pytest.raises(AuthorizationError, match="not now"):
        channel.wait_for("e")
    assert not stream._sink.closed


@pytest.mark.parametrize("kind", range(6))
def test_W7_a_loop_that_waits_already_is_woken_by_the_refusal(kind: int) -> None:
    world, client = asking(9999, temporary=False)
    stream = streams_of(client.channel("private-room"))[kind]
    began = world.now
    world.at(5, lambda: do(client.channel("private-room").subscribe))
    with pytest.raises(AuthorizationError, match="not now"):
        list(stream)
    assert world.now < began + 6


def test_W7_a_loop_continues_while_a_retry_is_planned() -> None:
    world, client = asking(3, temporary=True)
    channel = client.subscribe("private-room")
    world.run_until(lambda: channel.state is ChannelState.SUBSCRIBED)
    stream = iter(channel)
    world.at(1, lambda: publish(world, 1, channel="private-room"))
    assert next(stream).data == 1


def test_W7_a_loop_over_the_user_raises_a_refused_sign_in() -> None:
    _world, client = asking(9999, temporary=False)
    client.signin()
    for stream in (iter(client.user), client.user.events(), client.user.events("note")):
        with pytest.raises(SignInError, match="not now"):
            next(stream)
    with pytest.raises(SignInError, match="not now"):
        client.wait_signed_in()


def test_W7_messages_before_the_refusal_are_given_first() -> None:
    world, _client, channel = room()
    stream = channel.events("e", buffer=2)
    publish(world, 1, 2, 3, 4)
    world.say("pusher:subscription_error", {"error": "no"}, "room")
    assert [next(stream).data for _ in range(4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("failures", [1, 3, 5])
def test_W8_a_wait_continues_while_a_retry_is_planned(failures: int) -> None:
    _world, client = asking(failures, temporary=True)
    channel = client.subscribe("private-room")
    assert channel.wait_subscribed(300) is channel


def test_W8_a_wait_for_the_sign_in_continues_while_a_retry_is_planned() -> None:
    world = World()
    endpoint = Endpoint(world, 2, temporary=True)
    client = connected(world, world.options(auth=None), authorizer=endpoint)
    client.signin()
    assert client.wait_signed_in(300) == "7"


def test_W8_a_timeout_ends_the_wait_whatever_is_planned() -> None:
    _world, client = asking(9999, temporary=True)
    with pytest.raises(PusherTimeout, match="'private-room' was not subscribed within 20 s"):
        client.subscribe("private-room").wait_subscribed(20)


# W33: events of a channel other than messages are kept for the first consumer that selects them.


def test_W33_a_confirmation_before_the_first_consumer_is_kept() -> None:
    world, _client, channel = room()
    seen: list[Event] = []
    channel.bind(Subscribed, seen.append)
    world.run(1)
    assert seen == [Subscribed("room")]
    assert channel.events(Subscribed).ready() == []


@tried
@given(st.permutations(["subscribed", "joined", "message"]), st.booleans())
def test_W33_each_consumer_gets_the_events_it_asks_for_at_any_time(
    order: list[str], by_name: bool
) -> None:
    world = World()
    key = world.own_key(member={"user_id": "me"})
    _client, [channel] = subscribed(world, "presence-room", options=world.options(auth=key))
    other = connected(world, world.options(auth=world.own_key(member={"user_id": "other"})))
    other.subscribe("presence-room").wait_subscribed()
    publish(world, 1, channel="presence-room")
    selectors: dict[str, Any] = {
        "subscribed": "pusher:subscription_succeeded" if by_name else Subscribed,
        "joined": "pusher:member_added" if by_name else MemberAdded,
        "message": "e" if by_name else ChannelEvent,
    }
    counts = {name: len(channel.events(selectors[name]).ready()) for name in order}
    assert counts == {"subscribed": 1, "joined": 1, "message": 1}


def test_W33_the_number_kept_is_bounded_and_takes_no_room_of_messages() -> None:
    world, _client, channel = room(backlog_limit=3)
    publish(world, 1, 2, 3)
    for count in range(10):
        world.say("pusher_internal:subscription_count", {"subscription_count": count}, "room")
    world.run(1)
    assert datas(iter(channel).ready()) == [1, 2, 3]
    assert len(channel.events("pusher:subscription_count").ready()) == 3


def test_W33_a_predicate_that_expects_messages_is_not_asked_about_kept_events_of_other_kinds() -> (
    None
):
    world, _client, channel = room()
    publish(world, 1)
    assert datas(channel.events(lambda event: event.data == 1).ready()) == [1]


def test_W33_everything_means_everything() -> None:
    world, _client, channel = room()
    publish(world, 1)
    kinds = [type(event) for event in channel.events().ready()]
    assert kinds[0] is Subscribed
    assert kinds[-1] is ChannelEvent


def test_W33_a_channel_that_was_unsubscribed_keeps_nothing() -> None:
    world, client, channel = room()
    channel.unsubscribe()
    world.run(1)
    client.subscribe("room").wait_subscribed()
    assert len(channel.events(Subscribed).ready()) == 1


# W29: consumers that are not read until reading pauses are named.


UNREAD = (
    "{} is not read, so no message was read from the server for 10 s: read it, close it, or set "
    'overflow="drop_oldest" (Options.receive_buffer is full)'
)


def test_W29_a_stream_that_is_not_read_is_named_once_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel = room(receive_buffer=500)
    stuck, other = channel.events("e"), client.events("quiet")
    publish(world, 1, event="quiet")
    publish(world, *range(20))
    world.run(9)
    client.device.pump()
    assert warnings(caplog) == []
    world.run(2)
    assert warnings(caplog) == [UNREAD.format("a stream of 'e' on room")]
    world.run(100)
    assert len(warnings(caplog)) == 1
    assert datas(stuck.ready()) == list(range(20))
    assert len(other.ready()) == 1
    publish(world, *range(20))
    world.run(11)
    assert len(warnings(caplog)) == 2


def test_W29_a_handler_is_named_by_its_function(caplog: pytest.LogCaptureFixture) -> None:
    world, client, channel = room(receive_buffer=500)
    client.handlers_stall = True
    channel.bind("e", publish)
    publish(world, *range(20))
    world.run(11)
    assert [text for text in warnings(caplog) if "is not read" in text] == [
        UNREAD.format("the handler publish")
    ]


def test_W29_a_stream_that_is_not_read_and_does_not_pause_reading_is_not_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, _client, channel = room()
    stream = channel.events("e", buffer=3)
    publish(world, *range(2000))
    world.run(60)
    assert warnings(caplog) == []
    assert datas(stream.ready()) == list(range(2000))


# W40, W41: what can never work is an error at the call.


@pytest.mark.parametrize(
    ("scope", "selector", "advice"),
    [
        ("client", "connected", "use bind(StateChanged, ...)"),
        ("client", "disconnected", "use bind(StateChanged, ...)"),
        ("room", "pusher_internal:subscription_succeeded", "'pusher:subscription_succeeded'"),
        ("room", "pusher_internal:member_added", "'pusher:member_added'"),
        ("client", "pusher_internal:watchlist_events", "'online'"),
        ("room", "pusher_internal:nonsense", "there is no event for it"),
        ("room", "pusher:pong", "no event has the name 'pusher:pong'"),
        ("client", "pusher:ping", "select ProtocolMessage to get the messages of the protocol"),
        ("room", ("price", "pusher_internal:member_removed"), "'pusher:member_removed'"),
        ("room", "pusher:signin_success", "SignedIn is not about a channel: use it on the client"),
        ("room", StateChanged, "StateChanged is not about a channel: use it on the client"),
        ("room", UserEvent, "UserEvent is a message for the user: use it on client.user"),
        ("user", MemberAdded, "MemberAdded is not a message for the user: use it on the client"),
        ("user", SignedIn, "SignedIn is not a message for the user: use it on the client"),
        ("room", TypedEvent, "select ChannelEvent or a name"),
    ],
)
def test_W40_a_name_that_can_never_fire_is_refused_with_the_right_one(
    scope: str, selector: Any, advice: str
) -> None:
    _world, client, channel = room()
    source: Any = {"client": client, "room": channel, "user": client.user}[scope]
    calls: list[Callable[[], object]] = [
        lambda: source.bind(selector, print),
        lambda: source.events(selector),
        lambda: source.wait_for(selector),
        lambda: source.unbind(selector),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(advice)):
            call()
    assert list(client._delivery.router) == []


def test_W40_states_of_the_connection_are_text() -> None:
    _world, client, channel = room()
    assert client.state == "connected"
    assert channel.state == "subscribed"
    channel.bind("connected", print)  # a message of a channel may have any name


def test_names_of_other_clients_mean_events_of_the_connection() -> None:
    world, client, _channel = room(retry_floor=1)
    changes, retries = client.events("state_change"), client.events("connecting_in")
    world.act(world.server.drop)
    world.run(0.5)
    assert [type(event) for event in changes.ready()] == [StateChanged]
    assert [type(event) for event in retries.ready()] == [RetryScheduled]


@pytest.mark.parametrize("predicate", [2, 2.5, "price", []])
def test_W41_a_timeout_instead_of_a_predicate_is_refused(predicate: Any) -> None:
    _world, client, channel = room()
    with pytest.raises(TypeError, match=re.escape(f"write timeout={predicate!r}")):
        channel.wait_for("price", predicate)
    assert list(client._delivery.router) == []


def handler(event: Event) -> None:
    """Stand for a handler of the application."""


def test_W41_a_handler_that_is_bound_twice_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    _world, client, channel = room()
    for _ in range(4):
        channel.bind("price", handler)
    channel.bind("volume", handler)
    client.bind("price", handler)
    assert warnings(caplog) == [
        (
            "the handler handler is bound twice to 'price' on room and is called twice for each event: bind it once, "
            "not in a handler that is called at each connection"
        )
    ]


def test_W41_a_handler_that_was_cancelled_may_be_bound_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _world, _client, channel = room()
    for _ in range(3):
        channel.bind("price", handler).cancel()
        channel.bind("price", handler)
        channel.unbind("price", handler)
    assert warnings(caplog) == []


# D5: waits in a row.


@tried
@given(
    st.integers(1, 9),
    st.lists(st.sampled_from(["handler", "stream", "client", "wait"]), max_size=3),
    st.booleans(),
)
def test_D5_waits_in_a_row_get_every_event_beside_other_listeners(
    count: int, others: list[str], early: bool
) -> None:
    world, client, channel = room()
    kept: list[Any] = []
    for other in others:
        match other:
            case "handler":
                client.bind(ChannelEvent, lambda event: None)
            case "stream":
                kept.append(channel.events("e"))
            case "client":
                kept.append(client.events(ChannelEvent))
            case "wait":
                kept.append(channel.waiting("e", who=Caller()))
    if early and not others:
        publish(world, *range(count))
    else:
        world.at(1, lambda: publish(world, *range(count)))
    assert [channel.wait_for("e", timeout=5).data for _ in range(count)] == [*range(count)]
    with pytest.raises(PusherTimeout):
        channel.wait_for("e", timeout=5)


def test_D5_other_tasks_start_from_now_or_from_what_was_left() -> None:
    world, client, channel = room()
    one, other = Caller(), Caller()
    client.bind(ChannelEvent, lambda event: None)
    world.at(1, lambda: publish(world, 1, 2, 3))
    assert channel.wait_for("e", who=one).data == 1
    with pytest.raises(PusherTimeout):
        channel.wait_for("e", timeout=1, who=other)
    publish(world, 4)
    assert [channel.wait_for("e", who=other).data] == [4]
    assert [channel.wait_for("e", who=one).data for _ in range(3)] == [2, 3, 4]


def test_D5_a_wait_that_timed_out_counts_as_one_that_returned() -> None:
    world, client, channel = room()
    client.bind(ChannelEvent, lambda event: None)
    with pytest.raises(PusherTimeout):
        channel.wait_for("e", timeout=1)
    publish(world, 1)
    assert channel.wait_for("e", timeout=1).data == 1


def test_D5_fresh_looks_only_at_events_from_now_on() -> None:
    world, _client, channel = room()
    publish(world, 1)
    world.at(1, lambda: publish(world, 2, 3))
    assert channel.wait_for("e", fresh=True).data == 2
    world.at(1, lambda: publish(world, 4))
    assert channel.wait_for("e", fresh=True).data == 4


def test_D5_ten_seconds_and_the_limit_of_the_backlog_bound_what_is_kept() -> None:
    world, client, channel = room(backlog_limit=3)
    client.bind(ChannelEvent, lambda event: None)
    world.at(1, lambda: publish(world, *range(10)))
    assert channel.wait_for("e").data == 0
    assert [channel.wait_for("e").data for _ in range(3)] == [7, 8, 9]
    publish(world, 10)
    world.run(11)
    with pytest.raises(PusherTimeout):
        channel.wait_for("e", timeout=1)


def test_D5_nothing_is_left_of_a_wait_after_ten_seconds() -> None:
    world, client, channel = room()
    world.at(1, lambda: publish(world, 1))
    channel.wait_for("e")
    assert len(list(client._delivery.router)) == 1
    world.run(12)
    assert list(client._delivery.router) == []
    assert not client._delivery.traces.known


def test_D5_selectors_that_are_new_for_each_call_are_bounded_and_a_task_is_not_kept() -> None:
    world, client, channel = room()
    publish(world, *range(200))
    callers = [Caller() for _ in range(200)]
    for number, caller in enumerate(callers):
        event = channel.wait_for(
            lambda event, number=number: event.data == number, timeout=1, who=caller
        )
        assert event.data == number
    client.device.pump()
    assert len(list(client._delivery.router)) <= 64
    del callers, caller
    gc.collect()
    assert len(client._delivery.traces._places) == 0


def test_D5_what_was_kept_of_a_channel_is_forgotten_when_it_is_left() -> None:
    world, client, channel = room()
    client.bind(ChannelEvent, lambda event: None)
    world.at(1, lambda: publish(world, 1, 2))
    assert channel.wait_for("e").data == 1
    channel.unsubscribe()
    client.subscribe("room").wait_subscribed()
    with pytest.raises(PusherTimeout):
        channel.wait_for("e", timeout=1)


# 5.5, r3, 5.14, typed handlers, timed steps


def test_5_5_unbind_by_handler_by_selector_and_all() -> None:
    world, client, channel = room()
    seen: list[str] = []

    def one(event: ChannelEvent) -> None:
        seen.append(f"one {event.name}")

    def two(event: ChannelEvent) -> None:
        seen.append(f"two {event.name}")

    for source in (client, channel):
        for name in ("a", "b"):
            source.bind(name, one)
            source.bind(name)(two)
    channel.unbind("a", one)
    channel.unbind("b")
    client.unbind(fn=two)
    publish(world, 1, event="a")
    publish(world, 1, event="b")
    assert seen == ["two a", "one a", "one b"]
    client.unbind()
    channel.unbind()
    client.user.unbind()
    publish(world, 1, event="a")
    assert len(seen) == 3


def test_5_5_a_name_and_its_class_mean_the_same_handler() -> None:
    _world, client, channel = room()
    channel.bind("pusher:member_added", handler)
    channel.unbind(MemberAdded, handler)
    assert list(client._delivery.router) == []


def test_r3_a_compiled_regular_expression_selects_messages_by_name() -> None:
    world, client, channel = room()
    orders = re.compile(r"^order[.-]")
    seen: list[str] = []
    channel.bind(orders, lambda event: seen.append(event.name))
    stream = client.events((orders, "price"))
    for name in ("order.made", "order-sent", "reorder.made", "price", "orders"):
        publish(world, 1, event=name)
    assert seen == ["order.made", "order-sent"]
    assert [event.name for event in stream.ready()] == ["order.made", "order-sent", "price"]
    world.at(1, lambda: publish(world, 2, event="order.paid"))
    assert channel.wait_for(re.compile("paid$"), timeout=5).data == 2
    channel.unbind(re.compile(r"^order[.-]"))
    publish(world, 1, event="order.made")
    assert len(seen) == 3


def test_5_14_types_by_event_decode_each_and_give_other_events_as_they_are() -> None:
    world, _client, channel = room()
    both = channel.events(types={"count": int, "names": list[str]})
    more = channel.events(("count", "other", Subscribed), types={"count": int})
    publish(world, 7, event="count")
    publish(world, ["a"], event="names")
    publish(world, {"x": 1}, event="other")
    assert datas(both.ready()) == [7, ["a"]]
    first, *messages = more.ready()
    assert first == Subscribed("room")
    assert datas(messages) == [7, {"x": 1}]


def test_once_calls_a_handler_for_the_first_event_alone() -> None:
    world, client, channel = room()
    seen: list[Any] = []
    channel.bind("e", lambda event: seen.append(event.data), once=True)

    @channel.bind("e", once=True)
    def decorated(event: ChannelEvent) -> None:
        seen.append(event.data)

    publish(world, 1, 2)
    assert seen == [1, 1]
    assert list(client._delivery.router) == []
    channel.unbind()


def test_once_takes_an_event_that_was_kept() -> None:
    world, _client, channel = room()
    publish(world, 1, 2)
    seen: list[Any] = []
    channel.bind("e", lambda event: seen.append(event.data), once=True)
    publish(world, 3)
    assert seen == [1]
    assert datas(iter(channel).ready()) == [2, 3]


def test_a_timed_step_of_a_stream() -> None:
    world, client, channel = room()
    stream = channel.events("e")
    world.at(1, lambda: publish(world, 1))
    assert stream.next(timeout=5).data == 1
    with pytest.raises(PusherTimeout, match="no event was received within 2 s"):
        stream.next(timeout=2)
    stream.close()
    with pytest.raises(ClientClosed, match="the stream was closed"):
        stream.next()
    stream = client.events(ConnectionEstablished)
    client.close()
    with pytest.raises(ClientClosed, match="the client was closed"):
        stream.next()


# 3.3, 4.6, 4.9, 4.12, 8.5, 8.20, r5, r7, auto_connect, members_as


def test_3_3_a_client_says_that_it_is_closed_and_when_a_disconnect_is_done() -> None:
    _world, client, channel = room()
    with pytest.raises(PusherTimeout, match="not disconnected within 1 s"):
        client._wait(client._goals.disconnected(), 1)
    client.disconnect()
    with client._guard:
        assert client._checks.disconnected() is Nothing.PENDING
    client._wait(client._goals.disconnected(), 60)
    assert not client.device.wires
    assert not client.closed
    client.connect()
    channel.wait_subscribed()
    client.close()
    assert client.closed
    with client._guard:
        assert client._checks.disconnected() is True


def test_4_9_an_unsubscribed_channel_differs_from_one_never_subscribed() -> None:
    _world, client, channel = room()
    assert client.channel("other").state is ChannelState.IDLE
    channel.unsubscribe()
    assert client.channel("room").state is ChannelState.UNSUBSCRIBED
    client.subscribe("room").wait_subscribed()
    assert channel.state is ChannelState.SUBSCRIBED


def test_4_12_a_handle_subscribes_again_with_what_it_was_given() -> None:
    world = World()
    asked: list[str | None] = []

    def own(request: AuthRequest) -> Any:
        asked.append(request.channel)
        return world.authorization(request)

    client = connected(world, world.options(auth=None))
    channel = client.subscribe("private-room", auth=own).wait_subscribed()
    channel.unsubscribe()
    assert channel.subscribe() is channel
    channel.wait_subscribed()
    client.unsubscribe("private-room")
    assert client.subscribe("private-room").wait_subscribed() is channel
    assert asked == ["private-room"] * 3


@pytest.mark.parametrize("state", ["subscribed", "failed", "idle"])
def test_4_12_resubscribe_asks_again_whatever_the_state(state: str) -> None:
    world = World()
    client = connected(world)
    channel = client.channel("room")
    if state == "failed":
        world.act(world.server.refuse_channel, "room", message="not you", times=1)
    if state != "idle":
        channel.subscribe()
        world.run(1)
    assert channel.state == state
    world.heard()
    channel.resubscribe().wait_subscribed()
    assert ("pusher:subscribe", "room") in world.heard()
    publish(world, 1)
    assert datas(iter(channel).ready()) == [1]


@pytest.mark.parametrize("named", [False, True])
def test_4_6_a_channel_has_its_own_way_from_bytes_to_text(named: bool) -> None:
    world = World()
    calls: list[tuple[str, ...]] = []

    def by_name(data: bytes, channel: str, event: str) -> str:
        calls.append((channel, event))
        return data.decode().upper()

    client = connected(world, world.options(decrypted_text=lambda data: data.decode() + "!"))
    name = "private-encrypted-room"
    loud: Any = by_name if named else lambda data: data.decode().upper()
    one = client.subscribe(name, decrypted_text=loud).wait_subscribed()
    other = client.subscribe("private-encrypted-b").wait_subscribed()
    one.resubscribe().wait_subscribed()
    publish(world, "a", channel=name)
    publish(world, "b", channel="private-encrypted-b")
    [first], [second] = iter(one).ready(), iter(other).ready()
    assert (first.raw_data, second.raw_data) == ("A", "b!")
    assert calls == ([(name, "e")] if named else [])


def test_8_5_any_message_can_be_sent_within_limits() -> None:
    world, client, _channel = room(client_event_rate=3, max_client_event=10)
    world.heard()
    client.send_event("pusher:history", {"n": 1}, "room")
    client.send_event("sockudo:x", None)
    world.run(1)
    assert world.heard() == [("pusher:history", "room"), ("sockudo:x", None)]
    for event, error, text in (
        (
            "pusher:subscribe",
            LocalProtocolError,
            "only the client sends 'pusher:subscribe': use subscribe()",
        ),
        ("", InvalidName, "1 to 200 characters"),
        ("x" * 201, InvalidName, "1 to 200 characters"),
    ):
        with pytest.raises(error, match=re.escape(text)):
            client.send_event(event, {})
    with pytest.raises(LocalProtocolError, match="has 22 bytes; the limit is 10"):
        client.send_event("x", "x" * 20)
    client.disconnect()
    with pytest.raises(NotConnected, match="'x' cannot be sent without a connection"):
        client.send_event("x", {})


def test_8_20_signing_out_replaces_the_connection_by_one_without_the_user() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    client.signout()  # nothing to withdraw
    client.signin()
    assert client.wait_signed_in(5) == "7"
    before = client.socket_id
    client.signout()
    client.wait_connected()
    world.run(60)
    assert client.socket_id != before
    assert client.user.id is None
    with pytest.raises(LocalProtocolError, match="call signin"):
        client.wait_signed_in(5)
    client.signin()
    assert client.wait_signed_in(5) == "7"


def test_8_20_signing_out_before_the_sign_in_was_sent_keeps_the_connection() -> None:
    world, client = asking(9999, temporary=True)
    client.signin()
    world.run(2)
    before = client.socket_id
    client.signout()
    world.run(60)
    assert client.socket_id == before
    assert client.user.state == "signed_out"


def test_many_channels_in_one_call() -> None:
    world = World()
    client = connected(world, world.options(auth=None))
    with pytest.raises(UnsupportedFeature, match="'private-c' needs an authorization"):
        client.subscribe_many(["a", "b", "private-c"])
    with pytest.raises(InvalidName):
        client.subscribe_many(["a", "not a name"])
    assert client.channels == {}
    handles = client.subscribe_many(["a", "b", "a"])
    assert list(handles) == ["a", "b"]
    assert handles == client.channels
    goal = client._goals.all_subscribed(["a", "b"])
    client._wait(goal, 5)
    assert {channel.state for channel in handles.values()} == {ChannelState.SUBSCRIBED}
    client.unsubscribe_all()
    assert client.channels == {}
    with client._guard, pytest.raises(NotSubscribed, match="'a' is not subscribed"):
        goal.check()


def test_channels_in_one_call_are_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    client = connected(world, world.options(max_channels=2))
    changed, calls = client._changed, list[int]()

    def counted() -> None:
        calls.append(len(client._session.channels()))
        changed()

    monkeypatch.setattr(client, "_changed", counted)
    with pytest.raises(LocalProtocolError, match="there would be 3 channels, and 2 are allowed"):
        client.subscribe_many(["a", "b", "c"])
    assert (calls, client.channels) == ([], {})
    client.subscribe_many(["a", "b", "a"])
    assert calls == [2]
    world.run(1)
    states = {name: channel.state for name, channel in client.channels.items()}
    assert states == {"a": ChannelState.SUBSCRIBED, "b": ChannelState.SUBSCRIBED}
    client.close()
    with pytest.raises(ClientClosed):
        client.subscribe_many([])


def private_room(**options: Any) -> tuple[World, FakeClient, FakeChannel]:
    world = World()
    client, [channel] = subscribed(world, "private-room", options=world.options(**options))
    world.heard()
    return world, client, channel


def flush(client: FakeClient, timeout: float = 60) -> None:
    client._wait(client._goals.flushed(), timeout)


def test_r5_a_flush_ends_when_the_server_has_every_triggered_event() -> None:
    world, client, channel = private_room(client_event_rate=2, client_event_overflow="wait")
    for number in range(5):
        channel.trigger("client-e", number)
    began = world.now
    flush(client)
    assert [name for name, _ in world.heard()] == ["client-e"] * 5 + ["pusher:ping"]
    assert 1.4 < world.now - began < 2.5
    client.ping()
    flush(client)
    assert [name for name, _ in world.heard()] == ["pusher:ping"] * 2


def test_r5_a_flush_that_cannot_be_answered_is_an_error() -> None:
    world, client, channel = private_room()
    world.at(0.001, lambda: world.act(world.server.drop, 4200, "again"))
    channel.trigger("client-e", 1)
    with pytest.raises(ConnectionEnded, match="some of them may be lost"):
        flush(client)
    client.disconnect()
    with pytest.raises(NotConnected, match="no connection to flush"):
        flush(client)


def test_r7_past_the_rate_trigger_raises_and_says_when() -> None:
    world, _client, channel = private_room(client_event_rate=2)
    channel.trigger("client-e", 1)
    channel.trigger("client-e", 2)
    with pytest.raises(RateLimited, match="more than 2 client events in a second") as raised:
        channel.trigger("client-e", 3)
    assert isinstance(raised.value, LocalProtocolError)
    assert pickle.loads(pickle.dumps(raised.value)).retry_after == raised.value.retry_after
    world.run(raised.value.retry_after)
    channel.trigger("client-e", 3)
    world.run(1)
    assert len(world.heard()) == 3


@tried
@given(st.integers(1, 5), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_r7_events_past_the_rate_wait_and_are_sent_in_order(rate: int, bursts: list[int]) -> None:
    world, client, channel = private_room(client_event_rate=rate, client_event_overflow="wait")
    other = connected(world)
    got = iter(other.subscribe("private-room").wait_subscribed())
    number = 0
    for burst in bursts:
        for _ in range(burst):
            channel.trigger("client-e", number)
            number += 1
        world.run(0.25)
    world.run(number / rate + 1)
    assert datas(got.ready()) == [*range(number)]
    assert client.session.waiting_events == 0


def test_r7_waiting_events_are_bounded_and_lost_with_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _world, client, channel = private_room(
        client_event_rate=1, client_event_overflow="wait", outbox_limit=300
    )
    with pytest.raises(OutboxFull):
        for number in range(100):
            channel.trigger("client-e", number)
    waiting = client.session.waiting_events
    assert 0 < waiting < 10
    client.reconnect()
    assert client.session.waiting_events == 0
    lost = f"{waiting} client events that waited for Options.client_event_rate were lost"
    assert [text for text in caplog.messages if text.startswith(lost)]


class Person(msgspec.Struct):
    name: str


def test_5_14_members_are_given_as_a_type() -> None:
    world = World()
    key = world.own_key(member={"user_id": "1", "user_info": {"name": "Ada"}})
    _client, [channel] = subscribed(world, "presence-room", options=world.options(auth=key))
    assert channel.members_as(Person) == {"1": Person("Ada")}
    with pytest.raises(DataError, match="the info of the member '1' of 'presence-room'"):
        channel.members_as(int)


def test_r_options_auto_connect_false_waits_for_connect() -> None:
    assert Options.from_host("h", key="k").auto_connect
    assert not Options.from_host("h", key="k", auto_connect=False).auto_connect


# 5.3: every message of the server


def test_5_3_every_message_is_given_as_received_before_its_event() -> None:
    world = World()
    client = FakeClient(world, connect=False)
    messages, all_events = client.events(Message), client.events()
    client.connect()
    client.subscribe("room").wait_subscribed()
    mine = client.channel("room").events(Message)
    publish(world, {"n": 1})
    world.say("pusher:unknown", {"x": 1}, None)
    world.say("news", "text", "never-asked-for")
    client.ping()
    world.run(1)
    got = messages.ready()
    assert [(each.event, each.channel) for each in got] == [
        ("pusher:connection_established", None),
        ("pusher_internal:subscription_succeeded", "room"),
        ("pusher_internal:subscription_count", "room"),
        ("e", "room"),
        ("pusher:unknown", None),
        ("news", "never-asked-for"),
        ("pusher:pong", None),
    ]
    assert msgspec.json.decode(got[3].raw) == {
        "event": "e",
        "channel": "room",
        "data": '{"n":1}',
    }
    assert got[3].data == '{"n":1}'
    assert [each.event for each in mine.ready()] == ["e"]
    assert not any(isinstance(event, Message) for event in all_events.ready())


def test_5_3_messages_of_the_protocol_are_given_without_events() -> None:
    world = World()
    client = FakeClient(world, connect=False)
    messages, events = client.events(ProtocolMessage), client.events(ChannelEvent)
    client.connect()
    client.subscribe("room").wait_subscribed()
    mine = client.channel("room").events(ProtocolMessage)
    publish(world, 1)
    world.say("news", [[[[[[[[1]]]]]]]], "room")  # too deep for the fast lane
    world.say("news", "text", "never-asked-for")
    world.say("maintenance", "soon", None)
    world.say("pusher:cache_miss", {}, "room", more=2)
    world.run(1)
    got = messages.ready()
    assert [(each.event, each.channel) for each in got] == [
        ("pusher:connection_established", None),
        ("pusher_internal:subscription_succeeded", "room"),
        ("pusher_internal:subscription_count", "room"),
        ("maintenance", None),
        ("pusher:cache_miss", "room"),
    ]
    assert msgspec.json.decode(got[4].raw) == {
        "event": "pusher:cache_miss", "channel": "room", "data": {}, "more": 2,
    }  # fmt: skip
    assert (got[4].data, got[4].extra) == ({}, {"more": 2})
    assert [each.event for each in mine.ready()] == ["pusher:cache_miss"]
    assert [event.name for event in events.ready()] == ["e", "news"]


def test_5_3_messages_are_not_made_when_no_consumer_asks() -> None:
    world, client, channel = room()
    connector = client.session._connector
    stream = channel.events()
    some, every = client.bind(ProtocolMessage, print), client.bind(Message, print)
    assert connector.wants_texts is Message
    every.cancel()
    assert connector.wants_texts is ProtocolMessage
    some.cancel()
    assert connector.wants_texts is None
    publish(world, 1)
    assert [type(event) for event in stream.ready()][-1] is ChannelEvent
    assert client.events(Message).ready() == []  # none was kept


def test_5_3_rubbish_is_not_a_message() -> None:
    world, client, _channel = room()
    messages, violations = client.events(Message), client.events(ProtocolViolation)
    world.act(world.server.send_raw, None, frame(b"rubbish"))
    publish(world, 1)
    assert [each.event for each in messages.ready()] == ["e"]
    assert len(violations.ready()) == 1


# 1.19: another server or app


def test_1_19_reconnecting_by_other_options_keeps_channels_and_streams() -> None:
    world, client, channel = room()
    stream = iter(channel)
    other = world.options(query={"tenant": "b"}, origin="https://b.example")
    client.reconnect(options=other)
    assert client.options is other
    channel.wait_subscribed(60)
    publish(world, 1)
    assert next(stream).data == 1
    link = client.session._connector._link
    assert link is not None
    assert link._options is other


# Corners of the room


class Unhashable:
    """A handler that cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]  # on purpose

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self, event: ChannelEvent) -> None:
        self.seen.append(event.data)


def test_a_handler_that_cannot_be_hashed_is_called_found_and_cancelled() -> None:
    world, _client, channel = room()
    one, other = Unhashable(), Unhashable()
    channel.bind("e", one)
    channel.bind("e", other).cancel()
    channel.bind("e", other)
    publish(world, 1)
    channel.unbind("e", one)
    publish(world, 2)
    assert (one.seen, other.seen) == ([1], [1, 2])


def test_a_predicate_beside_message_is_asked_about_the_other_events_alone() -> None:
    world, client, _channel = room()
    asked: list[Event] = []

    def ask(event: Event) -> bool:
        asked.append(event)
        return False

    stream = client.events((Message, ask))
    publish(world, 1)
    assert [type(event) for event in stream.ready()] == [Message]
    assert [type(event) for event in asked] == [ChannelEvent]


def test_a_wait_gets_what_a_stream_that_was_left_held_up() -> None:
    world, client, channel = room(receive_buffer=500)
    left = [channel.events("other")]
    wait = channel.waiting("e")
    publish(world, *range(20), event="other")
    publish(world, 7)
    with client._guard:
        assert wait.check() is Nothing.PENDING
    left.clear()
    gc.collect()
    with client._guard:
        assert wait.check().data == 7
    wait.close()


def test_many_selectors_of_one_task_are_bounded() -> None:
    _world, client, channel = room()
    client.bind(ChannelEvent, lambda event: None)
    for number in range(70):
        with pytest.raises(PusherTimeout):
            channel.wait_for(f"e{number}", timeout=0)
    assert len(client._delivery.traces._places[client.who]) == 64


def test_D5_the_oldest_events_are_forgotten_after_ten_seconds_of_waiting() -> None:
    world, client, channel = room()
    client.bind(ChannelEvent, lambda event: None)
    world.at(1, lambda: publish(world, 1, 2))
    assert channel.wait_for("e").data == 1
    world.run(6)
    with pytest.raises(PusherTimeout):
        channel.wait_for("e", lambda event: event.data == 9, timeout=1)
    world.run(6)
    publish(world, 3)
    assert channel.wait_for("e").data == 3


def test_a_stream_that_a_driver_emptied_by_itself_lets_reading_continue() -> None:
    world, client, channel = room(receive_buffer=500)
    stream = channel.events("e")
    publish(world, *range(20))
    assert not client.reads
    count = len(stream._sink.queue)
    stream._sink.queue.clear()  # as a driver's step does, without a call for each event
    assert datas(stream.ready()) == list(range(count, 20))
    assert client.reads


def test_a_wait_continues_after_an_unread_stream_held_up_other_events() -> None:
    world, client, channel = room()
    left = [channel.events("other", buffer=1)]
    wait = channel.waiting("e")
    publish(world, 1, 2, event="other")
    left.clear()
    gc.collect()
    with client._guard:
        assert wait.check() is Nothing.PENDING
    wait.close()


def test_a_handler_that_was_called_once_may_be_cancelled() -> None:
    world, _client, channel = room()
    seen: list[Any] = []
    binding = channel.bind("e", lambda event: seen.append(event.data), once=True)
    publish(world, 1)
    binding.cancel()
    binding.cancel()
    publish(world, 2)
    assert seen == [1]


def test_every_event_goes_to_the_hook_and_what_it_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, seen = World(), list[Event]()

    def hook(event: Event) -> None:
        seen.append(event)
        raise RuntimeError

    _client, [channel] = subscribed(world, "room", on_event=hook)
    stream = channel.events("e", buffer=1, overflow="drop_oldest")
    publish(world, 1, 2, 3)
    assert datas(stream.ready()) == [3]
    publish(world, 4)
    assert datas(stream.ready()) == [4]
    kinds = [type(event).__name__ for event in seen]
    assert kinds.count("ChannelEvent") == 4
    assert kinds.count("EventsDropped") == 1
    assert "on_event raised for ChannelEvent" in caplog.messages


def test_one_of_two_equal_handlers_may_be_cancelled() -> None:
    world, _client, channel = room()
    seen: list[Any] = []

    def note(event: ChannelEvent) -> None:
        seen.append(event.data)

    channel.bind("e", note)
    channel.bind("e", note).cancel()
    publish(world, 1)
    channel.unbind("e", note)
    publish(world, 2)
    assert seen == [1]


def test_3_6_last_error_and_retry_at_of_the_client() -> None:
    world = World()
    client = connected(world)

    def seen() -> tuple[BaseException | None, float]:
        return client.last_error, client.retry_at or 0.0

    assert seen() == (None, 0.0)
    world.act(world.server.drop, 4100)
    world.run(0.1)
    error, retry_at = seen()
    assert error is not None
    assert retry_at > world.now
    world.run(120)
    assert seen() == (None, 0.0)


def test_4_6_a_function_without_a_signature_is_called_with_the_bytes() -> None:
    decode = with_names(str)
    assert decode is not None
    assert decode(b"x", "room", "event") == "b'x'"
    named = with_names(lambda *values: "/".join(map(str, values)))
    assert named is not None
    assert named(b"x", "room", "event") == "b'x'/room/event"
