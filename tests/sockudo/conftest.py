"""Fixtures that lend the real server Sockudo, pusher-js and our own clients to tests."""

from __future__ import annotations

import pytest

from real_servers.fixtures import anyio_backend, driver, require, server, start_server
from real_servers.process import RealServer
from sockudo.harness import Sockudo, prepare
from soketi.conftest import node, pytest_collection_finish, soketi_ready

__all__ = [
    "anyio_backend",
    "driver",
    "node",
    "pytest_collection_finish",
    "server",
    "soketi_ready",
    "start_server",
]


@pytest.fixture(scope="session")
def sockudo_ready() -> None:
    """Sockudo is there; else the test is skipped, or fails if PUSHER_PROTO_REQUIRE_SOCKUDO=1."""
    require("Sockudo", prepare())


@pytest.fixture(scope="session")
def server_class(sockudo_ready: None) -> type[RealServer]:
    """The class of the servers."""
    return Sockudo
