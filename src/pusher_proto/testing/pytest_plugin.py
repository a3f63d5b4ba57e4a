"""The former home of the pytest plugin, for `-p pusher_proto.testing.pytest_plugin`; it is in `pusher_anyio` now."""

from __future__ import annotations

from pusher_anyio._pytest_plugin import (
    pusher_server,
    pusher_server_options,
    pusher_world,
    pytest_configure,
)

__all__ = ["pusher_server", "pusher_server_options", "pusher_world", "pytest_configure"]
