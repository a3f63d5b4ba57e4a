"""Streams, waits for one event, and bindings: what they are given, in which order, and how they end."""

from __future__ import annotations

import gc
import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict
from weakref import ref

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.fake_client import (
    FakeClient,
    FakeStream,
    Stuck,
    connected,
    datas,
    room,
)
from proto.websocket_peer import frame
from pusher_proto import (
    AuthorizationError,
    ChannelEvent,
    ClientClosed,
    ConnectionEstablished,
    ConnectionFailed,
    DataError,
    Event,
    LocalProtocolError,
    MemberAdded,
    MemberRemoved,
    NotSubscribed,
    PusherTimeout,
    SignInError,
    StateChanged,
    StreamOverflow,
    Subscribed,
    SubscriptionError,
    TypedEvent,
    Unsubscribed,
    UserEvent,
)
from simulation import World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "100"))
tried = settings(max_examples=EXAMPLES, deadline=None)


def publish(world: World, *values: Any, channel: str = "room", event: str = "price") -> None:
    for value in values:
        world.publish(channel, event, value)


def names(events: list[Any]) -> list[str]:
    return [getattr(event, "name", type(event).__name__) for event in events]


# Which events


def starts_with_p(event: Event) -> bool:
    return isinstance(event, ChannelEvent) and event.name.startswith("p")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("price", ["price"]),
        (("price", "volume"), ["price", "volume"]),
        (("volume", MemberAdded), ["volume", "MemberAdded"]),
        (ChannelEvent, ["price", "volume", "online", "pusher-like"]),
        ("pusher:member_added", ["MemberAdded"]),
        ((MemberRemoved, "pusher:member_added"), ["MemberAdded", "MemberRemoved"]),
        ("online", ["online"]),
        (starts_with_p, ["price", "pusher-like"]),
        ((starts_with_p, "volume"), ["price", "volume", "pusher-like"]),
        ("nothing-of-that", []),
        ("pusher:subscription_succeeded", ["Subscribed"]),
        (
            None,
            [
                "Subscribed",
                "price",
                "volume",
                "online",
                "pusher-like",
                "MemberAdded",
                "MemberRemoved",
                "Unsubscribed",
            ],
        ),
    ],
)
def test_a_selector_says_which_events_a_stream_gives(selector: Any, expected: list[str]) -> None:
    world = World()
    key = world.own_key(member={"user_id": "me"})
    client = connected(world, world.options(auth=key))
    stream = client.channel("presence-room").events(selector)
    client.subscribe("presence-room").wait_subscribed()
    for name in ("price", "volume", "online", "pusher-like"):
        publish(world, 1, channel="presence-room", event=name)
    other = connected(world, world.options(auth=world.own_key(member={"user_id": "other"})))
    other.subscribe("presence-room").wait_subscribed()
    other.close()
    world.run(1)
    client.unsubscribe("presence-room")
    assert names(stream.ready()) == expected


def test_a_stream_of_the_client_gives_the_events_of_all_channels_and_its_own() -> None:
    world = World()
    client = FakeClient(world)
    stream = client.events(lambda event: not isinstance(event, StateChanged))
    rooms, users = client.events(ChannelEvent), client.user.events()
    client.signin()
    client.subscribe("one")
    client.subscribe("two").wait_subscribed()
    publish(world, 1, channel="one")
    publish(world, 2, channel="two")
    assert names(stream.ready()) == [
        "ConnectionEstablished",
        "SignInFailed",
        "Subscribed",
        "SubscriptionCount",
        "Subscribed",
        "SubscriptionCount",
        "price",
        "price",
    ]
    assert [(event.channel, event.data) for event in rooms.ready()] == [("one", 1), ("two", 2)]
    with pytest.raises(SignInError, match="has no `user`"):
        users.ready()


def test_messages_for_the_user_reach_the_user_and_the_client() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    client.signin()
    assert client.wait_signed_in() == "7"
    world.run(1)
    of_user, of_client = client.user.events("note"), client.events(ChannelEvent)
    iterated = iter(client.user)
    world.act(world.server.send_to_user, "7", "note", {"n": 1})
    world.run(1)
    expected = [UserEvent("#server-to-user-7", "note", '{"n":1}')]
    assert of_user.ready() == of_client.ready() == iterated.ready() == expected
    assert type(expected[0]) is UserEvent


