"""pusher-js is had as the tests of neighbours have it."""

from __future__ import annotations

from soketi.conftest import pytest_collection_finish, soketi_ready

__all__ = ["pytest_collection_finish", "soketi_ready"]
