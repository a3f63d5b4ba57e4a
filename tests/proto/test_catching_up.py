"""Missed events are fetched and delivered before the live ones, once each and in order, or the consumer is notified."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from proto.fake_client import FakeChannel, FakeClient, FakeStream, connected
from pusher_proto import (
    AuthEndpoint,
    CatchUp,
    CaughtUp,
    ChannelEvent,
    ChannelState,
    Event,
    Gap,
    GapNotClosed,
    Subscribed,
    TypedEvent,
)
from pusher_proto.gaps import Fetch
from simulation import World

Seen = list[int | str]


class Log:
    """The application: numbered events of one channel, which are stored before they are published."""

    def __init__(self, world: World, channel: str = "orders") -> None:
        self.world = world
        self.channel = channel
        self.stored: list[int] = []
        self.gaps: list[Gap] = []
        self.fails: list[Exception] = []
        """The exceptions that the next calls of `fetch` raise."""
        self.overlap = 0
        """How many events that were delivered already are fetched once more."""

    def add(self, count: int = 1) -> None:
        """Store events and publish them."""
        for _ in range(count):
            number = len(self.stored)
            self.stored.append(number)
            self.world.act(self.world.server.publish, self.channel, "order", {"id": number})

    def fetch(self, gap: Gap) -> Iterable[dict[str, Any]]:
        """Return what was stored after the last event."""
        self.gaps.append(gap)
        if self.fails:
            raise self.fails.pop(0)
        after = -1 if gap.last is None else gap.last.data["id"] - self.overlap
        return [
            {"event": "order", "data": {"id": number}} for number in self.stored if number > after
        ]


def seen(events: Iterable[Event]) -> Seen:
    """Return the numbers of events, and a word for each gap that was not closed."""
    shown: Seen = []
    for event in events:
        if isinstance(event, GapNotClosed):
            shown.append("gap")
        elif isinstance(event, ChannelEvent):
            shown.append(event.data["id"])
    return shown


class Story:
    """A client that catches up on one channel, and all that a stream of it gives."""

    def __init__(
        self,
        *,
        channel: str = "orders",
        key: Any = "id",
        fetch: Callable[[Log], Fetch] = lambda log: log.fetch,
        before: int = 3,
        **options: Any,
    ) -> None:
        self.world = World()
        self.log = Log(self.world, channel)
        self.events: list[Event] = []
        options.setdefault("retry_base", 0.0)
        self.client: FakeClient = connected(
            self.world, self.world.options(**options), on_event=self.events.append
        )
        self.log.add(before)
        self.channel: FakeChannel = self.client.subscribe(
            channel, catch_up=fetch(self.log), key=key
        )
        self.stream: FakeStream[Any] = self.channel.events()
        self.messages: FakeStream[Any] = self.channel.events("order")

    def run(self, seconds: float = 1.0) -> Story:
        """Let time pass."""
        self.world.run(seconds)
        return self

    def lose(self) -> Story:
        """Lose the connection, at once."""
        self.world.act(self.world.server.drop)
        self.world.run_until(lambda: self.client.socket_id is None)
        return self

    def said(self) -> Seen:
        """Return what the stream of all events gave since the last call; the other one gave the same."""
        first, second = seen(self.stream.ready()), seen(self.messages.ready())
        assert first == second
        return first

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one class that the client saw so far."""
        return [event for event in self.events if isinstance(event, kind)]


def test_the_first_subscription_brings_the_history_before_live_events() -> None:
    story = Story()
    story.run()
    story.log.add(2)
    assert story.run().said() == [0, 1, 2, 3, 4]
    [gap] = story.log.gaps
    assert gap == Gap("orders", True, None, None, None, 1)
    [caught_up] = story.of(CaughtUp)
    assert (caught_up.fetched, caught_up.duplicates) == (3, 0)
    assert story.client.stats.gaps_closed == 1


def test_after_a_loss_missed_events_are_delivered_before_live_ones() -> None:
    story = Story()
    story.run()
    assert story.said() == [0, 1, 2]
    story.lose()
    story.log.add(2)
    story.client.wait_connected()
    story.client.calls_take = 3.0
    story.run()
    story.log.add(2)  # live, and held while the missed ones are fetched
    assert story.run(1).said() == []
    assert story.run(5).said() == [3, 4, 5, 6]
    gap = story.log.gaps[1]
    assert (gap.first, gap.last, gap.attempt) == (False, story.of(ChannelEvent)[2], 1)


def test_events_that_are_fetched_say_so_and_live_ones_do_not() -> None:
    story = Story(before=1).run()
    story.log.add()
    story.run()
    assert [event.caught_up for event in story.of(ChannelEvent)] == [True, False]
    assert story.of(ChannelEvent)[0] != ChannelEvent("orders", "order", '{"id":0}')


