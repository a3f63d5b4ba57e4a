"""Limits the received messages that wait for the application: reading pauses when there are too many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..events import ReadingPaused
from .event_queue import EventQueue

__all__ = ["REPORTED_AFTER", "ReceiveBuffer"]

REPORTED_AFTER = 1.0
"""A pause longer than this many seconds is reported: some servers drop messages when their buffers are full."""


class Reading(Protocol):
    """The reading of the current connection."""

    def pause_reading(self, now: float) -> None:
        """Stop reading from the connection."""

    def resume_reading(self, now: float) -> float:
        """Resume reading; return the duration of the pause in seconds."""


class ReceiveBuffer:
    """Decides when to pause and to resume reading.

    A message waits in the queue of the session, and then in the consumers of a client, which report their bytes by
    `hold`. To count takes a step for each message, so the bytes are counted when at least a sixteenth of the limit was
    received since the last count, and reading pauses when less than a sixteenth is free.
    """

    __slots__ = (
        "_events", "_held", "_limit", "_queued", "_reading", "_report", "_step", "full", "low",
    )  # fmt: skip

    def __init__(
        self,
        events: EventQueue,
        reading: Reading,
        limit: int,
        report: Callable[[float, float], None],
    ) -> None:
        """`report` is called with the duration of each reported pause in seconds, and the time."""
        self._events = events
        self._reading = reading
        self._report = report
        self._limit = limit
        self._step = max(limit // 16, 1)
        self._queued = self._held = 0
        """The bytes in the queue and in the consumers, when they were last counted or reported."""
        self.low: int = limit // 2
        """Reading resumes when at most this many bytes wait."""
        self.full: bool = False
        """Whether too many bytes wait: reading is paused, if there is an established connection."""

    def room(self, waiting: int) -> int:
        """Return how many bytes may be received before the next count.

        Far above the limit counts are rare: fetched events may be many, and each count takes a step for every one.
        """
        return max(abs(self._limit - waiting), self._step)

    def is_high(self, waiting: int) -> bool:
        """Return whether reading has to pause when `waiting` bytes wait."""
        return waiting > self._limit - self._step

    def recount(self, now: float) -> None:
        """Count the bytes in the queue; pause or resume reading."""
        self._queued = self._events.waiting()
        self._events.recount_at = self._events.bytes + self.room(self._queued)
        self._decide(now)

    def hold(self, size: int, now: float) -> None:
        """Report that consumers hold `size` bytes."""
        self._held = size
        self.recount(now)

    def took(self, size: int | None, now: float) -> None:
        """Report that events of `size` bytes were taken from the queue, or None if unknown. Call it while `full`."""
        self._queued = 0 if size is None else self._queued - size  # `recount` corrects it
        if self._queued + self._held <= self.low:
            self.recount(now)

    def established(self, now: float) -> None:
        """Pause reading from a new connection, if too many bytes wait."""
        if self.full:
            self._reading.pause_reading(now)

    def _decide(self, now: float) -> None:
        """Pause or resume reading."""
        waiting = self._queued + self._held
        if self.full and waiting <= self.low:
            self.full = False
            seconds = self._reading.resume_reading(now)
            if seconds > REPORTED_AFTER:
                self._events.emit(ReadingPaused(seconds))
                self._report(seconds, now)
        elif not self.full and self.is_high(waiting):
            self.full = True
            self._reading.pause_reading(now)
