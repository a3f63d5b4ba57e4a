"""The pytest plugin: the fixtures `pusher_server` and `pusher_world`.

pytest loads this module in every run where pusher-proto is installed. So it imports nothing of the core, the server or
the clients until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pusher_anyio.testing import ServerInThread
    from pusher_proto.testing import Server
    from pusher_sync.testing import World

__all__ = ["pusher_server", "pusher_server_options", "pusher_world", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `pusher`."""
    config.addinivalue_line(
        "markers",
        "pusher(**options): options of the server behind pusher_server and pusher_world, such as apps, "
        "activity_timeout, auth_token and auth_user (see Server and ServerOptions in pusher_proto.testing); "
        "seed and latency of the world",
    )


@pytest.fixture
def pusher_server_options() -> dict[str, Any]:
    """Return the options of the server behind `pusher_server` and `pusher_world`.

    The default has none. Override this fixture to set some; a marker wins over it.
    """
    return {}


@pytest.fixture
def pusher_server(
    request: pytest.FixtureRequest, pusher_server_options: dict[str, Any]
) -> Iterator[ServerInThread]:
    """Run a Pusher server on a free loopback port, in its own thread, for blocking and async tests.

    `options()` gives the options for clients; `env` and `auth_url` are for other programs. `publish`, `drop`, `mute`,
    `refuse`, `join` and similar methods make things happen; `expect_subscribed`, `expect_sent` and
    `expect_connections` wait until clients have done something (in async tests `await
    pusher_server.aio.expect_sent(...)`).
    """
    from pusher_anyio.testing import serve_in_thread

    server, _ = _options(request, pusher_server_options)
    with serve_in_thread(_server(server)) as running:
        yield running


@pytest.fixture
def pusher_world(request: pytest.FixtureRequest, pusher_server_options: dict[str, Any]) -> World:
    """Return a server, blocking clients and a network in memory, under a clock that only runs while a test waits.

    `open_pusher()` opens clients and `run(seconds)` lets time pass; everything else is as in `pusher_server`.
    """
    from pusher_sync.testing import World

    server, world = _options(request, pusher_server_options)
    return World(_server(server), **world)


def _options(
    request: pytest.FixtureRequest, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the server and those of the world, from the fixture and the markers; the nearest wins."""
    server = dict(options)
    for mark in reversed(list(request.node.iter_markers("pusher"))):
        server |= mark.kwargs
    return server, {name: server.pop(name) for name in ("seed", "latency") if name in server}


def _server(options: dict[str, Any]) -> Server:
    from pusher_proto.testing import Server, ServerOptions

    own = {name: options.pop(name) for name in ("apps", "rng", "wall_clock") if name in options}
    return Server(**own, options=ServerOptions(**options))
