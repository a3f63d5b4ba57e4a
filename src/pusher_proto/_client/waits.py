"""Waits for one event, and what makes several of them in a row a loop that loses nothing.

While a task waits for an event, and for ten seconds after it got one, a `Trace` remembers the events of the same
selector. The next `wait_for` of that task looks there first, so it does not matter that other consumers have taken
the events between. A trace is shared by all tasks that wait with an equal selector; each task has its own place in it.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from weakref import WeakKeyDictionary

from ..events import Event, scope_of
from .selectors import Choice
from .sinks import Sink

__all__ = ["KEPT_FOR", "Trace", "Traces", "check_predicate"]

KEPT_FOR = 10.0
"""Seconds for which events are kept for the next wait of a task."""

_MOST = 64
"""How many selectors are remembered at once: one that is a new function for each call would never be found again."""

Key = tuple[object, ...]


class Trace(Sink):
    """Keeps the events of one selector for some seconds. It claims none of them."""

    claims: bool = False

    def __init__(self, choice: Choice, limit: int) -> None:
        super().__init__(choice)
        self.noted: deque[tuple[int, float, Event]] = deque(maxlen=limit)
        self.waiting: int = 0
        """The number of pending waits with this selector."""
        self.ends_at: float = 0.0

    def predicate_raised(self, event: Event, error: Exception) -> None:
        """Ignore the exception: the wait itself raises it."""

    def note(self, place: int, event: Event, now: float) -> None:
        """Remember an event."""
        self.noted.append((place, now, event))

    def find(self, sink: Sink, after: int, now: float) -> tuple[int, Event] | None:
        """Return the first remembered event behind the place `after` that `sink` wants, with its place."""
        while self.noted and self.noted[0][1] < now - KEPT_FOR:
            self.noted.popleft()
        for place, _, event in tuple(self.noted):
            if place > after and sink.wants(event):
                return place, event
        return None


class Traces:
    """The traces of a client, and the place of each task or thread in them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.known: dict[Key, Trace] = {}
        """The traces by the keys of their selectors, the one that was used last at the end."""

    @cached_property
    def _places(self) -> WeakKeyDictionary[object, dict[Key, int]]:
        """Made by the first wait: it takes 0.8 KB."""
        return WeakKeyDictionary()

    def begin(self, choice: Choice) -> Trace | None:
        """Count a wait; return the trace of its selector if that is a new one, to be added to the router."""
        key = choice.key
        trace = self.known.pop(key, None)
        fresh = trace is None
        if trace is None:
            trace = Trace(choice, max(1, self._limit))
        self.known[key] = trace  # the one that was used last is the last one
        trace.waiting += 1
        return trace if fresh else None

    def find(self, sink: Sink, who: object, now: float) -> tuple[int, Event] | None:
        """Return the first event for `sink` since the last wait of `who` with an equal selector, with its place."""
        key = sink.choice.key
        after = self._places.get(who, {}).get(key)
        return None if after is None else self.known[key].find(sink, after, now)

    def end(self, choice: Choice, who: object, place: int, now: float) -> None:
        """Note that a wait of `who` ended, having seen the events up to `place`."""
        key = choice.key
        places = self._places.setdefault(who, {})
        # Never back: an older event, from the backlog, may have come after a newer one.
        places[key] = max(place, places.pop(key, 0))
        if len(places) > _MOST:
            del places[next(iter(places))]
        trace = self.known[key]
        trace.waiting -= 1
        trace.ends_at = now + KEPT_FOR

    def forget(self, scope: str) -> None:
        """Forget the events of a channel that was left."""
        for trace in self.known.values():
            left = [entry for entry in trace.noted if scope_of(entry[2]) != scope]
            trace.noted = deque(left, trace.noted.maxlen)

    def over(self, now: float) -> list[Trace]:
        """Forget the traces that no wait will need, and return them, to be removed from the router."""
        idle = [key for key, trace in self.known.items() if not trace.waiting]
        surplus = len(self.known) - _MOST
        ended = [
            key
            for number, key in enumerate(idle)
            if self.known[key].ends_at <= now or number < surplus
        ]
        for key in ended:
            for places in self._places.values():
                places.pop(key, None)
        return [self.known.pop(key) for key in ended]

    def ends_at(self) -> float | None:
        """Return when a trace ends first, or None."""
        return min((t.ends_at for t in self.known.values() if not t.waiting), default=None)


def check_predicate(predicate: object) -> None:
    """Raise TypeError for a second argument of `wait_for` that is no predicate."""
    if predicate is not None and not callable(predicate):
        raise TypeError(
            f"the second argument of wait_for is a predicate, not {predicate!r}; for a timeout write "
            f"timeout={predicate!r}"
        )
