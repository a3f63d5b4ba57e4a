"""Handlers, with the events that are buffered for them. A driver adds the calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Context, copy_context

from .._base.logs import logger, name_of
from ..errors import excerpt
from ..events import Event
from .host import Host
from .selectors import Choice
from .sinks import Sink

__all__ = ["SLOW", "BindingBase"]

SLOW = 1.0
"""Seconds after which a call of a handler is logged. asyncio's debug mode logs calls from 0.1 s on."""

_log = logger("client")


class BindingBase(Sink):
    """A handler that was bound to events."""

    awaits: bool = False
    """Whether this client awaits the result of a handler."""

    def __init__(
        self, host: Host, choice: Choice, fn: Callable[..., object], *, once: bool = False
    ) -> None:
        super().__init__(choice, once=once)
        self._host = host
        self._client = host.client
        self.fn: Callable[..., object] = fn
        self.context: Context = copy_context()
        """The context in which the handler is called."""

    def cancel(self) -> None:
        """Stop calling the handler, even for buffered events. May be called in the handler itself."""
        with self._host.guard:
            self._host.driver.here()
            self._host.bindings.discard(self)
            self._host.delivery.remove(self)

    def served(self) -> None:
        """Unbind a handler with `once`: its event is in the queue."""
        self._host.bindings.discard(self)

    def predicate_raised(self, event: Event, error: Exception) -> None:
        """Log the exception of a predicate; the event is not selected."""
        _log.error(
            "the selector of the handler %s raised for %s on %s",
            self.handler,
            *_event_and_channel(event),
            exc_info=error,
        )

    @property
    def handler(self) -> str:
        """The name of the function in log messages."""
        return name_of(self.fn)

    @property
    def name(self) -> str:
        """The name of this consumer in log messages."""
        return f"the handler {self.handler}"

    def took(self, seconds: float) -> None:
        """Log a warning about a call that took longer than `SLOW`: during a call the event loop does nothing else."""
        if seconds > SLOW:
            _log.warning("the handler %s held up the event loop for %.1f s", self.handler, seconds)

    def refuse_coroutine(self, result: object) -> None:
        """Raise TypeError for a handler that returned a coroutine, in blocking code."""
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(
                "the handler returned a coroutine, which blocking code does not run: use pusher_anyio"
            )

    def failed(self, event: Event) -> None:
        """Log the exception that the handler raised for `event`. Call it in the `except` block."""
        _log.exception(
            "the handler %s raised for %s on %s", self.handler, *_event_and_channel(event)
        )


def _event_and_channel(event: Event) -> tuple[str, str]:
    """Return the names of the event and its channel for log messages."""
    return (
        excerpt(getattr(event, "name", type(event).__name__), 64),
        excerpt(getattr(event, "channel", None) or "the client", 64),
    )
