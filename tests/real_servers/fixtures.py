"""Fixtures for scenarios on real servers: our client on each runner, and the event loop of the test itself."""

from __future__ import annotations

import os

import pytest

from drivers.runners import RUNNERS, Driver

__all__ = ["anyio_backend", "driver", "require"]


def require(what: str, reason: str | None) -> None:
    """Skip the test when a server is missing for `reason`, or fail if PUSHER_PROTO_REQUIRE_<what> is 1."""
    if reason is None:
        return
    if os.environ.get(f"PUSHER_PROTO_REQUIRE_{what.upper()}") == "1":
        pytest.fail(f"{what} is required here: {reason}", pytrace=False)
    pytest.skip(f"no {what}: {reason}")


@pytest.fixture(params=RUNNERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Our client on asyncio, on trio, and the blocking one as if it were asynchronous."""
    return Driver(request.param)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that the test itself runs on."""
    if "driver" not in request.fixturenames:
        return "asyncio"
    driver: Driver = request.getfixturevalue("driver")
    return "trio" if driver.runner == "trio" else "asyncio"
