"""Settings of all tests: the search of Hypothesis, Ctrl+C, and the watch over the log."""

from __future__ import annotations

import gc
import os
import signal
import sys

import pytest
from hypothesis import settings

from secrecy import Watch
from slow import LONGEST, why_left_out

pytest_plugins = ["pusher_anyio._pytest_plugin"]

pytest.register_assert_rewrite("real_servers.clients", "real_servers.scenarios")

# No limit on the time of one example: that would be a timed test, and fail on a busy machine. In CI the search is
# the same each time, so that a red run means a change; on a developer's machine it tries new examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell starts what runs in the background with Ctrl+C ignored, and processes inherit that: tests that press it would
# wait without effect.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watch(), "secrecy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow", action="store_true", help="also run the tests marked slow, as CI does"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Take three workers for two cores, since tests with sockets and subprocesses wait most of the time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_collection_finish() -> None:
    """Keep what was collected out of garbage collection.

    Hundreds of tests of the drivers call `gc.collect()` to see what is left behind. With thousands of test items in
    memory each of these calls would take a tenth of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if (reason := why_left_out(item)) is not None:
        pytest.skip(f"{reason}: run with --slow (CI does)")
