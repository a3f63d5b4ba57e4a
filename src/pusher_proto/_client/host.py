"""What streams, handlers and handles know of their client."""

from __future__ import annotations

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
