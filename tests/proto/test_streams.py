"""Buffers and routes: which consumer gets which event, what is dropped and counted, and which waits are woken."""

from __future__ import annotations

import functools
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._client import router as routing
from pusher_proto._client.router import Router
from pusher_proto._client.selectors import Choice, Selector
from pusher_proto._client.signal import Signal
from pusher_proto._client.sinks import OVERFLOW, Overflow, Sink
from pusher_proto.errors import StreamOverflow
from pusher_proto.events import (
    USER_SCOPE,
    CacheMiss,
    ChannelEvent,
    Closed,
    Event,
    MemberAdded,
    MemberRemoved,
    StateChanged,
    Subscribed,
    UserEvent,
    WatchlistOnline,
)
from pusher_proto.members import Member


def message(name: str = "price", channel: str = "room", data: Any = None) -> ChannelEvent:
    return ChannelEvent(channel, name, data)


def numbered(count: int) -> list[ChannelEvent]:
    return [message(data=number) for number in range(count)]


def sink(
    selector: Selector = None,
    *,
    channel: str | None = None,
    buffer: int = 10,
    overflow: Overflow = "wait",
    typed: bool = False,
    **more: Any,
) -> Sink:
    return Sink(Choice(selector, channel, typed=typed), buffer, overflow, **more)


def taken(one: Sink) -> list[Any]:
    """Take everything: the data of messages, other events, and exceptions as their types."""
    found: list[Any] = []
    while True:
        try:
            event = one.take()
        except Exception as error:
            found.append(type(error))
            continue
        if event is None:
            return found
        found.append(event.data if isinstance(event, ChannelEvent) else event)


# Signals.


def test_each_waiting_function_is_called_once() -> None:
    signal, called = Signal(), []
    signal.add(lambda: called.append("a"))
    signal.add(lambda: called.append("b"))
    signal.notify()
    signal.notify()
    assert called == ["a", "b"]


def test_a_function_that_no_longer_waits_is_not_called() -> None:
    signal, called = Signal(), []

    def one() -> None:
        called.append("one")

    signal.add(one)
    signal.add(one)
    signal.discard(one)
    signal.discard(lambda: None)  # was never there
    signal.notify()
    assert called == ["one"]


def test_a_function_that_waits_again_when_called_waits_for_the_next_time() -> None:
    signal = Signal()
    called: list[int] = []

    def again() -> None:
        called.append(len(called))
        signal.add(again)

    signal.add(again)
    for count in (1, 2, 3):
        signal.notify()
        assert len(called) == count


# Buffers.


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped", "episode"),
    [
        ("wait", [0, 1, 2, 3, 4], 0, 0),
        ("drop_oldest", [2, 3, 4], 2, 2),
        ("drop_newest", [0, 1, 2], 2, 2),
        ("raise", [0, 1, 2, StreamOverflow], 2, 0),
    ],
)
def test_what_a_full_buffer_keeps_is_its_policy(
    overflow: Overflow, kept: list[Any], dropped: int, episode: int
) -> None:
    one = sink(buffer=3, overflow=overflow)
    for event in numbered(5):
        one.put(event)
    assert (taken(one), one.dropped, one.episode) == (kept, dropped, episode)


@pytest.mark.parametrize(("buffer", "most"), [(1, 0), (2, 1), (3, 1), (10, 5), (1000, 500)])
def test_an_episode_of_dropping_ends_when_half_is_left(buffer: int, most: int) -> None:
    one = sink(buffer=buffer, overflow="drop_oldest")
    for event in numbered(buffer + 1):
        one.put(event)
    assert one.look_at == most


def test_a_buffer_that_waits_keeps_everything() -> None:
    one = sink(buffer=2)
    events = numbered(100)
    for event in events:
        one.put(event)
    assert (len(one.queue), one.dropped, one.look_at) == (100, 0, -1)


def test_an_overflow_is_raised_where_the_gap_is_and_the_stream_continues() -> None:
    one = sink(buffer=2, overflow="raise")
    first, second, third, fourth, fifth = numbered(5)
    for event in (first, second, third):
        one.put(event)
    assert one.take() is first
    one.put(fourth)  # there is room, but it would stand before the gap
    assert one.take() is second
    with pytest.raises(StreamOverflow) as raised:
        one.take()
    assert (
        str(raised.value) == "more than 2 events were received before they were read (buffer=...)"
    )
    assert one.take() is None
    one.put(fifth)
    assert (taken(one), one.dropped) == ([4], 2)


