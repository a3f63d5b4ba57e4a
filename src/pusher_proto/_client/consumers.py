"""What an application reads events with: streams and bindings. A driver adds the waiting."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

import msgspec

from .._base.logs import log_seldom, logger
from ..errors import ClientClosed, DataError, excerpt
from ..events import ChannelEvent, Event, TypedEvent, decode_as
from .streams import Overflow, Selector, Signal, Sink

if TYPE_CHECKING:
    from ..client import ClientBase

__all__ = [
    "AT_ONCE",
    "END",
    "PENDING",
    "SLOW",
    "BindingBase",
    "End",
    "Invalid",
    "Nothing",
    "Pending",
    "StreamBase",
    "fresh",
]

T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=BaseException)
Invalid = Literal["raise", "skip"]

AT_ONCE = 63
"""How many events a stream gives, after one, before it looks again whether there is something else to see to."""

SLOW = 1.0  # seconds; asyncio's own debug mode speaks of 0.1

_log = logger("client")


class Nothing(Enum):
    """What a check answers when there is nothing to return."""

    PENDING = "not yet"
    END = "nothing more comes"


PENDING: Final = Nothing.PENDING
END: Final = Nothing.END
Pending = Literal[Nothing.PENDING]
End = Literal[Nothing.END]


def fresh(error: ErrorT) -> ErrorT:
    """Return a copy: one error may be raised in many places, and each wants a traceback of its own."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


class StreamBase(Generic[T]):
    """The events that one consumer iterates over. Made by `events`; opened at that call.

    The client holds the stream's sink and not the stream: who leaves a loop over it and keeps it nowhere has closed it.
    """

    _ready = 0
    """How many events a driver may take from the sink's queue by itself, which is what nearly all steps are."""
    _at_once = AT_ONCE
    """How many that are at most."""

    def __init__(
        self,
        client: ClientBase[Any, Any],
        channel: str | None,
        selector: Selector,
        *,
        buffer: int = 1000,
        overflow: Overflow = "wait",
        type: Any = None,  # noqa: A002 - the word of msgspec
        decoder: Callable[[str], Any] | None = None,
        invalid: Invalid = "raise",
        once: bool = False,
        where: Callable[[Any], bool] | None = None,
    ) -> None:
        if invalid not in ("raise", "skip"):
            raise ValueError(f"invalid is 'raise' or 'skip', not {invalid!r}")
        if type is not None and decoder is not None:
            raise ValueError("give either type or decoder")
        self._client = client
        self._invalid = invalid
        self._decode: Callable[[ChannelEvent], Any] | None = None
        if type is not None:
            self._decode = partial(decode_as, decoder=msgspec.json.Decoder(type))
        elif decoder is not None:
            self._decode = partial(_decode_by, decoder)
        sink = Sink(
            channel,
            selector,
            buffer,
            overflow,
            once=once,
            where=where,
            only_messages=self._decode is not None,
        )
        self.signal: Signal = sink.signal
        self.skipped: int = 0
        """How many events did not fit the type, with `invalid="skip"`."""
        with client._guard:
            client._add(sink)
        self._sink = sink

    def __del__(self) -> None:
        sink = getattr(self, "_sink", None)  # there is none when the construction failed
        if sink is not None and not sink.closed:
            self._client._abandon(sink)

    @property
    def dropped(self) -> int:
        """How many events this stream lost because it was not read fast enough."""
        return self._sink.dropped

    def close(self) -> None:
        """End the iteration and free what is buffered."""
        with self._client._guard:
            self._client._remove(self._sink)

    def _next(self) -> T | Pending | End:
        """Return the next element, `PENDING`, or `END`. Raises the error that ended the connection for good."""
        client, sink = self._client, self._sink
        if len(sink.queue) <= sink.look_at:
            client._took(sink)  # what was taken without looking
        while True:
            event: Any = sink.take()
            if event is None:
                if client._sweep():
                    client._changed()
                    continue
                return self._rest()
            if len(sink.queue) <= sink.look_at:
                client._took(sink)
            self._ready = min(self._at_once, len(sink.queue) - sink.look_at - 1)
            if self._decode is None:
                return event  # type: ignore[no-any-return]  # a `cast` is a call, and that for each event
            typed = self._typed(event)
            if typed is not PENDING:
                return typed

    def _typed(self, event: Any) -> T | Pending:
        """Return a message with its data decoded, or `PENDING` when it is skipped."""
        assert self._decode is not None
        try:
            value = self._decode(event)
        except DataError as error:
            if self._invalid == "raise":
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
        )
        return typed  # type: ignore[no-any-return]  # a `cast` is a call, and that for each event

    def _next_one(self) -> T | Pending:
        """The same for `wait_for`: an end is an error, and so is a channel that will not have the event."""
        event = self._next()
        if event is END:
            raise ClientClosed("the client was closed while an event was waited for")
        if event is PENDING:
            self._client._check_scope(self._sink.channel)
        return event

    def _rest(self) -> Pending | End:
        """Return what follows when nothing is buffered."""
        client = self._client
        if self._sink.closed:
            return END
        error = client._terminal_error
        if error is not None:
            raise fresh(error)
        return END if client._session.closed else PENDING


def _decode_by(decoder: Callable[[str], Any], event: ChannelEvent) -> Any:
    """Return the data of `event` by a function of the application; pydantic's raise ValueErrors."""
    try:
        return decoder(event.raw_data)
    except Exception as error:
        raise DataError(
            f"the decoder refused the data of {excerpt(event.name, 64)!r} on "
            f"{excerpt(event.channel, 64)!r}: {type(error).__name__}"
        ) from error


class BindingBase(Sink):
    """A handler and the events that wait for it. Made by `bind`."""

    def __init__(
        self,
        client: ClientBase[Any, Any],
        channel: str | None,
        selector: Selector,
        fn: Callable[..., object],
    ) -> None:
        super().__init__(channel, selector, 1000, "wait", once=False)
        self._client = client
        self.fn = fn

    def cancel(self) -> None:
        """Call the handler no more, not even for what waits for it. May be called from the handler itself."""
        with self._client._guard:
            self._client._remove(self)

    def predicate_raised(self, event: Event, error: Exception) -> None:
        """Log the exception of the selector: it chose nothing."""
        _log.error(
            "the selector of the handler %s raised for %s on %s",
            self.name,
            *_event_and_channel(event),
            exc_info=error,
        )

    @property
    def name(self) -> str:
        """The handler's name, for messages."""
        return str(getattr(self.fn, "__qualname__", None) or type(self.fn).__qualname__)

    def took(self, seconds: float) -> None:
        """Say so when a call held up everything else for long: nothing can be read or answered meanwhile."""
        if seconds > SLOW:
            _log.warning("the handler %s held up the event loop for %.1f s", self.name, seconds)

    def failed(self, event: Event) -> None:
        """Log the exception that the handler raised for `event`; to be called where it is caught."""
        _log.exception("the handler %s raised for %s on %s", self.name, *_event_and_channel(event))


def _event_and_channel(event: Event) -> tuple[str, str]:
    return (
        excerpt(getattr(event, "name", type(event).__name__), 64),
        excerpt(getattr(event, "channel", None) or "the client", 64),
    )
