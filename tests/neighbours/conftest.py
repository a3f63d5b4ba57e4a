"""Our own server on a loopback port, with clients of pusher-js and the official HTTP library for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from neighbours.house import House
from pusher_anyio.testing import serve_in_thread
from soketi.conftest import (
    anyio_backend,
    driver,
    node,
    pytest_collection_finish,
    soketi_ready,
)

from .member import Node

__all__ = ["anyio_backend", "driver", "node", "pytest_collection_finish", "soketi_ready"]


@pytest.fixture
def house(node: Node) -> Iterator[House]:
    """Yield our server with the clients of it."""
    with serve_in_thread(House.make_server()) as running, House(running, node) as house:
        yield house
