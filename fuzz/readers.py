"""Logs of numbered entries, and applications that read them without gaps, as `catch_up` promises."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fuzz.environment import Environment
from pusher_proto import CatchUp, ChannelEvent, DecryptionFailed, Event, Gap, GapNotClosed
from pusher_proto.gaps import FetchedEvent

if TYPE_CHECKING:
    from simulation import Device

__all__ = ["LOGS", "Reader"]

LOGS = ("log", "presence-log", "private-encrypted-log")
"""Channels whose entries are stored, each before it is published."""

_SLACK = 1.0
"""The most seconds between publishing an entry and its arrival."""


class Reader:
    """An application that catches up on the logs. Each log must be complete, except where the client reports a gap."""

    def __init__(self, weather: Environment) -> None:
        self._weather = weather
        self._next = Counter[str]()
        """The number that the next entry of each log must have."""
        self._skipped: set[tuple[str, int]] = set()
        """The entries that are missing because of reported gaps. A later fetch may still return them."""
        self._reported: set[str] = set()
        """The logs with a reported gap: their next entries may be missing."""

        def fetch(
            gap: Gap,
        ) -> list[FetchedEvent]:  # a method would lead from the session to the whole world
            return self.fetch(gap)

        self.memories = {name: CatchUp(fetch, "n") for name in LOGS}
        self.device: Device | None = None
        self.wrong = ""
        """The error in a gap that the client reported."""

    def fetch(self, gap: Gap) -> list[FetchedEvent]:
        """Return the entries after the last one, and some earlier ones again; in bad weather fail sometimes."""
        rng, stored = self._weather.rng, self._weather.counts[gap.channel]
        if self._weather.storm and rng.random() < 0.3:
            raise OSError("the API is down")
        begin = 0 if gap.last is None else gap.last.data["n"] + 1
        if begin < stored and gap.since is not None and not self._may_miss(gap.channel):
            published = self._weather.published[gap.channel][begin]
            early = gap.since.timestamp() - self._weather.world.epoch - published
            if early > _SLACK:
                self.wrong = f"{gap.channel} misses {begin}, published {early:.1f} s before `since`"
        begin = max(0, begin - rng.choice((0, 0, 1, 5)))
        return [("entry", {"n": number}) for number in range(begin, stored)]

    def _may_miss(self, channel: str) -> bool:
        """Return whether the client has reported that entries of a log may be missing, perhaps in an unread event."""
        assert self.device is not None
        if channel in self._reported or any(name == channel for name, _ in self._skipped):
            return True
        return any(
            isinstance(event, GapNotClosed | DecryptionFailed) and event.channel == channel
            for event in (*self.device.events, *self.device.session.events)
        )

    def take(self, event: Event) -> str:
        """Check an event of the application; return what is wrong with it, or ""."""
        match event:
            case GapNotClosed() | DecryptionFailed() if event.channel in LOGS:
                self._reported.add(event.channel)
            case ChannelEvent(name="entry"):
                name, number, due = event.channel, event.data["n"], self._next[event.channel]
                if (name, number) in self._skipped:
                    self._skipped.remove((name, number))
                    return self.wrong
                missing = number > due and name not in self._reported
                self._reported.discard(name)
                if missing or number < due:
                    return f"{name} gave {number} where {due} was due"
                self._skipped.update((name, each) for each in range(due, number))
                self._next[name] = number + 1
            case _:
                pass
        return self.wrong

    def lacks(self, name: str) -> str:
        """Return what is missing of a log at rest, or ""."""
        due, stored = self._next[name], self._weather.counts[name]
        if due == stored or self._may_miss(name):
            return ""
        return f"{name} has {stored} entries, and {due} was never given"
