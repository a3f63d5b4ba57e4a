"""The tests that run with `--slow` and in CI only, with the reasons, and the files that take longest."""

from __future__ import annotations

import os

import pytest

__all__ = ["FIXTURES", "LONGEST", "why_left_out"]

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

A test with the marker `smoke` still runs.
"""

LONGEST = (
    "autobahn/test_autobahn.py",
    "cli/test_screens.py",
    "coming_from_pysher/test_differences.py",
    "drivers/test_life.py",
    "drivers/test_scenarios.py",
    "example_programs/test_examples.py",
    "example_programs/test_redis.py",
    "faults/test_memory_net.py",
    "faults/test_processes_net.py",
    "parity/test_page.py",
    "proto/test_contract.py",
    "proto/test_leaks.py",
    "reverb/test_failures.py",
    "reverb/test_restarts.py",
    "sockudo/test_failures.py",
    "sockudo/test_restarts.py",
    "soketi/test_restarts.py",
    "tests/test_frozen.py",
    "tests/test_reference.py",
    "tests/test_site.py",
    "tests/test_soak.py",
    "tests/test_weather.py",
)
"""The files that take longest, by the ends of their paths."""


def why_left_out(item: pytest.Item) -> str | None:
    """Return why a test does not run without `--slow`, or None."""
    if item.config.getoption("--slow") or os.environ.get("CI"):
        return None
    if (mark := item.get_closest_marker("slow")) is not None:
        return str(mark.kwargs["reason"])
    if item.get_closest_marker("smoke") is None and isinstance(item, pytest.Function):
        return next((FIXTURES[name] for name in item.fixturenames if name in FIXTURES), None)
    return None