def test_each_of_many_streams_gives_all_events() -> None:
    world, client, channel = room()
    streams = [(client if n % 2 else channel).events("price") for n in range(20)]
    publish(world, 1, 2, 3)
    assert [datas(stream.ready()) for stream in streams] == [[1, 2, 3]] * 20


def test_iterating_a_channel_gives_its_messages_alone() -> None:
    world, client, channel = room()
    taken = []
    stream = iter(channel)
    client.disconnect()
    client.connect()
    channel.wait_subscribed()
    publish(world, 1, 2)
    for event in stream:
        taken.append(event.data)
        if len(taken) == 2:
            break
    assert taken == [1, 2]
    assert stream.ready() == []


def test_a_stream_is_opened_at_the_call_and_not_at_the_first_step() -> None:
    world, _, channel = room()
    stream = channel.events("price")
    channel.bind("price", print_nothing)  # so that nothing is kept as backlog
    publish(world, 1, 2)
    assert datas([next(stream), next(stream)]) == [1, 2]


def print_nothing(event: Event) -> None:
    """A handler that does nothing."""


def test_data_is_decoded_once_and_shared_by_all_consumers() -> None:
    world, client, channel = room()
    handled: list[Any] = []
    channel.bind("price", lambda event: handled.append(event.data))
    streams = [channel.events(), channel.events("price"), client.events(), iter(channel)]
    publish(world, {"a": [1]})
    [first, *others] = [stream.ready()[-1].data for stream in streams]
    assert first == {"a": [1]}
    assert all(data is first for data in [*others, *handled])
    assert len(handled) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"buffer": 0}, ValueError, "at least 1"),
        ({"overflow": "block"}, ValueError, "overflow is one of wait, drop_oldest"),
        ({"invalid": "log"}, ValueError, "invalid is 'raise' or 'skip', not 'log'"),
        ({"type": int, "decoder": int}, ValueError, "only one of type, types and decoder"),
        ({"type": list[int] | list[str]}, TypeError, "Type unions may not contain"),
        ({"selector": 5}, TypeError, "a selector is an event's name"),
        ({"selector": ("a", None)}, TypeError, "a selector is an event's name"),
        ({"selector": int}, TypeError, "int is not an event class"),
    ],
)
def test_wrong_arguments_raise_and_open_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    _, client, channel = room()
    with pytest.raises(error, match=message):
        channel.events(**arguments)
    assert [sink for sink in client._delivery.router if sink.claims] == []


def test_the_step_raises_what_a_predicate_raises_and_the_stream_continues() -> None:
    world, _, channel = room()
    stream = channel.events(lambda event: 1 / event.data > 0)
    other = channel.events("price")
    publish(world, 1)
    publish(world, 0, 0)
    publish(world, 2)
    assert [next(stream).data, next(stream).data] == [1, 2]
    with pytest.raises(ZeroDivisionError) as caught:
        next(stream)
    assert "<lambda>" in [entry.name for entry in caught.traceback]
    publish(world, 0)
    with pytest.raises(ZeroDivisionError):  # wakes who waits
        next(stream)
    publish(world, 3)
    assert next(stream).data == 3
    assert datas(other.ready()) == [1, 0, 0, 2, 0, 3]


def test_a_predicate_may_command_the_client_and_order_is_kept() -> None:
    world, client, channel = room()
    opened: list[FakeStream[Any]] = []

    def meddle(event: Event) -> bool:
        if isinstance(event, ChannelEvent) and event.data == 1:
            client.subscribe("other")
            opened.append(channel.events("price"))
            with client._guard:
                client._changed()
        return True

    first, last = channel.events(meddle), channel.events("price")
    message = b'{"event":"price","channel":"room","data":"%d"}'
    world.act(world.server.send_raw, None, b"".join(frame(message % n) for n in (1, 2, 3)))
    world.run(1)
    assert datas([event for event in first.ready() if isinstance(event, ChannelEvent)]) == [1, 2, 3]
    assert datas(last.ready()) == [1, 2, 3]
    assert datas(opened[0].ready()) == [2, 3]


def test_a_predicate_may_close_its_own_stream() -> None:
    world, _, channel = room()
    streams: list[FakeStream[Any]] = []

    def once(event: Event) -> bool:
        streams[0].close()
        return True

    streams.append(channel.events(once))
    publish(world, 1)
    assert list(streams[0]) == []


