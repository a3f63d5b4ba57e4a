"""The functions of a session that its connection calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..events import Event

__all__ = ["Reports"]


class Reports(NamedTuple):
    """Functions of the session that the connector calls."""

    emit: Callable[[Event], None]
    """Emits an event for the application."""
    established: Callable[[float], None]
    """Called with the time when a connection is established: it has a socket id."""
    lost: Callable[[float, float], None]
    """Called at the end of a connection or attempt, with the time of the end and of the last received byte."""
    authorizing: Callable[[], bool]
    """Returns whether an authorization is pending, or has failed and will be requested again."""
