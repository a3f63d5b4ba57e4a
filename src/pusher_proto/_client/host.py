"""The parts of a client that streams, handlers and handles use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..session import Session
from .checks import Checks
from .delivery import Delivery
from .driver_calls import DriverCalls
from .registry import Bindings

__all__ = ["Host"]


@dataclass(slots=True)
class Host:
    """The parts of a client, for the objects that applications use."""

    client: Any
    """The client itself, for its driver."""
    session: Session
    delivery: Delivery
    checks: Checks
    bindings: Bindings
    driver: DriverCalls
    guard: AbstractContextManager[object]
    """Entered around each use of these parts: a lock in the blocking client, without effect in the async one."""

    def command(self, command: Callable[..., None], *args: object) -> None:
        """Call an input of the session and carry out its effects. Raises `ClientClosed`, and errors of the input."""
        with self.guard:
            self.checks.open()
            command(*args, now=self.driver.now())
            self.driver.changed()
