"""pusher-js is obtained as in the tests of neighbours."""

from __future__ import annotations

from soketi.conftest import pytest_collection_finish, soketi_ready

__all__ = ["pytest_collection_finish", "soketi_ready"]