def test_an_event_that_is_both_fetched_and_received_is_delivered_once() -> None:
    story = Story(before=0)
    story.client.wait_connected()
    story.run()
    story.client.calls_take = 1.0
    story.lose().client.wait_connected()
    story.run(0.5)
    story.log.add(3)  # stored before the fetch is answered, and held
    story.run(5)
    assert story.said() == [0, 1, 2]
    assert story.client.stats.duplicates_dropped == 3


def test_fetching_begins_when_the_server_has_confirmed() -> None:
    story = Story()
    assert story.log.gaps == []
    story.world.run_until(lambda: story.channel.state is ChannelState.SUBSCRIBED)
    story.world.run(0.1)
    assert len(story.log.gaps) == 1
    assert isinstance(story.of(Subscribed)[0], Subscribed)


def test_what_is_received_before_the_confirmation_is_held() -> None:
    story = Story()
    story.run().said()
    story.world.act(story.world.server.delay, 5.0, "subscribe")
    story.lose().client.wait_connected()
    story.log.add(2)
    story.world.say("order", '{"id":5}', "orders")
    assert story.channel.state is ChannelState.SUBSCRIBING
    assert story.run(1).said() == []
    story.run(10)
    assert story.said() == [3, 4, 5]


@pytest.mark.parametrize("failures", [1, 3])
def test_a_fetch_that_fails_is_tried_again_while_live_events_are_held(failures: int) -> None:
    story = Story().run()
    story.said()
    story.log.fails = [OSError("503")] * failures
    story.lose()
    story.log.add(2)
    story.client.wait_connected()
    story.world.run_until(lambda: len(story.log.gaps) == 2)
    story.log.add(1)
    story.run(30)
    assert story.said() == [3, 4, 5]
    assert [gap.attempt for gap in story.log.gaps[1:]] == list(range(1, failures + 2))


class Down(OSError):
    """Raised by a `catch_up` function."""


@pytest.mark.parametrize("failures", [3, 100])
def test_once_the_gap_is_over_nothing_is_kept_of_what_the_function_raised(failures: int) -> None:
    """An exception leads to the variables of the function."""
    raised: list[weakref.ref[Down]] = []

    def failing(log: Log) -> Fetch:
        def fetch(gap: Gap) -> Iterable[dict[str, Any]]:
            if len(log.gaps) not in range(1, failures):
                return log.fetch(gap)
            log.gaps.append(gap)
            error = Down()
            raised.append(weakref.ref(error))
            raise error

        return fetch

    story = Story(catch_up_timeout=10.0, fetch=failing).run()
    story.lose().run(60)
    assert len(story.of(CaughtUp)) + len(story.of(GapNotClosed)) == 2
    story.events.clear()
    story.said()
    gc.collect()
    # The log of the test has the first one.
    assert [one() for one in raised[1:]] == [None] * (len(raised) - 1)
    assert len(raised) > 1


def test_after_catch_up_timeout_the_consumer_is_notified_and_live_events_continue() -> None:
    story = Story(catch_up_timeout=10.0).run()
    story.said()
    story.log.fails = [OSError("503")] * 100
    story.lose()
    story.log.add(2)
    story.client.wait_connected()
    story.run(1)
    story.log.add(2)
    assert story.run(5).said() == []
    assert story.run(5).said() == ["gap", 5, 6]
    story.log.add()
    assert story.run().said() == [7]
    [reported] = story.of(GapNotClosed)
    assert reported.channel == "orders"
    assert reported.gap.last.data == {"id": 2}
    assert reported.reason.startswith("the catch_up function failed ")
    assert reported.reason.endswith("within 10 s (catch_up_timeout): OSError: 503")
    assert isinstance(reported.error, OSError)
    assert story.client.stats.gaps_not_closed == 1
    story.log.fails = []
    story.lose().client.wait_connected()
    story.log.add()
    story.run()
    assert story.said() == [8]
    assert story.log.gaps[-1].last == story.of(ChannelEvent)[-2]


def test_a_function_that_does_not_return_is_given_up_and_cancelled() -> None:
    story = Story(catch_up_timeout=10.0, before=0)
    story.client.calls_take = 1000.0
    story.run(5)
    story.log.add()
    assert story.said() == []
    assert story.run(6).said() == ["gap", 0]
    [reported] = story.of(GapNotClosed)
    assert reported.reason == "the catch_up function did not return within 10 s (catch_up_timeout)"
    assert story.client.device.cancelled
    story.run(2000)  # it returns at last, for nothing
    assert story.said() == []


def test_when_the_buffer_is_full_the_consumer_is_notified_and_nothing_that_was_received_is_lost() -> (
    None
):
    story = Story(catch_up_buffer=3).run()
    story.said()
    story.client.calls_take = 50.0
    story.lose()
    story.log.add(1)
    story.client.wait_connected()
    story.run(1)
    story.log.add(3)
    assert story.run().said() == []
    story.log.add(2)
    assert story.run().said() == ["gap", 4, 5, 6, 7, 8]
    [reported] = story.of(GapNotClosed)
    assert (
        reported.reason == "more than 3 live events were received in the meantime (catch_up_buffer)"
    )
    assert story.run(100).said() == []


