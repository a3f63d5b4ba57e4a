"""Handlers of the async client: how and when they are called."""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any

from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from pusher_proto import Event
from pusher_proto.client import SLOW, TURN, BindingBase, Signal

from ._waiting import Waiting

__all__ = ["Binding", "Caller"]


class Binding(BindingBase):
    """A handler and its events. Made by `bind`; `cancel()` ends it."""

    awaits = True
    _client: Waiting

    def __init__(self, *args: Any, once: bool = False) -> None:
        super().__init__(*args, once=once)
        self._is_async = inspect.iscoroutinefunction(self.fn)
        self._idle()

    def _idle(self) -> None:
        """Call `_begin` at the next event."""
        self.signal.add(self._begin)

    def _begin(self) -> None:
        """Start to call the handler, if it has events."""
        client = self._client
        if not self.queue or client._io.ended:
            self._idle()
        elif self._is_async:
            self._start()
        else:
            client._caller.add(self)

    def _start(self, *args: object) -> None:
        """Call the handler in a new task."""
        self._client._io.start(
            f"pusher handler {self.handler}", self._run, *args, context=self.context
        )

    async def _run(self, event: Event | None = None, result: Awaitable[Any] | None = None) -> None:
        """Call the handler until it has no event left. `result` is the awaitable of a call for `event` already made."""
        client = self._client
        turn_began = time.monotonic()
        await checkpoint_if_cancelled()
        try:
            while event is not None or (event := self.take()) is not None:
                client._delivery.took(self)
                try:
                    outcome = self._call(event) if result is None else result
                    if outcome is not None and inspect.isawaitable(outcome):
                        await outcome
                except BaseException as error:
                    self._raised(error, event)
                event = result = None
                if time.monotonic() - turn_began >= TURN:
                    await checkpoint()
                    turn_began = time.monotonic()
        finally:
            self._idle()

    def _raised(self, error: BaseException, event: Event) -> None:
        """Log what the handler raised for `event`, or raise it again if that ends the task or the client."""
        io, ends = self._client._io, self._client._setup.on_handler_error == "raise"
        # Only something inside the handler was cancelled, not the task itself.
        within = isinstance(error, io.cancelled) and not io.is_cancelled()
        if not within and (ends or not isinstance(error, Exception)):
            raise error
        self.failed(event)

    def _call(self, event: Event) -> object:
        began = time.monotonic()
        result = self.fn(event)
        self.took(time.monotonic() - began)
        return result


class Caller:
    """Calls all plain handlers of a client in one task: starting a task costs more than most handlers do."""

    def __init__(self, client: Waiting) -> None:
        self._client = client
        self._ready: deque[Binding] | None = None
        """Handlers with events, while there is a task."""
        self._bell = Signal()

    def add(self, binding: Binding) -> None:
        """Call the handler for all its queued events."""
        if self._ready is None:
            self._ready = deque((binding,))
            self._client._io.start("pusher handlers", self._run, self._ready)
        else:
            self._ready.append(binding)
            self._bell.notify()

    async def _run(self, ready: deque[Binding]) -> None:
        try:
            while True:
                # The client may have ended since this task was woken.
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
            run, fn = binding.context.run, binding.fn
            while queue := binding.queue:  # `cancel()` within the handler replaces it
                event = queue.popleft()
                if len(queue) <= binding.look_at:
                    client._delivery.took(binding)
                try:
                    result = run(fn, event)
                    if result is not None and inspect.isawaitable(result):
                        binding._start(event, result)
                        break  # the new task calls the handler for the remaining events
                except BaseException as error:
                    binding._raised(error, event)
                now = monotonic()
                if now - began > SLOW:
                    binding.took(now - began)
                began = now
                if now - turn_began >= TURN:
                    await checkpoint()
                    turn_began = began = monotonic()
            else:
                binding._idle()
