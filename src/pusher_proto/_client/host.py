"""What streams, handlers and handles know of their client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..session import Session
from .checks import Checks
from .delivery import Delivery, DriverCalls
from .registry import Bindings

__all__ = ["Host"]


@dataclass(slots=True)
class Host:
    """The parts of a client, for what applications hold of it."""

    client: Any
    """The client itself, for its driver."""
    session: Session
    delivery: Delivery
    checks: Checks
    bindings: Bindings
    driver: DriverCalls
    guard: AbstractContextManager[object]
    """Held while any of these is used: nothing on one event loop, a lock between threads."""

    def command(self, command: Callable[..., None], *args: object) -> None:
        """Call an input of the session and carry out what follows. Raises `ClientClosed`, and what the input raises."""
        with self.guard:
            self.checks.open()
            command(*args, now=self.driver.now())
            self.driver.changed()