# How it ends


def test_closing_a_stream_frees_it_at_once_and_ends_its_iteration() -> None:
    world, client, channel = room()
    with channel.events("price") as stream:
        publish(world, 1, 2)
        event = ref(stream)
        assert next(stream).data == 1
    assert list(stream) == []
    stream.close()
    assert list(stream) == []
    assert [sink for sink in client._delivery.router if sink.claims] == []
    publish(world, 3)
    assert stream.ready() == []
    del stream
    assert event() is None


def test_a_stream_that_waits_ends_when_it_is_closed() -> None:
    world, _, channel = room()
    stream = channel.events("price")
    world.at(5, stream.close)
    began = world.now
    assert list(stream) == []
    assert world.now == began + 5


def test_leaving_a_loop_over_a_channel_closes_its_stream() -> None:
    world, client, channel = room()
    publish(world, 1, 2)
    for event in channel:
        assert event.data == 1
        break
    with client._guard:
        assert client._delivery.sweep()
    assert [sink for sink in client._delivery.router if sink.claims] == []
    publish(world, *range(3, 6))
    assert datas(iter(channel).ready()) == [3, 4, 5]


def test_a_full_stream_that_is_not_read_holds_up_no_other() -> None:
    world, client, channel = room(receive_buffer=40_000)
    other = channel.events("price")
    left = iter(channel)
    for value in range(3000):
        world.act(world.server.publish, "room", "price", value)
    world.run(1)
    first = datas(other.ready())
    assert not client.reads
    assert first == list(range(len(first)))
    del left  # the next step finds it
    rest = []
    while more := datas(other.ready()):
        rest += more
        world.run(1)
    assert first + rest == list(range(3000))
    assert client.reads


def test_a_driver_is_notified_when_a_stream_was_left() -> None:
    world, client, channel = room(receive_buffer=2000)
    reported: list[int] = []

    def wake() -> None:
        reported.append(1)
        world.at(0, client.device.pump)

    client._delivery._driver = client._delivery._driver._replace(wake=wake)  # a driver's
    other = channel.events("price")
    left = [channel.events("price")]
    publish(world, *range(1000))
    read = len(datas(other.ready()))
    assert 0 < read < 1000
    world.at(1, left.clear)
    assert next(other).data == read
    assert reported == [1]


def test_opening_a_stream_lets_go_what_a_stream_that_was_left_held() -> None:
    world, _, channel = room()
    other = channel.events("price")
    left = channel.events("price")
    publish(world, 0, 1, 2, 3)
    assert datas(other.ready()) == [0, 1, 2, 3]
    del left
    later = channel.events("price")
    publish(world, 4)
    assert datas(later.ready())[-1] == 4
    assert datas(other.ready()) == [4]


def test_a_stream_ends_after_what_is_buffered_when_the_client_is_closed() -> None:
    world, client, channel = room()
    stream = channel.events("price")
    publish(world, 1, 2)
    client.close()
    assert datas(list(stream)) == [1, 2]
    assert list(stream) == []
    with pytest.raises(ClientClosed):
        channel.events("price")


def test_a_stream_that_waits_ends_when_the_client_is_closed() -> None:
    world, client, channel = room()
    stream, of_client = channel.events("price"), client.events("price")
    world.at(5, lambda: client.device.do(client.session.close))
    assert list(stream) == list(of_client) == []


def fail(world: World) -> None:
    """Let the server refuse the app permanently."""
    world.act(world.server.drop, 4009, "no such app: disconnected by the app")
    world.run(1)


def test_a_stream_raises_the_terminal_error_each_time_after_what_is_buffered() -> None:
    world, client, channel = room()
    streams = [channel.events("price"), client.events("price")]
    publish(world, 1, 2)
    fail(world)
    for stream in streams:
        assert datas([next(stream), next(stream)]) == [1, 2]
        caught = []
        for _ in range(3):
            with pytest.raises(ConnectionFailed, match="no such app") as info:
                next(stream)
            caught.append(info.value)
        assert len({id(error) for error in caught}) == 3
        assert len({len(traceback.extract_tb(error.__traceback__)) for error in caught}) == 1
    client.connect()
    channel.wait_subscribed()
    publish(world, 3)
    assert [next(stream).data for stream in streams] == [3, 3]


