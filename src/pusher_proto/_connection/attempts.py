"""When the next attempt begins: counts of attempts and failures, and a floor that holds whatever handlers do.

Works on the table in `_protocol/failures`; the connector asks it and sets the timers.
"""

from __future__ import annotations

from .._base.backoff import Rng
from .._protocol.failures import Cause, Step, delay_after, step_after
from ..options import Options

__all__ = ["Attempts"]

_SPACING = 1.0
"""Seconds between the attempts that an application asks for while they fail, from the second one on."""


class Attempts:
    """The attempts since the last stable connection."""

    __slots__ = (
        "_began_at", "_hurried", "_in_a_row", "_not_before", "_options", "_rng", "_slow",
        "failures", "total",
    )  # fmt: skip

    def __init__(self, options: Options, rng: Rng) -> None:
        self._options = options
        self._rng = rng
        self.total = 0
        self.failures = 0
        """Failed attempts and lost connections since the last stable one."""
        self._in_a_row = 0
        """Attempts since the last stable connection or `connect` after a final failure."""
        self._slow = 0
        """Failures of `failures` that were followed by a slow step."""
        self._began_at = float("-inf")
        self._not_before = float("-inf")
        self._hurried = False
        """Whether the application has skipped a delay since the last stable connection."""

    def earliest(self, now: float) -> float:
        """Return when an attempt may begin that the application asks for now.

        The first request after a failure counts at once. Further ones keep their distance, so that a handler that
        connects at each failure makes no storm. The second that a server asks for applies to all of them.
        """
        spaced = self._began_at + _SPACING if self._hurried else now
        return max(now, self._not_before, spaced)

    def hurry(self) -> None:
        """Note that the application skips a delay."""
        self._hurried = self._hurried or self.failures > 0

    def renew(self, now: float) -> None:
        """Allow `Options.max_attempts` again: the application connects after a final failure or a disconnect.

        The delays start again only when the last attempt is long ago.
        """
        self._in_a_row = 0
        if now - self._began_at >= self._options.stable_after:
            self.stable()

    def use(self, options: Options) -> None:
        """Count by other options, from the first attempt again."""
        self._options = options
        self.stable()

    def begin(self, now: float) -> None:
        """Count an attempt that begins."""
        self.total += 1
        self._in_a_row += 1
        self._began_at = now

    def stable(self) -> None:
        """Start again from the first: the connection has lasted for `Options.stable_after`."""
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
        """Count a failure; return the seconds until the next attempt, or None when none follows.

        `good` is whether a connection of this client was good before, `unstable` whether the one that ended had been
        established for less than `Options.stable_after`.
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
        # A server that lets everybody in and ends each connection at once is not to be flooded.
        least = 1.0 if unstable and self.failures > 1 else 0.0
        delay = delay_after(cause, step, number, options, self._rng, at_least=least)
        delay = max(delay, min(retry_after or 0.0, options.retry_cap))
        patient = step is not Step.BACK_OFF and delay > 0.0
        floor = max(options.retry_floor, least, 1.0 if patient else 0.0)
        self._not_before = now + min(delay, floor)
        return delay
