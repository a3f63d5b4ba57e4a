"""The order in which handlers are called, by a driver that calls all of them in one thread."""

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
"""How many events wait for one handler when a missing `run` is reported."""

_NONE: deque[BindingBase] = deque()
"""Stands for an empty queue, which would take 0.8 KB of each idle client. Nothing is added to it."""

_log = logger("client")

Call = tuple[BindingBase, Event]


class HandlerCalls:
    """The calls that are due: one for each event of a handler, in the order of arrival.

    One thread takes them while `running` is True; others add calls and cancel handlers, under the guard.
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
        """Call a handler for its last `count` events, and wake the thread that calls handlers."""
        if self._due is _NONE:
            self._due = deque()
        self._due.extend(repeat(binding, count))
        self._host.delivery.lifecycle.notify()
        if len(binding.queue) >= _MANY and not (self.running or self._warned):
            self._warned = True
            _log.warning("events wait for handlers, but client.run() is not being called")

    def cancel(self, binding: BindingBase) -> None:
        """Forget the calls of a handler that was cancelled; a thread that is running skips them itself."""
        if not self.running:
            self._due = deque(each for each in self._due if each is not binding) or _NONE

    def at_hand(self) -> Call | None:
        """Return what `take` returns for nearly all events, without the guard: a deque needs none."""
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
        """Wait for the next call: None when the client is closed. Raises why no more calls come."""
        return Goal(self._check, self._host.delivery.lifecycle)

    def _check(self) -> Call | Pending | None:
        call = self.take()
        if call is not None:
            return call
        return None if self._host.checks.run() is True else PENDING
