"""Buffers between events and their consumers: who gets which event, and what happens when one is not read.

Each consumer, a stream or a binding, has a `Sink`. Nothing here waits: a driver waits on a `Signal`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from .._base.logs import logger
from ..errors import StreamOverflow, excerpt
from ..events import WIRE_NAMES, ChannelEvent, Event, scope_of

__all__ = ["OVERFLOW", "Overflow", "Router", "Selector", "Signal", "Sink"]

_One = str | type[Event] | Callable[[Any], bool]
Selector = _One | tuple[_One, ...] | None
"""An event's name, an event class, a predicate, several of these, or None for all."""

Overflow = Literal["wait", "drop_oldest", "drop_newest", "raise"]
OVERFLOW: Final = ("wait", "drop_oldest", "drop_newest", "raise")

_UNLIMITED = 2**63 - 1  # an int, as the limits that it stands in for
_CACHED_ROUTES = 32768  # names come from the server: what is remembered of them is bounded,
_CACHED_NAME = 256  # in length as well

_log = logger("streams")


class Signal:
    """Whom to wake when something may have changed. A driver adds a function and looks again when it is called."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[Callable[[], object]] = []

    def add(self, waiter: Callable[[], object]) -> None:
        """Let `waiter` be called at the next `notify`, once."""
        self.waiters.append(waiter)

    def discard(self, waiter: Callable[[], object]) -> None:
        """Take back an `add` that was not served yet."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def notify(self) -> None:
        """Call everyone who waits."""
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter()


class Sink:
    """A bounded buffer of the events that one consumer asked for."""

    def __init__(
        self,
        channel: str | None,
        selector: Selector,
        buffer: int,
        overflow: Overflow,
        *,
        once: bool = False,
        where: Callable[[Any], bool] | None = None,
        only_messages: bool = False,
    ) -> None:
        if overflow not in OVERFLOW:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOW)}, not {overflow!r}")
        if buffer < 1:
            raise ValueError(f"buffer is a number of events, at least 1, not {buffer!r}")
        self.channel = channel
        self.once = once
        """Whether the first event is the only one (`wait_for`)."""
        self.place: int | None = None
        """Where that one stood among the messages of all channels, when nobody else had a claim to it."""
        self.queue: deque[Event] = deque()
        self.dropped: int = 0
        """How many events this consumer lost because it did not read fast enough."""
        self.episode: int = 0
        """How many of them since it last had room."""
        self.overflowed: bool = False
        self.closed: bool = False
        self.signal: Signal = Signal()
        self._names, self._types, self._predicates = _sort(selector)
        self._where = where
        self.picky: bool = bool(self._predicates) or where is not None
        """Whether `wants` is to be asked about each single event."""
        self.special: bool = self.picky or once
        """Whether more is to be done for an event than to put it."""
        self._all = selector is None
        self._only_messages = only_messages
        self._selector = selector
        self._trouble: Exception | None = None
        self._buffer = buffer
        self._overflow = overflow
        waits = overflow == "wait"
        self.quick: bool = waits and not self.special
        """Whether to put an event is to append it to the queue and to say that it came, and no more."""
        self.half: int = buffer // 2
        """With how many events left delivery goes on; so it does not stop and go for each event."""
        self.look_at: int = -1
        """With how many events left the client is to be told: `half` when it waits for that, else never."""
        self.limit: int = buffer if waits else _UNLIMITED
        """With how many events in it delivery stops."""
        self._room = _UNLIMITED if waits else buffer  # with `wait`, who delivers stops in time

    @property
    def full(self) -> bool:
        """Whether nothing may come before something was taken: only with the policy `wait`."""
        return len(self.queue) >= self.limit

    @property
    def has_room(self) -> bool:
        """Whether enough was taken for delivery to go on."""
        return len(self.queue) <= self.half

    @property
    def asked_for(self) -> tuple[str, ...]:
        """What the selector means, for messages."""
        several = self._selector if isinstance(self._selector, tuple) else (self._selector,)
        return tuple(map(_describe, several))

    def may_want(self, event: Event) -> bool:
        """Return whether events of this kind are asked for."""
        if self.channel is not None and scope_of(event) != self.channel:
            return False
        if self._only_messages and not isinstance(event, ChannelEvent):
            return False
        return self._all or bool(self._predicates) or self._is_named(event)

    def wants(self, event: Event) -> bool:
        """Return whether this very event is asked for. What a predicate raises is the consumer's to hear of."""
        if not self.may_want(event):
            return False
        try:
            chosen = (
                self._all
                or self._is_named(event)
                or any(predicate(event) for predicate in self._predicates)
            )
            return chosen and (self._where is None or bool(self._where(event)))
        except Exception as error:
            self.predicate_raised(event, error)
            return False

    def predicate_raised(self, event: Event, error: Exception) -> None:  # noqa: ARG002 - for bindings
        """Keep the exception of a predicate for `take`, the first one until it is raised."""
        if self._trouble is None:
            self._trouble = error
            self.signal.notify()

    def _is_named(self, event: Event) -> bool:
        return isinstance(event, self._types) or (
            isinstance(event, ChannelEvent) and event.name in self._names
        )

    def put(self, event: Event) -> None:
        """Take an event that is wanted, or do what the policy says when the buffer is full."""
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
        """Tell who waits that `count` events were appended to the queue."""
        signal = self.signal
        if signal.waiters:
            signal.notify()

    def take(self) -> Event | None:
        """Return the next event, or None. Raises after what is buffered: `StreamOverflow`, or what a predicate did."""
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
        """Free what is buffered, and keep nothing that comes later."""
        self.closed = True
        self.queue = deque(maxlen=0)

    def _drop(self) -> None:
        if not self.episode:
            where = "the client" if self.channel is None else excerpt(self.channel, 64)
            _log.warning("a consumer of %s does not keep up: events are dropped", where)
        self.look_at = self.half
        self.episode += 1
        self.dropped += 1


