"""Waiting until the server has received what was sent."""

from __future__ import annotations

from ..errors import ConnectionEnded, NotConnected
from .host import Host
from .pending import PENDING, Pending

__all__ = ["Flush"]


class Flush:
    """Sends a ping behind everything that was triggered, and waits for its pong."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._connection: int | None = None
        self._ping: int | None = None

    def check(self) -> bool | Pending:
        """Return True when the server has answered. Raises `NotConnected`, and `ConnectionEnded` when it cannot."""
        session = self._host.session
        counts = session.pings
        if self._connection is None:
            self._host.checks.alive()
            if session.socket_id is None:
                raise NotConnected("there is no connection to flush")
            self._connection = counts.connection
        if session.socket_id is None or counts.connection != self._connection:
            raise ConnectionEnded(
                None,
                "the connection ended before the server answered the ping behind what was sent: "
                "some of it may be lost",
            )
        if self._ping is None:
            if not session.waiting_events:
                self._ping = counts.sent + 1
                session.ping(now=self._host.driver.now())
                self._host.driver.changed()
            return PENDING
        return True if counts.answered >= self._ping else PENDING
