"""Functions of the application that hang: threads and tasks stay within a bound, and all is well once they return."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pusher_anyio.testing import RunningServer, serve
from pusher_proto import AuthEndpoint, AuthRequest, AuthResponse, ChannelState, PusherTimeout

from .checkpoints import tasks
from .runners import RUNNERS, Driver, until
from .scenarios import own_key, quick

NAMES = [f"private-{number}" for number in range(10)]
AUTH_TIMEOUT = 0.02
AT_ONCE = 2

runners = pytest.mark.parametrize("runner", RUNNERS)


def play(runner: str, scenario: Callable[[Driver, RunningServer], Any]) -> None:
    async def main() -> None:
        async with serve() as server:
            await scenario(Driver(runner), server)

    anyio.run(main, backend="trio" if runner == "trio" else "asyncio")


def impatient(server: RunningServer, **more: Any) -> Any:
    return quick(server, auth_timeout=AUTH_TIMEOUT, max_authorizing=AT_ONCE, retry_cap=0.05, **more)


@runners
def test_D1_a_plain_function_that_hangs_is_bounded_and_all_is_well_when_it_returns(
    runner: str,
) -> None:
    gate = threading.Event()
    lock, out, most = threading.Lock(), set[str | None](), [0]

    def authorizer(request: AuthRequest) -> AuthResponse:
        with lock:
            assert request.channel not in out, "two calls for one channel"
            out.add(request.channel)
            most[0] = max(most[0], len(out))
        gate.wait()
        with lock:
            out.discard(request.channel)
        return own_key().authorization(request)

    async def scenario(driver: Driver, server: RunningServer) -> None:
        try:
            async with driver(impatient(server, auth=None), authorizer=authorizer) as client:
                before = threading.active_count()
                rooms = [client.subscribe(name) for name in NAMES]
                await until(lambda: client.stats.calls_hanging == 4 * AT_ONCE)
                await anyio.sleep(20 * AUTH_TIMEOUT)
                assert most[0] == 4 * AT_ONCE
                assert threading.active_count() - before <= 4 * AT_ONCE + 2
                assert client.stats.calls_hanging == 4 * AT_ONCE
                with pytest.raises(PusherTimeout, match="8 calls of the application's functions"):
                    await rooms[0].wait_subscribed(0.01)
                gate.set()
                for room in rooms:
                    await until(lambda r=room: r.state is ChannelState.SUBSCRIBED)  # type: ignore[misc]  # mypy infers no lambda with defaults
                assert client.stats.calls_hanging == 0
        finally:
            gate.set()

    play(runner, scenario)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_D1_a_coroutine_function_that_hangs_is_cancelled(backend: str) -> None:
    counts = {"begun": 0, "cancelled": 0}
    well = False

    async def authorizer(request: AuthRequest) -> AuthResponse:
        counts["begun"] += 1
        if not well:
            try:
                await anyio.sleep_forever()
            finally:
                counts["cancelled"] += 1
        return own_key().authorization(request)

    async def scenario(driver: Driver, server: RunningServer) -> None:
        nonlocal well
        async with driver(impatient(server, auth=None), authorizer=authorizer) as client:
            before = tasks()
            rooms = [client.subscribe(name) for name in NAMES]
            most = 0
            for _ in range(25):
                await anyio.sleep(2 * AUTH_TIMEOUT)
                most = max(most, counts["begun"] - counts["cancelled"])
            assert most <= AT_ONCE
            assert len(tasks()) - len(before) <= 4 * AT_ONCE
            well = True
            for room in rooms:
                await until(lambda r=room: r.state is ChannelState.SUBSCRIBED)  # type: ignore[misc]  # mypy infers no lambda with defaults

    play(backend, scenario)


@runners
def test_house_2_8_slow_headers_hold_up_nothing(runner: str) -> None:
    """A function of one second held up another client for a second once."""
    gate = threading.Event()

    def headers() -> dict[str, str]:
        gate.wait(10)
        return {}

    async def scenario(driver: Driver, server: RunningServer) -> None:
        slow = quick(server, auth_endpoint=True)
        assert isinstance(slow.auth, AuthEndpoint)
        endpoint = AuthEndpoint(slow.auth.url, headers=headers)
        try:
            async with (
                driver(quick(server, auth=endpoint)) as client,
                driver(quick(server, auth_endpoint=True)) as other,
            ):
                held = client.subscribe("private-held")
                begun = time.monotonic()
                await other.subscribe("private-other").wait_subscribed(5)
                await client.subscribe("public").wait_subscribed(5)
                assert time.monotonic() - begun < 5
                gate.set()
                await held.wait_subscribed(5)
        finally:
            gate.set()

    play(runner, scenario)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_W39_coroutine_functions_of_an_endpoint_are_awaited(backend: str) -> None:
    called: list[str] = []

    async def headers() -> dict[str, str]:
        await anyio.lowlevel.checkpoint()
        called.append("headers")
        return {"X-Token": str(called.count("refresh"))}

    async def refresh() -> None:
        await anyio.lowlevel.checkpoint()
        called.append("refresh")

    async def scenario(driver: Driver, server: RunningServer) -> None:
        url = quick(server, auth_endpoint=True).auth.url  # type: ignore[union-attr]  # an AuthEndpoint
        server.auth_answer(401, times=1)
        endpoint = AuthEndpoint(url, headers=headers, refresh=refresh)
        async with driver(quick(server, auth=endpoint)) as client:
            await client.subscribe("private-room").wait_subscribed(5)
        assert called == ["headers", "refresh", "headers"]

    play(backend, scenario)


PROGRAM = """
import sys, threading, time
from pusher_proto import Options
from pusher_anyio.testing import serve_in_thread

def hang(request):
    began.set()
    time.sleep(3600)

began = threading.Event()
kind = sys.argv[1]
with serve_in_thread() as server:
    options = server.options(auth=None, close_timeout=0.1)
    if kind == "blocking":
        from pusher_sync import open_pusher
        with open_pusher(options, authorizer=hang) as client:
            client.subscribe("private-room")
            began.wait(10)
    else:
        import anyio
        from pusher_anyio import open_pusher
        async def main():
            async with open_pusher(options, authorizer=hang) as client:
                client.subscribe("private-room")
                while not began.is_set():
                    await anyio.sleep(0.01)
        anyio.run(main, backend=kind)
assert began.is_set()
print(time.monotonic(), flush=True)
"""


@runners
def test_D1_a_process_ends_while_a_call_hangs(runner: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, runner], capture_output=True, text=True, timeout=60
    )
    left = time.monotonic()
    assert ended.returncode == 0, ended.stderr
    assert left - float(ended.stdout) < 2