def _describe(selector: Selector) -> str:
    """Return one selector as it stands in messages."""
    if selector is None:
        return "everything"
    if isinstance(selector, str):
        return repr(excerpt(selector, 64))
    return str(getattr(selector, "__qualname__", None) or type(selector).__qualname__)


def _sort(
    selector: Selector,
) -> tuple[frozenset[str], tuple[type[Event], ...], tuple[Callable[[Any], bool], ...]]:
    names: set[str] = set()
    types: list[type[Event]] = []
    predicates: list[Callable[[Any], bool]] = []
    several = selector if isinstance(selector, tuple) else () if selector is None else (selector,)
    for one in several:
        if isinstance(one, str):
            if one in WIRE_NAMES:
                types.append(WIRE_NAMES[one])
            names.add(one)
        elif isinstance(one, type):
            if not issubclass(one, Event):
                raise TypeError(f"{one.__name__} is not an event class of pusher_proto")
            types.append(one)
        elif callable(one):
            predicates.append(one)
        else:
            raise TypeError(
                f"a selector is an event's name, an event class, a predicate, or a tuple of these, not {one!r}"
            )
    return frozenset(names), tuple(types), tuple(predicates)


class Router:
    """Which sinks get which events. A message costs one look-up; routes are made anew when sinks change."""

    def __init__(self) -> None:
        self._sinks: dict[str | None, dict[Sink, None]] = {}
        self.known: dict[tuple[str, str], tuple[Sink, ...]] = {}
        """The routes of messages that were asked for, by channel and name."""
        self.alone: dict[tuple[str, str], Sink] = {}
        """The only sink of such a route, where to put an event there is to append it and to notify."""

    def __iter__(self) -> Iterator[Sink]:
        for sinks in self._sinks.values():
            yield from sinks

    def __contains__(self, sink: object) -> bool:
        return isinstance(sink, Sink) and sink in self._sinks.get(sink.channel, ())

    def add(self, sink: Sink) -> None:
        """Let `sink` have events from now on."""
        self._sinks.setdefault(sink.channel, {})[sink] = None
        self._forget_routes()

    def remove(self, sink: Sink) -> None:
        """Let `sink` have no more events."""
        sinks = self._sinks.get(sink.channel, {})
        if sink in sinks:
            del sinks[sink]
            if not sinks:
                del self._sinks[sink.channel]
            self._forget_routes()

    def has(self, channel: str | None) -> bool:
        """Return whether a sink of this channel (None: of the client) is there."""
        return channel in self._sinks

    def asked_for(self, channel: str | None) -> str:
        """Return what the sinks of this channel (None: of the client) ask for, for messages."""
        asked = dict.fromkeys(
            each for sink in self._sinks.get(channel, ()) for each in sink.asked_for
        )
        return ", ".join(asked) or "nothing"

    def route(self, event: Event) -> tuple[Sink, ...]:
        """Return the sinks that may want `event`: the channel's own before the client's, each in order of adding."""
        if not isinstance(event, ChannelEvent):
            return self._find(event)
        key = (scope_of(event) or "", event.name)
        found = self.known.get(key)
        if found is None:
            found = self._find(event)
            if len(self.known) >= _CACHED_ROUTES:
                self._forget_routes()
            if len(event.name) <= _CACHED_NAME:
                self.known[key] = found
                if len(found) == 1 and found[0].quick:
                    self.alone[key] = found[0]
        return found

    def _forget_routes(self) -> None:
        self.known.clear()
        self.alone.clear()

    def _find(self, event: Event) -> tuple[Sink, ...]:
        channel = scope_of(event)
        sinks = [
            *self._sinks.get(channel, ()),
            *(self._sinks.get(None, ()) if channel is not None else ()),
        ]
        return tuple(sink for sink in sinks if sink.may_want(event))