def test_a_loss_while_catching_up_begins_again_with_the_wider_gap() -> None:
    story = Story().run()
    story.said()
    story.client.calls_take = 5.0
    story.lose()
    story.log.add(1)
    story.client.wait_connected()
    story.run(1)
    story.log.add(1)  # held
    story.run(1)
    story.lose()
    story.log.add(1)
    story.client.wait_connected()
    story.run(1)
    story.log.add(1)
    assert story.run(1).said() == []
    story.run(10)
    assert story.said() == [3, 4, 5, 6]
    first, second = story.log.gaps[-2:]
    assert first.last == second.last
    assert (first.attempt, second.attempt) == (1, 1)
    assert first.offline_for is not None
    assert second.offline_for is not None
    assert second.offline_for > first.offline_for + 2


def test_holes_between_held_events_are_reported_at_their_places() -> None:
    story = Story(catch_up_timeout=20.0).run()
    story.said()
    story.log.fails = [OSError()] * 100
    story.lose()
    story.log.add(1)
    story.client.wait_connected()
    story.run(1)
    story.log.add(1)
    story.run(1)
    story.lose()
    story.log.add(1)
    story.client.wait_connected()
    story.run(1)
    story.log.add(1)
    story.run(30)
    assert story.said() == ["gap", 4, "gap", 6]
    assert [reported.gap.last.data["id"] for reported in story.of(GapNotClosed)] == [2, 4]


def test_the_time_runs_on_while_the_channel_is_not_subscribed() -> None:
    story = Story(catch_up_timeout=20.0).run()
    story.said()
    story.log.fails = [OSError()] * 3
    story.lose().client.wait_connected()
    story.run(1)
    story.log.add(1)
    story.run(1)
    story.world.network.refuse = True
    story.lose()
    assert story.run(30).said() == ["gap", 3]
    story.log.add(1)
    story.log.fails = []
    story.world.network.refuse = False
    story.client.wait_connected()
    assert story.run(3).said() == [4]
    [reported] = story.of(GapNotClosed)
    assert reported.reason == (
        "the server did not confirm the subscription within 20 s (catch_up_timeout)"
    )


@pytest.mark.parametrize("result", ["noon", float("nan"), 1e300, ValueError("no battery")])
def test_a_wall_clock_that_fails_costs_the_time_of_the_gap_alone(
    result: object, caplog: pytest.LogCaptureFixture
) -> None:
    def clock() -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    story = Story()
    story.client.session._parts.catch_ups.wall_clock = clock
    story.run().lose().run(5)
    story.log.add(1)
    story.run()
    assert story.said() == [0, 1, 2, 3]
    assert [gap.since for gap in story.log.gaps] == [None, None]
    [logged] = [record for record in caplog.records if "wall_clock" in record.message]
    assert logged.exc_info is not None


def test_offline_for_and_since_begin_with_the_last_byte_received() -> None:
    story = Story(retry_base=1.0).run()
    story.client.ping()
    heard = story.world.now + 2 * story.world.network.latency
    story.run(100)
    story.world.network.refuse = True
    story.lose().run(50)
    story.world.network.refuse = False
    story.client.wait_connected()
    story.run(1)
    gap = story.log.gaps[1]
    assert gap.since == datetime.fromtimestamp(heard + story.world.epoch, UTC)
    assert gap.offline_for is not None
    assert 150 < gap.offline_for < 182


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_since_is_not_too_late_after_a_sleep_or_a_correction_of_the_clock(jump: float) -> None:
    story = Story().run()
    story.client.ping()
    story.run(1)
    heard = story.world.now - 1 + 2 * story.world.network.latency
    expected = heard + story.world.epoch + min(jump, 0.0)
    story.world.epoch += jump
    story.lose().client.wait_connected()
    story.run(1)
    assert story.log.gaps[1].since == datetime.fromtimestamp(expected, UTC)


def test_after_unsubscribing_the_handle_continues_behind_the_last_event() -> None:
    story = Story().run()
    story.said()
    story.channel.unsubscribe()
    story.run(10)
    story.log.add(2)
    story.channel.subscribe()
    story.run()
    assert story.said() == [3, 4]
    gap = story.log.gaps[1]
    assert not gap.first
    assert gap.offline_for is not None
    assert 10 < gap.offline_for < 12
    story.channel.resubscribe()
    story.log.add(1)
    assert story.run().said() == [5]


def test_the_gap_of_a_channel_that_was_unsubscribed_begins_with_the_last_byte_received() -> None:
    story = Story().run()
    story.said()
    sent = story.world.now
    story.client.device.pulls = False  # the application does not read
    story.log.add(1)
    story.run(10)
    story.channel.unsubscribe()
    story.client.device.pulls = True
    story.run(5)
    story.channel.subscribe()
    assert story.run().said() == [3]
    since = story.log.gaps[-1].since
    assert since is not None
    assert since.timestamp() <= story.world.epoch + sent + 0.1


