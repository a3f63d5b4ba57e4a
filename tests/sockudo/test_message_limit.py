"""The shared scenario `message_limit` on a real Sockudo."""

from __future__ import annotations

import pytest

from real_servers.scenarios.message_limit import *  # noqa: F403 - pytest collects what is imported


@pytest.fixture
def message_limit() -> str:
    """The name of the limit in Sockudo's settings of an app."""
    return "message_rate_limit"
