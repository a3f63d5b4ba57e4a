"""Detects a server that no longer answers: sends pings, and limits the silence after them.

Any received byte shows that the server is alive. Pings are `pusher:ping`, which every server answers; WebSocket pings
would not keep a connection to Soketi open, whose idle timer counts only what it sends, pongs of the WebSocket excepted.

A connection can also lose one direction: the client's messages are lost while the server's arrive. A missing pong shows
that, on a server that has answered a ping before.
"""

from __future__ import annotations

from math import inf

from .._base.timers import Timer, Timers

__all__ = ["Liveness"]

BACKLOG = 256 * 1024
"""The most bytes that may precede a pong, in the buffers of the server, the network and this machine."""

DRAINING = 1.0
"""Seconds after a pause of reading within which the data that is read may be as old as the pause."""


class Liveness:
    """The deadlines of one connection. A received byte does not move ACTIVITY, which is checked when it is due."""

    __slots__ = (
        "_activity", "_asked_at", "_fresh_before", "_interval", "_pinged_at", "_pong", "_reading",
        "_reading_since", "_received", "_resumed_at", "_timers", "received_at", "round_trip",
    )  # fmt: skip

    def __init__(
        self,
        timers: Timers,
        *,
        activity: float,
        pong: float,
        now: float,
        interval: float | None = None,
    ) -> None:
        """`activity` is the silence before a ping; `interval` is the longest time between pings, silent or not."""
        self.round_trip: float | None = None
        """Seconds from the last answered ping to its pong."""
        self.received_at = now
        """When the last byte was received."""
        self._timers = timers
        self._activity = activity
        self._interval = interval
        self._pong = pong
        self._pinged_at = now
        self._asked_at: float | None = None
        """When the unanswered ping was sent, or None."""
        self._received = 0
        """How many bytes were received since then."""
        self._reading = True
        self._reading_since: float | None = now
        """Since when all data is read; None after a pause, until `missing_at` finds that reading has resumed."""
        self._fresh_before = now
        """`fresh_at` when reading was paused last."""
        self._resumed_at = -inf
        """When reading was resumed last."""
        self._plan_ping(now)

    @property
    def fresh_at(self) -> float:
        """When the last byte was received that was not in a buffer during a pause of reading."""
        drained = self.received_at >= self._resumed_at + DRAINING
        return self.received_at if drained else self._fresh_before

    @property
    def message_limit(self) -> float:
        """Seconds within which a message must be complete after its first byte."""
        return 2 * self._activity + self._pong

    def received(self, now: float, size: int = 0) -> None:
        """Record that `size` bytes were received."""
        self.received_at = now
        # No pong is expected at most reads: then this is one comparison.
        if self._asked_at is not None:
            self._received += size if now > self._asked_at else 0
            if self._timers.is_set(Timer.PONG):
                self._timers.stop(Timer.PONG)
                self._plan_ping(now)

    def pong(self, now: float) -> None:
        """Record a pong."""
        if self._asked_at is not None:
            self.round_trip = now - self._asked_at
            self._asked_at = None
            self._timers.stop(Timer.ONE_WAY)

    def ping_sent(self, now: float, *, demanded: bool = True) -> None:
        """Record that a ping is sent. `demanded` is false for a ping that a received message caused."""
        self._pinged_at = now
        if self._timers.is_set(Timer.PONG):
            return  # an earlier ping is unanswered, and its deadline applies
        if self._asked_at is None or not self._timers.is_set(Timer.ONE_WAY):
            self._expect_pong(now)
        self._asked_at = now
        # A ping in the middle of a read must not start PONG: the rest of the read could also arrive later and end it.
        if self._reading and (demanded or self.received_at < now):
            self._timers.stop(Timer.ACTIVITY)
            self._timers.set(Timer.PONG, now + self._pong)
        else:
            self._plan_ping(now)

    def activity_due(self, now: float) -> bool:
        """Return whether a ping is due when the ACTIVITY timer fires; if not, set the timer again."""
        if now < self._ping_due():
            self._timers.set(Timer.ACTIVITY, self._ping_due())
            return False
        return True

    def one_way_due(self, now: float) -> bool:
        """Return whether the server no longer receives, when the ONE_WAY timer fires; if not, set the timer again.

        It no longer receives if the pong is missing and fewer than `BACKLOG` bytes arrived that could delay it.
        """
        at = self.missing_at(2 * self._pong, now)
        if at > now:
            self._timers.set(Timer.ONE_WAY, at)
            return False
        if self._received < BACKLOG:
            return True
        self._expect_pong(now)
        return False

    def reading(self, reads: bool, now: float) -> None:
        """Suspend the deadlines while reading is paused, since no answer can be read then; or resume them."""
        self._reading = reads
        if reads:
            self._resumed_at = now
            self.received_at, self._reading_since = now, None
            if self._asked_at is not None:
                self._expect_pong(now)
            return
        self._fresh_before = self.fresh_at
        self._timers.stop(Timer.ONE_WAY)
        if self._timers.is_set(Timer.PONG):
            self._timers.stop(Timer.PONG)
            self._plan_ping(now)

    def missing_at(self, limit: float, now: float) -> float:
        """Return when an answer counts as missing that is due now, `limit` seconds after its request."""
        if not self._reading:
            return now + limit
        if self._reading_since is None:
            self._reading_since = now
        return self._reading_since + limit

    def stop(self) -> None:
        """Remove all deadlines."""
        self._timers.stop(Timer.ACTIVITY)
        self._timers.stop(Timer.PONG)
        self._timers.stop(Timer.ONE_WAY)

    def _expect_pong(self, now: float) -> None:
        """Set the ONE_WAY timer, unless the server has never answered a ping."""
        self._received = 0
        if self._reading and self.round_trip is not None:
            self._timers.set(Timer.ONE_WAY, now + 2 * self._pong)

    def _ping_due(self) -> float:
        """Return when the next ping is due."""
        silent_at = self.received_at + self._activity
        return (
            silent_at
            if self._interval is None
            else min(silent_at, self._pinged_at + self._interval)
        )

    def _plan_ping(self, now: float) -> None:
        """Set the ACTIVITY timer."""
        activity_at = now + self._activity
        if self._interval is not None:
            activity_at = min(activity_at, max(now, self._pinged_at + self._interval))
        self._timers.set(Timer.ACTIVITY, activity_at)
