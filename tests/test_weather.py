"""The simulated world bites: bugs planted into the core are caught by its invariants, and their reports replay."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cluster import ClusterRealm
from fuzz import weather as program
from fuzz.application import Broken
from fuzz.watching import no_secret_in_logs, reachable
from fuzz.world import PERILS, TOKEN, Weather
from pusher_proto import CatchUp, Options, Session
from pusher_proto._base.timers import Timer, Timers
from pusher_proto._channels import client_events, subscribing, user
from pusher_proto._channels.catching_up import CatchingUp, CatchUps
from pusher_proto._channels.channel import Channel
from pusher_proto._channels.client_events import ClientEvents
from pusher_proto._channels.renewals import Renewals
from pusher_proto._channels.roster import Roster
from pusher_proto._channels.subscribing import Subscribing
from pusher_proto._channels.subscriptions import Subscriptions
from pusher_proto._connection.connector import Connector
from pusher_proto._connection.liveness import Liveness
from pusher_proto._protocol.failures import Cause, Step
from pusher_proto._protocol.failures import step_after as original
from pusher_proto.events import ChannelEvent, Event
from pusher_proto.recording import replay
from pusher_proto.states import CatchUpState, ChannelState

pytestmark = pytest.mark.timeout(300)

Plant = Callable[[pytest.MonkeyPatch], None]

ENOUGH = 12
"""Worlds in which a planted bug must show."""


def broken(*, cluster: bool = False) -> Weather:
    """Return the first world that breaks."""
    for seed in range(3 * ENOUGH if cluster else ENOUGH):
        weather = Weather(seed, cluster=cluster)
        try:
            weather.run(40 if cluster else 100)
        except Broken:
            return weather
    raise AssertionError("nothing was caught")


def test_the_weather_breaks_nothing() -> None:
    with no_secret_in_logs(program.SECRETS):
        weather = Weather(1)
        weather.run(60)
        weather.check_memory()
    assert {name for name, _ in weather.steps} > {"act", "publish", "quiet"}
    assert set(PERILS) | {"quiet"} >= set(weather.done)


def test_a_cluster_breaks_nothing() -> None:
    """Its habits show, and a minute after the storm clients and server agree."""
    weather = Weather(3, cluster=True)
    weather.run(60)
    weather.check_memory()
    realm = weather.world.server._realm(None)
    assert isinstance(realm, ClusterRealm)
    assert realm.deafened > 0
    assert realm.late_removals > 0


def test_the_same_seed_brings_the_same_weather() -> None:
    first, second = Weather(5, records=True), Weather(5, records=True)
    for weather in (first, second):
        weather.run(10)
    assert first.steps == second.steps
    assert first.counts == second.counts
    for one, other in zip(first.apps, second.apps, strict=True):
        # The mask of a frame is random, and how long it is is not.
        assert [json.loads(line).get("now") for line in one.recording[1:]] == [
            json.loads(line).get("now") for line in other.recording[1:]
        ]


def test_a_subscribe_on_its_way_while_the_machine_sleeps_may_be_repeated() -> None:
    weather = Weather(2, clients=1)
    world, app = weather.world, weather.apps[0]
    world.run(5)
    world.network.latency = 0.3
    (wire,) = app.device.wires.values()
    wire.loses_answers = True
    app.want("private-a")
    asked_before = len(world.server.received)
    world.run(0.25)
    assert len(world.server.received) == asked_before
    weather.sleep(1000)
    world.run(5)
    requests = [each for each in world.server.received if each.channel == "private-a"]
    assert len(requests) == 2


# Bugs


def old_authorization(patch: pytest.MonkeyPatch) -> None:
    """An authorization that was requested on a lost connection is used on the next."""

    def lost(self: Subscribing, *_: Any) -> None:
        pass

    def authorized(
        self: Subscribing, channel: Channel, details: Any, result: Any, now: float
    ) -> None:
        if channel.state is ChannelState.AUTHORIZING:
            channel.requested(None)
            self._use(channel, result, now)

    def cancel(self: Subscribing, channel: Channel, now: float) -> None:
        pass

    for function in (lost, authorized, cancel):
        patch.setattr(Subscribing, function.__name__, function)


def pong_ignored(patch: pytest.MonkeyPatch) -> None:
    """Data that arrives after a ping does not count as an answer."""
    patch.setattr(Liveness, "received", lambda self, *_: None)


def silence_ignored(patch: pytest.MonkeyPatch) -> None:
    """A missing pong is not noticed."""

    def ping_sent(self: Liveness, now: float, **_: bool) -> None:
        self._timers.set(Timer.ACTIVITY, now + self._activity)

    patch.setattr(Liveness, "ping_sent", ping_sent)


def roster_merged(patch: pytest.MonkeyPatch) -> None:
    """Members from before a lost connection are still listed after it."""
    replace = Roster.replace

    def merged(self: Roster, data: Any) -> Any:
        before = dict(self._previous or {})
        changes = list(replace(self, data))
        self._by_id = before | self._by_id
        return iter(changes)

    patch.setattr(Roster, "replace", merged)


def retry_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nothing wakes the session for its next attempt."""
    original = Timers.set

    def forgetful(self: Timers, timer: Timer, at: float, of: Any = None) -> None:
        if timer not in (Timer.RETRY, Timer.UNAVAILABLE, Timer.STABLE):
            original(self, timer, at, of)

    patch.setattr(Timers, "set", forgetful)


