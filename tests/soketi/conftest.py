"""Fixtures that lend the real server Soketi, pusher-js and our own clients to tests."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from neighbours.member import Node
from real_servers.fixtures import anyio_backend, driver, require, server, start_server
from real_servers.process import RealServer
from slow import why_left_out
from soketi.harness import Soketi, prepare

__all__ = [
    "anyio_backend",
    "driver",
    "node",
    "pytest_collection_finish",
    "server",
    "soketi_ready",
    "start_server",
]

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
def node(soketi_ready: None) -> Iterator[Node]:
    """A Node process for clients of pusher-js, which is installed with Soketi."""
    with Node() as node:
        yield node