def test_a_stream_that_waits_raises_the_terminal_error_at_once() -> None:
    world, _, channel = room()
    stream = channel.events("price")
    world.at(5, lambda: fail(world))
    with pytest.raises(ConnectionFailed):
        next(stream)


def test_the_terminal_error_is_reported_even_when_the_client_was_closed_after_it() -> None:
    world, client, channel = room()
    stream = channel.events("price")
    fail(world)
    client.close()
    with pytest.raises(ConnectionFailed):
        next(stream)
    with pytest.raises(ConnectionFailed):
        client.run()
    with pytest.raises(ConnectionFailed):
        client.wait_connected()


# A wait for one event


def test_two_waits_in_a_row_get_two_events_in_a_row() -> None:
    world, _, channel = room()
    for value in (1, 2, 3):
        world.act(world.server.publish, "room", "price", value)
    assert [channel.wait_for("price").data for _ in range(3)] == [1, 2, 3]


@tried
@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.lists(st.sampled_from(["any", "even", "odd"]), max_size=8),
    st.integers(0, 12),
)
def test_waits_take_what_they_mean_and_leave_the_rest_in_order(
    values: list[int], waits: list[str], early: int
) -> None:
    tests: dict[str, Callable[[Any], bool] | None] = {
        "any": None,
        "even": lambda event: event.data % 2 == 0,
        "odd": lambda event: event.data % 2 == 1,
    }
    world, client, channel = room()
    numbered = [10 * n + value for n, value in enumerate(values)]
    publish(world, *numbered[:early])
    for value in numbered[early:]:
        world.act(world.server.publish, "room", "price", value)
    left = numbered.copy()
    for wait in waits:
        test = tests[wait]
        expected = [n for n in left if wait == "any" or n % 2 == (wait == "odd")][:1]
        try:
            taken = [channel.wait_for("price", test, timeout=1).data]
        except PusherTimeout:
            taken = []
        assert taken == expected
        for value in taken:
            left.remove(value)
    world.run(1)
    assert datas(channel.events(ChannelEvent).ready()) == left
    assert len(client._delivery.waits) == 0


def test_a_wait_takes_one_event_and_other_consumers_have_it_too() -> None:
    world, client, channel = room()
    stream = channel.events("price")
    world.at(1, lambda: publish(world, 1, 2))
    assert channel.wait_for("price", lambda event: event.data == 2).data == 2
    assert datas(stream.ready()) == [1, 2]
    assert [sink.claims for sink in client._delivery.router] == [True, False]
    world.run(10)
    client.device.pump()
    assert [sink.claims for sink in client._delivery.router] == [True]


def test_a_wait_that_is_given_up_gives_back_what_it_had_got() -> None:
    world, _client, channel = room()
    publish(world, 0, event="other")
    wait = channel.waiting("price")
    publish(world, 1, 2)
    publish(world, 3, event="other")
    wait.close()  # as when it is cancelled in the moment in which the event came
    assert datas(channel.events(ChannelEvent).ready()) == [0, 1, 2, 3]


def test_a_wait_that_is_given_up_gives_back_what_was_kept_for_it() -> None:
    world, client, channel = room()
    publish(world, 1, 2, 3)
    client.waiting("price", lambda event: event.data == 2).close()
    assert datas(channel.events(ChannelEvent).ready()) == [1, 2, 3]


def test_what_others_had_too_is_not_given_back() -> None:
    world, _client, channel = room()
    wait = channel.waiting("price")
    other = channel.events("price")
    publish(world, 1)
    wait.close()
    assert datas(other.ready()) == [1]
    assert channel.events("price").ready() == []


def test_events_that_were_not_taken_are_not_given_back_to_an_unsubscribed_channel() -> None:
    world, client, channel = room()
    wait = channel.waiting("price")
    publish(world, 1)
    channel.unsubscribe()
    wait.close()
    client.subscribe("room")
    assert channel.events("price").ready() == []


def test_a_wait_for_a_change_gets_the_next_one() -> None:
    world, client, channel = room()
    world.at(1, client.reconnect)
    established = client.wait_for(ConnectionEstablished)
    assert established.socket_id == client.socket_id
    assert channel.wait_for(Subscribed).channel == "room"
    world.at(1, channel.unsubscribe)
    assert channel.wait_for(Unsubscribed) == Unsubscribed("room")


