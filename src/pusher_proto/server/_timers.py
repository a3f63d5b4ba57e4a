"""Deadlines with a name and an action. It has no clock: callers pass the time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable

__all__ = ["Timers"]


class Timers:
    """Named deadlines; setting a name again replaces its deadline.

    Replaced and cancelled entries stay in the heap until they are due or outnumber the live ones.
    """

    def __init__(self) -> None:
        self._live: dict[Hashable, tuple[int, Callable[[float], None]]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._sequence = 0

    def __contains__(self, name: Hashable) -> bool:
        return name in self._live

    def set(self, name: Hashable, due: float, action: Callable[[float], None]) -> None:
        """Call `action(now)` when `due` is reached."""
        self._sequence += 1
        self._live[name] = (self._sequence, action)
        heapq.heappush(self._heap, (due, self._sequence, name))
        if len(self._heap) > 2 * len(self._live) + 64:
            self._heap = [entry for entry in self._heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def cancel(self, name: Hashable) -> None:
        """Cancel a deadline; ignore an unknown name."""
        self._live.pop(name, None)

    def next_due(self) -> float | None:
        """Return the earliest deadline."""
        heap, live = self._heap, self._live
        while heap:
            due, sequence, name = heap[0]
            found = live.get(name)
            if found is not None and found[0] == sequence:
                return due
            heapq.heappop(heap)
        return None

    def fire(self, now: float) -> None:
        """Call the actions that are due, in the order of their deadlines."""
        while (due := self.next_due()) is not None and due <= now:
            _, _, name = heapq.heappop(self._heap)
            _, action = self._live.pop(name)
            action(now)

    def _is_live(self, entry: tuple[float, int, Hashable]) -> bool:
        _, sequence, name = entry
        live = self._live.get(name)
        return live is not None and live[0] == sequence