def waits_for_a_key() -> Story:
    """Return a story of an encrypted channel: event 0 was received, and the next one waits for the new key."""
    auth = AuthEndpoint("http://pusher.test/pusher/auth")
    story = Story(channel="private-encrypted-x", before=0, auth=auth).run()
    story.log.add(1)
    assert story.run().said() == [0]
    story.world.act(story.world.server.rotate_key, b"k" * 32)
    story.world.act(story.world.server.delay, 60.0, "auth")
    return story


def test_the_gap_of_a_channel_that_was_unsubscribed_begins_with_the_message_that_waits_for_a_key() -> (
    None
):
    story = waits_for_a_key()
    sent = story.world.now
    story.log.add(1)
    story.run(5)
    story.client.device.do(story.client.device.session.ping)
    story.run()
    story.world.act(story.world.server.delay, 0.0, "auth")
    story.channel.unsubscribe()
    story.channel.subscribe()
    assert story.run().said() == [1]
    since = story.log.gaps[-1].since
    assert since is not None
    assert since.timestamp() <= story.world.epoch + sent + 0.1


def test_unsubscribing_while_fetching_cancels_the_call_and_delivers_nothing() -> None:
    story = Story()
    story.client.calls_take = 5.0
    story.run(1)
    story.log.add()
    story.channel.unsubscribe()
    assert story.run(20).said() == []
    assert len(story.client.device.cancelled) == 1
    story.client.calls_take = 0.0
    story.channel.subscribe()
    assert story.run().said() == [0, 1, 2, 3]


def test_a_channel_that_is_subscribed_already_may_begin_to_catch_up() -> None:
    world = World()
    log = Log(world)
    client = connected(world)
    channel = client.subscribe("orders").wait_subscribed()
    stream = channel.events()
    log.add(2)
    world.run(1)
    client.subscribe("orders", catch_up=log.fetch, key="id")
    world.run(1)
    assert seen(stream.ready()) == [0, 1, 0, 1]  # the first two were delivered before it had a key
    client.subscribe("orders", catch_up=lambda gap: log.fetch(gap), key="id")
    world.run(1)
    assert (seen(stream.ready()), len(log.gaps)) == ([], 1)


# Keys


def test_without_a_key_nothing_is_dropped() -> None:
    story = Story(key=None).run()
    assert story.said() == [0, 1, 2]
    story.log.overlap = 2
    story.lose().client.wait_connected()
    assert story.run().said() == [1, 2]


def test_a_key_drops_events_that_are_fetched_twice_and_live_ones_too() -> None:
    story = Story().run()
    assert story.said() == [0, 1, 2]
    story.log.overlap = 2
    story.log.add()
    story.lose().client.wait_connected()
    story.run()
    story.world.say("order", '{"id":3}', "orders")
    assert story.run().said() == [3]
    assert story.of(CaughtUp)[-1].duplicates == 2


def test_a_key_may_be_a_function_of_the_event() -> None:
    story = Story(key=lambda event: (event.name, event.data["id"])).run()
    story.log.overlap = 3
    story.lose().client.wait_connected()
    assert story.run().said() == [0, 1, 2]


def test_the_window_bounds_the_keys() -> None:
    story = Story(catch_up_buffer=2, catch_up_window=2).run()
    story.log.add(3)
    assert story.run().said() == [0, 1, 2, 3, 4, 5]
    story.log.overlap = 10
    story.lose().client.wait_connected()
    # The keys of the others were forgotten.
    assert story.run().said() == [0, 1, 2, 3]


def test_an_event_without_a_key_is_always_delivered_and_is_not_the_last() -> None:
    story = Story(before=1).run()
    story.said()
    story.world.say("client-hello", '"text"', "orders")
    story.world.say("client-hello", '"text"', "orders")
    story.run()
    assert [event.name for event in story.of(ChannelEvent)[1:]] == ["client-hello"] * 2
    story.lose().client.wait_connected()
    story.run()
    last = story.log.gaps[1].last
    assert last is not None
    assert last.data == {"id": 0}