def reading_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Reading that stopped does not resume."""

    def next_event(self: Session, **more: Any) -> Event | None:
        return self.events.popleft() if self.events else None

    patch.setattr(Session, "next_event", next_event)


def subscribed_twice(patch: pytest.MonkeyPatch) -> None:
    """Each subscribe is sent twice."""
    original = Subscribing._subscribe

    def twice(self: Subscribing, channel: Channel, authorization: Any, now: float) -> None:
        original(self, channel, authorization, now)
        original(self, channel, authorization, now)

    patch.setattr(Subscribing, "_subscribe", twice)


def event_twice(patch: pytest.MonkeyPatch) -> None:
    """Now and then an event is given twice."""
    original = Session.next_event

    def next_event(self: Session, **more: Any) -> Event | None:
        event = original(self, **more)
        if isinstance(event, ChannelEvent) and event.data == {"n": 7}:
            self.events.appendleft(copy.copy(event))
            patch.setattr(Session, "next_event", original)
        return event

    patch.setattr(Session, "next_event", next_event)


def event_lost(patch: pytest.MonkeyPatch) -> None:
    """Now and then an event is not given."""
    original = Session.next_event

    def next_event(self: Session, **more: Any) -> Event | None:
        event = original(self, **more)
        if isinstance(event, ChannelEvent) and event.data == {"n": 7}:
            return original(self, **more)
        return event

    patch.setattr(Session, "next_event", next_event)


def left_behind(patch: pytest.MonkeyPatch) -> None:
    """An unsubscribed channel is not unsubscribed at the server."""
    patch.setattr(Subscriptions, "_send_unsubscribe", lambda self, *_: None)


def secret_logged(patch: pytest.MonkeyPatch) -> None:
    """A token is in the log; one that the watch over this suite does not know."""
    original = Subscribing._use

    def reported(self: Subscribing, channel: Channel, result: Any, now: float) -> None:
        logging.getLogger("pusher_proto.auth").debug("asked with %s", TOKEN)
        original(self, channel, result, now)

    patch.setattr(Subscribing, "_use", reported)


def goodness_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A refusal is final, although the client was connected before."""

    def step_after(cause: Cause, *, good: bool, failures: int, options: Options) -> Step:
        return original(cause, good=False, failures=failures, options=options)

    patch.setattr("pusher_proto._connection.attempts.step_after", step_after)


def channel_given_up(patch: pytest.MonkeyPatch) -> None:
    """A channel or a sign-in that is refused is not asked for again on the connection."""
    for module in (subscribing, user):
        patch.setattr(module, "retry_in", lambda *_, **__: None)


def gap_too_short(patch: pytest.MonkeyPatch) -> None:
    """A channel counts as lost since that was noticed, and not since the last byte."""
    original = Subscriptions.lost
    patch.setattr(Subscriptions, "lost", lambda self, now, _: original(self, now, now))


