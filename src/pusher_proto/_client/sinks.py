"""Buffers between events and their consumers: what happens when one is not read fast enough.

Each consumer (a stream, a wait, a handler) has a `Sink`. Nothing here waits: a driver waits on the sink's `Signal`.
With the policy "wait" a sink keeps everything, and `Options.receive_buffer` bounds all of them together; with the
others it keeps `buffer` events.
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

_UNLIMITED = 2**63 - 1  # an int, like the limits that it replaces

_log = logger("streams")


class Sink:
    """The events that one consumer asked for and has not taken."""

    claims: bool = True
    """Whether an event that this sink takes counts as heard, so that the backlog does not keep it."""

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
            raise ValueError(f"buffer is a number of events, at least 1, not {buffer!r}")
        self.choice: Choice = choice
        self.channel: str | None = choice.scope
        self.once: bool = once
        """Whether the first event is the only one (`wait_for`, `bind(once=True)`)."""
        self.place: int | None = None
        """The place of that event among all events, if no other consumer claimed it."""
        self.seen: int | None = None
        """The place of that event, whether or not another consumer claimed it."""
        self.queue: deque[Event] = deque()
        self.dropped: int = 0
        """How many events this consumer lost because it did not read fast enough."""
        self.episode: int = 0
        """How many of them since it last had room."""
        self.overflowed: bool = False
        self.closed: bool = False
        self.signal: Signal = Signal()
        self._where = where
        self.picky: bool = bool(choice.predicates) or where is not None
        """Whether `wants` has to be asked about each single event."""
        self.special: bool = self.picky or once or not self.claims
        """Whether delivery has to do more than `put` for an event."""
        self._trouble: Exception | None = None
        self._buffer = buffer
        self._overflow = overflow
        self.waits: bool = overflow == "wait"
        """Whether its events count in `Options.receive_buffer`."""
        self.quick: bool = self.waits and not self.special
        """Whether `put` only appends to the queue and calls `came`."""
        self.look_at: int = -1
        """The number of events left at which the consumer has to call `took`; -1: never."""
        self.counted: int = 0
        """How many events were left when their bytes were counted last, while reading is paused."""
        self.charged: int = 0
        """The bytes of these events, without the events that another consumer is charged with."""
        self._room = _UNLIMITED if self.waits else buffer

    @property
    def name(self) -> str:
        """What this consumer is, for messages."""
        return f"a stream of {', '.join(self.choice.shown)} on {shown_scope(self.channel)}"

    def may_want(self, event: Event) -> bool:
        """Return whether the selector takes events of this kind."""
        return self.choice.may_choose(event)

    def wants(self, event: Event) -> bool:
        """Return whether the selector takes this event. Exceptions of a predicate go to `predicate_raised`."""
        if not self.picky:
            return self.choice.may_choose(event)
        try:
            return self.choice.chooses(event) and (self._where is None or bool(self._where(event)))
        except Exception as error:
            self.predicate_raised(event, error)
            return False

    def predicate_raised(self, event: Event, error: Exception) -> None:  # noqa: ARG002 - for bindings
        """Keep the first exception of a predicate until `take` raises it."""
        if self._trouble is None:
            self._trouble = error
            self.signal.notify()

    def put(self, event: Event) -> None:
        """Buffer an event that is wanted, or apply the overflow policy when the buffer is full."""
        queue = self.queue
        if len(queue) < self._room:
            queue.append(event)
        elif self._overflow == "drop_oldest":
            queue.popleft()
            queue.append(event)
            self._drop()
        elif self._overflow == "drop_newest":
            self._drop()
        else:  # nothing more until that was raised, or the gap would be somewhere else
            self.overflowed = True
            self._room = 0
            self.dropped += 1
        self.came(1)

    def came(self, count: int) -> None:  # noqa: ARG002 - for bindings
        """Wake the consumer: `count` events were appended to the queue."""
        signal = self.signal
        if signal.waiters:
            signal.notify()

    def served(self) -> None:
        """Note that the only event of a sink with `once` is in the queue."""

    def take(self) -> Event | None:
        """Return the next event, or None. After the last one raises `StreamOverflow`, or what a predicate raised."""
        if self.queue:
            return self.queue.popleft()
        if self.overflowed:
            self.overflowed = False
            self._room = self._buffer
            raise StreamOverflow(
                f"more than {self._buffer} events came before they were read (buffer=)"
            )
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        return None

    def close(self) -> None:
        """Free the buffered events, and keep none from now on."""
        self.closed = True
        self.queue = deque(maxlen=0)

    def _drop(self) -> None:
        if not self.episode:
            _log.warning("%s does not keep up: events are dropped", self.name)
        self.look_at = self._buffer // 2  # so that one episode does not become many
        self.episode += 1
        self.dropped += 1


def shown_scope(scope: str | None) -> str:
    """Return what a scope is called in messages."""
    if scope is None:
        return "the client"
    return "the user" if scope == USER_SCOPE else excerpt(scope, 64)
