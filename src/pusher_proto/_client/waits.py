"""Keeps events between the waits of a task, so that a loop of `wait_for` misses no event.

While a task waits for an event, and for ten seconds after it got one, a `Trace` records the events of the same
selector. The next `wait_for` of that task looks there first, even for events that other consumers have taken. Tasks
that wait with an equal selector share a trace; each task has its own place in it.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from weakref import WeakKeyDictionary

from .._base.checks import check_plain
from ..events import Event, scope_of
from .selectors import Choice
from .sinks import Sink

__all__ = ["KEPT_FOR", "Trace", "Traces", "check_predicate"]

KEPT_FOR = 10.0
"""Seconds for which events are kept for the next wait of a task."""

_MOST = 64
"""How many selectors are recorded at once: a selector that is a new lambda in each call is never found again."""

Key = tuple[object, ...]


class Trace(Sink):
    """Records the events of one selector for `KEPT_FOR` seconds. The backlog keeps them as well."""

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
        """Record an event."""
        self.noted.append((place, now, event))

    def find(self, sink: Sink, after: int, now: float) -> tuple[int, Event] | None:
        """Return the first recorded event after the place `after` that `sink` wants, with its place; or None."""
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
        """The traces by the keys of their selectors, the most recently used one last."""

    @cached_property
    def _places(self) -> WeakKeyDictionary[object, dict[Key, int]]:
        """The places, by task or thread and key. Made on first use, since it takes 0.8 KB."""
        return WeakKeyDictionary()

    def begin(self, choice: Choice) -> Trace | None:
        """Count a wait; return the trace of its selector if that is a new one, to be added to the router."""
        key = choice.key
        trace = self.known.pop(key, None)
        fresh = trace is None
        if trace is None:
            trace = Trace(choice, max(1, self._limit))
        self.known[key] = trace  # at the end, as the most recently used one
        trace.waiting += 1
        return trace if fresh else None

    def find(self, sink: Sink, who: object, now: float) -> tuple[int, Event] | None:
        """Return the first event for `sink` since the last wait of `who` with an equal selector; or None."""
        key = sink.choice.key
        after = self._places.get(who, {}).get(key)
        return None if after is None else self.known[key].find(sink, after, now)

    def end(self, choice: Choice, who: object, place: int, now: float) -> None:
        """Record the end of a wait of `who`, which has seen the events up to `place`."""
        key = choice.key
        places = self._places.setdefault(who, {})
        # Never move back: an older event may come from the backlog after a newer one.
        places[key] = max(place, places.pop(key, 0))
        if len(places) > _MOST:
            del places[next(iter(places))]
        trace = self.known[key]
        trace.waiting -= 1
        trace.ends_at = now + KEPT_FOR

    def forget(self, scope: str) -> None:
        """Drop the events of a channel that was unsubscribed."""
        for trace in self.known.values():
            left = [entry for entry in trace.noted if scope_of(entry[2]) != scope]
            trace.noted = deque(left, trace.noted.maxlen)

    def over(self, now: float) -> list[Trace]:
        """Remove and return the traces that no wait needs any longer. Remove them from the router, too."""
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
        """Return the earliest time at which a trace ends, or None."""
        return min((t.ends_at for t in self.known.values() if not t.waiting), default=None)


def check_predicate(predicate: object) -> None:
    """Raise TypeError if the second argument of `wait_for` is not a predicate."""
    if predicate is not None and not callable(predicate):
        raise TypeError(
            f"the second argument of wait_for is a predicate, not {predicate!r}; for a timeout write "
            f"timeout={predicate!r}"
        )
    check_plain(predicate, "the predicate of wait_for")