def test_a_wait_ends_with_a_timeout_that_names_the_missing_event() -> None:
    world, client, channel = room()
    began = world.now
    with pytest.raises(PusherTimeout, match=r"^no 'price' was received within 2.5 s$"):
        channel.wait_for("price", timeout=2.5)
    assert world.now == began + 2.5
    assert [sink for sink in client._delivery.router if sink.claims] == []
    with pytest.raises(Stuck):
        channel.wait_for("price")


def test_the_wait_raises_what_a_predicate_raises() -> None:
    world, _, channel = room()
    publish(world, 0)
    with pytest.raises(ZeroDivisionError):
        channel.wait_for("price", lambda event: 1 / event.data > 0)
    world.at(1, lambda: publish(world, 0))
    with pytest.raises(ZeroDivisionError):
        channel.wait_for("price", lambda event: 1 / event.data > 0)


def refuse(world: World, client: FakeClient) -> None:
    world.act(world.server.refuse_channel, "private-room", message="not you")
    client.subscribe("private-room")


@pytest.mark.parametrize("late", [False, True], ids=["before the wait", "during the wait"])
@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (lambda world, client: client.subscribe("private-room"), None),
        (lambda world, client: client.close(), ClientClosed),
        (lambda world, client: fail(world), ConnectionFailed),
        (lambda world, client: client.unsubscribe("private-room"), NotSubscribed),
        (refuse, SubscriptionError),
    ],
    ids=["it comes", "closed", "failed", "unsubscribed", "refused"],
)
def test_a_wait_ends_at_once_when_the_event_cannot_arrive(
    cause: Callable[[World, FakeClient], object], error: type[Exception] | None, late: bool
) -> None:
    world = World()
    client = connected(world)
    channel = client.channel("private-room")
    if late:
        world.act(world.server.delay, 3.0, "subscribe")
        client.subscribe("private-room")

        def soon() -> None:
            if error is ClientClosed:
                client.device.do(client.session.close)
            else:
                cause(world, client)

        if error is SubscriptionError:
            refuse(world, client)
        else:
            world.at(1, soon)
    else:
        cause(world, client)
        world.run(1)
    world.at(10, lambda: publish(world, 1, channel="private-room"))
    began = world.now
    if error is None:
        assert channel.wait_for("price").data == 1
    else:
        with pytest.raises(error):
            channel.wait_for("price")
        assert world.now - began < 4
    assert len(client._delivery.waits) == 0


def test_a_wait_on_a_channel_without_a_subscription_raises() -> None:
    _, client, _ = room()
    with (
        client.no_time(),
        pytest.raises(NotSubscribed, match="'other' is not subscribed: call subscribe"),
    ):
        client.channel("other").wait_for("price")


def test_a_wait_on_a_channel_without_an_authorization_raises_why() -> None:
    world = World()

    def refuse(request: object) -> None:
        raise ValueError("no")

    client = connected(world, world.options(auth=None), authorizer=refuse)
    with pytest.raises(AuthorizationError):
        client.subscribe("private-room").wait_for("price")


def test_a_wait_for_a_message_to_the_user_ends_when_no_user_will_be_signed_in() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    with client.no_time(), pytest.raises(LocalProtocolError, match="call signin"):
        client.user.wait_for("note")
    client.signin()
    world.at(1, lambda: world.act(world.server.send_to_user, "7", "note", 1))
    assert client.user.wait_for("note").data == 1
    other = connected(world)  # whose key knows no user
    other.signin()
    with pytest.raises(SignInError):
        other.user.wait_for("note")


# Typed data


class Price(msgspec.Struct):
    of: str
    cents: int


@dataclass
class Point:
    x: int
    y: int = 0


class Named(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (Price, {"of": "tea", "cents": 5, "more": 1}, Price("tea", 5)),
        (Point, {"x": 1}, Point(1)),
        (Named, {"name": "n"}, {"name": "n"}),
        (int, 7, 7),
        (int | None, "", None),
        (list[int], [1, 2], [1, 2]),
    ],
)
def test_data_is_decoded_to_a_type(kind: Any, sent: Any, expected: Any) -> None:
    world, _, channel = room()
    stream = channel.events("price", type=kind)
    plain = channel.events("price")
    publish(world, sent)
    event = next(stream)
    assert type(event) is TypedEvent
    assert event.data == expected
    assert type(event.data) is type(expected)
    assert event == next(plain)


