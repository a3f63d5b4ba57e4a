"""The part of the client that streams and bindings use: the lock, the I/O, and waiting."""

from __future__ import annotations

from typing import Any, TypeVar

from pusher_proto import LocalProtocolError, PusherTimeout
from pusher_proto.client import PENDING, Goal, HandlerCalls, Setup, Signal

from ._io import IO, current_thread

__all__ = ["CANNOT_WAIT", "Waiting"]

CANNOT_WAIT = (
    "a function that the client calls in its own thread, or a signal handler that interrupts one of its calls, "
    "cannot wait for the client"
)

T = TypeVar("T")


class Waiting:
    """The part of a client that waits by blocking its caller, on an `IO`."""

    _io: IO
    _calls: HandlerCalls
    _checks: Any
    _guard: Any
    _lifecycle: Signal
    _setup: Setup

    def _now(self) -> float:
        return self._io.time()

    def _who(self) -> object:
        """Return an object that identifies the current thread and lives no longer than it."""
        return current_thread()

    def _wait(self, goal: Goal[T], timeout: float | None = None) -> T:
        deadline = float("inf") if timeout is None else self._now() + timeout
        while True:
            with self._guard:
                if self._io.error is not None:
                    raise self._io.error
                outcome = goal.check()
                if outcome is not PENDING:
                    return outcome
                left = deadline - self._now()
                if left <= 0:
                    raise PusherTimeout(self._checks.why_not(goal.what, timeout))
                wake, sleep = self._io.sleeper()
                goal.signal.add(wake)
            woken = False  # a signal that has called `wake` has forgotten it
            try:
                if self._io.must_not_wait:
                    raise LocalProtocolError(CANNOT_WAIT)
                woken = sleep(left)
            finally:
                if not woken:
                    with self._guard:
                        goal.signal.discard(wake)

    def _wait_for_end(self) -> None:
        """Wait until the I/O has ended, then join its thread.

        The long wait comes before the `join`: Python 3.12 and older regard a thread as ended when Ctrl+C interrupts a
        `join`.
        """
        self._wait(Goal(lambda: self._io.over or PENDING, self._lifecycle))
        self._io.join()
