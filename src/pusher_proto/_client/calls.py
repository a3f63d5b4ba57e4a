"""The queue of calls of handlers, for a driver that calls all handlers in one thread."""

from __future__ import annotations

from collections import deque
from itertools import repeat

from .._base.logs import logger
from ..events import Event
from .bindings import BindingBase
from .goals import Goal
from .host import Host
from .pending import PENDING, Pending

__all__ = ["HandlerCalls"]

_MANY = 1000
"""A warning about a missing `run` is logged when this many events wait for one handler."""

_NONE: deque[BindingBase] = deque()
"""An empty queue that idle clients share: their own would take 0.8 KB. Nothing is added to it."""

_log = logger("client")

Call = tuple[BindingBase, Event]


class HandlerCalls:
    """The pending calls: one for each event of a handler, in the order of the events.

    One thread takes calls while `running` is True; other threads add calls and cancel handlers, inside the guard.
    """

    __slots__ = ("_due", "_host", "_warned", "running")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._due = _NONE
        self._warned = False
        self.running: bool = False
        """Whether a thread is calling the handlers."""

    def __len__(self) -> int:
        return len(self._due)

    def add(self, binding: BindingBase, count: int) -> None:
        """Add a call of the handler for each of its last `count` events, and wake the thread that calls handlers."""
        if self._due is _NONE:
            self._due = deque()
        self._due.extend(repeat(binding, count))
        self._host.delivery.lifecycle.notify()
        if len(binding.queue) >= _MANY and not (self.running or self._warned):
            self._warned = True
            _log.warning(
                "events wait for handlers, but client.run() is not running: call it, or start a thread for it"
            )

    def cancel(self, binding: BindingBase) -> None:
        """Remove the calls of a handler that was cancelled. While a thread is running, it skips them itself."""
        if not self.running:
            self._due = deque(each for each in self._due if each is not binding) or _NONE

    def at_hand(self) -> Call | None:
        """Do the same as `take` in nearly all cases, but without the guard; return None in the others."""
        try:
            binding = self._due[0]
            if len(binding.queue) - 1 > binding.look_at:
                self._due.popleft()
                return binding, binding.queue.popleft()
        except IndexError:
            pass  # there is no call, or its binding was just cancelled
        return None

    def take(self) -> Call | None:
        """Return the next call, or None."""
        while self._due:
            binding = self._due.popleft()
            event = binding.take()
            if event is not None:
                if len(binding.queue) <= binding.look_at:
                    self._host.delivery.took(binding)
                return binding, event
        return None

    def goal(self) -> Goal[Call | None]:
        """Return the goal of a wait for the next call; the result is None when the client is closed."""
        return Goal(self._check, self._host.delivery.lifecycle)

    def _check(self) -> Call | Pending | None:
        call = self.take()
        if call is not None:
            return call
        return None if self._host.checks.run() is True else PENDING
