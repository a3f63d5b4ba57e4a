"""The functions of a driver that the parts of a client call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["DriverCalls"]


class DriverCalls(NamedTuple):
    """Functions of the driver that the client calls."""

    now: Callable[[], float]
    """Returns monotonic seconds."""
    changed: Callable[[], None]
    """Carries out the session's effects, delivers its events and sets its timer."""
    usable: Callable[[], None]
    """Raises the error that ended the driver, if there was one."""
    here: Callable[[], None]
    """Raises if the client cannot be used in this thread or on this event loop."""
    wake: Callable[[], None]
    """Schedules a call of `changed`. May be called in any thread, and while any other code runs."""
