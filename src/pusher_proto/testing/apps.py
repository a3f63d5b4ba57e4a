"""The apps of a test server. They are defined in `pusher_proto.server.apps`."""

from __future__ import annotations

from ..server.apps import DEMO_APP, App

__all__ = ["DEMO_APP", "App"]
