"""From the session to the consumers: overflow, backpressure, order, and what is logged without a consumer."""

from __future__ import annotations

import logging
import os
from collections import deque
from itertools import count
from typing import Any
from weakref import ref

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pusher_proto._connection.link
from proto.fake_client import (
    FakeClient,
    FakeStream,
    connected,
    datas,
    publish,
    room,
    subscribed,
    warnings,
)
from proto.websocket_peer import frame
from pusher_proto import (
    ChannelEvent,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    Event,
    EventsDropped,
    MemberAdded,
    ReadingPaused,
    StreamOverflow,
    Subscribed,
)
from pusher_proto._client import router as routing
from pusher_proto._client.router import Router
from pusher_proto._client.selectors import Choice
from pusher_proto._client.sinks import Sink
from pusher_proto._protocol.channel_messages import READERS
from pusher_proto._session.event_queue import EventQueue
from pusher_proto._wire.fast_lane import Reader, Run
from pusher_proto.client import Nothing, Overflow
from pusher_proto.events import size_of
from secrecy import FRAMES
from simulation import World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "100"))
tried = settings(max_examples=EXAMPLES, deadline=None)

SIZE = size_of(ChannelEvent("room", "price", "10"))
DROPPING: list[Overflow] = ["drop_oldest", "drop_newest", "raise"]


# Streams that are not read fast enough


class Model:
    """A model of a stream with one policy."""

    def __init__(self, overflow: Overflow, buffer: int) -> None:
        self.overflow = overflow
        self.buffer = buffer
        self.queue: deque[int] = deque()
        self.dropped = 0
        self.overflowed = False
        self.episode = 0
        self.episodes: list[int] = []
        self.began = 0

    def put(self, value: int) -> None:
        if self.overflowed:
            self.dropped += 1
        elif len(self.queue) < self.buffer:
            self.queue.append(value)
        elif self.overflow == "raise":
            self.overflowed = True
            self.dropped += 1
        else:
            self.began += not self.episode
            self.dropped += 1
            self.episode += 1
            if self.overflow == "drop_oldest":
                self.queue.popleft()
                self.queue.append(value)

    def take(self) -> int | str | None:
        if not self.queue:
            overflowed, self.overflowed = self.overflowed, False
            return "overflow" if overflowed else None
        value = self.queue.popleft()
        if len(self.queue) <= self.buffer // 2:
            self.end_episode()
        return value

    def end_episode(self) -> None:
        if self.episode:
            self.episodes.append(self.episode)
        self.episode = 0


def take(stream: FakeStream[Any]) -> Any:
    """Return the data of the next event, "overflow", or None."""
    with stream._client._guard:
        try:
            event = stream._next()
        except StreamOverflow:
            return "overflow"
    return event.data if isinstance(event, ChannelEvent) else None


@tried
@given(
    st.sampled_from(DROPPING),
    st.integers(1, 6),
    st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=16),
)
def test_what_is_dropped_is_counted_exactly_and_reported_once_an_episode(
    overflow: Overflow, buffer: int, steps: list[tuple[bool, int]]
) -> None:
    world, client, channel = room()
    stream = channel.events("price", buffer=buffer, overflow=overflow)
    reported = client.events(EventsDropped)
    model, numbers = Model(overflow, buffer), count()
    handler = Warnings()
    logging.getLogger("pusher_proto.streams").addHandler(handler)
    try:
        for publishes, many in steps:
            for _ in range(many):
                if publishes:
                    number = next(numbers)
                    publish(world, number)
                    model.put(number)
                else:
                    assert take(stream) == model.take()
            assert stream.dropped == model.dropped
            assert client.stats.dropped == model.dropped
        stream.close()
        model.end_episode()
    finally:
        logging.getLogger("pusher_proto.streams").removeHandler(handler)
    assert reported.ready() == [EventsDropped("room", many) for many in model.episodes]
    assert handler.messages == (
        ["a stream of 'price' on room is not read fast enough: events are dropped"] * model.began
    )
    assert client.stats.dropped == model.dropped
    assert client.reads


