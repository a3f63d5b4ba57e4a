"""The form of the test of a fault: written once, named after the fault, and played on every driver.

The first line of a test's docstring says what the client does about the fault.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from drivers.runners import RUNNERS, play
from pusher_proto import Options
from pusher_proto.testing import Server

__all__ = ["QUICK", "on_every_driver", "options_for", "written_for"]

QUICK: dict[str, Any] = {"close_timeout": 0.5, "retry_base": 0.01, "retry_cap": 0.05}
"""Options that let a test be fast."""


def options_for(port: int, host: str = "127.0.0.1", **more: Any) -> Options:
    """Return options for the test's own server, without TLS unless it is requested."""
    where: dict[str, Any] = {"host": host, "port": port, "tls": False, "key": "demo"}
    return Options(**(where | QUICK | more))


def on_every_driver(
    scenario: Callable[..., Any], *, server: Callable[[], Server] = Server, patience: float = 20.0
) -> Callable[..., None]:
    """Make a test of `async def test_...(driver, server, ...)`; what follows is fixtures."""

    def test(runner: str, **fixtures: Any) -> None:
        play(partial(scenario, **fixtures), runner, server(), patience)

    of_scenario = list(inspect.signature(scenario).parameters.values())
    runner = inspect.Parameter("runner", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([runner, *of_scenario[2:]])  # type: ignore[attr-defined]  # pytest reads it
    test.__name__, test.__qualname__ = scenario.__name__, scenario.__qualname__
    test.__doc__, test.__module__ = scenario.__doc__, scenario.__module__
    marked: Callable[..., None] = pytest.mark.parametrize("runner", RUNNERS)(test)
    return marked


def written_for(runner: str, script: str) -> str:
    """Return a script for asyncio as it is for trio, or for the blocking client."""
    script = textwrap.dedent(script).replace("BACKEND", repr(runner))
    if runner != "blocking":
        return script
    for old, new in (
        ("await ", ""),
        ("async ", ""),
        ("anext", "next"),
        ("pusher_anyio", "pusher_sync"),
        ("anyio.sleep", "time.sleep"),
        ("anyio.run(main, backend='blocking')", "main()"),
    ):
        script = script.replace(old, new)
    return script
