"""The buffers of consumers, and the policies for consumers that do not read fast enough.

Each consumer (a stream, a wait, a handler) has a `Sink`. Nothing here waits: a driver waits on the sink's `Signal`.
With the policy "wait" a sink keeps all events, and `Options.receive_buffer` limits all such sinks together; with the
other policies it keeps `buffer` events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

from .._base.logs import logger
from ..errors import StreamOverflow, excerpt
from ..events import USER_SCOPE, Event
from .selectors import Choice
from .signal import Signal

__all__ = ["OVERFLOW", "Overflow", "Sink", "shown_scope"]

Overflow = Literal["wait", "drop_oldest", "drop_newest", "raise"]
OVERFLOW: Final = ("wait", "drop_oldest", "drop_newest", "raise")

_UNLIMITED = 2**63 - 1  # an int, like other values of `Sink._room`

_log = logger("streams")


class Sink:
    """The events that one consumer selected and has not taken."""

    claims: bool = True
    """Whether the backlog does not keep an event that this sink got."""

    def __init__(
        self,
        choice: Choice,
        buffer: int = 1000,
        overflow: Overflow = "wait",
        *,
        once: bool = False,
        where: Callable[[Any], bool] | None = None,
    ) -> None:
        if overflow not in OVERFLOW:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOW)}, not {overflow!r}")
        if buffer < 1:
            raise ValueError(f"buffer is a number of events and at least 1, not {buffer!r}")
        self.choice: Choice = choice
        self.channel: str | None = choice.scope
        self.once: bool = once
        """Whether it takes one event only (`wait_for`, `bind(once=True)`)."""
        self.place: int | None = None
        """The place of that event among all events, if no other consumer got it."""
        self.seen: int | None = None
        """The place of that event, even if another consumer got it."""
        self.queue: deque[Event] = deque()
        self.dropped: int = 0
        """How many events were dropped because the consumer did not read fast enough."""
        self.episode: int = 0
        """How many of them since the last `EventsDropped` was emitted."""
        self.overflowed: bool = False
        """Whether events were dropped since the last one in the queue, with the policy "raise"."""
        self.closed: bool = False
        self.signal: Signal = Signal()
        self._where = where
        self.picky: bool = bool(choice.predicates) or where is not None
        """Whether `wants` has to be called for each event."""
        self.special: bool = self.picky or once or not self.claims
        """Whether delivery has to do more than call `put` for an event."""
        self._trouble: Exception | None = None
        """The exception of a predicate that the next `take` without an event raises."""
        self._buffer = buffer
        self._overflow = overflow
        self.waits: bool = overflow == "wait"
        """Whether its events count towards `Options.receive_buffer`."""
        self.quick: bool = self.waits and not self.special
        """Whether `put` only appends to the queue and calls `came`."""
        self.look_at: int = -1
        """The consumer has to call `Delivery.took` when this many events are left; -1: never."""
        self.counted: int = 0
        """How many events were buffered when their bytes were last counted, while reading is paused."""
        self.charged: int = 0
        """The bytes of these events, without events that were counted for another sink."""
        self._room = _UNLIMITED if self.waits else buffer
        """How many events `put` buffers."""

    @property
    def name(self) -> str:
        """The name of this consumer in log messages."""
        return f"a stream of {', '.join(self.choice.shown)} on {shown_scope(self.channel)}"

    def may_want(self, event: Event) -> bool:
        """Return whether the selector can select this event; predicates are not called."""
        return self.choice.may_choose(event)

    def wants(self, event: Event) -> bool:
        """Return whether the selector selects this event. Calls `predicate_raised` with an exception of a predicate."""
        if not self.picky:
            return self.choice.may_choose(event)
        try:
            return self.choice.chooses(event) and (self._where is None or bool(self._where(event)))
        except Exception as error:
            self.predicate_raised(event, error)
            return False

    def predicate_raised(self, event: Event, error: Exception) -> None:  # noqa: ARG002 - for bindings
        """Store the first exception of a predicate, for `take` to raise."""
        if self._trouble is None:
            self._trouble = error
            self.signal.notify()

    def put(self, event: Event) -> None:
        """Buffer an event, or apply the overflow policy when the buffer is full."""
        queue = self.queue
        if len(queue) < self._room:
            queue.append(event)
        elif self._overflow == "drop_oldest":
            queue.popleft()
            queue.append(event)
            self._drop()
        elif self._overflow == "drop_newest":
            self._drop()
        else:  # drop all events until `take` has raised, so that the exception is where events are missing
            self.overflowed = True
            self._room = 0
            self.dropped += 1
        self.came(1)

    def came(self, count: int) -> None:  # noqa: ARG002 - for bindings
        """Wake the consumer, after `count` events were appended to the queue."""
        signal = self.signal
        if signal.waiters:
            signal.notify()

    def served(self) -> None:
        """Do nothing; called when a sink with `once` has got its event."""

    def take(self) -> Event | None:
        """Return the next event, or None. Without one, raises `StreamOverflow`, or the exception of a predicate."""
        if self.queue:
            return self.queue.popleft()
        if self.overflowed:
            self.overflowed = False
            self._room = self._buffer
            raise StreamOverflow(
                f"more than {self._buffer} events were received before they were read (buffer=...)"
            )
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        return None

    def close(self) -> None:
        """Drop the buffered events, and all later ones."""
        self.closed = True
        self.queue = deque(maxlen=0)

    def _drop(self) -> None:
        """Count a dropped event; log a warning about the first one of an episode."""
        if not self.episode:
            _log.warning("%s is not read fast enough: events are dropped", self.name)
        self.look_at = self._buffer // 2  # an episode ends when half of the buffer is free
        self.episode += 1
        self.dropped += 1


def shown_scope(scope: str | None) -> str:
    """Return the name of a scope in log messages."""
    if scope is None:
        return "the client"
    return "the user" if scope == USER_SCOPE else excerpt(scope, 64)
