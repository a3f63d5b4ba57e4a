"""A server in a thread, and what it takes to act on it while a command runs in the test's own thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread


@pytest.fixture
def running() -> Iterator[ServerInThread]:
    with serve_in_thread() as server:
        yield server


@pytest.fixture
def address(running: ServerInThread) -> list[str]:
    """Arguments that name the server."""
    return ["--host", running.host, "--port", str(running.port), "--no-tls", "--key", "demo"]


WhenSubscribed = Callable[[str, Callable[[], object]], None]


@pytest.fixture
def when_subscribed(running: ServerInThread) -> Iterator[WhenSubscribed]:
    """A function that does something in the background, as soon as a channel has a subscriber."""
    with ThreadPoolExecutor(1) as pool:
        futures = []

        def plan(channel: str, action: Callable[[], object]) -> None:
            def act() -> None:
                running.wait_until(lambda server: server.subscriptions(channel))
                action()

            futures.append(pool.submit(act))

        yield plan
        for future in futures:
            future.result(10)
