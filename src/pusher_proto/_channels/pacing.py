"""How many subscribes go out in a second, where the server limits messages."""

from __future__ import annotations

__all__ = ["Pace"]

_SLOWEST = 0.5
"""Subscribes in a second that are always allowed."""


class Pace:
    """A limit of `rate` subscribes in a second, of which as many may go out at once; None: no limit."""

    __slots__ = ("_at_once", "_free_at", "_rate")

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._at_once = max(1.0, rate or 0.0)
        self._free_at = float("-inf")
        """The time at which all subscribes so far would have been sent at this rate."""

    def take(self, now: float) -> bool:
        """Return whether one more subscribe may go out now, and count it."""
        if self._rate is None:
            return True
        if self.due() > now:
            return False
        self._free_at = max(self._free_at, now) + 1.0 / self._rate
        return True

    def due(self) -> float:
        """Return when the next subscribe may go out."""
        if self._rate is None:
            return float("-inf")
        return self._free_at - (self._at_once - 1.0) / self._rate

    def slow_down(self, taken: int) -> None:
        """Send fewer in a second, one by one: the server ended a connection for its limit, after so many subscribes."""
        limit = float(taken) if self._rate is None else min(self._rate, float(taken))
        self._rate, self._at_once = max(_SLOWEST, limit / 2.0), 1.0