def test_the_decoded_event_has_all_that_the_message_had() -> None:
    world, _, channel = room()
    stream = channel.events(type=dict[str, int])
    world.say("price", '{"a":1}', "room", user_id="7", trace="x")
    [event] = stream.ready()
    assert (event.channel, event.name, event.raw_data) == ("room", "price", '{"a":1}')
    assert (event.user_id, event.extra, event.cached) == ("7", {"trace": "x"}, False)
    assert event.data == {"a": 1}


def test_a_typed_stream_gives_messages_and_nothing_else() -> None:
    world = World()
    client = connected(world)
    stream = client.events(type=int)
    client.subscribe("room").wait_subscribed()
    publish(world, 1)
    fail(world)
    assert next(stream).data == 1
    with pytest.raises(ConnectionFailed):
        next(stream)


def test_data_that_does_not_fit_raises_and_the_stream_continues() -> None:
    world, _, channel = room()
    stream = channel.events("price", type=Price)
    publish(world, {"of": "tea", "cents": "many"}, "not json", {"of": "tea", "cents": 5})
    with pytest.raises(DataError) as info:
        next(stream)
    assert str(info.value) == (
        "the data of 'price' on 'room' does not match the type: Expected `int`, got `str` - at `$.cents`"
    )
    assert isinstance(info.value.__cause__, msgspec.ValidationError)
    with pytest.raises(
        DataError, match="the data of 'price' on 'room' does not match the type: JSON"
    ):
        next(stream)
    assert next(stream).data == Price("tea", 5)
    assert stream.skipped == 0


def test_data_that_does_not_fit_is_skipped_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, _, channel = room()
    stream = channel.events("price", type=int, invalid="skip")
    publish(world, "a", 1, [], "b", "b", 2)
    assert datas(stream.ready()) == [1, 2]
    assert stream.skipped == 4
    why = "skipped: the data of 'price' on 'room' does not match the type: "
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == [
        why + "JSON is malformed: invalid character (byte 0)",
        why + "Expected `int`, got `array` (2 times so far)",
        why + "JSON is malformed: invalid character (byte 0) (4 times so far)",
    ]


def test_a_decoder_of_the_application_is_given_the_text() -> None:
    world, _, channel = room()
    stream = channel.events("price", decoder=len)
    publish(world, {"a": 1}, "")
    assert datas(stream.ready()) == [7, 0]


def test_what_a_decoder_raises_is_a_data_error_that_shows_no_data() -> None:
    world, _, channel = room()
    stream = channel.events("price", decoder=int)
    skipping = channel.events("price", decoder=int, invalid="skip")
    publish(world, "secret", "5")
    with pytest.raises(DataError) as info:
        next(stream)
    assert str(info.value) == "the decoder refused the data of 'price' on 'room': ValueError"
    assert isinstance(info.value.__cause__, ValueError)
    assert next(stream).data == 5
    assert datas(skipping.ready()) == [5]
    assert skipping.skipped == 1


# Handlers


def test_a_handler_is_called_for_each_event_in_order() -> None:
    world, client, channel = room()
    calls: list[Any] = []
    first = channel.bind("price", lambda event: calls.append(("channel", event.data)))
    client.bind(ChannelEvent, lambda event: calls.append(("client", event.data)))
    publish(world, 1, 2)
    first.cancel()
    first.cancel()
    publish(world, 3)
    expected = [("channel", 1), ("client", 1), ("channel", 2), ("client", 2), ("client", 3)]
    assert calls == expected


def test_bind_is_a_decorator_and_gives_the_handler_back() -> None:
    world, client, channel = room()
    calls: list[Any] = []

    @channel.bind("price")
    @client.bind(ChannelEvent)
    def handler(event: Any) -> None:
        calls.append(names([event])[0])

    publish(world, 1)
    assert calls == ["price", "price"]
    assert handler.__name__ == "handler"


