"""Named deadlines and which of them is the earliest. Every timeout of the session is in the enum below."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from enum import Enum

__all__ = ["Timer", "Timers"]


class Timer(Enum):
    """All deadlines there are, each with what it limits."""

    OPEN = "name lookup, TCP, TLS, upgrade and greeting together"
    ACTIVITY = "silence of the server before a ping"
    PONG = "silence after a ping before the connection counts as lost"
    CLOSE = "an orderly end of one transport"
    RETRY = "the delay before the next connection"
    STABLE = "being connected before the count of attempts starts anew"
    UNAVAILABLE = "trying before the state says unavailable"
    GRANT = "one request for a grant, all its attempts together"
    GRANT_RETRY = "the delay before a grant is asked for again"
    GATHER = "the requests for grants that go together, at the end of one turn"
    REGRANT = "the delay before a channel is tried anew whose grant failed for the moment"
    IDLE = "an unused connection to the auth endpoint"
    SUBSCRIBE = "the server's answer to one subscribe"
    SIGN_IN = "the server's answer to a sign-in"

    __hash__ = (
        object.__hash__
    )  # the one of Enum is a function in Python, and keys of the table are hashed often


Name = tuple[Timer, Hashable]


class Timers:
    """A table of deadlines in monotonic seconds; a name has one deadline or none."""

    __slots__ = ("_at", "_heap", "_order")

    def __init__(self) -> None:
        self._at: dict[Name, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Name]] = []
        self._order = 0

    def set(self, timer: Timer, at: float, of: Hashable = None) -> None:
        """Let `timer` (of one channel, transport or request `of`) be due at `at`, instead of earlier plans."""
        self._order += 1
        name = (timer, of)
        self._at[name] = (at, self._order)
        heapq.heappush(self._heap, (at, self._order, name))
        if len(self._heap) > 64 + 4 * len(self._at):
            self._heap = [(at, order, name) for name, (at, order) in self._at.items()]
            heapq.heapify(self._heap)
        self._skim()

    def stop(self, timer: Timer, of: Hashable = None) -> None:
        """Forget the deadline, if there is one."""
        self._at.pop((timer, of), None)
        self._skim()

    def is_set(self, timer: Timer, of: Hashable = None) -> bool:
        """Return whether a deadline of this name is pending."""
        return (timer, of) in self._at

    def at(self, timer: Timer, of: Hashable = None) -> float | None:
        """Return when the deadline of this name is due, or None."""
        found = self._at.get((timer, of))
        return found[0] if found else None

    def clear(self) -> None:
        """Forget all deadlines."""
        self._at.clear()
        self._heap.clear()

    def next(self) -> float | None:
        """Return the earliest deadline, or None."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Name | None:
        """Remove and return the earliest deadline that is not after `now`, or None."""
        if not self._heap or self._heap[0][0] > now:
            return None
        name = self._heap[0][2]
        self.stop(*name)
        return name

    def _skim(self) -> None:
        """Drop what was stopped or set anew from the top of the heap, so that looking changes nothing."""
        heap, at = self._heap, self._at
        while heap:
            due, order, name = heap[0]
            if at.get(name) == (due, order):
                return
            heapq.heappop(heap)
