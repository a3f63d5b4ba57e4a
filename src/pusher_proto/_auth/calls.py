"""Calls functions of the application, and limits how many calls are pending even when functions do not return.

A plain function cannot be cancelled, so a call counts until it returns: it occupies one of `max_authorizing` slots, and
no second call is made for the same channel. A call that takes longer than three times its timeout frees its slot, so
that one bad channel does not stop the others. There are never more than four times `max_authorizing` calls. Calls for
authorizations and calls that fetch missed events have separate slots.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from .._base.logs import logger
from .._base.timers import Timer, Timers
from ..effects import Authorize, AuthorizeMany, CallApplication, CancelCall
from ..states import CALL, CallInput, CallState, advance

__all__ = ["Call", "Calls", "Purpose"]

S, G = CallState, CallInput

PATIENCE = 3
"""A call frees its slot after this multiple of its timeout."""
MOST = 4
"""At most this multiple of `max_authorizing` calls are pending."""

_log = logger("auth")


class Purpose(NamedTuple):
    """The purpose of a call: its channels, which other calls exclude, and the functions that handle its progress."""

    subjects: tuple[Hashable, ...]
    """The channels that the call is about; None is the sign-in."""
    begun: Callable[[float], None]
    """Called with the time when the call starts: at once, or after other calls have ended."""
    ended: Callable[[int, object, float], None]
    """Called with a number of the effect, the result or exception of the function, and the time."""
    endpoint: int | None = None
    """The `id` of the endpoint whose function is called: its functions share a token, so they are called one by one."""

    @property
    def excludes(self) -> set[Hashable]:
        """The channels and endpoint of which no other call may be pending."""
        return {*self.subjects, *(() if self.endpoint is None else (self.endpoint,))}


class Call:
    """One call of a function of the application."""

    __slots__ = ("began", "effect", "number", "purpose", "state", "unanswered")

    def __init__(
        self, effect: Authorize | AuthorizeMany | CallApplication, purpose: Purpose
    ) -> None:
        self.effect = effect
        self.purpose = purpose
        numbers = effect.requests if isinstance(effect, AuthorizeMany) else (effect.request,)
        self.number = numbers[0]
        self.unanswered = set(numbers)
        """The numbers of the effect that have no result yet."""
        self.state = S.WAITING
        self.began = 0.0

    def move(self, given: CallInput) -> bool:
        """Advance the state; return whether it changed."""
        before = self.state
        self.state = advance(CALL, before, given)
        return self.state is not before


class Calls:
    """Makes calls in the order in which they were submitted, as far as the limits allow.

    `what` describes them in messages; `timer` is the timer of each call, `timeout` seconds after its start. `put`
    queues the effects.
    """

    __slots__ = (
        "_busy", "_by_request", "_full", "_limit", "_out", "_put", "_reported", "_timeout",
        "_timer", "_timers", "_waiting", "_what",
    )  # fmt: skip

    def __init__(
        self,
        what: str,
        limit: int,
        timeout: float,
        timers: Timers,
        timer: Timer,
        put: Callable[[Authorize | AuthorizeMany | CallApplication | CancelCall], None],
    ) -> None:
        self._what = what
        self._limit = limit
        self._timeout = timeout
        self._timers = timers
        self._timer = timer
        self._put = put
        self._waiting: dict[int, Call] = {}
        """The calls that have not started, by number, in the order of `submit`."""
        self._out: dict[int, Call] = {}
        """The calls that have started and not returned, by number."""
        self._by_request: dict[int, Call] = {}
        """The same calls, by each number of their effects that has no result yet."""
        self._busy: dict[Hashable, Call] = {}
        """The channels and endpoints of these calls: no second call about one of them starts."""
        self._reported = False
        """Whether a warning about the calls that hang was logged."""
        self._full = False
        """Whether a warning about the greatest number of calls was logged."""

    def submit(
        self, effect: Authorize | AuthorizeMany | CallApplication, purpose: Purpose, now: float
    ) -> Call:
        """Call a function of the application, now or when a slot is free. The number of the effect must be new."""
        call = Call(effect, purpose)
        self._waiting[call.number] = call
        self.start_waiting(now)
        return call

    def cancel(self, call: Call) -> None:
        """Cancel a call whose result is no longer needed. A plain function that runs already cannot be stopped.

        Call `start_waiting` afterwards.
        """
        if self._waiting.pop(call.number, None) is None and call.move(G.ABANDON):
            self._put(CancelCall(call.number))

    def withdraw(self, call: Call, number: int, *, last: bool) -> None:
        """Cancel one request of a call: the call itself if it is the `last` one, else its part of a call that waits."""
        effect = call.effect
        if last:
            self.cancel(call)
            return
        if call.number not in self._waiting or not isinstance(effect, AuthorizeMany):
            return
        kept = [
            each for each in zip(effect.requests, effect.details, strict=True) if each[0] != number
        ]
        numbers, details = zip(*kept, strict=True)
        call.effect = AuthorizeMany(numbers, details)
        call.purpose = call.purpose._replace(subjects=tuple(each.channel for each in details))
        call.number, call.unanswered = numbers[0], set(numbers)
        self._waiting = {each.number: each for each in self._waiting.values()}

    def cancel_all(self) -> None:
        """Cancel all calls."""
        self._waiting.clear()
        for call in self._out.values():
            self.cancel(call)

    def answered(self, number: int, result: object, now: float) -> None:
        """Process the result of a function, or the exception that it raised. Ignores one without a pending call."""
        call = self._by_request.pop(number, None)
        if call is None:
            return
        wanted = call.state is S.RUNNING
        call.unanswered.discard(number)
        if not call.unanswered:
            self._forget(call)
        if wanted:
            call.purpose.ended(number, result, now)
        else:
            age = now - call.began
            _log.debug("a cancelled call returned %.1f s after its start", age)

    def due(self, number: int, now: float) -> None:
        """Fail a call that did not return within its timeout; free its slot after three times as long."""
        call = self._out[number]
        hangs_at = call.began + PATIENCE * self._timeout
        if now >= hangs_at:
            call.move(G.HANG)
            # Its channels stay busy until it returns.
            self._release(call, call.purpose.excludes.difference(call.purpose.subjects))
            self._report(now)
            return
        self._timers.set(self._timer, hangs_at, number)
        if call.state is S.RUNNING:
            late = TimeoutError(f"it did not return within {self._timeout:g} s")
            for one in sorted(call.unanswered):
                call.purpose.ended(one, late, now)
            self.cancel(call)

    def hanging(self, now: float) -> list[float]:
        """Return the ages in seconds of the calls that did not return within their timeout, the oldest first."""
        # Iterate over a copy: `stats` may be read in any thread.
        ages = (now - call.began for call in tuple(self._out.values()))
        return sorted((age for age in ages if age >= self._timeout), reverse=True)

    def hanging_text(self, now: float) -> str:
        """Return a message about calls that did not return in time, or ""."""
        ages = self.hanging(now)
        if not ages:
            return ""
        calls = "1 call" if len(ages) == 1 else f"{len(ages)} calls"
        return (
            f"{calls} of the application's functions {self._what} did not return yet, the oldest for "
            f"{ages[0]:.0f} s: set a timeout in the HTTP client they use"
        )

    def start_waiting(self, now: float) -> None:
        """Start calls that wait, as far as slots are free."""
        if not self._waiting or not self._has_room():
            return
        for call in list(self._waiting.values()):
            if not self._has_room():
                return
            if self._busy.keys().isdisjoint(call.purpose.excludes):
                self._start(call, now)

    def _has_room(self) -> bool:
        """Return whether a slot is free."""
        if len(self._out) >= MOST * self._limit:
            if not self._full:
                self._full = True
                _log.warning(
                    "%d calls of the application's functions have not returned, which is the limit: "
                    "further calls wait until one returns",
                    len(self._out),
                )
            return False
        return sum(call.state is not S.HANGING for call in self._out.values()) < self._limit

    def _start(self, call: Call, now: float) -> None:
        del self._waiting[call.number]
        call.move(G.BEGIN)
        call.began = now
        self._out[call.number] = call
        self._by_request |= dict.fromkeys(call.unanswered, call)
        self._busy.update(dict.fromkeys(call.purpose.excludes, call))
        call.purpose.begun(now)
        self._timers.set(self._timer, now + self._timeout, call.number)
        self._put(call.effect)

    def _forget(self, call: Call) -> None:
        """Remove a call that has returned, and free its slot."""
        call.move(G.END)
        del self._out[call.number]
        self._release(call, call.purpose.excludes)
        self._timers.stop(self._timer, call.number)
        self._full = self._full and len(self._out) >= MOST * self._limit
        self._reported = self._reported and any(c.state is S.HANGING for c in self._out.values())

    def _release(self, call: Call, names: set[Any]) -> None:
        """Allow other calls for these channels and endpoints."""
        for name in names:
            if self._busy.get(name) is call:
                del self._busy[name]

    def _report(self, now: float) -> None:
        """Log a warning about calls that hang; not again until all of them have returned."""
        if not self._reported:
            self._reported = True
            _log.warning("%s", self.hanging_text(now))
