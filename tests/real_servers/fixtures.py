"""Fixtures for scenarios on real servers: the servers, our client on each runner, and the event loop of the test.

The conftest of each server has the fixture `server_class`, the class of its servers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from drivers.runners import RUNNERS, Driver
from real_servers.process import RealServer, StartServer

__all__ = ["anyio_backend", "driver", "require", "server", "start_server"]


def require(what: str, reason: str | None) -> None:
    """Skip the test when a server is missing for `reason`, or fail if PUSHER_PROTO_REQUIRE_<what> is 1."""
    if reason is None:
        return
    if os.environ.get(f"PUSHER_PROTO_REQUIRE_{what.upper()}") == "1":
        pytest.fail(f"{what} is required here: {reason}", pytrace=False)
    pytest.skip(f"no {what}: {reason}")


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


@pytest.fixture(scope="module")
def server(server_class: type[RealServer]) -> Iterator[RealServer]:
    """A server with the default apps, shared by the tests of a module, which leave it running."""
    with server_class.start() as server:
        yield server
        assert server.returncode is None, f"the shared server ended before its time:\n{server.log}"


@pytest.fixture
def start_server(server_class: type[RealServer]) -> Iterator[StartServer]:
    """`RealServer.start`, for tests with their own servers; all are stopped after the test."""
    with ExitStack() as servers:

        def start(*args: Any, **settings: Any) -> RealServer:
            return servers.enter_context(server_class.start(*args, **settings))

        yield start
