"""The alarms of all clients of a run of trio, which calls nobody at a time: one task sleeps for all of them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import RunVar, cancel_shielded_checkpoint, spawn_system_task

from pusher_proto.client import Deadlines

from ._alarm import TURNS, Alarm

if TYPE_CHECKING:
    from ._client import Client
    from ._loop import Loop

__all__ = ["TrioAlarm"]


class TrioAlarm(Alarm):
    """For trio. A task that sleeps for one client alone would take 5 KB of it."""

    def __init__(self, client: Client, loop: Loop) -> None:
        super().__init__(client, loop)
        self._sleeper = _sleeper()

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.at = at
        self._sleeper.add(self)

    def stop(self) -> None:
        """Ring no more."""
        self._sleeper.deadlines.drop(self)

    def ring(self) -> None:
        """The time has come."""
        self._loop.call(self._ring)


class _Sleeper:
    """Sleeps until the first time of all. It lives as long as the run."""

    def __init__(self) -> None:
        self.deadlines: Deadlines[TrioAlarm] = Deadlines()
        self._sleep = trio.CancelScope()
        spawn_system_task(self._run)

    def add(self, alarm: TrioAlarm) -> None:
        self.deadlines.put(alarm, alarm.at)
        self._sleep.deadline = min(self._sleep.deadline, alarm.at)

    async def _run(self) -> None:
        while True:
            with self._sleep:
                await trio.sleep_forever()
            for _ in range(TURNS):
                await cancel_shielded_checkpoint()
            self._sleep = trio.CancelScope()
            now = trio.current_time()
            while (alarm := self.deadlines.pop_due(now)) is not None:
                alarm.ring()
            first = self.deadlines.next()
            self._sleep.deadline = inf if first is None else first


_of_run: RunVar[_Sleeper] = RunVar("pusher_anyio.sleeper")


def _sleeper() -> _Sleeper:
    try:
        return _of_run.get()
    except LookupError:
        sleeper = _Sleeper()
        _of_run.set(sleeper)
        return sleeper