@pytest.mark.parametrize("key", [lambda event: event.data["no"], lambda event: [event.data]])
def test_a_key_that_raises_or_cannot_be_hashed_loses_no_event(
    key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(key=key, before=9).run()
    assert story.said() == list(range(9))
    reported = [line for line in caplog.records if "may be a duplicate: its key" in line.message]
    assert [line.levelname for line in reported] == ["ERROR"] * 4  # of nine: the log is not flooded
    assert [line.exc_info is not None for line in reported] == [True, False, False, False]
    assert reported[-1].message.endswith("(8 times so far)")


class Unprintable(Exception):
    """An exception of an application that cannot be written as text."""

    def __str__(self) -> str:
        raise AttributeError("no text")


def test_a_function_may_raise_an_exception_that_has_no_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    story = Story(before=0).run()
    story.log.fails = [Unprintable()]
    story.lose()
    story.log.add()
    assert story.run(5).said() == [0]
    assert "fetching the missed events of orders failed: Unprintable; next try" in caplog.text
    story.client.ping()


def test_arguments_of_earlier_calls_are_kept() -> None:
    story = Story().run()
    story.channel.subscribe(catch_up=story.log.fetch)  # the key is kept
    story.log.overlap = 2
    story.lose()
    story.log.add()
    assert story.run(5).said() == [0, 1, 2, 3]
    assert story.client.stats.duplicates_dropped == 2
    story.channel.subscribe(key=lambda event: event.data["id"] // 100)  # the function is kept
    story.lose()
    assert story.run(5).said() == [2]
    assert len(story.log.gaps) == 3


# Kinds of functions, and their results


async def numbers(count: int) -> AsyncIterator[tuple[str, Any]]:
    for number in range(count):
        yield "order", {"id": number}


class Callables:
    """Functions of all kinds, each with the same two events."""

    @staticmethod
    def plain(_: Gap) -> Any:
        return [("order", {"id": 0}), ("order", {"id": 1})]

    @staticmethod
    def texts(_: Gap) -> Any:
        return iter([("order", '{"id":0}'), ("order", '{"id":1}')])

    @staticmethod
    def mappings(_: Gap) -> Any:
        return ({"event": "order", "data": {"id": number}} for number in range(2))

    @staticmethod
    def generator(_: Gap) -> Any:
        yield "order", {"id": 0}
        yield "order", {"id": 1}

    @staticmethod
    def events(gap: Gap) -> Any:
        return {ChannelEvent(gap.channel, "order", f'{{"id":{n}}}'): None for n in range(2)}.keys()

    @staticmethod
    def awaitable(gap: Gap) -> Any:
        return Callables.coroutine(gap)

    @staticmethod
    async def coroutine(gap: Gap) -> Any:
        return Callables.plain(gap)

    @staticmethod
    async def coroutine_of_iterator(_: Gap) -> Any:
        return numbers(2)

    @staticmethod
    def iterator(_: Gap) -> Any:
        return numbers(2)

    @staticmethod
    async def async_generator(_: Gap) -> Any:
        async for each in numbers(2):
            yield each

    class Instance:
        async def __call__(self, gap: Gap) -> Any:
            return Callables.plain(gap)

    instance = Instance()


@pytest.mark.parametrize("kind", [name for name in vars(Callables) if name[0].islower()])
def test_a_function_may_be_plain_or_async_and_return_any_iterable(kind: str) -> None:
    function = getattr(Callables, kind)
    story = Story(before=0, fetch=lambda _: function).run()
    assert story.said() == [0, 1]
    for event in story.of(ChannelEvent):
        assert (event.channel, event.caught_up) == ("orders", True)


NOT_EVENTS = (
    "TypeError: a catch_up function has to return an iterable of events (empty without events), not"
)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, f"{NOT_EVENTS} None"),
        ({"event": "x"}, f"{NOT_EVENTS} dict"),
        ("text", f"{NOT_EVENTS} str"),
        (7, f"{NOT_EVENTS} int"),
        (
            [("a", 1), 7],
            (
                "TypeError: the fetched event 1 is a int: return a ChannelEvent, a mapping with 'event' and 'data', "
                "or a pair (event, data)"
            ),
        ),
        ([{"data": 1}], "ValueError: the fetched event 0 has no valid name: None"),
        (
            [("pusher:error", 1)],
            "ValueError: the fetched event 0 has no valid name: 'pusher:error'",
        ),
        (
            [("a", object())],
            "TypeError: the data of the fetched event 0 is not JSON: Encoding objects of type object is unsupported",
        ),
        (
            [ChannelEvent("other", "a")],
            "ValueError: the fetched event 0 is of another channel: 'other'",
        ),
    ],
)
def test_a_result_that_is_wrong_is_named(result: Any, reason: str) -> None:
    story = Story(before=0, fetch=lambda _: lambda _: result, catch_up_timeout=1.0).run(5)
    [reported] = story.of(GapNotClosed)
    assert reported.reason.endswith(f"within 1 s (catch_up_timeout): {reason}")


