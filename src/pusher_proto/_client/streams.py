"""Streams of events and waits for one event. A driver adds the waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec

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
"""Seconds of handlers, or of steps of a stream, without a wait, after which other tasks get a turn.

As long as Python lets a thread run (sys.getswitchinterval), and as a large read takes. A turn costs 30 µs and more
under load: with one each millisecond an event of 1 or 10 KB takes 3 % more.
"""

AT_ONCE = 63
"""How many events a stream gives, after one, before it looks again whether the client has something else to do."""

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
        """Return what decodes the data of an event, or None. Raises ValueError for options that contradict."""
        if self.invalid not in ("raise", "skip"):
            raise ValueError(f"invalid is 'raise' or 'skip', not {self.invalid!r}")
        if sum(each is not None for each in (self.type, self.types, self.decoder)) > 1:
            raise ValueError("give only one of type, types and decoder")
        if self.type is not None:
            return partial(decode_as, decoder=msgspec.json.Decoder(self.type))
        if self.decoder is not None:
            return partial(_decode_by, self.decoder)
        if self.types is not None:
            decoders = {name: msgspec.json.Decoder(each) for name, each in self.types.items()}
            return partial(_decode_by_name, decoders)
        return None


class StreamBase(Generic[T]):
    """The events that one consumer iterates over. Made by `events`; opened at that call.

    The client holds the stream's sink and not the stream: a stream that is no longer referenced is closed.
    """

    _ready = 0
    """How many events a driver may take from the sink's queue directly, as in nearly all steps."""
    _at_once = AT_ONCE
    """How many that are at most."""
    _left = AT_ONCE + 1
    """How many steps until the next look at the clock, on an event loop."""
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
        """How many events did not fit the type, with `invalid="skip"`."""
        with host.guard:
            host.checks.open()
            host.delivery.add(sink)
        self._sink = sink

    def __del__(self) -> None:
        sink = getattr(self, "_sink", None)  # there is none when the construction failed
        if sink is not None and not sink.closed:
            self._host.delivery.abandon(sink)

    @property
    def dropped(self) -> int:
        """How many events this stream lost because it was not read fast enough."""
        return self._sink.dropped

    def close(self) -> None:
        """End the iteration and free the buffered events."""
        with self._host.guard:
            self._host.delivery.remove(self._sink)

    def _turn_is_over(self, now: float) -> bool:
        """Return whether the consumer has taken so long that other tasks get a turn, and plan the next look."""
        took = now - self._turn_began
        if took < TURN:
            self._at_once = min(AT_ONCE, 2 * self._at_once + 1)
        else:  # look sooner where each step takes long: a look after 64 steps of 20 ms comes late
            self._at_once = min(AT_ONCE, int((self._at_once + 1) * TURN / took))
        self._left = self._at_once + 1
        return took >= TURN

    def _next(self) -> T | Pending | End:
        """Return the next element, `PENDING`, or `END`. Raises the error that is final for this scope."""
        delivery, sink = self._host.delivery, self._sink
        if len(sink.queue) <= sink.look_at:
            delivery.took(sink)  # the events that were taken directly
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
                return event  # type: ignore[no-any-return]  # a `cast` is a call, and that for each event
            typed = self._typed(event)
            if typed is not PENDING:
                return typed

    def _goal(self) -> Goal[T]:
        """Return the goal of a wait for the next element."""
        return Goal(self._next_now, self.signal, "no event came")

    def _next_now(self) -> T | Pending:
        """Return what `_next` does. Raises `ClientClosed` at the end."""
        event = self._next()
        if event is END:
            what = "stream" if self._sink.closed else "client"
            raise ClientClosed(f"the {what} was closed: no event follows")
        return event

    def _typed(self, event: Any) -> T | Pending:
        """Return a message with its data decoded, another event unchanged, or `PENDING` for one that is skipped."""
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
    """A wait of `who`, a task or thread, for one event. Made by `wait_for`, for the length of a block."""

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
        self.what: str = f"no {', '.join(choice.shown)} came"
        """The start of the message of a timeout."""
        with host.guard:
            host.checks.open()
            host.delivery.begin_wait(self._sink, who, fresh=fresh)

    def __enter__(self) -> Goal[Any]:
        return Goal(self.check, self.signal, self.what)

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> Any:
        """Return the event, or `PENDING`. Raises if it can no longer arrive."""
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
        """End the wait. An event that was claimed and not returned is given back."""
        with self._host.guard:
            self._host.delivery.end_wait(self._sink, self._who)


def _decode_by(decoder: Callable[[str], Any], event: ChannelEvent) -> Any:
    """Return the data of `event` by a function of the application; those of pydantic raise ValueErrors."""
    try:
        return decoder(event.raw_data)
    except Exception as error:
        raise DataError(
            f"the decoder refused the data of {excerpt(event.name, 64)!r} on "
            f"{excerpt(event.channel, 64)!r}: {type(error).__name__}"
        ) from error


def _decode_by_name(decoders: Mapping[str, msgspec.json.Decoder[Any]], event: ChannelEvent) -> Any:
    """Return the data of `event` by the type for its name; of a name without one as plain JSON."""
    decoder = decoders.get(event.name)
    return event.data if decoder is None else decode_as(event, decoder)