def test_what_is_not_a_function_cannot_be_bound() -> None:
    _, client, channel = room()
    with pytest.raises(TypeError, match="a handler is a function of the event, not 'price'"):
        channel.bind("price", "price")  # type: ignore[call-overload]  # wrong on purpose
    with pytest.raises(TypeError, match="a selector is"):
        channel.bind(5)(print_nothing)  # type: ignore[call-overload]  # wrong on purpose
    assert [sink for sink in client._delivery.router if sink.claims] == []


def test_a_handler_may_cancel_itself_and_is_not_called_for_waiting_events() -> None:
    world, _, channel = room()
    calls: list[Any] = []

    def handler(event: Any) -> None:
        calls.append(event.data)
        if event.data == 2:
            binding.cancel()

    binding = channel.bind("price", handler)
    for value in (1, 2, 3):
        world.act(world.server.publish, "room", "price", value)
    world.run(1)
    assert calls == [1, 2]


def test_a_handler_may_do_anything() -> None:
    world, client, channel = room()
    calls: list[Any] = []

    def handler(event: Any) -> None:
        calls.append(event.data)
        match event.data:
            case 1:
                client.subscribe("other")
                channel.bind("price", lambda event: calls.append(("other", event.data)))
            case 2:
                channel.unsubscribe()
            case 3:
                client.subscribe("room")
            case 4:
                client.device.do(client.session.close)

    channel.bind("price", handler)
    client.channel("other").bind("price", handler)
    publish(world, 1, 2, 9)
    publish(world, 3, channel="other")
    world.run(1)
    publish(world, 5)
    publish(world, 4)
    publish(world, 6)
    assert calls == [1, 2, ("other", 2), 3, 5, ("other", 5), 4, ("other", 4)]


def test_a_handlers_exception_is_logged_once_and_the_next_event_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel = room()
    calls: list[Any] = []

    def handler(event: Any) -> None:
        calls.append(names([event])[0])
        raise KeyError("oh")

    class Callable:
        def __call__(self, event: Event) -> None:
            raise KeyError("oh")

    channel.bind("price", handler)
    client.bind(StateChanged, handler)
    client.bind("price", Callable())
    publish(world, 1, 2)
    client.disconnect()
    world.run(1)
    assert calls == ["price", "price", "StateChanged"]
    of_handler = "the handler test_a_handlers_exception_is_logged_once_and_the_next_event_delivered.<locals>.handler"
    of_callable = of_handler.replace(".handler", ".Callable")
    assert [record.getMessage() for record in caplog.records] == [
        f"{of_handler} raised for price on room",
        f"{of_callable} raised for price on room",
        f"{of_handler} raised for price on room",
        f"{of_callable} raised for price on room",
        f"{of_handler} raised for StateChanged on the client",
    ]
    assert all(record.exc_info for record in caplog.records)


def test_what_the_selector_of_a_handler_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world, _, channel = room()
    calls: list[Any] = []

    def handler(event: Any) -> None:
        calls.append(event.data)

    channel.bind(lambda event: 1 / event.data > 0, handler)
    publish(world, 0, 1)
    assert calls == [1]
    [record] = caplog.records
    assert record.getMessage().endswith("handler raised for price on room")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_handler_that_holds_everything_up_is_named(caplog: pytest.LogCaptureFixture) -> None:
    world, _, channel = room()

    def slow(event: Any) -> None:
        world.now += event.data

    channel.bind("price", slow)
    publish(world, 1, 2)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("slow held up the event loop for 2.0 s")


def test_an_overflow_is_raised_where_the_gap_is() -> None:
    world, _, channel = room()
    stream = channel.events("price", buffer=2, overflow="raise")
    publish(world, 1, 2, 3)
    assert next(stream).data == 1
    publish(world, 4)  # there is room, but the gap comes first
    assert next(stream).data == 2
    with pytest.raises(
        StreamOverflow, match=r"more than 2 events were received .* \(buffer=\.\.\.\)"
    ):
        next(stream)
    assert stream.dropped == 2
    publish(world, 5)
    assert datas(stream.ready()) == [5]


def test_a_stream_without_a_reference_is_freed_without_the_garbage_collector() -> None:
    _, _, channel = room()
    gc.disable()
    try:
        streams = [ref(channel.events()) for _ in range(10)]
    finally:
        gc.enable()
    assert [stream() for stream in streams] == [None] * 10