def test_what_is_dropped_is_warned_of_once_an_episode(caplog: pytest.LogCaptureFixture) -> None:
    mine, all_ = (
        sink(channel="room", buffer=1, overflow="drop_oldest"),
        sink(buffer=1, overflow="drop_newest"),
    )
    for one in (mine, all_):
        for event in numbered(5):
            one.put(event)
    assert caplog.messages == [
        "a stream of everything on room is not read fast enough: events are dropped",
        "a stream of everything on the client is not read fast enough: events are dropped",
    ]
    mine.episode = 0  # as after the report
    mine.put(message())
    assert (mine.dropped, mine.episode, len(caplog.messages)) == (5, 1, 3)


@pytest.mark.parametrize("overflow", OVERFLOW)
def test_every_event_wakes_the_consumers_waiter(overflow: Overflow) -> None:
    one = sink(buffer=1, overflow=overflow)
    called: list[int] = []
    for count in (1, 2, 3):
        one.signal.add(lambda: called.append(1))
        one.put(message())
        assert len(called) == count
    one.put(message())


def test_a_closed_buffer_keeps_nothing() -> None:
    for overflow in OVERFLOW:
        one = sink(buffer=1, overflow=overflow)
        one.put(message())
        one.close()
        one.put(message())
        assert (one.closed, taken(one)) == (True, [])


@pytest.mark.parametrize(
    ("buffer", "overflow", "text"),
    [
        (0, "wait", "buffer is a number of events and at least 1, not 0"),
        (-1, "wait", "buffer is a number of events and at least 1, not -1"),
        (1, "drop", "overflow is one of wait, drop_oldest, drop_newest, raise, not 'drop'"),
    ],
)
def test_a_buffer_that_is_invalid_is_refused(buffer: int, overflow: Any, text: str) -> None:
    with pytest.raises(ValueError) as raised:
        sink(buffer=buffer, overflow=overflow)
    assert str(raised.value) == text


class Model:
    """A model of a buffer."""

    def __init__(self, buffer: int, overflow: Overflow) -> None:
        self.buffer = buffer
        self.overflow = overflow
        self.kept: list[int] = []
        self.dropped = 0
        self.gap = False

    def put(self, number: int) -> None:
        if self.overflow == "wait" or (len(self.kept) < self.buffer and not self.gap):
            self.kept.append(number)
            return
        self.dropped += 1
        match self.overflow:
            case "drop_oldest":
                self.kept = [*self.kept[1:], number]
            case "raise":
                self.gap = True

    def take(self) -> int | str | None:
        if self.kept:
            return self.kept.pop(0)
        gap, self.gap = self.gap, False
        return "overflow" if gap else None


@tried
@given(st.integers(1, 4), st.sampled_from(OVERFLOW), st.lists(st.booleans(), max_size=60))
def test_a_buffer_does_as_its_model_in_any_order_of_putting_and_taking(
    buffer: int, overflow: Overflow, puts: list[bool]
) -> None:
    one, model = sink(buffer=buffer, overflow=overflow), Model(buffer, overflow)
    for number, puts_one in enumerate(puts):
        if puts_one:
            one.put(message(data=number))
            model.put(number)
        else:
            expected = model.take()
            try:
                event = one.take()
                got = event.data if isinstance(event, ChannelEvent) else None
            except StreamOverflow:
                got = "overflow"
            assert got == expected
        assert [event.data for event in one.queue if isinstance(event, ChannelEvent)] == model.kept
        assert one.dropped == model.dropped
        assert len(one.queue) <= buffer or overflow == "wait"


# Selectors.

JOINED = MemberAdded("presence-room", Member("1"))
ONLINE = WatchlistOnline(("1",))
HELLO = UserEvent("#server-to-user-1", "hello")
EVERY = [message("price"), message("other"), JOINED, ONLINE, HELLO, Closed()]


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        (None, EVERY),
        (Event, EVERY),
        ("price", [EVERY[0]]),
        ("PRICE", []),
        ("hello", [HELLO]),
        ("pusher:member_added", [JOINED]),
        (MemberAdded, [JOINED]),
        ("online", [ONLINE]),
        (ChannelEvent, [EVERY[0], EVERY[1], HELLO]),
        (UserEvent, [HELLO]),
        (("price", MemberAdded, "online"), [EVERY[0], JOINED, ONLINE]),
        ((), []),
        (lambda event: isinstance(event, Closed), [EVERY[5]]),
        (lambda event: "truthy", EVERY),
        (lambda event: None, []),
        (("price", lambda event: event is JOINED), [EVERY[0], JOINED]),
    ],
)
def test_a_selector_is_a_name_a_class_a_predicate_or_several(
    selector: Selector, wanted: list[Event]
) -> None:
    one = sink(selector)
    assert [event for event in EVERY if one.wants(event)] == wanted
    assert set(map(id, wanted)) <= {id(event) for event in EVERY if one.may_want(event)}


