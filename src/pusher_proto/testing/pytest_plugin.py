"""The pytest plugin: the fixtures `pusher_server` and `pusher_world`.

pytest loads it in every run where pusher-proto is installed, so the server and the drivers are imported only when a
fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pusher_anyio.testing import ServerInThread
    from pusher_proto.testing import Server
    from pusher_sync.testing import World

__all__ = ["pusher_server", "pusher_server_options", "pusher_world"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "pusher(**options): options of the server behind pusher_server and pusher_world, such as apps, "
        "activity_timeout, auth_token and auth_user (see pusher_proto.testing.Server); seed and latency of the world",
    )


@pytest.fixture
def pusher_server_options() -> dict[str, Any]:
    """Options of the server behind `pusher_server` and `pusher_world`: none. Override it; markers win."""
    return {}


@pytest.fixture
def pusher_server(
    request: pytest.FixtureRequest, pusher_server_options: dict[str, Any]
) -> Iterator[ServerInThread]:
    """A Pusher server on a free loopback port, in a thread of its own, for blocking and for async tests.

    `options()` are for clients, `env` and `auth_url` for other programs. `publish`, `drop`, `mute`, `refuse`, `join`
    and the like make things happen; `expect_subscribed`, `expect_sent` and `expect_connections` wait for what clients
    do, from async tests as `await pusher_server.aio.expect_sent(...)`.
    """
    from pusher_anyio.testing import serve_in_thread

    server, _ = _options(request, pusher_server_options)
    with serve_in_thread(_server(server)) as running:
        yield running


@pytest.fixture
def pusher_world(request: pytest.FixtureRequest, pusher_server_options: dict[str, Any]) -> World:
    """A server, blocking clients and a network in memory, under a clock that runs only when somebody waits.

    `open_pusher()` opens clients, `run(seconds)` lets time pass; all else as `pusher_server`.
    """
    from pusher_sync.testing import World

    server, world = _options(request, pusher_server_options)
    return World(_server(server), **world)


def _options(
    request: pytest.FixtureRequest, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the fixture and the markers say, the nearest winning: about the server, and about the world."""
    server = dict(options)
    for mark in reversed(list(request.node.iter_markers("pusher"))):
        server |= mark.kwargs
    return server, {name: server.pop(name) for name in ("seed", "latency") if name in server}


def _server(options: dict[str, Any]) -> Server:
    from pusher_proto.testing import Server

    return Server(**options)
