"""Streams of events and waits for one event. A driver adds the waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec

from .._base.checks import check_plain
from .._base.logs import log_seldom, logger
from ..errors import ClientClosed, DataError, excerpt
from ..events import ChannelEvent, TypedEvent, decode_as
from .goals import Goal
from .host import Host
from .pending import END, PENDING, End, Pending
from .selectors import Choice, Selector
from .signal import Signal
from .sinks import Overflow, Sink
from .waits import check_predicate

__all__ = [
    "AT_ONCE",
    "TURN",
    "Buffering",
    "Decoding",
    "Invalid",
    "StreamBase",
    "StreamOptions",
    "Wait",
]

T = TypeVar("T")
Invalid = Literal["raise", "skip"]
Decode = Callable[[ChannelEvent], Any]

TURN = 0.005
"""How many seconds handlers, or the steps of a stream, run without a wait before other tasks get a turn.

The value is that of sys.getswitchinterval, for threads, and the duration of a large read. A turn takes 30 µs, and more
under load: with one each millisecond an event of 1 or 10 KB takes 3 % more time.
"""

AT_ONCE = 63
"""How many further events a stream returns before it checks again whether the client has other work."""

_log = logger("client")


class Buffering(TypedDict, total=False):
    """The keyword arguments of `events` for every stream."""

    buffer: int
    overflow: Overflow


class Decoding(Buffering, total=False):
    """The keyword arguments of `events` for every stream with typed data."""

    invalid: Invalid


class StreamOptions(NamedTuple):
    """The keyword arguments of `events`."""

    buffer: int = 1000
    overflow: Overflow = "wait"
    type: Any = None
    types: Mapping[str, Any] | None = None
    decoder: Callable[[str], Any] | None = None
    invalid: Invalid = "raise"

    def decode(self) -> Decode | None:
        """Return the function that decodes the data of an event, or None. Raises ValueError for conflicting options."""
        if self.invalid not in ("raise", "skip"):
            raise ValueError(f"invalid is 'raise' or 'skip', not {self.invalid!r}")
        if sum(each is not None for each in (self.type, self.types, self.decoder)) > 1:
            raise ValueError("only one of type, types and decoder can be set")
        if self.type is not None:
            return partial(decode_as, decoder=msgspec.json.Decoder(self.type))
        if self.decoder is not None:
            check_plain(self.decoder, "decoder")
            return partial(_decode_by, self.decoder)
        if self.types is not None:
            decoders = {name: msgspec.json.Decoder(each) for name, each in self.types.items()}
            return partial(_decode_by_name, decoders)
        return None


class StreamBase(Generic[T]):
    """A stream of events, returned by `events`. It receives events from that call on.

    The client references the stream's sink only, so a stream that is no longer referenced is closed.
    """

    _ready = 0
    """How many events a driver may take directly from the sink's queue."""
    _at_once = AT_ONCE
    """The upper limit of `_ready`."""
    _left = AT_ONCE + 1
    """How many steps are left until the next check of the clock, on an event loop."""
    _turn_began = 0.0

    def __init__(
        self, host: Host, scope: str | None, selector: Selector, options: StreamOptions
    ) -> None:
        self._host = host
        self._client = host.client
        self._decode = options.decode()
        if options.types is not None and selector is None:
            selector = tuple(options.types)
        self._skips = options.invalid == "skip"
        choice = Choice(selector, scope, typed=self._decode is not None, gaps=True)
        sink = Sink(choice, options.buffer, options.overflow)
        self.signal: Signal = sink.signal
        self.skipped: int = 0
        """How many events were skipped with `invalid="skip"`, because their data did not match the type."""
        with host.guard:
            host.checks.open()
            host.delivery.add(sink)
        self._sink = sink

    def __del__(self) -> None:
        sink = getattr(self, "_sink", None)  # missing when __init__ raised
        if sink is not None and not sink.closed:
            self._host.delivery.abandon(sink)

    @property
    def dropped(self) -> int:
        """How many events were dropped because this stream was not read fast enough."""
        return self._sink.dropped

    def close(self) -> None:
        """End the iteration and drop the buffered events."""
        with self._host.guard:
            self._host.driver.here()
            self._host.delivery.remove(self._sink)

    def _turn_is_over(self, now: float) -> bool:
        """Return whether the consumer has run for `TURN`, so that other tasks get a turn; plan the next check."""
        took = now - self._turn_began
        if took < TURN:
            self._at_once = min(AT_ONCE, 2 * self._at_once + 1)
        else:  # check sooner when each step is slow: after 64 steps of 20 ms it would be late
            self._at_once = min(AT_ONCE, int((self._at_once + 1) * TURN / took))
        self._left = self._at_once + 1
        return took >= TURN

    def _next(self) -> T | Pending | End:
        """Return the next element, `PENDING`, or `END`. Raises the final error of this scope."""
        delivery, sink = self._host.delivery, self._sink
        if len(sink.queue) <= sink.look_at:
            delivery.took(sink)  # for the events that the driver took directly
        while True:
            event: Any = sink.take()
            if event is None:
                if delivery.sweep():
                    self._host.driver.changed()
                    continue
                over = sink.closed or self._host.checks.end_of(sink.channel)
                return END if over else PENDING
            if len(sink.queue) <= sink.look_at:
                delivery.took(sink)
            self._ready = min(self._at_once, len(sink.queue) - sink.look_at - 1)
            if self._decode is None:
                return event  # type: ignore[no-any-return]  # a `cast` would be a call for each event
            typed = self._typed(event)
            if typed is not PENDING:
                return typed

    def _goal(self) -> Goal[T]:
        """Return the goal of a wait for the next element."""
        return Goal(self._next_now, self.signal, "no event was received")

    def _next_now(self) -> T | Pending:
        """Do the same as `_next`, but raise `ClientClosed` at the end."""
        event = self._next()
        if event is END:
            what = "stream" if self._sink.closed else "client"
            raise ClientClosed(f"the {what} was closed: no event follows")
        return event

    def _typed(self, event: Any) -> T | Pending:
        """Return a message with decoded data, any other event unchanged, or `PENDING` for a message that is skipped."""
        assert self._decode is not None
        if not isinstance(event, ChannelEvent):
            return event  # type: ignore[no-any-return]  # as above
        try:
            value = self._decode(event)
        except DataError as error:
            if not self._skips:
                raise
            self.skipped += 1
            log_seldom(_log, logging.WARNING, self.skipped, "skipped: %s", error)
            return PENDING
        typed: Any = TypedEvent(
            event.channel,
            event.name,
            event.wire_data,
            event.user_id,
            event.extra,
            event.cached,
            value,
            event.caught_up,
        )
        return typed  # type: ignore[no-any-return]  # as above


