"""On trio one task keeps the time of all clients of a run."""

from __future__ import annotations

import gc
import weakref
from math import inf
from typing import Any

import anyio
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from pusher_anyio import open_pusher
from pusher_anyio._loop import TrioLoop
from pusher_anyio._trio_alarm import TrioAlarm
from pusher_proto import Options

from .checkpoints import KEEPS_TIME, tasks

CLIENTS = 3

steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # seconds that pass before it
        st.integers(0, CLIENTS - 1),
        st.none() | st.integers(0, 5),  # stop, or ring after so many seconds
    ),
    max_size=12,
)


class Rung:
    """Stands for a client: notes when its alarm rings."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self._session: Any = self
        self.closed = False
        self.handle_timeout = None
        self.alarm = TrioAlarm(self, TrioLoop(self, trio.lowlevel.current_trio_token()))  # type: ignore[arg-type]  # the part of a client that an alarm uses

    def _attempt(self, act: Any) -> None:
        act()

    def _tell(self, _: None) -> None:
        self._times.append(trio.current_time())


def expected(script: list[tuple[int, int, int | None]]) -> list[list[float]]:
    """Return when each client should hear its alarm: at the earliest time that was set, once."""
    rings: list[list[float]] = [[] for _ in range(CLIENTS)]
    at = [inf] * CLIENTS
    now = 0.0

    def pass_to(then: float) -> None:
        for who in range(CLIENTS):
            if at[who] <= then:
                rings[who].append(at[who])
                at[who] = inf

    for wait, who, after in script:
        now += wait
        pass_to(now)
        if after is None:
            at[who] = inf
        else:
            at[who] = min(at[who], now + after)
        pass_to(now)
    pass_to(now + 1000)
    return rings


@given(steps)
def test_each_alarm_rings_at_its_own_time(script: list[tuple[int, int, int | None]]) -> None:
    times: list[list[float]] = [[] for _ in range(CLIENTS)]

    async def main() -> None:
        begin = trio.current_time()
        clients = [Rung(each) for each in times]
        for wait, who, after in script:
            await trio.sleep(wait)
            await trio.testing.wait_all_tasks_blocked()
            alarm = clients[who].alarm
            if after is None:
                alarm.stop()
                alarm.at = inf
            elif (at := trio.current_time() + after) < alarm.at:
                alarm.set(at)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1000)
        for each in times:
            each[:] = [time - begin for time in each]

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert times == expected(script)


def test_all_clients_have_one_task_for_it() -> None:
    found: list[int] = []

    async def main() -> None:
        before = tasks()
        options = Options.from_host("127.0.0.1", port=1, key="k", tls=False)
        async with open_pusher(options), open_pusher(options):
            keepers = [each for each in anyio.get_running_tasks() if each.name == KEEPS_TIME]
            found.append(len(keepers))
        assert tasks() == before

    for _ in range(2):  # each run has its own
        anyio.run(main, backend="trio")
    assert found == [1, 1]


def test_a_client_that_is_closed_is_not_held_by_what_was_to_ring() -> None:
    async def main() -> None:
        options = Options.from_host("127.0.0.1", port=1, key="k", tls=False)
        async with open_pusher(options) as client:
            held = weakref.ref(client)
        del client
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        assert held() is None

    anyio.run(main, backend="trio")
