"""Whether the server is still there: pings, and limits on the silence after them.

Any byte is a sign of life. `pusher:ping` works on every server; a WebSocket ping would not keep Soketi awake (its idle
timer looks at its own sends, which only answers to `pusher:ping` are).

A connection can also lose one direction: the client's messages vanish while the server's arrive. A pong that is missing
shows it, on a server that has answered a ping before.
"""

from __future__ import annotations

from .._base.timers import Timer, Timers

__all__ = ["Liveness"]

BACKLOG = 256 * 1024
"""Bytes that a pong may have to wait behind, in the buffers of the server, the network and this machine."""


class Liveness:
    """The deadlines of one connection. ACTIVITY is moved lazily, so that a received byte costs nothing."""

    __slots__ = (
        "_activity", "_asked_at", "_interval", "_pinged_at", "_pong", "_reading", "_reading_since",
        "_received", "_timers", "heard_at", "round_trip",
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
        """`activity` is the silence before a ping, `interval` the time between pings whatever is received."""
        self.round_trip: float | None = None
        """Seconds between the last answered ping and its pong."""
        self.heard_at = now
        """When the last byte came."""
        self._timers = timers
        self._activity = activity
        self._interval = interval
        self._pong = pong
        self._pinged_at = now
        self._asked_at: float | None = None
        """When the ping was sent whose pong is missing."""
        self._received = 0
        """Bytes since then."""
        self._reading = True
        self._reading_since: float | None = now
        """Since when everything is read; None: since reading went on, at a time that is not known yet."""
        self._plan_ping(now)

    @property
    def message_limit(self) -> float:
        """Seconds in which a message that began must end, although its bytes keep the connection alive."""
        return 2 * self._activity + self._pong

    def heard(self, now: float, size: int = 0) -> None:
        """Note that `size` bytes came."""
        self.heard_at = now
        # Most reads expect no pong: one comparison instead of look-ups.
        if self._asked_at is not None:
            self._received += size if now > self._asked_at else 0
            if self._timers.is_set(Timer.PONG):
                self._timers.stop(Timer.PONG)
                self._plan_ping(now)

    def pong(self, now: float) -> None:
        """Note the answer to a ping."""
        if self._asked_at is not None:
            self.round_trip = now - self._asked_at
            self._asked_at = None
            self._timers.stop(Timer.ONE_WAY)

    def asked(self, now: float, *, demanded: bool = True) -> None:
        """Note that a ping is sent. `demanded` is False for a ping that a received message caused."""
        self._pinged_at = now
        if self._timers.is_set(Timer.PONG):
            return  # the one before it is still unanswered, and its limit holds
        if self._asked_at is None or not self._timers.is_set(Timer.ONE_WAY):
            self._expect_pong(now)
        self._asked_at = now
        # A ping within a read says nothing about silence: the rest of the read may be received separately, after it.
        if self._reading and (demanded or self.heard_at < now):
            self._timers.stop(Timer.ACTIVITY)
            self._timers.set(Timer.PONG, now + self._pong)
        else:
            self._plan_ping(now)

    def activity_due(self, now: float) -> bool:
        """Return whether a ping is due, now that the ACTIVITY deadline passed; else plan the next look."""
        if now < self._ping_due():
            self._timers.set(Timer.ACTIVITY, self._ping_due())
            return False
        return True

    def one_way_due(self, now: float) -> bool:
        """Return whether the way to the server is lost, now that the ONE_WAY deadline passed; else wait on.

        The pong is missing, although so little was received that it cannot be waiting behind it.
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
        """Suspend the deadlines while nothing is read, as no answer can be missed then; or resume them."""
        self._reading = reads
        if reads:
            self.heard_at, self._reading_since = now, None
            if self._asked_at is not None:
                self._expect_pong(now)
            return
        self._timers.stop(Timer.ONE_WAY)
        if self._timers.is_set(Timer.PONG):
            self._timers.stop(Timer.PONG)
            self._plan_ping(now)

    def missing_at(self, limit: float, now: float) -> float:
        """Return when an answer that was due by now, `limit` seconds after it was asked for, counts as missing."""
        if not self._reading:
            return now + limit
        if self._reading_since is None:
            self._reading_since = now
        return self._reading_since + limit

    def stop(self) -> None:
        """Forget all deadlines, as the connection has ended."""
        self._timers.stop(Timer.ACTIVITY)
        self._timers.stop(Timer.PONG)
        self._timers.stop(Timer.ONE_WAY)

    def _expect_pong(self, now: float) -> None:
        """Give the pong its time; never on a server that has not answered a ping yet."""
        self._received = 0
        if self._reading and self.round_trip is not None:
            self._timers.set(Timer.ONE_WAY, now + 2 * self._pong)

    def _ping_due(self) -> float:
        silent_at = self.heard_at + self._activity
        return (
            silent_at
            if self._interval is None
            else min(silent_at, self._pinged_at + self._interval)
        )

    def _plan_ping(self, now: float) -> None:
        activity_at = now + self._activity
        if self._interval is not None:
            activity_at = min(activity_at, max(now, self._pinged_at + self._interval))
        self._timers.set(Timer.ACTIVITY, activity_at)