def gap_reported_late(patch: pytest.MonkeyPatch) -> None:
    """Events that come before the success are given before the gap is reported."""
    patch.setattr(Channel, "_is_early", False)


def never_back(patch: pytest.MonkeyPatch) -> None:
    """A connection that was lost is given up."""
    patch.setattr(Connector, "connect", lambda self, now: None)


@pytest.mark.parametrize(
    "plant",
    [
        old_authorization,
        pong_ignored,
        silence_ignored,
        roster_merged,
        retry_forgotten,
        reading_forgotten,
        subscribed_twice,
        event_twice,
        event_lost,
        left_behind,
        secret_logged,
        never_back,
        goodness_forgotten,
        channel_given_up,
        gap_too_short,
        gap_reported_late,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_is_caught(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_secret_in_logs(program.SECRETS):
        plant(monkeypatch)
        broken()


# Bugs of catching up


def held_before_fetched(patch: pytest.MonkeyPatch) -> None:
    """Live events that were held are delivered before the fetched ones."""
    original = CatchingUp._close_gap

    def closed(self: CatchingUp, found: list[ChannelEvent], now: float) -> None:
        for event in self._free():
            if event is not None:
                self._deliver(event, 60)
        original(self, found, now)

    patch.setattr(CatchingUp, "_close_gap", closed)


def not_held(patch: pytest.MonkeyPatch) -> None:
    """Live events are delivered while the missed ones are fetched."""
    patch.setattr(CatchingUp, "take", lambda self, event, _: self._deliver(event, 60))


def window_too_small(patch: pytest.MonkeyPatch) -> None:
    """Too few keys are kept to find the duplicates."""
    original = CatchUp.is_new
    patch.setattr(CatchUp, "is_new", lambda self, event, _: original(self, event, 2))


def fetched_too_early(patch: pytest.MonkeyPatch) -> None:
    """Fetching begins with the subscribe, and not with its confirmation."""
    original, confirmed = Subscribing._subscribe, CatchingUp.confirmed

    def subscribe(self: Subscribing, channel: Channel, authorization: Any, now: float) -> None:
        original(self, channel, authorization, now)
        up: Any = channel._catching_up
        if up is not None:
            confirmed(up, now)

    patch.setattr(Subscribing, "_subscribe", subscribe)
    patch.setattr(CatchingUp, "confirmed", lambda *_: None)


def loss_ignored(patch: pytest.MonkeyPatch) -> None:
    """Events that were fetched for a lost subscription count for the next one."""
    patch.setattr(CatchingUp, "_stop", lambda self: None)
    patch.setattr(CatchingUp, "lost", lambda *_: None)


def silent(patch: pytest.MonkeyPatch) -> None:
    """A gap that is not closed is not reported."""
    patch.setattr(CatchingUp, "_report", lambda *_: None)


def hole_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Only the first of several gaps between held events is reported."""
    original = CatchingUp._give_up

    def give_up(self: CatchingUp, reason: str, now: float) -> None:
        self._held = [event for event in self._held if event is not None]
        original(self, reason, now)

    patch.setattr(CatchingUp, "_give_up", give_up)


def pause_ignored(patch: pytest.MonkeyPatch) -> None:
    """A pause of reading is not a gap."""
    patch.setattr(CatchUps, "reading_paused", lambda *_: None)


def pause_without_a_ping(patch: pytest.MonkeyPatch) -> None:
    """After a pause of reading missed events are fetched before the server's buffers are empty."""

    def pause_over(self: CatchUps, _: Connector, now: float) -> None:
        for one in self._channels.values():
            if one.state is CatchUpState.PAUSED:
                one.confirmed(now)

    patch.setattr(CatchUps, "pause_over", pause_over)


def since_too_late(patch: pytest.MonkeyPatch) -> None:
    """A gap begins when the loss was noticed."""
    original = CatchUp.begin_gap

    def begin_gap(self: CatchUp, since: float | None) -> None:
        original(self, None if since is None else since + 60)

    patch.setattr(CatchUp, "begin_gap", begin_gap)


@pytest.mark.parametrize(
    "plant",
    [
        held_before_fetched,
        not_held,
        window_too_small,
        fetched_too_early,
        loss_ignored,
        silent,
        hole_forgotten,
        pause_ignored,
        pause_without_a_ping,
        since_too_late,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_of_catching_up_is_caught(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert not broken().cluster


# Bugs of outboxes


def dropped_with_the_connection(patch: pytest.MonkeyPatch) -> None:
    """Events that wait for their channel are forgotten when the connection is lost."""
    original = ClientEvents.lost

    def lost(self: ClientEvents) -> None:
        original(self)
        for waiting in list(self._waiting.values()):
            self._remove(waiting)

    patch.setattr(ClientEvents, "lost", lost)


def loss_uncounted(patch: pytest.MonkeyPatch) -> None:
    """A connection that ends with events on it is not counted as a loss."""
    original = ClientEvents.lost

    def lost(self: ClientEvents) -> None:
        before = self.losses
        original(self)
        self.losses = before

    patch.setattr(ClientEvents, "lost", lost)


def confirmed_by_an_old_pong(patch: pytest.MonkeyPatch) -> None:
    """Any pong on the connection counts as the confirmation of all events."""
    original = ClientEvents._send_now

    def go(self: ClientEvents, *args: Any) -> None:
        original(self, *args)
        self._pings_before = 0

    patch.setattr(ClientEvents, "_send_now", go)


def sent_again(patch: pytest.MonkeyPatch) -> None:
    """An event that was sent is sent again on the next connection."""
    original, lost = ClientEvents._send_now, ClientEvents.lost
    last: dict[ClientEvents, Any] = {}

    def go(self: ClientEvents, frame: bytes, channel: str | None, now: float) -> None:
        if last.get(self, (b"", ""))[1] == "lost":
            original(self, last.pop(self)[0], channel, now)
        original(self, frame, channel, now)
        last[self] = frame, ""

    def note(self: ClientEvents) -> None:
        lost(self)
        if self in last:
            last[self] = last[self][0], "lost"

    patch.setattr(ClientEvents, "_send_now", go)
    patch.setattr(ClientEvents, "lost", note)


def overtaken(patch: pytest.MonkeyPatch) -> None:
    """The newest of the events that wait for the rate is sent first."""
    patch.setattr(client_events, "heappop", list.pop)


def left_waiting(patch: pytest.MonkeyPatch) -> None:
    """Events that wait for their channel are not sent when it is subscribed."""
    patch.setattr(ClientEvents, "subscribed", lambda *_: None)


def sent_too_early(patch: pytest.MonkeyPatch) -> None:
    """Events are sent before their channel is subscribed."""
    original = Subscribing._subscribe

    def subscribe(self: Subscribing, channel: Channel, authorization: Any, now: float) -> None:
        original(self, channel, authorization, now)
        events: Any = self._connector._reports.lost.__self__.client_events  # type: ignore[attr-defined]  # the session
        for waiting in list(events._outboxes.get(channel.name, {}).values()):
            events._remove(waiting)
            events._send_now(waiting.frame, waiting.channel, now)

    patch.setattr(Subscribing, "_subscribe", subscribe)


def never_too_old(patch: pytest.MonkeyPatch) -> None:
    """Events are sent whatever their age."""
    original = ClientEvents._wait

    def wait(
        self: ClientEvents, event: str, frame: bytes, channel: Any, queue: Any, *more: Any
    ) -> None:
        original(self, event, frame, channel, replace(queue, max_age=None), *more)

    patch.setattr(ClientEvents, "_wait", wait)


def not_replaced(patch: pytest.MonkeyPatch) -> None:
    """All events that replace each other are sent."""
    patch.setattr(ClientEvents, "_replaced_by", lambda *_: [])


def dropped_uncounted(patch: pytest.MonkeyPatch) -> None:
    """Events that are dropped are not counted."""
    patch.setattr(ClientEvents, "_count_dropped", lambda *_: None)


@pytest.mark.parametrize(
    "plant",
    [
        dropped_with_the_connection,
        loss_uncounted,
        confirmed_by_an_old_pong,
        sent_again,
        overtaken,
        left_waiting,
        sent_too_early,
        never_too_old,
        not_replaced,
        dropped_uncounted,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_of_outboxes_is_caught(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert not broken().cluster


# Bugs in a cluster


def deaf(patch: pytest.MonkeyPatch) -> None:
    """A subscription that gets nothing is not woken."""
    patch.setattr(Renewals, "subscribed", lambda self, *_: None)


def deaf_member(patch: pytest.MonkeyPatch) -> None:
    """The subscribe of a presence channel is not repeated."""
    original = Renewals.subscribing

    def subscribing(self: Renewals, channel: Channel, frame: bytes, now: float) -> None:
        original(self, channel, frame, now)
        if channel.roster is not None:
            self._frames.pop(channel.name, None)

    patch.setattr(Renewals, "subscribing", subscribing)


def early_members_dropped(patch: pytest.MonkeyPatch) -> None:
    """A member that joins between the subscribe and its success is not on the list."""
    patch.setattr(Roster, "note", lambda self, data, joined: None)


def own_removal_ignored(patch: pytest.MonkeyPatch) -> None:
    """A client whose member was removed does not join again."""
    patch.setattr(Renewals, "may_rejoin", lambda self, *_: False)


@pytest.mark.parametrize(
    "plant",
    [
        early_members_dropped,
        *(
            pytest.param(plant, marks=pytest.mark.slow(reason="simulates many worlds"))
            for plant in (deaf, deaf_member, own_removal_ignored)
        ),
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_bug_that_shows_in_a_cluster_is_caught(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert broken(cluster=True).cluster


# Reports about a failure


def test_a_failure_is_reported_by_few_steps_that_replay_and_recordings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "FAILURES", tmp_path)
    monkeypatch.setattr(program.reported, "__defaults__", (tmp_path,))
    roster_merged(monkeypatch)
    with pytest.raises(Broken, match="presence-"):
        program.main(["--hours", "1000", "--seed", "0", "--world", "60"])
    reported = capsys.readouterr()
    (steps,) = tmp_path.glob("*.json")
    assert f"--replay {steps}" in reported.err
    assert len(json.loads(steps.read_text())["steps"]) < 12
    assert program.main(["--replay", str(steps)]) == 1
    recordings = sorted(tmp_path.glob("*.jsonl"))
    assert len(recordings) == 6
    for recording in recordings:
        assert any(isinstance(step, Event) for step in replay(recording.read_text().splitlines()))
        assert not any(secret in recording.read_text() for secret in ("demo-secret", "hunter2"))
    monkeypatch.undo()
    assert program.main(["--replay", str(steps)]) == 0


def test_the_program_reports_how_much_it_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--hours", "20", "--seed", "3", "--world", "10"]) == 0
    assert "connection-hours in" in capsys.readouterr().out
    assert program.main(["--hours", "10", "--seed", "3", "--cluster"]) == 0
    assert "late removals" in capsys.readouterr().out
    assert program.main(["--worlds", "3", "--seed", "3", "--world", "5"]) == 0
    assert " in 3 worlds" in capsys.readouterr().out


def test_a_link_that_lost_a_direction_never_delivers_in_it_again() -> None:
    weather = Weather(2, clients=1)
    weather.world.run(5)
    (wire,) = weather.apps[0].device.wires.values()
    lost = set()
    for _ in range(20):
        weather.one_way()
        lost |= {name for name in ("requests", "answers") if getattr(wire, f"loses_{name}")}
        assert all(getattr(wire, f"loses_{name}") for name in lost)
    assert lost == {"requests", "answers"}


def test_every_second_world_reads_without_logging_frames() -> None:
    frames = logging.getLogger("pusher_proto.protocol")
    with no_secret_in_logs(program.SECRETS):
        logged = []
        for seed in (2, 3):
            Weather(seed, clients=1).take("quiet", 0)
            logged.append(frames.isEnabledFor(logging.DEBUG))
        assert logged == [True, False]
    assert frames.level == logging.NOTSET


def test_what_hangs_on_an_object_is_counted() -> None:
    kept: list[object] = []
    before = reachable(kept)
    kept += [[object()] for _ in range(100)]
    assert reachable(kept) == before + 200
