"""Client events that wait: for the subscription of their channel, in order, within their age, and what `flush` says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.fake_client import FakeChannel, FakeClient, Stuck, connected
from pusher_proto import (
    ChannelEvent,
    ChannelState,
    ClientClosed,
    ConnectionEnded,
    ConnectionFailed,
    LocalProtocolError,
    NotSubscribed,
    Options,
    Outbox,
    OutboxFull,
    PusherTimeout,
    RateLimited,
    SubscriptionError,
    UnsupportedFeature,
)
from pusher_proto._base.timers import Timer, Timers
from pusher_proto._channels.channel import ChannelSnapshot
from pusher_proto._channels.client_events import ClientEvents
from pusher_proto._connection.connector import Connector
from pusher_proto._connection.ledger import Ledger, RequestKind
from pusher_proto.names import kind_of
from pusher_proto.recording import replay
from simulation import World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "100"))
tried = settings(max_examples=EXAMPLES, deadline=None)

ROOM = "private-room"


class Heard:
    """Another client on the channel, and what it gets of the events that are triggered."""

    def __init__(self, world: World, name: str = ROOM) -> None:
        key = world.own_key(member={"user_id": "listener"})
        client = connected(world, world.options(auth=key))
        self._client = client
        self._stream = client.subscribe(name).wait_subscribed().events(ChannelEvent)

    def take(self) -> list[tuple[str, Any]]:
        """Return names and data of the events since the last call."""
        return [(event.name, event.data) for event in self._stream.ready()]


def away(**options: Any) -> tuple[World, FakeClient, FakeChannel, Heard]:
    """Return a client whose channel is subscribed as soon as `world.network.refuse` is over, and one that listens."""
    world = World()
    heard = Heard(world)
    world.network.refuse = True
    client = FakeClient(world, world.options(**options))
    return world, client, client.subscribe(ROOM), heard


def back(world: World, client: FakeClient) -> None:
    world.network.refuse = False
    client.connect()
    world.run(1)


def flush(client: FakeClient, timeout: float | None = 60) -> None:
    client._wait(client._goals.flushed(), timeout)


# One by one.


def test_what_is_triggered_before_the_channel_is_subscribed_is_sent_when_it_is() -> None:
    world, client, channel, heard = away()
    for number in range(3):
        channel.trigger("client-step", number, queue=True)
    assert (channel.waiting_events, client.stats.client_events_waiting) == (3, 3)
    back(world, client)
    channel.trigger("client-step", 3)
    world.run(1)
    assert heard.take() == [("client-step", number) for number in range(4)]
    assert (channel.waiting_events, client.stats.client_events_waiting) == (0, 0)


def test_after_outbox_events_wait_unless_the_call_says_otherwise() -> None:
    _world, _client, channel, _heard = away()
    with pytest.raises(NotSubscribed, match="call wait_subscribed"):
        channel.trigger("client-step", 1)
    assert channel.outbox() is channel
    channel.trigger("client-step", 1)
    with pytest.raises(NotSubscribed, match="call wait_subscribed"):
        channel.trigger("client-step", 2, queue=False)
    assert channel.waiting_events == 1


def test_of_the_latest_one_for_each_name_is_sent_in_the_order_of_the_last_ones() -> None:
    world, client, channel, heard = away()
    channel.outbox(keep="latest")
    for name, value in (("client-at", 1), ("client-to", 2), ("client-at", 3), ("client-at", 4)):
        channel.trigger(name, value)
    assert channel.waiting_events == 2
    back(world, client)
    assert heard.take() == [("client-to", 2), ("client-at", 4)]
    assert client.stats.client_events_replaced == 2


def test_an_event_that_waited_too_long_is_dropped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel, heard = away()
    channel.outbox(max_age=5)
    channel.trigger("client-step", 1)
    world.run(3)
    channel.trigger("client-step", 2)
    world.run(2.5)
    assert (channel.waiting_events, client.stats.client_events_dropped) == (1, 1)
    back(world, client)
    assert heard.take() == [("client-step", 2)]
    dropped = [text for text in caplog.messages if "too old" in text]
    assert dropped == [
        "waiting client events were dropped (too old, or their channel was unsubscribed): 1 so far"
    ]


def test_without_an_age_events_wait_for_hours() -> None:
    world, client, channel, heard = away()
    channel.outbox(max_age=None).trigger("client-step", 1)
    world.run(36_000)
    back(world, client)
    assert heard.take() == [("client-step", 1)]


def test_past_the_limit_trigger_raises_and_waiting_events_stay() -> None:
    world, client, channel, heard = away()
    channel.outbox(limit=2)
    channel.trigger("client-step", 1)
    channel.trigger("client-step", 2)
    with pytest.raises(OutboxFull, match=r"2 client events wait for 'private-room' already"):
        channel.trigger("client-step", 3)
    back(world, client)
    assert heard.take() == [("client-step", 1), ("client-step", 2)]


def test_a_new_value_takes_the_place_of_the_old_one_when_the_outbox_is_full() -> None:
    _world, _client, channel, _heard = away(outbox_limit=250)
    channel.outbox(keep="latest", limit=2)
    channel.trigger("client-at", "x" * 50)
    channel.trigger("client-to", 1)
    channel.trigger("client-at", "y" * 60)
    with pytest.raises(OutboxFull, match="2 client events wait"):
        channel.trigger("client-by", 1)
    with pytest.raises(OutboxFull, match=r"bytes wait to be sent already \(Options.outbox_limit\)"):
        channel.trigger("client-at", "z" * 220)
    assert channel.waiting_events == 2


def test_all_outboxes_together_keep_to_the_limit_of_bytes() -> None:
    _world, client, channel, _heard = away(outbox_limit=300)
    other = client.subscribe("private-other").outbox()
    channel.outbox().trigger("client-x", "x" * 180)
    with pytest.raises(OutboxFull, match=r"Options.outbox_limit"):
        other.trigger("client-x", "x" * 180)


def test_events_for_a_channel_that_was_not_asked_for_do_not_wait() -> None:
    _world, client, channel, _heard = away()
    with pytest.raises(NotSubscribed, match=r"call subscribe\(\) before"):
        client.channel("private-other").trigger("client-x", 1, queue=True)
    channel.unsubscribe()
    with pytest.raises(NotSubscribed, match=r"call subscribe\(\) before"):
        channel.trigger("client-x", 1, queue=True)
    with pytest.raises(UnsupportedFeature):
        client.subscribe("room").trigger("client-x", 1, queue=True)
    assert client.stats.client_events_waiting == 0


def test_events_that_wait_for_an_unsubscribed_channel_are_dropped_and_another_keeps_its_own() -> (
    None
):
    world, client, channel, heard = away()
    other = client.subscribe("private-other").outbox()
    other.trigger("client-x", 1)
    channel.outbox().trigger("client-x", 2)
    channel.unsubscribe()
    world.run(0.1)
    assert client.stats.client_events_dropped == 1
    channel.subscribe()
    channel.trigger("client-x", 3)
    back(world, client)
    assert heard.take() == [("client-x", 3)]
    assert other.waiting_events == 0


def test_resubscribe_keeps_waiting_events() -> None:
    world, client, channel, heard = away()
    channel.outbox().trigger("client-x", 1)
    channel.resubscribe()
    channel.trigger("client-x", 2)
    back(world, client)
    assert heard.take() == [("client-x", 1), ("client-x", 2)]
    assert client.stats.client_events_dropped == 0


def test_a_loss_of_the_connection_is_bridged() -> None:
    world = World()
    heard = Heard(world)
    client = connected(world)
    channel = client.subscribe(ROOM).outbox().wait_subscribed()
    channel.trigger("client-x", 1)
    world.run(1)
    world.reset(client.device)
    channel.trigger("client-x", 2)
    world.run(5)
    channel.trigger("client-x", 3)
    world.run(1)
    assert heard.take() == [("client-x", 1), ("client-x", 2), ("client-x", 3)]


def test_events_of_an_outbox_keep_to_the_rate_and_survive_the_loss_where_others_do_not() -> None:
    world = World()
    heard = Heard(world)
    client = connected(world, world.options(client_event_rate=2, client_event_overflow="wait"))
    channel = client.subscribe(ROOM).wait_subscribed()
    for number in range(8):
        channel.trigger("client-x", number, queue=bool(number % 2))
    world.run(1.2)
    assert heard.take() == [("client-x", number) for number in range(4)]
    world.reset(client.device)
    world.run(10)
    assert heard.take() == [("client-x", 5), ("client-x", 7)]


def test_past_the_rate_a_queued_event_waits_and_another_raises_when_it_may_be_sent() -> None:
    world = World()
    heard = Heard(world)
    client = connected(world, world.options(client_event_rate=2))
    channel = client.subscribe(ROOM).wait_subscribed()
    for number in range(6):
        channel.trigger("client-x", number, queue=True)
    with pytest.raises(RateLimited) as raised:
        channel.trigger("client-x", 6)
    world.run(raised.value.retry_after)
    channel.trigger("client-x", 6)
    world.run(1)
    assert heard.take() == [("client-x", number) for number in range(7)]


def test_of_the_latest_that_wait_for_the_rate_the_last_value_is_sent() -> None:
    world = World()
    heard = Heard(world)
    client = connected(world, world.options(client_event_rate=1))
    channel = client.subscribe(ROOM).outbox(keep="latest").wait_subscribed()
    for number in range(100):
        channel.trigger("client-at", number)
        world.run(0.01)
    world.run(2)
    assert [value for _, value in heard.take()] == [0, 99]
    assert client.stats.client_events_replaced == 98


def test_a_channel_that_loses_its_subscription_before_the_rate_allows_an_event_keeps_it() -> None:
    world = World()
    heard = Heard(world, "presence-room")
    key = world.own_key(member={"user_id": "1"})
    client = connected(world, world.options(auth=key, client_event_rate=1))
    channel = client.subscribe("presence-room").wait_subscribed()
    heard.take()
    channel.trigger("client-x", 1, queue=True)
    channel.trigger("client-x", 2, queue=True)
    world.act(world.server.delay, 3.0, "subscribe")
    channel.refresh_members()
    world.run(2)
    assert ("client-x", 2) not in heard.take()
    assert channel.waiting_events == 1
    world.run(3)
    assert ("client-x", 2) in [each for each in heard.take() if each[0] == "client-x"]


def test_a_silent_loss_takes_with_it_no_more_than_the_seconds_of_the_docs() -> None:
    world = World()
    heard = Heard(world)
    client = connected(world, world.options(activity_timeout=10, pong_timeout=5))
    channel = client.subscribe(ROOM).outbox().wait_subscribed()
    world.run(3)
    world.sever(client.device)
    for number in range(30):
        channel.trigger("client-x", number)
        world.run(1)
    numbers = [number for _, number in heard.take()]
    assert numbers == [*range(numbers[0], 30)]
    assert 10 <= numbers[0] <= 15


def test_events_that_wait_when_the_client_is_closed_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _world, client, channel, _heard = away()
    channel.trigger("client-x", 1, queue=True)
    client.close()
    assert "the client was closed while 1 client events waited" in caplog.text
    with pytest.raises(ClientClosed):
        channel.trigger("client-x", 2, queue=True)


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"max_age": 0}, ValueError, "max_age is a positive number of seconds, not 0"),
        ({"max_age": float("nan")}, ValueError, "max_age is a positive number"),
        ({"max_age": "5"}, TypeError, "max_age is a number of seconds or None, not '5'"),
        ({"max_age": True}, TypeError, "max_age is a number of seconds or None"),
        ({"keep": "newest"}, ValueError, "keep is one of all, latest, not 'newest'"),
        ({"limit": 0}, ValueError, "at least 1, not 0"),
        ({"limit": 1.5}, TypeError, "limit is a number of events, not 1.5"),
        ({"limit": True}, TypeError, "limit is a number of events"),
    ],
)
def test_invalid_settings_are_refused_and_the_old_ones_stay(
    wrong: dict[str, Any], error: type[Exception], text: str
) -> None:
    _world, _client, channel, _heard = away()
    channel.outbox(limit=1)
    with pytest.raises(error, match=text):
        channel.outbox(**wrong)
    channel.trigger("client-x", 1)
    with pytest.raises(OutboxFull):
        channel.trigger("client-x", 2)


def test_a_recording_has_the_outbox() -> None:
    lines: list[str] = []
    world = World()
    world.network.refuse = True
    device = world.device(record=lines.append)
    device.subscribe(ROOM)
    device.do(device.session.trigger, ROOM, "client-x", 1, Outbox(keep="latest", max_age=7))
    device.do(device.session.trigger, ROOM, "client-x", 2, Outbox(keep="latest", max_age=7))
    world.network.refuse = False
    world.run(10)
    assert device.session.channel(ROOM).state is ChannelState.SUBSCRIBED
    kept = [msgspec.json.decode(line) for line in lines]
    triggers = [line["args"][3] for line in kept if line.get("input") == "trigger"]
    assert triggers == [{"outbox": {"max_age": 7.0, "keep": "latest", "limit": 100}}] * 2
    again = [each for each in replay(lines) if type(each) in {type(e) for e in device.effects}]
    assert len(again) == len(device.effects)


# Flush.


def test_a_flush_waits_for_waiting_events_over_reconnects() -> None:
    world, client, channel, heard = away()
    channel.trigger("client-x", 1, queue=True)
    began = world.now
    world.at(30, lambda: setattr(world.network, "refuse", False))
    flush(client)
    assert 30 < world.now - began < 60
    assert heard.take() == [("client-x", 1)]


def test_a_flush_does_not_wait_for_events_that_were_triggered_after_it_began() -> None:
    world, client, channel, heard = away(client_event_rate=1)
    channel.trigger("client-x", 0, queue=True)
    flushing = client._goals.flushed()
    with client._guard:
        flushing.check()
    for number in range(1, 50):
        channel.trigger("client-x", number, queue=True)
    world.network.refuse = False
    client.connect()
    client._wait(flushing, 60)
    assert client.stats.client_events_waiting > 40
    assert heard.take()[0] == ("client-x", 0)


def test_a_flush_says_when_events_were_too_old() -> None:
    world, client, channel, _heard = away()
    channel.outbox(max_age=5).trigger("client-x", 1)
    world.run(1)
    channel.trigger("client-x", 2)
    with pytest.raises(PusherTimeout, match="1 waiting client events were dropped"):
        flush(client)


def test_a_flush_says_when_the_connection_ended_before_the_server_confirmed() -> None:
    world, client, channel, _heard = away()
    channel.outbox().trigger("client-x", 1)
    other = client.subscribe("private-other").outbox()
    other.trigger("client-x", 2)
    world.act(world.server.delay, 20.0, "subscribe")
    world.network.refuse = False
    client.connect()
    flushing = client._goals.flushed()
    with client._guard:
        flushing.check()
    world.run_until(lambda: not channel.waiting_events)
    client.world.reset(client.device)
    with pytest.raises(ConnectionEnded, match="some of them may be lost"):
        client._wait(flushing, 60)


def test_a_flush_that_finds_everything_confirmed_needs_no_connection() -> None:
    world, client, channel, heard = away()
    channel.trigger("client-x", 1, queue=True)
    flushing = client._goals.flushed()
    with client._guard:
        flushing.check()
    back(world, client)
    client.ping()
    world.run(1)
    world.network.refuse = True
    world.reset(client.device)
    world.run(1)
    with client.no_time():
        client._wait(flushing, 60)
    assert heard.take() == [("client-x", 1)]


def test_a_flush_ends_when_only_channels_that_are_refused_wait() -> None:
    world, client, room, heard = away()
    world.act(world.server.refuse_channel, "private-no", message="no", code=4009)
    refused = client.subscribe("private-no").outbox(max_age=None)
    room.trigger("client-a", 1, queue=True)
    refused.trigger("client-b", 2)
    world.network.refuse = False
    with pytest.raises(SubscriptionError, match="the server refused 'private-no': no"):
        flush(client, None)
    world.run(1)
    assert heard.take() == [("client-a", 1)]
    assert refused.waiting_events == 1
    with pytest.raises(SubscriptionError):  # each call says so
        flush(client, None)
    world.act(world.server.allow_channel, "private-no")
    refused.subscribe()
    flush(client)
    assert refused.waiting_events == 0


def test_a_flush_ends_when_nothing_can_be_sent_any_longer() -> None:
    world, client, channel, _heard = away()
    channel.trigger("client-x", 1, queue=True)
    world.at(1, lambda: client.close())
    with pytest.raises(ClientClosed):
        flush(client)
    world, client, channel, _heard = away(max_attempts=2)
    channel.trigger("client-x", 1, queue=True)
    with pytest.raises(ConnectionFailed):
        flush(client)


# Any schedule.


@dataclass
class Wire:
    """A connection that notes what is sent on it, and when."""

    now: float = 1000.0
    unsent: int = 0
    socket_id: str | None = "1.2"
    ledger: Ledger = field(default_factory=lambda: Ledger(in_order=False))
    sent: list[tuple[float, str, str, int]] = field(default_factory=list)

    def request(self, frame: bytes, kind: RequestKind, channel: str, now: float) -> None:
        assert kind is RequestKind.CLIENT_EVENT
        message = msgspec.json.decode(frame)
        self.sent.append((now, channel, message["event"], message["data"]))


CHANNELS = ("private-a", "presence-b")
OUTBOXES = (
    None,
    Outbox(max_age=1.0, limit=3),
    Outbox(max_age=4.0, keep="latest", limit=2),
    Outbox(max_age=None, keep="latest"),
    Outbox(limit=5),
)

steps = st.one_of(
    st.tuples(st.just("trigger"), st.sampled_from(CHANNELS), st.integers(0, 2), st.sampled_from(OUTBOXES)),
    st.tuples(st.just("trigger"), st.sampled_from(CHANNELS), st.integers(0, 2), st.sampled_from(OUTBOXES)),
    st.tuples(st.just("subscribed"), st.sampled_from(CHANNELS)),
    st.tuples(st.just("away"), st.sampled_from(CHANNELS)),
    st.tuples(st.just("left"), st.sampled_from(CHANNELS), st.booleans()),
    st.tuples(st.just("lost")),
    st.tuples(st.just("sleeps"), st.sampled_from((0.01, 0.4, 1.5))),
    st.tuples(st.just("passes"), st.sampled_from((0.01, 0.3, 1.0, 2.5, 70.0))),
)  # fmt: skip


class Schedule:
    """Client events under any schedule of triggers, subscriptions, losses and time."""

    def __init__(self, rate: int | None, overflow: str) -> None:
        options = Options.from_host(
            "pusher.test",
            key="key",
            client_event_rate=rate,
            client_event_overflow=cast("Any", overflow),
        )
        self.wire = Wire()
        self.timers = Timers()
        self.states = dict.fromkeys(CHANNELS, ChannelState.PENDING)
        self.events = ClientEvents(
            options, self.timers, cast("Connector", self.wire), self.states.__getitem__
        )
        self.number = 0
        self.accepted: dict[int, tuple[float, Outbox | None]] = {}
        """When each event was triggered, and with which outbox."""
        self.lost_unqueued = 0

    def trigger(self, channel: str, name: int, queue: Outbox | None) -> None:
        self.number += 1
        snapshot = ChannelSnapshot(channel, kind_of(channel), self.states[channel])
        before = self.counts()
        try:
            self.events.trigger(snapshot, f"client-{name}", self.number, queue, self.wire.now)
        except (LocalProtocolError, OutboxFull):
            # Events that were overdue may have been sent or dropped; nothing was added.
            *events, replaced = self.counts()
            assert (sum(events), replaced) == (sum(before[:3]), before[3])
        else:
            self.accepted[self.number] = self.wire.now, queue
        waiting = self.events.waiting_on(channel)
        assert queue is None or waiting <= max(waiting if before[1] else 0, queue.limit, before[1])

    def counts(self) -> tuple[int, int, int, int]:
        events = self.events
        return len(self.wire.sent), events.waiting, events.dropped, events.replaced

    def subscribed(self, channel: str) -> None:
        self.states[channel] = ChannelState.SUBSCRIBED
        self.events.subscribed(channel, self.wire.now)

    def away(self, channel: str) -> None:
        self.states[channel] = ChannelState.PENDING

    def left(self, channel: str, again: bool) -> None:
        self.states[channel] = ChannelState.UNSUBSCRIBED
        self.events.left(channel, self.wire.now)
        if again:
            self.states[channel] = ChannelState.PENDING
        self.passes(0)
        if not again:
            assert self.events.waiting_on(channel) == 0

    def lost(self) -> None:
        before = self.events.waiting
        self.states.update(
            {name: ChannelState.PENDING for name, at in self.states.items() if at is not ChannelState.UNSUBSCRIBED}
        )  # fmt: skip
        self.events.lost()
        self.lost_unqueued += before - self.events.waiting

    def sleeps(self, seconds: float) -> None:
        """Let time pass in which the driver is too busy to fire timers."""
        self.wire.now += seconds

    def passes(self, seconds: float) -> None:
        end = self.wire.now + seconds
        while (at := self.timers.next()) is not None and at <= end:
            self.wire.now = max(self.wire.now, at)
            due = self.timers.pop_due(self.wire.now)
            assert due is not None
            timer, of = due
            if timer is Timer.TRIGGER:
                self.events.due(self.wire.now)
            else:
                assert timer is Timer.OUTBOX
                self.events.outbox_due(cast("int | str", of))
        self.wire.now = end

    def check(self) -> None:
        last: dict[tuple[str, str], int] = {}
        for at, channel, name, number in self.wire.sent:
            assert last.get((channel, name), 0) < number, "an old value after a newer one"
            last[channel, name] = number
            triggered_at, queue = self.accepted[number]
            if queue is not None and queue.max_age is not None:
                assert at - triggered_at < queue.max_age, "too old"
        sent, waiting, dropped, replaced = self.counts()
        assert len(self.accepted) == sent + waiting + dropped + replaced + self.lost_unqueued
        limits = [queue.limit for queue in OUTBOXES if queue is not None]
        for channel in CHANNELS:
            assert self.events.waiting_on(channel) <= max(limits)


@tried
@given(
    st.sampled_from((None, 1, 3)),
    st.sampled_from(("raise", "wait")),
    st.lists(steps, max_size=60),
)
def test_no_old_value_follows_a_newer_one_nothing_too_old_is_sent_and_the_counts_are_right(
    rate: int | None, overflow: str, schedule: list[Any]
) -> None:
    play = Schedule(rate, overflow)
    for kind, *args in schedule:
        getattr(play, kind)(*args)
        play.check()
    for channel in CHANNELS:
        play.subscribed(channel)
    play.passes(1000)
    play.check()
    assert play.events.waiting == 0
    assert not play.events._ready
    assert not play.events._outboxes
    assert play.timers.next() is None


def test_an_event_that_is_too_old_when_its_channel_is_subscribed_is_not_sent() -> None:
    play = Schedule(None, "raise")
    play.trigger("private-a", 0, Outbox(max_age=1.0))
    play.wire.now += 1.0  # and no timer has fired yet
    play.subscribed("private-a")
    assert play.counts() == (0, 0, 1, 0)


def test_an_event_whose_time_has_come_is_sent_before_a_newer_one() -> None:
    play = Schedule(1, "wait")
    play.subscribed("private-a")
    for _ in range(2):
        play.trigger("private-a", 0, Outbox())
    play.sleeps(1.0)
    play.trigger("private-a", 0, None)
    assert [number for *_, number in play.wire.sent] == [1, 2]
    play.passes(2)
    assert [number for *_, number in play.wire.sent] == [1, 2, 3]


def test_a_channel_that_is_subscribed_twice_sends_each_event_once() -> None:
    play = Schedule(1, "raise")
    play.subscribed("private-a")
    for _ in range(3):
        play.trigger("private-a", 0, Outbox())
    play.away("private-a")
    play.subscribed("private-a")
    play.passes(10)
    assert [number for *_, number in play.wire.sent] == [1, 2, 3]


moves = st.one_of(
    st.tuples(st.just("trigger"), st.sampled_from(("all", "latest"))),
    st.tuples(st.just("trigger"), st.sampled_from(("all", "latest"))),
    st.tuples(st.just("reset"), st.none()),
    st.tuples(st.just("drop"), st.sampled_from((4100, 4200, 1006))),
    st.tuples(st.just("refuse"), st.booleans()),
    st.tuples(st.just("run"), st.sampled_from((0.005, 0.1, 1.0, 8.0, 40.0))),
)


@tried
@given(st.sampled_from((None, 5)), st.lists(moves, max_size=25))
def test_in_the_world_each_listener_gets_only_newer_values_and_every_flushed_event(
    rate: int | None, schedule: list[tuple[str, Any]]
) -> None:
    world = World()
    heard = Heard(world)
    client = connected(world, world.options(client_event_rate=rate))
    channel = client.subscribe(ROOM)
    number = 0
    for kind, what in schedule:
        match kind:
            case "trigger":
                number += 1
                channel.outbox(keep=what, max_age=20, limit=1000)
                channel.trigger("client-x", [number, world.now])
            case "reset":
                world.reset(client.device)
            case "drop" if client.device.wires:
                number_of = next(iter(client.device.wires.values())).connection
                if number_of in world.server.connections:  # else the server has lost it already
                    world.act(world.server.drop, what, "again", connection=number_of)
            case "refuse":
                world.network.refuse = what
            case "run":
                world.run(what)
    world.network.refuse = False
    client.connect()
    while True:  # what was sent on a connection that ends is lost, and `flush` says so
        number += 1
        channel.outbox().trigger("client-x", [number, world.now])
        try:
            flush(client)
            break
        except ConnectionEnded:
            continue
    got = [value for _, value in heard.take()]
    numbers = [value[0] for value in got]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == number


def test_a_flush_that_nothing_can_end_is_found() -> None:
    """The tests above notice a wait that is not woken."""
    _world, client, channel, _heard = away()
    channel.outbox(max_age=None).trigger("client-x", 1)
    with pytest.raises(Stuck):
        flush(client, None)
