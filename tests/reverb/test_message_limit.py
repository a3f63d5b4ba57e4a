"""The shared scenario `message_limit` on a real Reverb."""

from __future__ import annotations

import pytest

from real_servers.scenarios.message_limit import *  # noqa: F403 - pytest collects what is imported


@pytest.fixture
def message_limit() -> str:
    """The name of the limit in Reverb's settings of an app."""
    return "rate_limiting"