class Warnings(logging.Handler):
    """Keeps messages; `caplog` does not work within a property."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_the_oldest_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    world, client, channel = room()
    stream = channel.events("price", buffer=3, overflow="drop_oldest")
    of_client = client.events("price", buffer=3, overflow="drop_oldest")
    reported = client.events(EventsDropped)
    publish(world, 1, 2, 3, 4, 5)
    assert reported.ready() == []
    assert datas(stream.ready()) == [3, 4, 5]
    assert datas(of_client.ready()) == [3, 4, 5]
    assert reported.ready() == [EventsDropped("room", 2), EventsDropped(None, 2)]
    assert (stream.dropped, client.stats.dropped) == (2, 4)
    assert warnings(caplog) == [
        "a stream of 'price' on room is not read fast enough: events are dropped",
        "a stream of 'price' on the client is not read fast enough: events are dropped",
    ]


def test_the_newest_are_dropped() -> None:
    world, _, channel = room()
    stream = channel.events("price", buffer=3, overflow="drop_newest")
    publish(world, 1, 2, 3, 4, 5)
    assert datas(stream.ready()) == [1, 2, 3]
    publish(world, 6)
    assert datas(stream.ready()) == [6]
    assert stream.dropped == 2


def test_what_was_dropped_is_reported_to_all_others_and_not_to_the_stream_itself() -> None:
    world, client, channel = room()
    stream = channel.events("price", buffer=2, overflow="drop_oldest")
    others = [channel.events(EventsDropped), client.events(EventsDropped)]
    picky = client.events(lambda event: isinstance(event, EventsDropped) and event.count > 1)
    late = client.events(EventsDropped, buffer=1)
    waits = [client.waiting(EventsDropped) for _ in range(2)]
    expected = [EventsDropped("room", 2), EventsDropped("room", 1)]
    publish(world, 1, 2, 3, 4)
    assert datas(stream.ready()) == [3, 4]
    assert not client.device.session.closed
    assert late.ready() == expected[:1]
    publish(world, 5, 6, 7)
    assert datas(stream.ready()) == [6, 7]
    assert [other.ready() for other in others] == [expected, expected]
    assert picky.ready() == expected[:1]
    assert late.ready() == expected[1:]
    assert [wait.check() for wait in waits] == expected[:1] * 2


def test_a_stream_that_is_closed_in_an_episode_reports_it() -> None:
    world, client, channel = room()
    reported = client.events(EventsDropped)
    stream = channel.events("price", buffer=1, overflow="drop_newest")
    publish(world, 1, 2, 3)
    stream.close()
    assert reported.ready() == [EventsDropped("room", 2)]
    channel.events("price", buffer=1, overflow="drop_newest")  # and nothing references it
    publish(world, 1)
    assert client.stats.dropped == 2


# Backpressure


def test_a_stream_that_waits_loses_nothing_while_reading_continues() -> None:
    world, client, channel = room()
    stream = channel.events("price", buffer=10)
    publish(world, *range(5000))
    assert client.reads
    assert len(client.session.events) == 0
    assert datas(stream.ready()) == list(range(5000))
    assert (stream.dropped, client.stats.reading_paused) == (0, 0)


def test_reading_pauses_when_receive_buffer_is_full_and_continues_when_half_is_taken() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    stream = channel.events("price")
    publish(world, *range(10, 29))
    assert client.reads
    publish(world, 29)
    assert not client.reads
    taken = [next(stream).data for _ in range(9)]
    assert not client.reads
    taken.append(next(stream).data)
    assert client.reads
    publish(world, *range(30, 100))
    assert not client.reads
    assert taken + datas(stream.ready()) == list(range(10, 100))
    assert client.reads
    assert stream.dropped == 0


def test_a_consumer_that_waits_and_does_not_read_holds_up_others_only_when_reading_pauses() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    stalled = channel.events("price", buffer=10)
    others = [channel.events("price"), client.events("price", buffer=5, overflow="drop_oldest")]
    publish(world, *range(10, 25))
    assert client.reads
    assert [datas(other.ready()) for other in others] == [
        list(range(10, 25)),
        list(range(20, 25)),
    ]
    publish(world, *range(25, 100))
    assert not client.reads
    some = datas(others[0].ready())
    assert not client.reads
    assert others[0].ready() == []
    stalled.close()
    assert some + datas(others[0].ready()) == list(range(25, 100))


def test_a_message_that_several_consumers_have_counts_once() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    streams = [channel.events("price") for _ in range(10)]
    channel.events("price", overflow="drop_oldest")
    publish(world, *range(10, 28))
    assert client.reads
    publish(world, *range(28, 40))
    assert not client.reads
    for stream in streams[:-1]:
        assert len(stream.ready()) >= 18
        assert not client.reads
    assert len(streams[-1].ready()) >= 18
    assert client.reads


def test_a_quiet_stream_that_is_not_read_pauses_nothing() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    quiet, busy = channel.events("news"), channel.events("price")
    publish(world, "x", event="news")
    for value in range(10, 1000):
        publish(world, value)
        assert datas(busy.ready()) == [value]
    assert (client.reads, client.stats.reading_paused) == (True, 0)
    assert datas(quiet.ready()) == ["x"]


def test_a_stream_that_is_forgotten_lets_reading_continue() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    other, stream = channel.events("price"), channel.events("price")
    publish(world, *range(10, 100))
    other.ready()
    assert not client.reads
    del stream
    world.run(1)
    assert datas(other.ready())[-1] == 99
    assert client.reads


def test_a_pause_of_more_than_a_second_is_reported_in_its_place() -> None:
    world = World()
    hook: list[Event] = []
    options = world.options(receive_buffer=20 * SIZE)
    client, [channel] = subscribed(world, "room", options=options, on_event=hook.append)
    everything, bound = client.events(), list[ReadingPaused]()
    messages, plain = channel.events("price"), channel.events()
    reports = client.events(ReadingPaused)
    client.bind(ReadingPaused, bound.append)
    publish(world, *range(10, 100))
    assert not client.reads
    first = everything.ready()
    world.run(12)
    assert not client.reads
    got, all_of_it, rest = list[Event](), list[Event](), list[Event]()
    for _ in range(20):
        world.run(0.1)
        got += messages.ready()
        all_of_it += plain.ready()
        rest += everything.ready()
    assert datas(got) == datas(all_of_it) == list(range(10, 100))
    (report,) = reports.ready()
    assert 12 <= report.seconds < 12.5
    assert bound == [report]
    assert [event for event in hook if isinstance(event, ReadingPaused)] == [report]
    # After everything read before the pause, and before everything read after it.
    assert rest[0] == report
    before = [event for event in first if isinstance(event, ChannelEvent)]
    assert datas(before + rest[1:]) == list(range(10, 100))


def test_a_short_pause_is_counted_and_not_reported() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    stream, reports = channel.events("price"), client.events(ReadingPaused)
    publish(world, *range(10, 30))
    assert not client.reads
    world.run(0.9)
    assert datas(stream.ready()) == list(range(10, 30))
    assert client.reads
    assert (client.stats.reading_paused, reports.ready()) == (1, [])


def test_a_connection_that_is_lost_in_a_pause_is_reported_as_lost() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    stream, reports = channel.events("price"), client.events(ReadingPaused)
    publish(world, *range(10, 100))
    assert not client.reads
    world.run(5)
    client.reconnect()
    client.wait_connected()
    assert not client.reads  # as much waits as before
    while stream.ready():
        world.run(0.1)
    assert client.reads
    assert reports.ready() == []


@pytest.mark.parametrize("fresh", [False, True])
def test_a_gap_counts_from_the_pause_unless_something_was_received_after_it(fresh: bool) -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    stream, subscriptions = channel.events("price"), client.events(Subscribed)
    publish(world, *range(10, 100))
    assert not client.reads
    subscriptions.ready()
    world.run(10)
    if not fresh:
        world.sever(client.device)
    while stream.ready():  # what was in the buffers
        world.run(0.01)
    world.run(5)
    if fresh:
        publish(world, 100)
        world.run(1)
        world.sever(client.device)
    back = world.now
    while not (found := subscriptions.ready()):
        world.run(1)
    offline_for = found[-1].offline_for
    assert offline_for is not None
    assert (offline_for > world.now - back + 14) is not fresh


def test_a_read_of_more_than_receive_buffer_that_no_consumer_keeps_pauses_nothing_for_long() -> (
    None
):
    world, client, _ = room(receive_buffer=100)
    publish(world, "x" * 500)
    assert client.reads


@pytest.mark.parametrize("overflow", DROPPING)
def test_a_consumer_that_drops_and_does_not_read_holds_up_no_other(overflow: Overflow) -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    stalled = channel.events("price", buffer=1, overflow=overflow)
    stream = channel.events("price", buffer=10)
    for value in range(100):
        publish(world, value)
        assert datas(stream.ready()) == [value]
        assert client.reads
    assert stalled.dropped == 99


def test_a_stream_that_is_not_read_holds_up_no_other_channel_and_no_change() -> None:
    world, client, channel = room()
    unread = channel.events("price", buffer=1)
    changes = client.events(ConnectionEstablished)
    publish(world, 1, 2)
    client.reconnect()
    client.wait_connected()
    other = client.subscribe("other").wait_subscribed()
    assert [type(event) for event in changes.ready()] == [ConnectionEstablished]
    stream = other.events("price")
    publish(world, 3, channel="other")
    assert datas(stream.ready()) == [3]
    assert datas(unread.ready()) == [1, 2]


def test_handlers_that_are_not_called_count_until_they_are_cancelled() -> None:
    world, client, channel = room(receive_buffer=20 * SIZE)
    client.handlers_stall = True
    binding = channel.bind("price", print)
    publish(world, *range(10, 100))
    assert not client.reads
    binding.cancel()
    assert client.reads


@tried
@given(
    st.lists(
        st.tuples(st.sampled_from(["wait", *DROPPING]), st.integers(1, 5)), min_size=1, max_size=4
    ),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6)), max_size=24),
    st.sampled_from([50, 150, 500]),
)
def test_a_consumer_that_waits_loses_nothing_and_one_that_drops_knows_how_much(
    kinds: list[tuple[Overflow, int]], steps: list[tuple[int, int]], receive_buffer: int
) -> None:
    world, client, channel = room(receive_buffer=receive_buffer)
    streams = [channel.events("price", overflow=kind, buffer=size) for kind, size in kinds]
    taken: list[list[int]] = [[] for _ in streams]
    numbers = count()
    for which, many in steps:
        if which >= len(streams):
            publish(world, *(next(numbers) for _ in range(many)))
            continue
        for _ in range(many):
            value = take(streams[which])
            if isinstance(value, int):
                taken[which].append(value)
    waits = any(kind == "wait" for kind, _ in kinds)
    assert client.reads or waits
    for _ in range(next(numbers) + 2):
        for stream, values in zip(streams, taken, strict=True):
            value = take(stream)
            if isinstance(value, int):
                values.append(value)
    sent = next(numbers) - 1
    assert client.reads
    for (kind, _), stream, values in zip(kinds, streams, taken, strict=True):
        assert values == sorted(set(values))
        assert len(values) + stream.dropped == sent
        assert kind != "wait" or stream.dropped == 0


def test_a_connection_stays_alive_while_no_consumer_reads() -> None:
    world = World(ping_after=150.0)  # the server itself gives up those who are silent
    client, [channel] = subscribed(world, "room", options=world.options(receive_buffer=10 * SIZE))
    stream = channel.events("price", buffer=1)
    lost = client.events(ConnectionLost)
    publish(world, *range(50))
    world.run(3600)
    assert not client.reads
    assert datas(stream.ready()) == list(range(50))
    world.run(3600)
    assert (lost.ready(), client.stats.connections) == ([], 1)


def test_when_the_session_fails_every_consumer_gets_the_rest_though_one_does_not_read() -> None:
    world, client, channel = room()
    stalled = channel.events("price", buffer=2)
    stream, dropping = (
        channel.events("price"),
        channel.events("price", buffer=1, overflow="drop_oldest"),
    )
    publish(world, *range(10))
    world.act(world.server.drop, 4009, "no such app: disconnected by the app")
    world.run(1)
    assert [next(stream).data for _ in range(10)] == list(range(10))
    with pytest.raises(ConnectionFailed):
        next(stream)
    assert next(dropping).data == 9
    client.close()
    assert [next(stalled).data for _ in range(10)] == list(range(10))
    with pytest.raises(ConnectionFailed):
        next(stalled)


def test_when_the_client_is_closed_every_consumer_gets_the_rest_though_one_does_not_read() -> None:
    world, client, channel = room()
    stalled, stream = channel.events("price", buffer=2), channel.events("price")
    publish(world, *range(10))
    client.close()
    assert datas(list(stream)) == datas(list(stalled)) == list(range(10))


def test_closing_the_client_from_a_predicate_lets_every_consumer_reach_the_end() -> None:
    world = World()
    client = FakeClient(world, connect=False)

    def close(event: Event) -> bool:
        client.device.do(client.session.close)
        return False

    stalled, stream = client.events(buffer=1), client.events()
    client.events(close).close()
    closing = client.events(close)
    world.network.refuse = True
    client.connect()
    world.run(1)
    assert [type(event).__name__ for event in list(stream)] == [
        "StateChanged",
        "StateChanged",
        "Closed",
    ]
    assert len(list(stalled)) == 3
    assert list(closing) == []


# Order and routes


def test_events_of_many_channels_and_names_are_delivered_in_order() -> None:
    world = World()
    names = [f"room-{n}" for n in range(3)]
    client, channels = subscribed(world, *names)
    everything = client.events(ChannelEvent)
    of_channels = [channel.events(("a", "b")) for channel in channels]
    sent = [(names[n % 3], "abc"[n % 2], n) for n in range(60)]
    for channel, event, n in sent:
        world.act(world.server.publish, channel, event, n)
    world.run(1)
    assert [(e.channel, e.name, e.data) for e in everything.ready()] == sent
    for name, stream in zip(names, of_channels, strict=True):
        assert [e.data for e in stream.ready()] == [n for c, _, n in sent if c == name]


def test_messages_of_one_read_keep_their_order_between_the_names_of_two_streams() -> None:
    _, client, channel = room()
    both, other = channel.events(("a", "b")), channel.events("c")
    for _ in range(2):  # the first time their consumers are not known yet
        with client._guard:
            client._session.events += [ChannelEvent("room", "abbac"[n % 5], n) for n in range(20)]
            client._changed()
        assert [event.wire_data for event in both.ready()] == [n for n in range(20) if n % 5 != 4]
        assert [event.wire_data for event in other.ready()] == [4, 9, 14, 19]


def test_what_is_alike_ends_where_something_else_begins() -> None:
    _, client, channel = room()
    both, other = channel.events(("a", "b")), channel.events("c")
    for _ in range(2):  # the first time their consumers are not known yet
        with client._guard:
            for names in ("aaa", "cab", "bb", "bbcc"):
                events = [ChannelEvent("room", name, name) for name in names]
                client._session.events.add(Run(events, alike=len(set(names)) == 1))
            assert client._session.events.alike == 3
            client._changed()
            assert client._session.events.alike == 0
        assert [event.name for event in both.ready()] == list("aaaabbbbb")
        assert [event.name for event in other.ready()] == list("ccc")


messages = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["one", "two"]), st.integers(1, 6)
)


@pytest.mark.parametrize("logged", [False, True])
@tried
@given(data=st.data(), reads=st.lists(st.lists(messages, max_size=6), max_size=6))
def test_each_consumer_has_its_messages_in_order_in_whatever_runs_they_arrive(
    logged: bool, data: st.DataObject, reads: list[list[tuple[str, str, int]]]
) -> None:
    # Where they are logged they are read one by one.
    FRAMES.setLevel(logging.DEBUG if logged else logging.INFO)
    world = World()
    client, channels = subscribed(world, "a", "b", options=world.options(receive_buffer=400))
    buffers = st.sampled_from([1, 5, 8, 100])
    streams: list[tuple[FakeStream[Any], Any]] = [
        (channel.events(name, buffer=data.draw(buffers)), (channel.name, name))
        for channel in channels
        for name in data.draw(st.sets(st.sampled_from(["one", "two"])).map(sorted))
    ]
    if data.draw(st.booleans()):
        streams.append((client.events(ChannelEvent, buffer=data.draw(buffers)), None))
    sent: list[tuple[str, str, int]] = []
    had: list[list[tuple[str, str, Any]]] = [[] for _ in streams]

    def step(most: int) -> None:
        for (stream, _), mine in zip(streams, had, strict=True):
            for _ in range(most):
                with client._guard:
                    event = stream._next()
                if isinstance(event, Nothing):
                    break
                mine.append((event.channel, event.name, event.data))

    for read in reads:
        frames = b""
        for channel, name, times in read:
            for _ in range(times):
                text = b'{"event":"%s","channel":"%s","data":"%d"}'
                frames += frame(text % (name.encode(), channel.encode(), len(sent)))
                sent.append((channel, name, len(sent)))
        if frames:
            world.act(world.server.send_raw, None, frames)
        world.run(0.1)
        step(data.draw(st.integers(0, 4)))
    for _ in range(len(sent) + 1):
        step(100)
        world.run(0.1)
    for (_, wanted), mine in zip(streams, had, strict=True):
        assert mine == [each for each in sent if wanted in (None, each[:2])]


def test_any_number_of_names_is_routed_and_a_bounded_number_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing, "_CACHED_ROUTES", 4096)
    world, client, channel = room()
    stream, none = channel.events(ChannelEvent, buffer=10_000), channel.events("nothing")
    names = [f"event-{n}" for n in range(5000)]
    for name in names:
        world.act(world.server.publish, "room", name, 1)
    world.run(1)
    assert [event.name for event in stream.ready()] == names
    assert none.ready() == []
    assert len(client._delivery.router.known) <= 4096


def test_presence_changes_do_not_go_to_consumers_of_messages() -> None:
    world = World()
    first = connected(world, world.options(auth=world.own_key(member={"user_id": "1"})))
    channel = first.subscribe("presence-room").wait_subscribed()
    messages, members = channel.events("price"), first.events(MemberAdded)
    second = connected(world, world.options(auth=world.own_key(member={"user_id": "2"})))
    second.subscribe("presence-room").wait_subscribed()
    world.run(1)
    assert messages.ready() == []
    assert [event.member.id for event in members.ready()] == ["2"]


def test_a_router_knows_its_sinks() -> None:
    router, sinks = Router(), [Sink(Choice(None, scope), 1) for scope in ("room", "room", None)]
    for sink in sinks:
        router.add(sink)
    router.remove(sinks[0])
    router.remove(sinks[0])
    assert list(router) == sinks[1:]
    assert [router.has(channel) for channel in ("room", None, "other")] == [True, True, False]
    elsewhere = ChannelEvent("other", "price")
    assert [sink.wants(elsewhere) for sink in sinks] == [False, False, True]
    assert router.route(elsewhere).sinks == (sinks[2],)


# Logs about messages without a consumer


def test_a_message_without_a_listener_is_reported_with_what_is_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def is_cheap(event: Event) -> bool:
        return False

    class Dear:
        def __call__(self, event: Event) -> bool:
            return False

    world, client, channel = room()
    caplog.set_level(logging.DEBUG, "pusher_proto.client")
    publish(world, 1, event="Price")
    channel.bind("price", print)
    channel.bind(("price", MemberAdded), print)
    channel.bind("price", repr)
    client.bind((is_cheap, Dear()), print)
    publish(world, 1, event="Price")
    channel.bind(callable)(print)
    publish(world, 1, event="x" * 100)
    of_client = f"on the client: {is_cheap.__qualname__}, {Dear.__qualname__}"
    assert [
        record.getMessage() for record in caplog.records if record.name == "pusher_proto.client"
    ] == [
        "Price on room has no listener; bound there: nothing; on the client: nothing",
        f"Price on room has no listener; bound there: 'price', MemberAdded; {of_client}",
        f"{'x' * 63}… on room has no listener; bound there: 'price', MemberAdded, callable; {of_client}",
    ]


def test_a_stream_of_everything_is_reported_as_such() -> None:
    _, client, channel = room()
    stream = channel.events()
    assert client._delivery.router.selectors_of("room") == "everything"
    stream.close()
    assert client._delivery.router.selectors_of("room") == "nothing"


def test_nothing_is_formatted_for_a_log_without_a_handler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pusher_proto.client")
    world, client, channel = room()
    monkeypatch.setattr(type(client._delivery.router), "selectors_of", None)
    publish(world, 1)
    assert datas(channel.events("price").ready()) == [1]


# Memory


class Counted(ChannelEvent, frozen=True, eq=False, gc=True, weakref=True):
    """A message that is counted while it lives."""


class Census:
    """Decodes messages, and knows how many of them live."""

    def __init__(self) -> None:
        self.alive: dict[int, ref[Counted]] = {}
        self.most = self.made = 0
        self._decode = msgspec.json.Decoder(Counted).decode

    def __call__(self, text: bytes | memoryview) -> Counted:
        event, number = self._decode(text), self.made
        self.made += 1
        self.alive[number] = ref(event, lambda _: self.alive.pop(number))
        self.most = max(self.most, len(self.alive))
        return event


@pytest.mark.parametrize("overflow", [None, "wait", *DROPPING])
def test_twenty_thousand_unread_messages_take_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, overflow: Overflow | None
) -> None:
    world, _, channel = room(backlog_limit=500, receive_buffer=40_000)
    census = Census()
    counted: list[int] = []
    waiting = EventQueue.waiting

    def count_them(queue: EventQueue) -> int:
        counted.append(len(queue))
        return waiting(queue)

    monkeypatch.setattr(EventQueue, "waiting", count_them)
    monkeypatch.setitem(READERS, None, Reader(census, census))
    monkeypatch.setattr(pusher_proto._connection.link, "read_plain", census)
    stream = channel.events("price", buffer=100, overflow=overflow or "drop_oldest")
    if overflow is None:
        stream.close()
    message = b'{"event":"price","channel":"room","data":"%d"}'
    for first in range(0, 20_000, 1000):
        frames = b"".join(frame(message % value) for value in range(first, first + 1000))
        world.act(world.server.send_raw, None, frames)
        world.run(0.1)
    dropped = stream.dropped
    expected = {
        None: (20_000, 500, 0),
        "wait": (1000, 1000, 0),  # what the session holds, and this consumer
        "drop_oldest": (20_000, 100, 19_900),
        "drop_newest": (20_000, 100, 19_900),
        "raise": (20_000, 100, 19_900),
    }[overflow]
    assert (census.made, len(census.alive), dropped) == expected
    assert census.most <= 1500  # one read is a thousand
    assert sum(counted) <= 60_000  # bytes are not counted again for each event of a pause
    if overflow == "wait":
        assert datas(stream.ready()) == list(range(20_000))
        assert (census.made, len(census.alive)) == (20_000, 0)
