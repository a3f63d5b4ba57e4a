"""The part of the client that streams and bindings use: the lock, the I/O, and waiting."""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, Literal, TypeVar

from pusher_proto import Event, LocalProtocolError, PusherTimeout, Session
from pusher_proto.client import (
    PENDING,
    BindingBase,
    ChannelBase,
    ClientBase,
    Goal,
    Nothing,
    Setup,
    UserBase,
    Weakly,
)

from ._io import IO, current_thread

__all__ = ["CANNOT_WAIT", "NO_CALLS", "Waiting"]

CANNOT_WAIT = (
    "a function that the client calls in its own thread, or a signal handler that interrupts one of its calls, "
    "cannot wait for the client"
)

NO_CALLS: deque[BindingBase] = deque()
"""Stands for an empty queue of calls, which would take 0.8 KB of each idle client. Nothing is added to it."""

T = TypeVar("T")
BindingT = TypeVar("BindingT", bound=BindingBase)
ChannelT = TypeVar("ChannelT", bound=ChannelBase[Any])
UserT = TypeVar("UserT", bound=UserBase[Any])


class Waiting(ClientBase[BindingT, ChannelT, UserT], Generic[BindingT, ChannelT, UserT]):
    """A client that waits by blocking its caller, on an `IO`."""

    def __init__(self, session: Session, io: IO, setup: Setup) -> None:
        self._io = io
        self._setup = setup
        self._guard = io.guard
        super().__init__(setup.options, session, setup.authorizer, setup.on_event)
        self._calls: deque[BindingBase] = NO_CALLS
        """One entry for each event that a handler is to be called with, in the order of arrival."""
        self._running = self._warned_of_run = False
        self._driver = self._driver_on(io, setup, io.fail)
        io.start(self._driver, Weakly(self._ended))

    def _now(self) -> float:
        return self._io.time()

    def _who(self) -> object:
        """Return an object that identifies the current thread and lives no longer than it."""
        return current_thread()

    def _changed(self) -> None:
        if self._io.over:
            self._deliver()
        else:
            self._io.wake()

    def _wake(self) -> None:
        self._io.wake()

    def _check_usable(self) -> None:
        if self._io.error is not None:
            raise self._io.error

    def _ended(self) -> None:
        """Wake all waits: no further event follows."""
        self._guard = self._host.guard = self._io.guard  # another one after a fork
        self._delivery.wake_all()

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
            woken = False  # then the signal has forgotten `wake`
            try:
                if self._io.must_not_wait:
                    raise LocalProtocolError(CANNOT_WAIT)
                woken = sleep(left)
            finally:
                if not woken:
                    with self._guard:
                        goal.signal.discard(wake)

    def _call_at_hand(self) -> tuple[Any, Event] | None:
        """Return what `_check_calls` returns for nearly all events, without the lock: a deque needs none."""
        try:
            binding = self._calls[0]
            if self._io.error is None and len(binding.queue) - 1 > binding.look_at:
                self._calls.popleft()
                return binding, binding.queue.popleft()
        except IndexError:
            pass  # there is no call, or its binding was just cancelled
        return None

    def _check_calls(self) -> tuple[Any, Event] | Literal[Nothing.PENDING] | None:
        """Return the next call of a handler, None when the client is closed. Raises why no more calls come."""
        while self._calls:
            binding = self._calls.popleft()
            event = binding.take()
            if event is not None:
                if len(binding.queue) <= binding.look_at:
                    self._delivery.took(binding)
                return binding, event
        return None if self._checks.run() is True else PENDING