def test_an_applications_event_may_have_the_name_of_a_library_event() -> None:
    mine = message("online")
    assert [event for event in [*EVERY, mine] if sink("online").wants(event)] == [ONLINE, mine]


def test_a_consumer_of_a_channel_wants_what_is_of_this_channel() -> None:
    events = [message(), message(channel="other"), Subscribed("room"), Closed(), HELLO]
    assert [e for e in events if sink(channel="room").wants(e)] == [events[0], events[2]]
    assert [e for e in events if sink(channel=USER_SCOPE).wants(e)] == [HELLO]
    assert [e for e in events if sink(channel="#server-to-user-1").wants(e)] == []


def test_a_consumer_of_messages_wants_no_other_events() -> None:
    one = sink(typed=True)
    assert [event for event in EVERY if one.wants(event)] == [EVERY[0], EVERY[1], HELLO]
    asked: list[Event] = []
    assert not sink(asked.append, typed=True).wants(JOINED)  # type: ignore[arg-type]  # it only notes the call
    assert asked == []


def test_5_14_a_class_in_the_selector_of_a_typed_stream_is_wanted() -> None:
    one = sink(("price", MemberAdded), typed=True)
    assert [event for event in EVERY if one.wants(event)] == [EVERY[0], JOINED]


def test_where_narrows_what_a_selector_means() -> None:
    one = sink("price", where=lambda event: event.data > 1)
    assert [event.data for event in numbered(4) if one.wants(event)] == [2, 3]
    assert not one.wants(JOINED)  # and is not asked about what is not meant


@pytest.mark.parametrize(
    ("more", "picky", "special"),
    [
        ({}, False, False),
        ({"selector": "price"}, False, False),
        ({"selector": MemberAdded}, False, False),
        ({"once": True}, False, True),
        ({"selector": lambda event: True}, True, True),
        ({"selector": ("price", lambda event: True)}, True, True),
        ({"where": lambda event: True}, True, True),
    ],
)
def test_only_predicates_are_asked_about_each_event(
    more: dict[str, Any], picky: bool, special: bool
) -> None:
    one = sink(**more)
    assert (one.picky, one.special) == (picky, special)


