"""Client events that an application triggers with an outbox: the fate of each, and what the client reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from pusher_proto import ChannelState, Outbox, PusherError
from pusher_proto._connection.ledger import RequestKind
from pusher_proto._wire.envelope import decode

if TYPE_CHECKING:
    from simulation import Device

__all__ = ["ALL", "LATEST", "Outgoing"]

ALL, LATEST = "client-step", "client-place"
"""The names of events of which all wait, and of which the latest one does."""


@dataclass
class _Trip:
    """One event on its way."""

    number: int
    channel: str
    name: str
    too_old_at: float
    left: bool = False
    """Whether its channel was unsubscribed before it was sent: the client may drop it."""
    replaced: bool = False
    """Whether a newer event replaces it: the client must drop it."""
    sent_on: int | None = None
    """The number of the connection on which it was sent."""
    arrived: bool = False


@dataclass
class _Totals:
    accepted: int = 0
    sent: int = 0
    arrived: int = 0
    lost: int = 0


@dataclass
class Outgoing:
    """The client events of one application.

    Each one that `trigger` takes is sent once, in the order of its channel, or counted as dropped or replaced. Each
    one that is sent arrives, or the end of its connection counts as a loss.
    """

    device: Device
    number: int
    """The number of the application, by which the server knows whose events arrive."""
    wrong: str = ""
    totals: _Totals = field(default_factory=_Totals)
    _trips: dict[int, _Trip] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    """The number that arrived last on each channel."""
    _losses: int = 0
    _reported: set[int] = field(default_factory=set)
    """The connections whose end counted as a loss."""

    def watch_sending(self) -> None:
        """Record every event that the session sends from now on."""
        connector = self.device.session._connector
        request = connector.request

        # A method would lead from the session to the whole world.
        def watched(frame: bytes, kind: RequestKind, channel: str | None, now: float) -> None:
            if kind is RequestKind.CLIENT_EVENT:
                self._sent(decode(frame).data, connector.connections, now)
            request(frame, kind, channel, now)

        connector.request = watched  # type: ignore[method-assign]  # to record sent events

    def counts(self) -> Counter[str]:
        """Return how many events were sent, arrived, and were lost."""
        stats = self.device.session.stats
        return Counter(
            {
                "client events": self.totals.accepted,
                "client events arrived": self.totals.arrived,
                "client events lost with a connection": self.totals.lost,
                "client events dropped": stats.client_events_dropped,
                "client events replaced": stats.client_events_replaced,
            }
        )

    # Events of the application and of the session

    def trigger(self, channel: str, rng: Random, run: Callable[[float], object]) -> None:
        """Trigger some events on a channel, while the world runs."""
        name = rng.choice((ALL, ALL, LATEST))
        queue = Outbox(
            max_age=rng.choice((2.0, 60.0, 600.0, None)),
            keep="latest" if name == LATEST else "all",
            limit=rng.choice((3, 100)),
        )
        for _ in range(rng.randrange(1, 12)):
            self._trigger(channel, name, queue, self.device.world.now)
            if rng.random() < 0.3:
                run(rng.choice((0.0, 0.05, 1.0, 5.0)))

    def _trigger(self, channel: str, name: str, queue: Outbox, now: float) -> None:
        number = self.totals.accepted
        older = [
            trip
            for trip in self._trips.values()
            if trip.channel == channel and trip.name == name and trip.sent_on is None
        ]
        too_old_at = float("inf") if queue.max_age is None else now + queue.max_age
        self._trips[number] = _Trip(number, channel, name, too_old_at)
        self.totals.accepted += 1
        data = {"from": self.number, "n": number}
        session = self.device.session
        try:
            self.device.do(session.trigger, channel, name, data, queue)
        except PusherError:  # not subscribed, or too much waits: the application gets the error
            del self._trips[number]
            self.totals.accepted -= 1
            return
        if queue.keep == "latest":
            for trip in older:
                trip.replaced = True

    def left(self, channel: str) -> None:
        """Mark the waiting events of a channel that the application unsubscribed."""
        for trip in self._trips.values():
            trip.left |= trip.channel == channel and trip.sent_on is None

    def _sent(self, data: Any, connection: int, now: float) -> None:
        trip = self._trip(data)
        if trip is None:
            return
        if trip.sent_on is not None:
            self.wrong = f"{trip} was sent twice"
        if trip.replaced:
            self.wrong = f"{trip} was sent although a newer one replaces it"
        if trip.too_old_at < now:
            self.wrong = f"{trip} was sent {now - trip.too_old_at:.1f} s too late"
        if self.device.session.channel(trip.channel).state is not ChannelState.SUBSCRIBED:
            self.wrong = f"{trip} was sent while its channel is not subscribed"
        trip.sent_on = connection
        self.totals.sent += 1

    def arrived(self, data: Any) -> None:
        """Record an event that the server received."""
        trip = self._trip(data)
        if trip is None or trip.sent_on is None or trip.arrived:
            self.wrong = f"{data} arrived, and was not sent or arrived before"
        elif trip.number <= self._last.get(trip.channel, -1):
            self.wrong = f"{trip} arrived after {self._last[trip.channel]}"
        else:
            trip.arrived = True
            self.totals.arrived += 1
            self._last[trip.channel] = trip.number

    def _trip(self, data: Any) -> _Trip | None:
        return self._trips.get(data["n"]) if isinstance(data, dict) and "n" in data else None

    # Invariants

    def look(self) -> str:
        """Return what is wrong now, or "". Call it after each input of the session."""
        events, totals = self.device.session.client_events, self.totals  # stats take long to make
        if events.losses > self._losses:
            self._losses = events.losses
            self._reported.add(self.device.session.stats.connections)
        known = totals.sent + events.dropped + events.replaced + events.waiting
        if known != totals.accepted:
            return f"of {totals.accepted} client events {known} are sent, counted or waiting"
        return self.wrong

    def check(self, now: float) -> str:
        """Return what is wrong at rest, or "", and forget the events whose fate is known."""
        waiting = 0
        for trip in self._trips.values():
            if trip.sent_on is None:
                waiting += not (trip.left or trip.replaced or trip.too_old_at <= now)
            elif not trip.arrived:
                self.totals.lost += 1
                if trip.sent_on not in self._reported:
                    return f"{trip} did not arrive, and no loss of its connection was counted"
        session = self.device.session
        held = session.stats.client_events_waiting
        if held or waiting:
            return f"{held} client events wait at rest, and {waiting} were not sent: {self._trips}"
        self._trips.clear()
        return self.wrong
