"""The alarms of all clients of a run of trio, which calls nobody at a time: one task sleeps for all of them."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import inf

import trio
from trio.lowlevel import RunVar, cancel_shielded_checkpoint

from ._alarm import TURNS, Alarm

__all__ = ["TrioAlarm"]


class TrioAlarm(Alarm):
    """For trio. A task that sleeps for one client alone would take 5 KB of it."""

    _entry: _Entry | None = None

    def set(self, at: float) -> None:
        """Ring at `at`."""
        self.stop()
        self.at = at
        self._entry = _sleeper().ring(self, at)

    def stop(self) -> None:
        """Ring no more."""
        if self._entry is not None:
            self._entry.alarm = None
            self._entry = None

    def rung(self) -> None:
        """The time has come."""
        self._entry = None
        self._loop.call(self._ring)


class _Entry:
    """That an alarm is to be rung, unless it is taken out."""

    __slots__ = ("alarm",)

    def __init__(self, alarm: TrioAlarm) -> None:
        self.alarm: TrioAlarm | None = alarm


class _Sleeper:
    """Sleeps until the first time of all. It lives as long as the run."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, _Entry]] = []  # a heap
        self._number = count()
        self._sleep = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run)

    def ring(self, alarm: TrioAlarm, at: float) -> _Entry:
        entry = _Entry(alarm)
        heappush(self._entries, (at, next(self._number), entry))
        self._sleep.deadline = min(self._sleep.deadline, at)
        return entry

    async def _run(self) -> None:
        while True:
            with self._sleep:
                await trio.sleep_forever()
            for _ in range(TURNS):
                await cancel_shielded_checkpoint()
            self._sleep = trio.CancelScope()
            self._ring_due(trio.current_time())
            self._sleep.deadline = self._entries[0][0] if self._entries else inf

    def _ring_due(self, now: float) -> None:
        while self._entries and self._entries[0][0] <= now:
            alarm = heappop(self._entries)[2].alarm
            if alarm is not None:
                alarm.rung()


_of_run: RunVar[_Sleeper] = RunVar("pusher_anyio.sleeper")


def _sleeper() -> _Sleeper:
    try:
        return _of_run.get()
    except LookupError:
        sleeper = _Sleeper()
        _of_run.set(sleeper)
        return sleeper
