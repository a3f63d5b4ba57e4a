"""A table of deadlines that knows the earliest one. Every timeout of the session is a member of `Timer`."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from enum import Enum
from typing import ClassVar, Generic, TypeVar

__all__ = ["Deadlines", "Timer", "Timers"]

Name = TypeVar("Name", bound=Hashable)


class Timer(Enum):
    """The deadlines of a session, each with the time that it limits."""

    OPEN = "name lookup, TCP, TLS, upgrade and greeting together"
    ACTIVITY = "silence of the server before a ping"
    PONG = "silence after a ping before the connection counts as lost"
    ONE_WAY = "a missing pong on a connection that is not silent"
    CLOSE = "an orderly end of one transport"
    RETRY = "the delay before the next connection"
    STABLE = "being connected, before the count of attempts starts again at 1"
    UNAVAILABLE = "trying to connect, before the state becomes unavailable"
    AUTH = "one request for an authorization, all its attempts together"
    AUTH_RETRY = "the delay before an authorization is requested again"
    CALL = "one call of a function of the application: first for its result, then for its slot"
    CATCH_UP = "all attempts to close one gap of a channel"
    FETCH = "the delay before the events of a gap are fetched again"
    FETCH_CALL = "one call of a function that fetches events: until its slot is free"
    PAUSED = "a pause of reading that is over: a ping shows when the server's buffers are empty"
    GATHER = "the current turn: at its end requests for authorizations are sent together, and answers delivered"
    REAUTHORIZE = "the delay before the authorization of a channel is requested again after a temporary failure"
    LOOK = "the client's next look at consumers that hold up others, and at waits that ended"
    TRIGGER = "the client events that wait until the rate allows them"
    OUTBOX = (
        "one client event that waits for its channel; all events of a channel that was unsubscribed"
    )
    IDLE = "an unused connection to the auth endpoint"
    SUBSCRIBE = "the server's answer to one subscribe"
    SUBSCRIBE_AGAIN = "the delay before a subscribe is repeated, or a channel joined again"
    LEAVE_ALL = (
        "the pong after unsubscribing from all channels, before a reconnect to several nodes"
    )
    PACE = "the delay before the next subscribe, where their rate is limited"
    SIGN_IN = "the server's answer to a sign-in"
    SIGN_IN_RETRY = "the delay before a failed sign-in is tried again"
    USER_CHANNEL = "the server's confirmation of the user's own channel"

    # Enum's own is a function in Python, and keys of the table are hashed often.
    __hash__: ClassVar[Callable[[Timer], int]] = object.__hash__


class Deadlines(Generic[Name]):
    """A table of deadlines in monotonic seconds. A name has one deadline or none."""

    __slots__ = ("_at", "_heap", "_order")

    def __init__(self) -> None:
        self._at: dict[Name, tuple[float, int, Name]] = {}
        self._heap: list[tuple[float, int, Name]] = []
        """The entries of the table, and outdated ones. The number orders entries with equal times."""
        self._order = 0

    def put(self, name: Name, at: float) -> None:
        """Set the deadline of `name` to `at`; it replaces any other."""
        self._order += 1
        replaced = name in self._at
        self._at[name] = entry = (at, self._order, name)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 16 + 4 * len(self._at):
            self._heap = list(self._at.values())
            heapq.heapify(self._heap)
        elif replaced:  # perhaps the one at the top
            self._skim()

    def drop(self, name: Name) -> None:
        """Remove the deadline, if there is one."""
        entry = self._at.pop(name, None)
        if entry is not None and entry is self._heap[0]:
            self._skim()

    def clear(self) -> None:
        """Remove all deadlines."""
        self._at.clear()
        self._heap.clear()

    def next(self) -> float | None:
        """Return the earliest deadline, or None when there is none."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Name | None:
        """Remove the earliest deadline and return its name; return None when none is due at `now`."""
        if not self._heap or self._heap[0][0] > now:
            return None
        name = self._heap[0][2]
        self.drop(name)
        return name

    def _skim(self) -> None:
        """Remove outdated entries from the top of the heap, so that `next` changes nothing."""
        while self._heap and self._at.get(self._heap[0][2]) is not self._heap[0]:
            heapq.heappop(self._heap)


class Timers(Deadlines[tuple[Timer, Hashable]]):
    """The deadlines of a session: each timer has one, or one for each channel, transport or request."""

    __slots__ = ()

    def set(self, timer: Timer, at: float, of: Hashable = None) -> None:
        """Set the deadline of `timer` (for one channel, transport or request) to `at`; it replaces any other."""
        self.put((timer, of), at)

    def stop(self, timer: Timer, of: Hashable = None) -> None:
        """Remove the deadline, if there is one."""
        self.drop((timer, of))

    def is_set(self, timer: Timer, of: Hashable = None) -> bool:
        """Return whether this deadline is set."""
        return (timer, of) in self._at

    def at(self, timer: Timer, of: Hashable = None) -> float | None:
        """Return the time of this deadline, or None when it is not set."""
        found = self._at.get((timer, of))
        return found[0] if found else None
