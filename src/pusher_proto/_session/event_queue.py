"""The queue of events for the application, and the log of failures among them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .._base.logs import logger
from .._wire.fast_lane import Run
from ..errors import excerpt
from ..events import Event, ProtocolViolation, SignInFailed, SubscriptionFailed, size_of

__all__ = ["EventQueue"]

_log = logger("session")

_FAILURES = (SubscriptionFailed, SignInFailed)


class EventQueue(deque[Event]):
    """The queue of events for the application.

    It counts nothing for each message: `bytes` increases with each read. When it reaches `recount_at`, the queue calls
    `recount`, which counts the bytes of the waiting events and sets the next `recount_at`.
    """

    __slots__ = ("_recount", "alike", "bytes", "changes", "held", "recount_at", "violations")

    def __init__(self, recount_at: int, recount: Callable[[], None]) -> None:
        super().__init__()
        self.bytes: int = 0
        """The bytes of all events so far, or more."""
        self.recount_at: int = recount_at
        """The value of `bytes` at which `recount` is called."""
        self.alike: int = 0
        """How many messages at the left end have the same channel and name; see `fast_lane.Run`."""
        self.changes: int = 0
        """How many events other than messages were queued."""
        self.violations: int = 0
        """How many `ProtocolViolation` were queued."""
        self.held: int = 0
        """The bytes of messages that are held before the queue, while the application fetches missed events."""
        self._recount = recount

    def emit(self, event: Event) -> None:
        """Queue and count an event, and log failures of subscriptions and sign-ins."""
        if isinstance(event, _FAILURES):
            _log_failure(event)
        self.changes += 1
        self.bytes += size_of(event)
        self.violations += type(event) is ProtocolViolation
        self.append(event)
        if self.bytes >= self.recount_at:
            self._recount()

    def add(self, run: Run) -> None:
        """Queue messages. Call `check` after the last run of a read."""
        if run.alike and self.alike == len(self) and (not self or run.is_like(self[0])):
            self.alike += len(run.events)
        self.extend(run.events)

    def check(self) -> None:
        """Call `recount` if enough was received since the last time. Call this after each read."""
        if self.bytes >= self.recount_at:
            self._recount()

    def count_held(self, change: int) -> None:
        """Report that the bytes of held messages that are counted have changed."""
        self.held += change
        self._recount()

    def waiting(self) -> int:
        """Return the bytes of the events in the queue and of the held messages."""
        return sum(map(size_of, self)) + self.held


def _log_failure(event: SubscriptionFailed | SignInFailed) -> None:
    """Log a failure: as a warning if another attempt is planned, else as an error."""
    if isinstance(event, SignInFailed):
        what = "the user is not signed in"
    else:
        what = f"no subscription to {excerpt(event.channel, 64)}"
    if event.retry_in is None:
        _log.error("%s: %s", what, event.error)
    else:
        _log.warning("%s: %s; next try in %.1f s", what, event.error, event.retry_in)
