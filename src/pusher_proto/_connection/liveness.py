"""Whether the server is still there: a ping after silence, and a limit on the silence after a ping.

Any byte is life. `pusher:ping` works on every server; a WebSocket ping would not keep Soketi awake (its idle
timer looks at its own sends, which only answers to `pusher:ping` are).
"""

from __future__ import annotations

from .._base.timers import Timer, Timers

__all__ = ["Liveness"]


class Liveness:
    """The two deadlines of one connection. ACTIVITY is moved lazily, so that hearing something costs nothing."""

    def __init__(self, timers: Timers, *, activity: float, pong: float, now: float) -> None:
        self.round_trip: float | None = None
        """Seconds between the last answered ping and its pong."""
        self._timers = timers
        self._activity = activity
        self._pong = pong
        self._heard_at = now
        self._asked_at: float | None = None
        self._reading = True
        self._reading_since: float | None = now
        """Since when all is read that comes; None for "since it stopped", as nobody has told the time after that."""
        timers.set(Timer.ACTIVITY, now + activity)

    @property
    def message_limit(self) -> float:
        """Seconds in which a message that began must end, although its bytes keep the connection alive."""
        return 2 * self._activity + self._pong

    def heard(self, now: float) -> None:
        """Something came from the server."""
        self._heard_at = now
        # Nothing is waited for where nothing was asked: a comparison in place of a look-up, for each read.
        if self._asked_at is not None and self._timers.is_set(Timer.PONG):
            self._timers.stop(Timer.PONG)
            self._timers.set(Timer.ACTIVITY, now + self._activity)

    def pong(self, now: float) -> None:
        """The answer to a ping came."""
        if self._asked_at is not None:
            self.round_trip = now - self._asked_at
            self._asked_at = None

    def asked(self, now: float) -> None:
        """A ping goes out."""
        if self._timers.is_set(Timer.PONG):
            return  # the one before it is still unanswered, and its limit holds
        self._asked_at = now
        if self._reading:
            self._timers.stop(Timer.ACTIVITY)
            self._timers.set(Timer.PONG, now + self._pong)
        else:
            self._timers.set(Timer.ACTIVITY, now + self._activity)

    def activity_due(self, now: float) -> bool:
        """The ACTIVITY deadline passed: return whether a ping is due, or look again later."""
        silent_at = self._heard_at + self._activity
        if now < silent_at:
            self._timers.set(Timer.ACTIVITY, silent_at)
            return False
        return True

    def reading(self, reads: bool, now: float) -> None:
        """Reading stopped or goes on: while nothing is read, an answer cannot be missed."""
        self._reading = reads
        if reads:
            self._heard_at, self._reading_since = now, None
        elif self._timers.is_set(Timer.PONG):
            self._timers.stop(Timer.PONG)
            self._timers.set(Timer.ACTIVITY, now + self._activity)

    def missing_at(self, limit: float, now: float) -> float:
        """Return when an answer that was due by now, `limit` seconds after it was asked for, counts as missing."""
        if not self._reading:
            return now + limit
        if self._reading_since is None:
            self._reading_since = now
        return self._reading_since + limit

    def stop(self) -> None:
        """The connection is gone."""
        self._timers.stop(Timer.ACTIVITY)
        self._timers.stop(Timer.PONG)