class Wait:
    """A wait of `who`, a task or thread, for one event, made by `wait_for`. Use it as a context manager."""

    def __init__(
        self,
        host: Host,
        choice: Choice,
        predicate: Callable[[Any], bool] | None,
        *,
        who: object,
        fresh: bool,
    ) -> None:
        check_predicate(predicate)
        self._host = host
        self._who = who
        self._sink = Sink(choice, once=True, where=predicate)
        self.signal: Signal = self._sink.signal
        self.what: str = f"no {', '.join(choice.shown)} was received"
        """The start of the message of a timeout."""
        with host.guard:
            host.checks.open()
            host.delivery.begin_wait(self._sink, who, fresh=fresh)

    def __enter__(self) -> Goal[Any]:
        return Goal(self.check, self.signal, self.what)

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> Any:
        """Return the event, or `PENDING`. Raises the reason if it can no longer arrive."""
        sink, delivery = self._sink, self._host.delivery
        event = sink.take()
        if event is not None:
            return event
        if delivery.sweep():
            self._host.driver.changed()
            if sink.queue:
                return sink.take()
        self._host.checks.awaited(sink.channel)
        return PENDING

    def close(self) -> None:
        """End the wait. An event that was delivered to it and not returned goes back to the backlog."""
        with self._host.guard:
            self._host.delivery.end_wait(self._sink, self._who)


def _decode_by(decoder: Callable[[str], Any], event: ChannelEvent) -> Any:
    """Return the data of `event`, decoded by a function of the application. Raises `DataError`."""
    try:
        return decoder(event.raw_data)
    except Exception as error:
        raise DataError(
            f"the decoder refused the data of {excerpt(event.name, 64)!r} on "
            f"{excerpt(event.channel, 64)!r}: {type(error).__name__}"
        ) from error


def _decode_by_name(decoders: Mapping[str, msgspec.json.Decoder[Any]], event: ChannelEvent) -> Any:
    """Return the data of `event`, decoded as the type for its name, or as plain JSON without one."""
    decoder = decoders.get(event.name)
    return event.data if decoder is None else decode_as(event, decoder)
