"""Waits until the server has received all triggered events."""

from __future__ import annotations

from ..errors import ConnectionEnded, NotConnected, PusherTimeout
from .host import Host
from .pending import PENDING, Pending

__all__ = ["Flush"]

_LOST = "the connection ended before the server answered a ping after the events: some of them may be lost"


class Flush:
    """Waits until all triggered events are sent, then sends a ping, and waits for its pong."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._upto: int | None = None
        """The number of the last event that was queued before the flush; None before the first check."""
        self._losses = self._dropped = 0
        self._pinged: tuple[int, int] | None = None
        """The number of the ping's connection, and of the ping on it."""

    def check(self) -> bool | Pending:
        """Return True when the server has answered the ping.

        Raises `NotConnected`, `ConnectionEnded` when events may be lost, `PusherTimeout` when events were dropped, and
        the error of a channel that is refused when only events of such channels wait.
        """
        session, events = self._host.session, self._host.session.client_events
        if self._upto is None:
            self._host.checks.alive()
            if session.socket_id is None and not events.waiting:
                raise NotConnected("there is no connection to flush: wait for wait_connected()")
            self._upto, self._losses, self._dropped = events.last, events.losses, events.dropped
        counts = session.pings
        gone = session.socket_id is None
        pinged_before = self._pinged is not None and (gone or self._pinged[0] != counts.connection)
        if pinged_before or events.losses != self._losses:
            raise ConnectionEnded(None, _LOST)
        if events.dropped != self._dropped:
            raise PusherTimeout(
                f"{events.dropped - self._dropped} waiting client events were dropped: they were older than "
                "max_age of their outbox, or their channel was unsubscribed"
            )
        if events.waits(self._upto):
            self._host.checks.alive()
            self._host.checks.any_possible(events.waited_for(self._upto))
            return PENDING
        if gone:
            return True  # the server had confirmed everything before the connection ended
        if self._pinged is None:
            self._pinged = counts.connection, counts.sent + 1
            session.ping(now=self._host.driver.now())
            self._host.driver.changed()
            return PENDING
        return True if counts.answered >= self._pinged[1] else PENDING
