"""Handlers and the events that are buffered for them. A driver adds the calling."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context

from .._base.logs import logger
from ..errors import excerpt
from ..events import Event
from .host import Host
from .selectors import Choice
from .sinks import Sink

__all__ = ["SLOW", "BindingBase"]

SLOW = 1.0  # seconds; asyncio's own debug mode warns from 0.1

_log = logger("client")


class BindingBase(Sink):
    """A handler that `bind` made known; `cancel()` ends it."""

    def __init__(
        self, host: Host, choice: Choice, fn: Callable[..., object], *, once: bool = False
    ) -> None:
        super().__init__(choice, once=once)
        self._host = host
        self._client = host.client
        self.fn: Callable[..., object] = fn
        self.context: Context = copy_context()
        """What the handler is called in."""

    def cancel(self) -> None:
        """Stop calling the handler, also for events that are buffered for it. May be called in the handler itself."""
        with self._host.guard:
            self._host.bindings.discard(self)
            self._host.delivery.remove(self)

    def served(self) -> None:
        """Forget a handler for one event: its event is in the queue."""
        self._host.bindings.discard(self)

    def predicate_raised(self, event: Event, error: Exception) -> None:
        """Log the exception of the selector: it chose nothing."""
        _log.error(
            "the selector of the handler %s raised for %s on %s",
            self.handler,
            *_event_and_channel(event),
            exc_info=error,
        )

    @property
    def handler(self) -> str:
        """The handler's name, for messages."""
        return str(getattr(self.fn, "__qualname__", None) or type(self.fn).__qualname__)

    @property
    def name(self) -> str:
        """What this consumer is, for messages."""
        return f"the handler {self.handler}"

    def took(self, seconds: float) -> None:
        """Log a warning if a call took long: nothing else can be read or answered during a call."""
        if seconds > SLOW:
            _log.warning("the handler %s held up the event loop for %.1f s", self.handler, seconds)

    def failed(self, event: Event) -> None:
        """Log the exception that the handler raised for `event`. Call this where it is caught."""
        _log.exception(
            "the handler %s raised for %s on %s", self.handler, *_event_and_channel(event)
        )


def _event_and_channel(event: Event) -> tuple[str, str]:
    return (
        excerpt(getattr(event, "name", type(event).__name__), 64),
        excerpt(getattr(event, "channel", None) or "the client", 64),
    )
