"""Fixtures that lend the real server Reverb, pusher-js and our own clients to tests."""

from __future__ import annotations

import pytest

from real_servers.fixtures import anyio_backend, driver, require, server, start_server
from real_servers.process import RealServer
from reverb.harness import Reverb, prepare
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
def reverb_ready() -> None:
    """Reverb is there; else the test is skipped, or fails if PUSHER_PROTO_REQUIRE_REVERB=1."""
    require("Reverb", prepare())


@pytest.fixture(scope="session")
def server_class(reverb_ready: None) -> type[RealServer]:
    """The class of the servers."""
    return Reverb
