"""Merged streams: each event once, in order, as long as one of the connections is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.fake_client import FakeClient, FakeStream, Stuck, connected
from pusher_proto import (
    ChannelEvent,
    ClientClosed,
    ConnectionFailed,
    DataError,
    Subscribed,
    SubscriptionError,
    UserEvent,
)
from pusher_proto._base.recent_keys import RecentKeys
from pusher_proto.client import END, EventKey, MergedBase, Nothing
from simulation import World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "100"))
tried = settings(max_examples=EXAMPLES, deadline=None)


class Merged(MergedBase[Any]):
    """A merged stream whose step lets virtual time pass, in the world of its first client."""

    def __init__(
        self, streams: list[FakeStream[Any]], key: EventKey = "n", window: int = 1000
    ) -> None:
        super().__init__(streams, iter, key, window)
        self.world: World = self._parts[0].host.client.world

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        world = self.world
        limit = world.now + 600
        while (event := self._next()) is Nothing.PENDING:
            woken: list[bool] = []
            with self._listening(partial(woken.append, True)):
                while not woken:
                    at = world._next()
                    if at > limit:
                        raise Stuck("no event was received")
                    world.now = max(world.now, at)
                    world._step()
        if event is END:
            raise StopIteration
        return event

    def ready(self) -> list[Any]:
        """Return the numbers that can be had without time passing."""
        taken: list[Any] = []
        while not isinstance(event := self._next(), Nothing):
            taken.append(event.data["n"] if isinstance(event, ChannelEvent) else event)
        return taken


@dataclass
class Site:
    """A server, in its own world, and a client that listens there."""

    world: World
    client: FakeClient
    stream: FakeStream[Any]

    @classmethod
    def open(cls, seed: int, **options: Any) -> Site:
        world = World(seed)
        client = connected(world, world.options(**options))
        channel = client.subscribe("room").wait_subscribed()
        return cls(world, client, channel.events(ChannelEvent))

    def fail(self) -> None:
        """Lose the connection permanently; the client was opened with `max_attempts=1`."""
        self.world.network.refuse = True
        self.world.reset(self.client.device)
        self.world.run(5)

    def publish(self, number: int) -> None:
        self.world.publish("room", "n", {"n": number})


@pytest.fixture
def sites() -> tuple[Site, Site]:
    return Site.open(1), Site.open(2)


def merged(*sites: Site, key: EventKey = "n", window: int = 1000) -> Merged:
    return Merged([site.stream for site in sites], key, window)


def test_each_event_of_two_servers_is_given_once(sites: tuple[Site, Site]) -> None:
    both = merged(*sites)
    for number in range(5):
        for site in sites:
            site.publish(number)
    first = both._next_now()
    assert isinstance(first, ChannelEvent)
    assert first.data == {"n": 0}
    assert both.ready() == [*range(1, 5)]
    assert both.duplicates == 5
    assert both._next_now() is Nothing.PENDING


def test_the_loss_of_either_connection_shows_neither_a_gap_nor_a_duplicate(
    sites: tuple[Site, Site],
) -> None:
    both, got = merged(*sites), list[int]()
    for number in range(40):
        lost = sites[number // 10 % 2]
        if number % 10 == 2:
            lost.world.network.refuse = True
            lost.world.reset(lost.client.device)
        if number % 10 == 6:
            lost.world.network.refuse = False
            lost.client.connect()
        for site in sites:
            site.publish(number)
            site.world.run(1)
        if number % 3 == 0:
            got += both.ready()
    assert got + both.ready() == [*range(40)]


def test_a_slow_consumer_gets_the_order_of_one_stream(sites: tuple[Site, Site]) -> None:
    first, other = sites
    both = merged(other, first)
    first.publish(0)
    assert both.ready() == [0]
    for number in range(1, 5):
        first.publish(number)
    for number in range(3, 9):  # the other one was away, and is ahead now
        other.publish(number)
    assert both.ready() == [*range(1, 9)]
    assert both.duplicates == 2


@tried
@given(
    st.lists(st.tuples(st.sampled_from(("here", "there", "both")), st.booleans()), max_size=40),
    st.integers(0, 7),
)
def test_any_two_parts_of_one_sequence_give_their_union_each_once_and_in_their_own_order(
    plan: list[tuple[str, bool]], seed: int
) -> None:
    here, there = Site.open(seed), Site.open(seed + 1)
    both, got = merged(here, there), list[int]()
    for number, (where, reads) in enumerate(plan):
        for name, site in (("here", here), ("there", there)):
            if where in (name, "both"):
                site.publish(number)
        if reads:
            got += both.ready()
    got += both.ready()
    assert sorted(got) == [*range(len(plan))]
    for name in ("here", "there"):  # what one of them alone gave keeps its order
        alone = [number for number, (where, _) in enumerate(plan) if where == name]
        assert [number for number in got if number in alone] == alone
    assert both.duplicates == sum(where == "both" for where, _ in plan)


def test_a_window_that_is_too_small_shows(sites: tuple[Site, Site]) -> None:
    first, other = sites
    both = merged(first, other, window=3)
    for number in range(5):
        first.publish(number)
    assert both.ready() == [*range(5)]
    for number in range(5):
        other.publish(number)
    assert both.ready() == [0, 1, 2, 3, 4]
    recent = RecentKeys(2)
    for key in "abc":
        recent.add(key)
    assert [key in recent for key in "abc"] == [False, True, True]


def test_the_step_of_a_merged_stream_is_woken_by_any_of_them(sites: tuple[Site, Site]) -> None:
    first, other = sites
    both = merged(first, other)
    first.world.at(1, lambda: other.publish(7))
    first.world.at(2, lambda: first.publish(8))
    assert [next(both).data["n"] for _ in range(2)] == [7, 8]
    with pytest.raises(Stuck):
        next(both)
    assert not first.stream.signal.waiters
    assert not other.stream.signal.waiters


# Ends


def test_one_client_that_is_closed_or_fails_leaves_the_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, other = Site.open(1, max_attempts=1), Site.open(2)
    both = merged(first, other)
    first.fail()
    other.publish(1)
    assert both.ready() == [1]
    text = "a merged stream has no more events, but others may have: ConnectionFailed"
    assert len([line for line in caplog.messages if line.startswith(text)]) == 1
    first.world.network.refuse = False
    first.client.connect()
    first.world.run(5)
    first.publish(2)
    assert both.ready() == [2]
    first.client.close()
    other.publish(3)
    assert both.ready() == [3]
    other.client.close()
    assert list(both) == []
    with pytest.raises(ClientClosed, match="no event follows"):
        both._next_now()


def test_when_all_have_failed_the_reason_is_raised() -> None:
    sites = Site.open(1, max_attempts=1), Site.open(2, max_attempts=1)
    both = merged(*sites)
    for site in sites:
        site.fail()
    for _ in range(2):
        with pytest.raises(ConnectionFailed, match="connection reset"):
            next(both)
    sites[1].world.network.refuse = False
    sites[1].client.connect()
    sites[1].world.run(5)
    assert both.ready() == []  # one may have events again


def test_a_channel_that_is_refused_ends_its_stream_alone() -> None:
    world = World()
    client = connected(world, world.options(auth=lambda _: None), authorizer=_refuse)
    refused = client.subscribe("private-room").events(ChannelEvent)
    world.run(1)
    site = Site.open(1)
    both = Merged([refused, site.stream])
    site.publish(1)
    assert both.ready() == [1]
    site.client.close()
    with pytest.raises(SubscriptionError):
        next(both)


def _refuse(_: object) -> None:
    raise SubscriptionError("no", channel="private-room")


def test_closing_closes_all_streams(sites: tuple[Site, Site]) -> None:
    both = merged(*sites)
    for site in sites:
        site.publish(1)
    assert both.ready() == [1]
    for site in sites:
        site.publish(2)
    both.close()
    assert both.ready() == []
    assert list(both) == []
    assert not sites[0].client._delivery.router.has("room")


# Keys


class Tick(msgspec.Struct):
    n: int


def test_a_key_is_a_field_of_the_data_or_a_function_of_the_event(sites: tuple[Site, Site]) -> None:
    streams = [site.client.channel("room").events("n", type=Tick) for site in sites]
    by_field = Merged(streams)
    by_function = merged(*sites, key=lambda event: event.data["n"] % 2)
    for number in range(4):
        for site in sites:
            site.publish(number)
    assert [next(by_field).data for _ in range(4)] == [Tick(n) for n in range(4)]
    assert by_function.ready() == [0, 1]


def test_events_without_a_key_are_given_as_often_as_they_arrive(
    sites: tuple[Site, Site], caplog: pytest.LogCaptureFixture
) -> None:
    def key(event: ChannelEvent) -> Any:
        return {"no": None, "list": [], "raise": {}}[event.data["n"]]

    both = merged(*sites, key=key)
    for site in sites:
        for data in ("no", "list", "other"):
            site.publish(data)  # type: ignore[arg-type]  # any data will do
    assert sorted(both.ready()) == ["list", "list", "no", "no", "other", "other"]
    failed = [text for text in caplog.messages if text.startswith("an event has no usable key")]
    assert failed[0].endswith("TypeError: unhashable type: 'list'")
    assert len(failed) == 3  # of four, as is usual for what may be repeated often
    both = merged(*sites, key="other")
    for site in sites:
        site.publish(1)
        site.world.publish("room", "text", "text")
    assert len([next(both) for _ in range(4)]) == 4
    assert both.duplicates == 0


def test_other_events_than_messages_are_never_duplicates() -> None:
    world = World()
    clients = [FakeClient(world), FakeClient(world)]
    streams = [each.subscribe("room").events((Subscribed, ChannelEvent)) for each in clients]
    both = Merged(streams, key=lambda _: 1)
    assert [next(both) for _ in range(2)] == [Subscribed("room", None)] * 2
    world.publish("room", "n", {"n": 1})
    world.publish("room", "n", {"n": 2})
    assert both.ready() == [1]
    assert issubclass(UserEvent, ChannelEvent)


def test_data_that_does_not_fit_is_raised_and_the_stream_continues() -> None:
    site = Site.open(1)
    both = Merged([site.client.channel("room").events("n", type=Tick)])
    site.publish("x")  # type: ignore[arg-type]  # wrong on purpose
    site.publish(2)
    with pytest.raises(DataError):
        next(both)
    assert next(both).data == Tick(2)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda _: Merged([]), ValueError, "at least one stream"),
        (lambda site: Merged([cast("Any", site)]), TypeError, "merge needs streams or channels"),
        (lambda site: Merged([cast("Any", [])]), TypeError, r"merge needs streams .* not \[\]"),
        (
            lambda site: Merged(cast("Any", site.client.channel("room"))),
            TypeError,
            "merge needs a list of streams or channels, not <FakeChannel 'room'",
        ),
        (lambda site: merged(site, window=cast("Any", "5")), TypeError, "window is a number"),
        (lambda site: merged(site, window=cast("Any", True)), TypeError, "window is a number"),
        (lambda site: merged(site, key=cast("Any", 5)), TypeError, "key is the name of a field"),
        (lambda site: merged(site, window=0), ValueError, "window is a number of keys"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(
    make: Callable[[Site], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make(Site.open(1))


def test_the_message_of_a_timeout_names_each_reason_once(sites: tuple[Site, Site]) -> None:
    both = merged(*sites)
    assert both._why_not(2) == "no event was received within 2 s"
    sites[0].world.act(sites[0].world.server.drop, 4200, "again")
    sites[0].world.run(0.02)
    text = both._why_not(2)
    assert text.count("within 2 s") == 2
    assert "again" in text
