"""Limits how many subscribes are sent per second, for servers that limit messages."""

from __future__ import annotations

__all__ = ["Pace"]

_SLOWEST = 0.5
"""The lowest rate that `slow_down` sets, in subscribes per second."""


class Pace:
    """A limit of `rate` subscribes per second, and as many at once; None means no limit."""

    __slots__ = ("_at_once", "_free_at", "_rate")

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._at_once = max(1.0, rate or 0.0)
        self._free_at = float("-inf")
        """When all subscribes so far would have been sent at an even rate."""

    def take(self, now: float) -> bool:
        """Return whether a subscribe may be sent now; if so, count it."""
        if self._rate is None:
            return True
        if self.due() > now:
            return False
        self._free_at = max(self._free_at, now) + 1.0 / self._rate
        return True

    def due(self) -> float:
        """Return when the next subscribe may be sent."""
        if self._rate is None:
            return float("-inf")
        return self._free_at - (self._at_once - 1.0) / self._rate

    def slow_down(self, taken: int) -> None:
        """Halve the rate: the server closed a connection for its limit on messages, after `taken` successes."""
        limit = float(taken) if self._rate is None else min(self._rate, float(taken))
        self._rate, self._at_once = max(_SLOWEST, limit / 2.0), 1.0
