"""What calls a client from outside: because time has passed, or because of what another thread or the collector did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

if TYPE_CHECKING:
    import asyncio

    from ._client import Client
    from ._loop import Loop

__all__ = ["Alarm", "LoopAlarm", "TaskAlarm"]

# After a suspension what came meanwhile counts first. The event loop may not have looked at its sockets yet: it does so
# within one turn, and whoever reads has his turn in the next.
_TURNS = 2


class Alarm(ABC):
    """Rings at a time, once. It is rung too early when the time was put off since: most are, before they come."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.at: float = inf

    @abstractmethod
    def set(self, at: float) -> None:
        """Ring at `at`, which is before the time that was set."""

    @abstractmethod
    def stop(self) -> None:
        """The session is closed: ring no more."""

    @abstractmethod
    def wake(self) -> None:
        """Let the client see to what changed. Called by any thread, in the midst of anything."""

    def _ring(self) -> None:
        self.at = inf
        self._client._tell(self._client._session.handle_timeout)


class LoopAlarm(Alarm):
    """For asyncio, which calls at a time by itself: a task that sleeps until then would take 5 KB of an idle client."""

    def __init__(self, client: Client, loop: Loop) -> None:
        super().__init__(client)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.stop()
        self.at = at
        self._timer = self._loop.asyncio_loop.call_at(at, self._wait_turns, _TURNS)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """Let the client see to what changed."""
        with suppress(RuntimeError):  # the event loop is over
            self._loop.asyncio_loop.call_soon_threadsafe(self._call, self._client._changed)

    def _wait_turns(self, turns: int) -> None:
        if turns:
            self._loop.asyncio_loop.call_soon(self._wait_turns, turns - 1)
        else:
            self._call(self._ring)

    def _call(self, act: Callable[[], None]) -> None:
        if not self._client._session.closed:  # else nothing is left to be seen to
            self._loop.call(act)


class TaskAlarm(Alarm):
    """For trio, which calls nobody at a time: a task sleeps until then."""

    def __init__(self, client: Client, token: Any) -> None:
        super().__init__(client)
        self._token = token
        self._moved = anyio.Event()
        client._start(self._run)

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.at = at
        self._moved.set()

    def stop(self) -> None:
        """Ring no more."""
        self._moved.set()

    def wake(self) -> None:
        """Let the client see to what changed."""
        with suppress(RuntimeError):  # the event loop is over
            self._token.run_sync_soon(self._client._attempt, self._client._changed)

    async def _run(self) -> None:
        while not self._client._session.closed:
            self._moved = anyio.Event()
            with anyio.CancelScope(deadline=self.at, shield=True):
                await self._moved.wait()
            if self._client._now() >= self.at:
                for _ in range(_TURNS):
                    await cancel_shielded_checkpoint()
                self._ring()
