"""The part of the async client that its streams, bindings and waiting methods use."""

from __future__ import annotations

from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from pusher_proto import LocalProtocolError, PusherTimeout
from pusher_proto.client import PENDING, Goal, Setup, Signal

from ._leaving import Leaving

__all__ = ["Waiting"]

T = TypeVar("T")


class Waiting(Leaving):
    """The part of a client that waits. Every wait raises the errors that ended the client."""

    _caller: Any
    """Calls the plain handlers."""
    _checks: Any
    _delivery: Any
    _setup: Setup

    def _check_here(self) -> None:
        """Raise if this is not the client's event loop, before anything has changed."""
        why_not = self._io.why_not_here()
        if why_not:
            raise LocalProtocolError(
                f"the client cannot be used here: {why_not}; "
                "call client.call_from_thread(function, *args) from another thread"
            )

    def _check_usable(self) -> None:
        self._check_here()
        self._raise_errors()

    async def _wait(self, goal: Goal[T], timeout: float | None = None) -> T:
        self._check_here()
        # Before anything is taken: an event would be lost if the task was cancelled after that. In the first of the two
        # turns what the caller has just sent is written: it may leave its block as soon as this returns.
        await checkpoint()
        await checkpoint()
        if timeout is None:
            return await self._until(goal)
        with anyio.move_on_after(timeout):
            return await self._until(goal)
        raise PusherTimeout(self._checks.why_not(goal.what, timeout))

    async def _until(self, goal: Goal[T]) -> T:
        self._raise_errors()
        while (outcome := goal.check()) is PENDING:
            await self._notified(goal.signal)
        return outcome

    async def _notified(self, signal: Signal) -> None:
        """Wait until `signal` notifies."""
        self._raise_errors()
        event = self._io.new_event()
        signal.add(event.set)
        try:
            await event.wait()
        finally:
            signal.discard(event.set)
        self._raise_errors()
