"""Fixtures that lend the real server Soketi, pusher-js and our own clients to tests."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from neighbours.member import Node
from real_servers.fixtures import anyio_backend, driver, require
from real_servers.process import RealServer, StartServer
from slow import why_left_out
from soketi.harness import Soketi, prepare

__all__ = ["anyio_backend", "driver", "node", "pytest_collection_finish", "soketi_ready"]

# An installation may fail for a while; one attempt is enough, and one report.
_why_not = functools.cache(prepare)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install before any test starts: it takes longer than the time limit of one test allows."""
    if not session.config.option.collectonly and any(
        isinstance(item, pytest.Function)
        and "soketi_ready" in item.fixturenames
        and why_left_out(item) is None
        for item in session.items
    ):
        _why_not()


@pytest.fixture(scope="session")
def soketi_ready() -> None:
    """Soketi is installed; else the test is skipped, or fails if PUSHER_PROTO_REQUIRE_SOKETI=1."""
    require("Soketi", _why_not())


@pytest.fixture(scope="session")
def server_class(soketi_ready: None) -> type[RealServer]:
    """The class of the servers, for scenarios that start one for a whole module."""
    return Soketi


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


@pytest.fixture(scope="module")
def node(soketi_ready: None) -> Iterator[Node]:
    """A Node process for clients of pusher-js, which is installed with Soketi."""
    with Node() as node:
        yield node