def test_fetched_events_keep_what_they_were_given() -> None:
    rows: Any = [
        {"event": "a", "data": {"at": datetime(2026, 1, 2, tzinfo=UTC)}, "user_id": 7, "id": 5},
        {"event": "b", "channel": "orders"},
        ChannelEvent("orders", "c", "text", "8", {"id": 6}),
    ]
    story = Story(before=0, key=None, fetch=lambda _: lambda _: rows).run()
    first, second, third = story.of(ChannelEvent)
    assert (first.data, first.user_id) == ({"at": "2026-01-02T00:00:00Z"}, "7")
    assert first.extra == {"id": 5}
    assert (second.data, second.user_id, second.extra) == (None, None, None)
    assert (third.data, third.user_id, third.extra) == ("text", "8", {"id": 6})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"catch_up": 7}, "catch_up is a function of a Gap, not int"),
        (
            {"key": "id"},
            "key needs catch_up: it identifies events that were both fetched and received",
        ),
        (
            {"catch_up": lambda _: [], "key": 7},
            "key is the name of a field of the data, or a function of the event, not int",
        ),
    ],
)
def test_arguments_that_cannot_be_used_change_nothing(
    arguments: dict[str, Any], message: str
) -> None:
    client = connected(World())
    with pytest.raises((TypeError, ValueError), match=message):
        client.subscribe("orders", **arguments)
    assert client.channels == {}


def test_a_window_that_is_smaller_than_the_buffer_is_as_large() -> None:
    story = Story(before=0, catch_up_buffer=5, catch_up_window=1).run()
    story.client.calls_take = 1.0
    story.lose().client.wait_connected()
    story.run(0.5)
    story.log.add(5)
    assert story.run(5).said() == [0, 1, 2, 3, 4]


def test_a_client_without_an_event_loop_refuses_async_functions_at_once() -> None:
    client = connected(World())
    client._awaits = False
    for function in (Callables.coroutine, Callables.async_generator, Callables.instance):
        with pytest.raises(TypeError, match="catch_up is a plain function in blocking code"):
            client.subscribe("orders", catch_up=function)
    assert client.channels == {}


# Consumers


class Order(msgspec.Struct):
    id: int


def test_handlers_typed_streams_and_waits_get_fetched_events() -> None:
    world = World()
    log = Log(world)
    client = connected(world)
    log.add(2)
    channel = client.subscribe("orders", catch_up=log.fetch, key="id")
    handled: list[Any] = []
    channel.bind("order", handled.append)
    client.bind(GapNotClosed, handled.append)
    typed: FakeStream[Any] = channel.events("order", type=Order)
    assert channel.wait_for("order").data == {"id": 0}
    world.run(1)
    assert [event.data["id"] for event in handled] == [0, 1]
    first, second = typed.ready()
    assert isinstance(first, TypedEvent)
    assert (first.data, first.caught_up, second.data) == (Order(0), True, Order(1))


def test_typed_streams_and_handlers_of_the_class_are_notified_of_a_gap() -> None:
    story = Story(catch_up_timeout=5.0)
    handled: list[Any] = []
    story.channel.bind("order", handled.append)
    reported: list[Any] = []
    story.client.bind(GapNotClosed, reported.append)
    others: FakeStream[Any] = story.channel.events(Subscribed)
    typed: FakeStream[Any] = story.channel.events(type=Order)
    predicate: FakeStream[Any] = story.client.events(
        lambda event: getattr(event, "name", "") == "order"
    )
    story.log.fails = [OSError()] * 100
    story.run(1)
    story.log.add()
    story.run(5)
    assert isinstance(story.events[-1], ChannelEvent)
    assert [type(event) for event in typed.ready()] == [GapNotClosed, TypedEvent]
    assert [type(event) for event in predicate.ready()] == [GapNotClosed, ChannelEvent]
    assert [type(event) for event in (*reported, *handled)] == [GapNotClosed, ChannelEvent]
    assert [type(event) for event in others.ready()] == [Subscribed]


@pytest.mark.parametrize(
    "channel",
    ["presence-room", "private-encrypted-x", "private-encrypted-cache-x", "cache-last"],
)
def test_channels_of_all_kinds_catch_up(channel: str) -> None:
    member = {"user_id": "1"}
    world = World()
    auth = world.own_key(member=member)
    story = Story(channel=channel, auth=auth, before=0).run()
    story.log.add(2)
    assert story.run().said() == [0, 1]
    story.lose()
    story.log.add(2)
    story.client.wait_connected()
    story.client.calls_take = 1.0
    story.run(0.5)
    story.log.add(1)
    assert story.run(5).said() == [2, 3, 4]


# A pause of reading


def stalled(**options: Any) -> Story:
    """Return a story whose consumer did not read for seconds, so that reading was paused."""
    story = Story(before=1, receive_buffer=2000, **options).run()
    story.said()
    for _ in range(40):
        story.log.add()
    story.run(3)
    assert not story.client.reads
    return story


def test_a_pause_of_reading_is_a_gap_that_is_closed_after_the_next_pong() -> None:
    story = stalled()
    taken = story.said()
    story.world.network.latency = 0.5
    story.run(0.2)
    assert len(story.log.gaps) == 1
    story.log.add()
    story.run(5)
    assert [*taken, *story.said()] == list(range(1, 42))
    assert len(story.log.gaps) == 2
    gap = story.log.gaps[1]
    assert gap.offline_for is not None
    assert gap.offline_for > 3