def test_what_a_predicate_raises_is_raised_once_after_what_is_buffered() -> None:
    called: list[int] = []
    one = sink(lambda event: 1 // event.data)
    one.put(message(data="before"))
    one.signal.add(lambda: called.append(1))
    assert not one.wants(message(data=0))
    assert not one.wants(message(data="text"))  # a second one, until the first was raised
    assert called == [1]
    assert taken(one) == ["before", ZeroDivisionError]
    assert one.wants(message(data=1))
    assert not one.wants(message(data="text"))
    assert taken(one) == [TypeError]


def test_what_where_raises_is_raised_too_but_no_interrupt_is_kept() -> None:
    def interrupted(event: Event) -> bool:
        raise KeyboardInterrupt

    one = sink("price", where=lambda event: event.data > 1)
    assert not one.wants(message(data="text"))
    assert taken(one) == [TypeError]
    with pytest.raises(KeyboardInterrupt):
        sink(interrupted).wants(message())


@pytest.mark.parametrize(
    ("selector", "shown"),
    [
        (7, "7"),
        (b"price", "b'price'"),
        (["price"], "['price']"),
        (("price", None), "None"),
        (("price", ("other",)), "('other',)"),
        (JOINED, repr(JOINED)),
    ],
)
def test_what_is_not_a_selector_is_refused(selector: Any, shown: str) -> None:
    with pytest.raises(TypeError) as raised:
        sink(selector)
    assert str(raised.value) == (
        "a selector is an event's name, an event class, a compiled regular expression, a predicate, or a tuple of "
        f"these, not {shown}"
    )


@pytest.mark.parametrize("selector", [int, (MemberAdded, Member), Exception])
def test_a_class_that_is_not_an_event_is_refused(selector: Any) -> None:
    with pytest.raises(TypeError, match="is not an event class of pusher_proto"):
        sink(selector)


def named_predicate(event: Event) -> bool:
    return True


@pytest.mark.parametrize(
    ("selector", "asked"),
    [
        (None, ("everything",)),
        ("price", ("'price'",)),
        ("x" * 100 + "\n", ("'" + "x" * 63 + "…'",)),
        (MemberAdded, ("MemberAdded",)),
        (named_predicate, ("named_predicate",)),
        (functools.partial(named_predicate), ("named_predicate",)),
        (("price", MemberAdded, named_predicate), ("'price'", "MemberAdded", "named_predicate")),
        ((), ()),
    ],
)
def test_requests_can_be_logged(selector: Selector, asked: tuple[str, ...]) -> None:
    assert sink(selector).choice.shown == asked


# Routes.


def test_an_event_goes_to_the_consumers_of_its_channel_and_then_to_those_of_the_client() -> None:
    router = Router()
    client, mine, other, also_mine = (
        sink(),
        sink(channel="room"),
        sink(channel="b"),
        sink(channel="room"),
    )
    for one in (client, mine, other, also_mine):
        router.add(one)
    assert router.route(message()).sinks == (mine, also_mine, client)
    assert router.route(Subscribed("room")).sinks == (mine, also_mine, client)
    assert router.route(message(channel="c")).sinks == (client,)
    assert router.route(Closed()).sinks == (client,)
    assert list(router) == [client, mine, also_mine, other]


def test_messages_for_the_user_are_of_no_channel() -> None:
    router = Router()
    user, channel, client = sink(channel=USER_SCOPE), sink(channel="#server-to-user-1"), sink()
    for one in (user, channel, client):
        router.add(one)
    assert router.route(HELLO).sinks == (user, client)
    # A channel may have that name where names are not strict, and the routes are remembered.
    assert router.route(message("hello", "#server-to-user-1")).sinks == (channel, client)
    assert router.route(HELLO).sinks == (user, client)


def test_adding_or_removing_a_consumer_invalidates_the_cached_route() -> None:
    router, first, second = Router(), sink("price"), sink(channel="room")
    router.add(first)
    assert router.route(message()).sinks == (first,)
    router.add(second)
    assert router.route(message()).sinks == (second, first)
    router.remove(first)
    router.remove(first)  # is gone already
    assert router.route(message()).sinks == (second,)
    assert list(router) == [second]
    router.remove(second)
    assert router.route(message()).sinks == ()


def test_a_router_knows_whether_a_channel_has_consumers_and_what_they_ask_for() -> None:
    router = Router()
    assert (router.has("room"), router.has(None)) == (False, False)
    assert router.selectors_of("room") == "nothing"
    ones = [sink(selector, channel="room") for selector in ("a", MemberAdded, ("b", "a"))]
    for one in ones:
        router.add(one)
    assert (router.has("room"), router.has(None)) == (True, False)
    assert router.selectors_of("room") == "'a', MemberAdded, 'b'"
    assert router.selectors_of(None) == "nothing"
    for one in ones:
        router.remove(one)
    assert not router.has("room")


def test_names_that_a_server_makes_up_are_not_remembered_without_end() -> None:
    router, one = Router(), sink()
    router.add(one)
    for number in range(3 * routing._CACHED_ROUTES):
        assert router.route(message(str(number))).sinks == (one,)
        assert len(router.known) <= routing._CACHED_ROUTES


def test_a_very_long_name_is_routed_and_not_remembered() -> None:
    router, one = Router(), sink()
    router.add(one)
    assert router.route(message("x" * 1000)).sinks == (one,)
    assert not router.known


channels = st.sampled_from([None, "room", "b", USER_SCOPE])
selectors: st.SearchStrategy[Selector] = st.sampled_from(
    [
        None,
        "price",
        "online",
        MemberAdded,
        MemberRemoved,
        ChannelEvent,
        UserEvent,
        ("price", StateChanged),
        lambda event: isinstance(event, CacheMiss),
    ]
)
some_events = st.sampled_from(
    [
        *EVERY,
        message("online"),
        message("price", "b"),
        message("hello", "#server-to-user-1"),
        Subscribed("b"),
        CacheMiss("room"),
        MemberRemoved("b", Member("1")),
    ]
)
steps = st.lists(
    st.tuples(st.just("add"), channels, selectors)
    | st.tuples(st.just("remove"), st.integers(0, 9), st.none())
    | st.tuples(st.just("route"), some_events, st.none()),
    max_size=40,
)


@tried
@given(steps)
def test_a_route_has_everyone_who_wants_the_event_and_may_have_who_might(
    steps: list[tuple[str, Any, Any]],
) -> None:
    router = Router()
    sinks: deque[Sink] = deque()
    for step, one, selector in steps:
        match step:
            case "add":
                try:
                    sinks.append(sink(selector, channel=one))
                except ValueError:  # a class that no event of this scope has
                    continue
                router.add(sinks[-1])
            case "remove":
                if sinks:
                    gone = sinks[one % len(sinks)]
                    sinks.remove(gone)
                    router.remove(gone)
            case _:
                expected = [each for each in sinks if each.may_want(one)]
                expected.sort(key=lambda each: each.channel is None)
                assert list(router.route(one).sinks) == expected
                assert [each for each in sinks if each.wants(one) and each not in expected] == []
    assert sorted(map(id, router)) == sorted(map(id, sinks))
