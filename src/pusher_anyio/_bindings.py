"""Handlers: who calls them, and when."""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from pusher_proto import Event
from pusher_proto.client import SLOW, BindingBase, Choice, Host, Signal

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["TURN", "Binding", "Caller"]

TURN = 0.005
"""Seconds of calls of handlers, or steps of a stream, that do not wait, until others on the event loop have their turn.

As long as Python lets a thread run (sys.getswitchinterval), and as a large read takes. A turn costs 30 µs and more
where much comes: with one each millisecond an event of 1 or 10 KB takes 3 % more.
"""


class Binding(BindingBase):
    """A handler that `bind` made known; `cancel()` ends it."""

    _client: Client

    def __init__(
        self, host: Host, choice: Choice, fn: Callable[..., object], *, once: bool = False
    ) -> None:
        super().__init__(host, choice, fn, once=once)
        self._waits = inspect.iscoroutinefunction(fn)
        self._idle()

    def _idle(self) -> None:
        """Begin anew with the next event."""
        self.signal.add(self._begin)

    def _begin(self) -> None:
        """See to it that somebody calls the handler."""
        client = self._client
        if not self.queue or client._group.cancel_scope.cancel_called:
            self._idle()
        elif self._waits:
            client._start(self._run)
        else:
            client._caller.add(self)

    async def _run(self, event: Event | None = None, result: Awaitable[Any] | None = None) -> None:
        """Call a handler that waits, in a task of its own, until nothing is left. A call may be under way already."""
        client = self._client
        turn_began = time.monotonic()
        await checkpoint_if_cancelled()
        try:
            while True:
                if event is None:
                    if (event := self.take()) is None:
                        return
                    client._delivery.took(self)
                try:
                    outcome = self._call(event) if result is None else result
                    if outcome is not None and inspect.isawaitable(outcome):
                        await outcome
                except anyio.get_cancelled_exc_class():
                    # This goes on when it was only something within the handler that was cancelled.
                    await checkpoint_if_cancelled()
                    self.failed(event)
                except Exception:
                    if client._on_handler_error == "raise":
                        raise
                    self.failed(event)
                event = result = None
                if time.monotonic() - turn_began >= TURN:
                    await checkpoint()
                    turn_began = time.monotonic()
        finally:
            self._idle()

    def _call(self, event: Event) -> object:
        began = time.monotonic()
        result = self.fn(event)
        self.took(time.monotonic() - began)
        return result


class Caller:
    """Calls the handlers that do not wait, in one task for all, which stays: to start one costs more than most do."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ready: deque[Binding] | None = None  # while there is a task
        self._bell = Signal()

    def add(self, binding: Binding) -> None:
        """Call the handler for all that waits for it."""
        if self._ready is None:
            self._ready = deque((binding,))
            self._client._start(self._run, self._ready)
        else:
            self._ready.append(binding)
            self._bell.notify()

    async def _run(self, ready: deque[Binding]) -> None:
        try:
            while True:
                # Who was woken before the end is not to begin after it.
                await checkpoint_if_cancelled()
                await self._call_all(ready)
                await self._client._notified(self._bell)
        finally:
            self._ready = None

    async def _call_all(self, ready: deque[Binding]) -> None:
        client, monotonic = self._client, time.monotonic
        turn_began = began = monotonic()
        while ready:
            binding = ready.popleft()
            while queue := binding.queue:  # another one when the handler was cancelled
                event = queue.popleft()
                if len(queue) <= binding.look_at:
                    client._delivery.took(binding)
                try:
                    result = binding.fn(event)
                    if result is not None and inspect.isawaitable(result):
                        client._start(binding._run, event, result)
                        break  # and goes on there
                except anyio.get_cancelled_exc_class():
                    await checkpoint_if_cancelled()
                    binding.failed(event)
                except Exception:
                    if client._on_handler_error == "raise":
                        raise
                    binding.failed(event)
                now = monotonic()
                if now - began > SLOW:
                    binding.took(now - began)
                began = now
                if now - turn_began >= TURN:
                    await checkpoint()
                    turn_began = began = monotonic()
            else:
                binding._idle()