def test_a_server_that_answers_the_ping_with_an_error_holds_nothing_up_for_ever() -> None:
    story = stalled(catch_up_timeout=5.0)
    story.world.act(story.world.server.mute)
    story.said()
    story.run(4)
    assert len(story.log.gaps) == 1
    story.run(2)
    [reported] = story.of(GapNotClosed)
    assert reported.reason == (
        "the server did not answer the ping after a pause of reading within 5 s (catch_up_timeout)"
    )
    assert len(story.log.gaps) == 1


def test_a_gap_that_is_given_up_before_the_pong_is_still_open_when_the_connection_is_lost() -> None:
    story = stalled(catch_up_timeout=5.0)
    paused_at = story.world.now - 3
    story.world.act(story.world.server.mute)
    story.said()
    story.run(6)
    assert story.of(GapNotClosed)
    story.world.act(story.world.server.unmute)
    story.lose().client.wait_connected()
    story.run(1)
    since = story.log.gaps[-1].since
    assert since is not None
    assert since.timestamp() <= story.world.epoch + paused_at + 0.1
    assert story.said()[-1] == 40


def test_a_gap_that_begins_before_a_message_that_waits_for_a_key_is_not_shortened_by_it() -> None:
    story = waits_for_a_key()
    session, paused_at = story.client.session, story.world.now
    session.hold(2**40, now=paused_at)
    story.run(50)
    session.hold(0, now=story.world.now)
    story.log.add(1)  # read within a second after the pause, and held until a key arrives
    story.run(0.1)
    story.world.act(story.world.server.delay, 0.0, "auth")
    story.lose().client.wait_connected()
    story.run(1)
    since = story.log.gaps[-1].since
    assert since is not None
    assert since.timestamp() - story.world.epoch <= paused_at


# Bounds


def test_fetching_has_its_own_slots_and_calls_that_hang_are_reported() -> None:
    world = World()
    client = connected(world, world.options(max_authorizing=2, catch_up_timeout=10.0))
    client.calls_take = 1e6
    for number in range(5):
        client.subscribe(f"orders-{number}", catch_up=lambda _: [], key="id")
    world.run(20)
    assert client.stats.gaps_not_closed == 5
    assert client.stats.calls_hanging == 2
    client.subscribe("private-x").wait_subscribed()
    with client._guard:
        assert client.session.hanging_calls.startswith(
            "2 calls of the application's functions that fetch missed events did not return yet"
        )


def test_held_messages_count_in_the_receive_buffer() -> None:
    story = Story(before=0, receive_buffer=2000)
    story.client.calls_take = 20.0
    story.run(1)
    for _ in range(60):
        story.log.add()
    story.run(1)
    assert not story.client.reads
    story.client.calls_take = 0.0
    story.run(60)
    assert story.said() == list(range(60))
    story.run(60)
    assert story.client.reads


def test_held_messages_do_not_keep_the_pong_after_a_pause_from_being_read() -> None:
    story = Story(before=1, receive_buffer=2000).run()
    story.said()
    story.log.add(200)
    story.run(3)
    assert not story.client.reads
    taken: Seen = []
    for _ in range(20):
        taken += story.said()
        story.run(0.1)
    assert taken == list(range(1, 201))
    assert story.client.stats.gaps_not_closed == 0


def test_held_messages_do_not_keep_the_confirmation_after_a_loss_from_being_read() -> None:
    story = Story(before=0, receive_buffer=2000)
    story.client.calls_take = 20.0
    story.run(1)
    story.log.add(60)
    story.run(1)
    assert not story.client.reads
    story.client.calls_take = 0.0
    story.lose().client.wait_connected()
    story.run(1)
    assert story.channel.state is ChannelState.SUBSCRIBED
    story.run(25)
    assert story.said() == list(range(60))
    assert story.client.stats.gaps_not_closed == 0


def test_closing_cancels_the_calls() -> None:
    story = Story()
    story.client.calls_take = 5.0
    story.run(1)
    story.client.close()
    assert len(story.client.device.cancelled) == 1


# Other ways to lose events


def test_renewing_members_fetches_what_was_missed_between() -> None:
    world = World()
    story = Story(channel="presence-room", auth=world.own_key(member={"user_id": "1"}), before=0)
    story.run(2).log.add(1)
    story.run(2)
    story.channel.refresh_members()
    story.log.add(1)
    story.run(2)
    story.log.add(1)
    assert story.run(2).said() == [0, 1, 2]
    assert len(story.log.gaps) == 2


def test_a_subscription_that_is_confirmed_again_by_a_cluster_is_a_gap() -> None:
    story = Story(several_nodes=True).run()
    story.client.calls_take = 1.0
    story.log.stored.append(3)  # published on a node that did not know of the subscription
    story.world.say("pusher_internal:subscription_succeeded", "{}", "orders")
    story.log.add()
    assert story.run(0.5).said() == [0, 1, 2]
    assert story.run(5).said() == [3, 4]


