"""Decides when the next attempt to connect starts: counts attempts and failures, and limits the rate of attempts.

Uses the table in `_protocol/failures`. The connector calls it and sets the timers.
"""

from __future__ import annotations

from .._base.backoff import Rng
from .._protocol.failures import Cause, Step, delay_after, step_after
from ..options import Options

__all__ = ["Attempts"]

_SPACING = 1.0
"""The least time in seconds between attempts that the application starts, from its second one after a failure on."""


class Attempts:
    """Counts the attempts since the last stable connection."""

    __slots__ = (
        "_began_at", "_hurried", "_in_a_row", "_not_before", "_options", "_rng", "_slow",
        "failures", "total",
    )  # fmt: skip

    def __init__(self, options: Options, rng: Rng) -> None:
        self._options = options
        self._rng = rng
        self.total = 0
        """All attempts of this client."""
        self.failures = 0
        """Failed attempts and lost connections since the last stable one."""
        self._in_a_row = 0
        """Attempts since the last stable connection, or since `connect` after a final failure or a disconnect."""
        self._slow = 0
        """How many of `failures` were followed by `Step.SLOW`."""
        self._began_at = float("-inf")
        self._not_before = float("-inf")
        self._hurried = False
        """Whether the application has skipped a delay since the last stable connection."""

    def earliest(self, now: float) -> float:
        """Return the earliest time for an attempt that the application requests now.

        The first request after a failure takes effect at once. Further ones are at least `_SPACING` apart, so that a
        handler that connects at each failure does not flood the server. A delay that the server asked for applies to
        all requests.
        """
        spaced = self._began_at + _SPACING if self._hurried else now
        return max(now, self._not_before, spaced)

    def hurry(self) -> None:
        """Record that the application requested an attempt before the planned delay was over."""
        self._hurried = self._hurried or self.failures > 0

    def renew(self, now: float) -> None:
        """Count towards `Options.max_attempts` from 0 again. Called when the application starts to connect again.

        Delays start at the first again only if the last attempt was `Options.stable_after` seconds ago.
        """
        self._in_a_row = 0
        if now - self._began_at >= self._options.stable_after:
            self.stable()

    def use(self, options: Options) -> None:
        """Use other options, and count from 0 again."""
        self._options = options
        self.stable()

    def begin(self, now: float) -> None:
        """Count an attempt that starts."""
        self.total += 1
        self._in_a_row += 1
        self._began_at = now

    def stable(self) -> None:
        """Count from 0 again: the connection was established for `Options.stable_after`."""
        self.failures = self._in_a_row = self._slow = 0
        self._hurried = False

    def failed(
        self,
        cause: Cause,
        now: float,
        *,
        good: bool,
        unstable: bool,
        retry_after: float | None,
    ) -> float | None:
        """Count a failure; return the seconds until the next attempt, or None when no attempt follows.

        `good` is whether this client was connected before, `unstable` whether the connection that ended had been
        established for less than `Options.stable_after`, `retry_after` the delay that the server asked for.
        """
        options = self._options
        self.failures += 1
        limit = options.max_attempts
        if not options.reconnect or (limit is not None and self._in_a_row >= limit):
            return None
        step = step_after(cause, good=good, failures=self._in_a_row, options=options)
        if step is Step.FINAL:
            return None
        number = self.failures
        if step is Step.SLOW:
            self._slow += 1
            number = self._slow
        # Do not flood a server that accepts each connection and ends it at once.
        least = 1.0 if unstable and self.failures > 1 else 0.0
        delay = delay_after(cause, step, number, options, self._rng, at_least=least)
        delay = max(delay, min(retry_after or 0.0, options.retry_cap))
        patient = step is not Step.BACK_OFF and delay > 0.0
        floor = max(options.retry_floor, least, 1.0 if patient else 0.0)
        self._not_before = now + min(delay, floor)
        return delay
