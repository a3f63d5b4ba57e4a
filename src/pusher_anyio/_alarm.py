"""What calls a client from outside: because time has passed, or because of what another thread or the collector did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from ._client import Client
    from ._loop import AsyncioLoop, Loop

__all__ = ["TURNS", "Alarm", "LoopAlarm"]

# After a suspension what came meanwhile counts first. The event loop may not have looked at its sockets yet: it does so
# within one turn, and whoever reads has his turn in the next.
TURNS = 2


class Alarm(ABC):
    """Rings at a time, once. It is rung too early when the time was put off since: most are, before they come."""

    def __init__(self, client: Client, loop: Loop) -> None:
        self._client = client
        self._loop = loop
        self.at: float = inf

    @abstractmethod
    def set(self, at: float) -> None:
        """Ring at `at`, which is before the time that was set."""

    @abstractmethod
    def stop(self) -> None:
        """The session is closed: ring no more."""

    def wake(self) -> None:
        """Let the client see to what changed. Called by any thread, in the midst of anything."""
        with suppress(RuntimeError):  # the event loop is over
            self._loop.soon_from_anywhere(self._awake)

    def _awake(self) -> None:
        if not self._client._session.closed:  # else nothing is left to be seen to
            self._client._changed()

    def _ring(self) -> None:
        self.at = inf
        self._client._tell(self._client._session.handle_timeout)


class LoopAlarm(Alarm):
    """For asyncio, which calls at a time by itself: a task that sleeps until then would take 5 KB of an idle client."""

    _loop: AsyncioLoop
    _timer: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.stop()
        self.at = at
        self._timer = self._loop.native.call_at(at, self._wait_turns, TURNS)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait_turns(self, turns: int) -> None:
        if self._client._session.closed:
            return
        if turns:
            self._loop.native.call_soon(self._wait_turns, turns - 1)
        else:
            self._loop.call(self._ring)