def test_a_confirmation_that_was_read_late_is_older_than_what_was_dropped() -> None:
    """The success was in the buffers while reading was paused, and the server drops messages until they are empty."""
    story = Story(before=1, receive_buffer=2000).run()
    story.said()
    story.world.server.delay(0.2, "subscribe", now=story.world.now)
    story.lose().client.wait_connected()
    story.client.session.hold(10_000, now=story.world.now)  # the buffer is full before the success
    assert not story.client.reads
    story.run(5)
    story.client.session.hold(0, now=story.world.now)
    story.log.stored.append(1)  # the server drops it
    story.client.device.pump()
    story.log.stored.append(2)  # and this one, until it hears that the client reads
    story.run(5)
    assert story.said() == [1, 2]


def test_held_events_that_are_the_first_of_many_fetched_ones_are_found() -> None:
    story = Story(before=0, catch_up_window=5, catch_up_buffer=5).run()
    story.client.calls_take = 1.0
    story.lose().client.wait_connected()
    story.run(0.5)
    story.log.add(2)
    story.log.stored += range(2, 50)
    assert story.run(5).said() == list(range(50))


def test_an_older_event_that_is_fetched_late_is_not_the_last() -> None:
    story = Story(before=2, catch_up_timeout=5.0).run()
    story.log.fails = [OSError()] * 100
    story.log.stored.append(2)
    story.lose().client.wait_connected()
    story.run(1)
    story.log.add(1)
    assert story.run(10).said() == [0, 1, "gap", 3]
    story.log.fails, story.log.overlap = [], 3
    story.lose().client.wait_connected()
    assert story.run().said() == [2]
    story.lose().client.wait_connected()
    story.run()
    last = story.log.gaps[-1].last
    assert last is not None
    assert last.data == {"id": 3}


def test_a_loss_while_reading_is_paused_counts_from_the_pause() -> None:
    story = Story(before=1).run()
    story.said()
    paused_at = story.world.now
    story.client.session.hold(2**40, now=paused_at)
    story.run(50)
    story.lose()
    story.client.session.hold(0, now=story.world.now)
    story.client.wait_connected()
    story.run(1)
    since = story.log.gaps[1].since
    assert since is not None
    assert since.timestamp() - story.world.epoch <= paused_at


def test_a_gap_that_is_given_up_before_the_pong_is_looked_at_again_after_it() -> None:
    story = stalled(catch_up_buffer=5)
    story.said()
    [wire] = story.client.device.wires.values()
    wire.loses_requests = True
    story.run(0.1)
    story.said()
    story.log.add(7)  # more than are held
    assert story.run(1).said() == ["gap", *range(37, 48)]
    story.log.stored += range(48, 50)  # the server drops them
    wire.loses_requests = False
    story.client.ping()
    assert story.run(1).said() == [48, 49]


def test_a_hole_before_the_pong_is_reported_at_its_place() -> None:
    story = stalled(catch_up_timeout=10.0)
    story.said()
    story.log.fails = [OSError()] * 100
    story.run(0.5)
    buffered = story.run(0.5).said()
    assert buffered == []
    story.log.stored.append(len(story.log.stored))  # the server dropped it
    story.log.add(1)
    story.run(20)
    said = story.said()
    assert said[0] == "gap"
    assert said[-2:] == ["gap", 42]


def test_another_object_gives_up_the_gap_of_the_one_before_and_begins_at_first() -> None:
    world = World()
    device = world.connected()
    device.calls_take = 5.0
    rows = [("order", {"id": 1})]
    device.subscribe("orders", catch_up=CatchUp(lambda _: [], "id"))
    world.run(1)
    world.publish("orders", "order", {"id": 2})
    device.calls_take = 0.0
    device.subscribe("orders", catch_up=CatchUp(lambda _: rows, "id"))
    world.run(10)  # the earlier call of the channel has to return before the next one is made
    assert seen(device.take()) == ["gap", 2, 1]


def test_another_object_reports_no_gap_where_there_was_none() -> None:
    world = World()
    device = world.connected()
    device.subscribe("orders", catch_up=CatchUp(lambda _: [], "id"))
    world.run(1)
    world.publish("orders", "order", {"id": 1})
    device.subscribe("orders", catch_up=CatchUp(lambda _: [("order", {"id": 2})], "id"))
    world.run(1)
    assert seen(device.take()) == [1, 2]


def test_a_driver_that_does_not_call_the_function_is_reported() -> None:
    story = Story(before=0, catch_up_timeout=2.0)
    story.client.calls_take = 1e6
    story.run(1)
    with story.client._guard:
        story.client.session.call_ended(1, {"X": "1"}, now=story.world.now)
    story.run(5)
    [reported] = story.of(GapNotClosed)
    assert reported.reason.endswith("TypeError: the events of a gap are a list, not dict")
