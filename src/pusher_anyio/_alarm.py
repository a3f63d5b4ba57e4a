"""What tells the session that time has passed: a timer of the loop on asyncio, a task that sleeps on trio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Alarm", "LoopAlarm", "TaskAlarm"]

# After a suspension what came meanwhile counts first. The event loop may not have looked at its sockets yet: it does so
# within one turn, and whoever reads has his turn in the next.
_TURNS = 2


class Alarm:
    """Rings at a time, once. It is rung too early when the time was put off since: most are, before they come."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.at: float = inf

    def set(self, at: float) -> None:
        """Ring at `at`, which is before the time that was set."""
        raise NotImplementedError

    def stop(self) -> None:
        """The session is closed: ring no more."""
        raise NotImplementedError


class LoopAlarm(Alarm):
    """For asyncio, where a task that does nothing but to sleep would be a seventh of what an idle client takes."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(client)
        self._loop = loop
        self._handle: asyncio.Handle | None = None

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.stop()
        self.at = at
        self._handle = self._loop.call_at(at, self._due, _TURNS + 1)

    def stop(self) -> None:
        """Ring no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _due(self, turns: int) -> None:
        if turns:
            self._handle = self._loop.call_soon(self._due, turns - 1)
            return
        self._handle = None
        self.at = inf
        self._client._ring()


class TaskAlarm(Alarm):
    """For trio, which calls nobody at a time."""

    def __init__(self, client: Client, start: Callable[..., None]) -> None:
        super().__init__(client)
        self._moved = anyio.Event()
        self._stopped = False
        start(self._run)

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.at = at
        self._moved.set()

    def stop(self) -> None:
        """Ring no more."""
        self._stopped = True
        self._moved.set()

    async def _run(self) -> None:
        while not self._stopped:
            self._moved = anyio.Event()
            with anyio.CancelScope(deadline=self.at, shield=True):
                await self._moved.wait()
            if self._client._now() >= self.at:
                for _ in range(_TURNS):
                    await cancel_shielded_checkpoint()
                self.at = inf
                self._client._ring()
