"""Which tests run with `--slow` and in CI only, and why."""

from __future__ import annotations

import os

import pytest

__all__ = ["FIXTURES", "why_left_out"]

FIXTURES = {
    "autobahn": "installs Autobahn's fuzzing server and runs 548 cases",
    "browser": "runs Chromium",
    "frozen": "freezes programs with PyInstaller",
    "java": "installs the official library of Java",
    "redis_ready": "runs Redis, a relay and two workers",
    "reverb_ready": "runs a real Laravel Reverb",
    "sockudo_ready": "runs a real Sockudo",
    "soketi_ready": "installs Soketi and pusher-js from npm",
}
"""Fixtures that install or run other programs, with the reason why their tests are slow.

A test with the marker `smoke` runs all the same.
"""


def why_left_out(item: pytest.Item) -> str | None:
    """Return why a test does not run without `--slow`, or None."""
    if item.config.getoption("--slow") or os.environ.get("CI"):
        return None
    if (mark := item.get_closest_marker("slow")) is not None:
        return str(mark.kwargs["reason"])
    if item.get_closest_marker("smoke") is None and isinstance(item, pytest.Function):
        return next((FIXTURES[name] for name in item.fixturenames if name in FIXTURES), None)
    return None
