"""Fixtures that lend the real server Soketi, pusher-js and our own clients to tests."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from drivers.runners import RUNNERS, Driver
from neighbours.member import Node
from soketi.harness import DEFAULT_APPS, App, Soketi, StartSoketi, Tls, prepare

# An installation may fail for a while; once is enough to ask, and enough to say.
_why_not = functools.cache(prepare)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install before any test starts: it takes longer than the time limit of one test allows."""
    if not session.config.option.collectonly and any(
        isinstance(item, pytest.Function) and "soketi_ready" in item.fixturenames
        for item in session.items
    ):
        _why_not()


@pytest.fixture(scope="session")
def soketi_ready() -> None:
    """Soketi is installed; else the test is skipped, or fails if PUSHER_PROTO_REQUIRE_SOKETI=1."""
    reason = _why_not()
    if reason is None:
        return
    if os.environ.get("PUSHER_PROTO_REQUIRE_SOKETI") == "1":
        pytest.fail(f"Soketi is required here: {reason}", pytrace=False)
    pytest.skip(f"no Soketi: {reason}")


@pytest.fixture(scope="module")
def soketi(soketi_ready: None) -> Iterator[Soketi]:
    """A server with the default apps, shared by the tests of a module, which leave it running."""
    with Soketi.start() as server:
        yield server
        assert server.returncode is None, f"the shared server ended before its time:\n{server.log}"


@pytest.fixture
def soketi_server(soketi_ready: None) -> Iterator[StartSoketi]:
    """`Soketi.start`, for tests with servers of their own; all are stopped after the test."""
    with ExitStack() as servers:

        def start(
            apps: Sequence[App] = DEFAULT_APPS, port: int = 0, tls: Tls | None = None
        ) -> Soketi:
            return servers.enter_context(Soketi.start(apps, port, tls))

        yield start


@pytest.fixture(scope="module")
def node(soketi_ready: None) -> Iterator[Node]:
    """A Node process for clients of pusher-js, which is installed with Soketi."""
    with Node() as node:
        yield node


@pytest.fixture(params=RUNNERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Our client on asyncio, on trio, and the blocking one as if it were asynchronous."""
    return Driver(request.param)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that the test itself runs on."""
    if "driver" not in request.fixturenames:
        return "asyncio"
    driver: Driver = request.getfixturevalue("driver")
    return "trio" if driver.runner == "trio" else "asyncio"
