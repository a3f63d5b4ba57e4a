"""The pending calls of the application's functions: bounded in number, whatever the functions do.

A plain function cannot be cancelled, so a call counts until it has returned: it holds one of `max_authorizing` slots,
and no second call is made for the same channel. A call that is older than three times its timeout gives its slot
back, so that one bad channel does not stop the others; four times `max_authorizing` calls is the most there ever are.
Calls for authorizations and calls that fetch missed events do not share slots.
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
"""Multiples of its timeout after which a call gives its slot back."""
MOST = 4
"""Multiples of `max_authorizing`: the most calls that may be pending."""

_log = logger("auth")


class Purpose(NamedTuple):
    """Why a function is called: what no two calls may be made for at once, and what happens with its result."""

    subjects: tuple[Hashable, ...]
    """The channels (None: the sign-in)."""
    begun: Callable[[float], None]
    """Takes the time at which the function is called: at once, or after other calls have ended."""
    ended: Callable[[int, object, float], None]
    """Takes a number of the effect, the result or exception of the function, and the time."""
    endpoint: int | None = None
    """The `id` of the endpoint of the function: its functions are called one at a time, because they share a token."""

    @property
    def excludes(self) -> set[Hashable]:
        """What no other call may have at the same time."""
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
        self.state = S.WAITING
        self.began = 0.0

    def move(self, given: CallInput) -> bool:
        """Advance the state; return whether the input counted."""
        before = self.state
        self.state = advance(CALL, before, given)
        return self.state is not before


class Calls:
    """Makes calls in the order of the requests, as far as the bounds allow.

    `what` is their purpose, for messages; `timer` has the deadline of each, `timeout` seconds after it began.
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
        self._out: dict[int, Call] = {}
        self._by_request: dict[int, Call] = {}
        self._busy: dict[Hashable, Call] = {}
        self._reported = False
        """Whether the calls that hang now were logged."""
        self._full = False
        """Whether it was logged that the bound is reached."""

    def ask(
        self, effect: Authorize | AuthorizeMany | CallApplication, purpose: Purpose, now: float
    ) -> Call:
        """Call a function of the application when there is room. Its number must be new."""
        call = Call(effect, purpose)
        self._waiting[call.number] = call
        self.go_on(now)
        return call

    def abandon(self, call: Call) -> None:
        """Give up a call whose result is no longer needed: it is not made, or cancelled where that is possible.

        Call `go_on` afterwards.
        """
        if self._waiting.pop(call.number, None) is None and call.move(G.ABANDON):
            self._put(CancelCall(call.number))

    def withdraw(self, call: Call, number: int, *, last: bool) -> None:
        """Give up one request of a call: with the `last` one the call, else a part of a call that was not made yet."""
        effect = call.effect
        if last:
            self.abandon(call)
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

    def abandon_all(self) -> None:
        """Give up all calls."""
        self._waiting.clear()
        for call in self._out.values():
            self.abandon(call)

    def answered(self, number: int, result: object, now: float) -> None:
        """Take a result, or the exception that a function raised; ignore one that no call is pending for."""
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
            _log.debug("a call that was given up ended %.1f s after it began", age)

    def due(self, number: int, now: float) -> None:
        """Give up the result of a call after its timeout, and its slot after three times as long."""
        call = self._out[number]
        hangs_at = call.began + PATIENCE * self._timeout
        if now >= hangs_at:
            call.move(G.HANG)
            # Its channels, and the sign-in, wait for it to return.
            self._release(call, call.purpose.excludes.difference(call.purpose.subjects))
            self._report(now)
            return
        self._timers.set(self._timer, hangs_at, number)
        if call.state is S.RUNNING:
            late = TimeoutError(f"it did not return within {self._timeout:g} s")
            for one in sorted(call.unanswered):
                call.purpose.ended(one, late, now)
            self.abandon(call)

    def hanging(self, now: float) -> list[float]:
        """Return the ages of the calls that have not returned within their timeout, the oldest first."""
        # Of a copy: `stats` may be read in any thread.
        ages = (now - call.began for call in tuple(self._out.values()))
        return sorted((age for age in ages if age >= self._timeout), reverse=True)

    def hanging_text(self, now: float) -> str:
        """Return what to say of calls that have not returned in time; an empty text for none."""
        ages = self.hanging(now)
        if not ages:
            return ""
        calls = "1 call" if len(ages) == 1 else f"{len(ages)} calls"
        return (
            f"{calls} of the application's functions {self._what} did not return yet, the oldest for "
            f"{ages[0]:.0f} s: set a timeout in the HTTP client they use"
        )

    def go_on(self, now: float) -> None:
        """Make the calls for which there is room."""
        if not self._waiting or not self._has_room():
            return
        for call in list(self._waiting.values()):
            if not self._has_room():
                return
            if self._busy.keys().isdisjoint(call.purpose.excludes):
                self._begin(call, now)

    def _has_room(self) -> bool:
        if len(self._out) >= MOST * self._limit:
            if not self._full:
                self._full = True
                _log.warning(
                    "%d calls of the application's functions have not returned, the most that are made: "
                    "further calls wait for one to return",
                    len(self._out),
                )
            return False
        return sum(call.state is not S.HANGING for call in self._out.values()) < self._limit

    def _begin(self, call: Call, now: float) -> None:
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
        call.move(G.END)
        del self._out[call.number]
        self._release(call, call.purpose.excludes)
        self._timers.stop(self._timer, call.number)
        self._full = self._full and len(self._out) >= MOST * self._limit
        self._reported = self._reported and any(c.state is S.HANGING for c in self._out.values())

    def _release(self, call: Call, names: set[Any]) -> None:
        for name in names:
            if self._busy.get(name) is call:
                del self._busy[name]

    def _report(self, now: float) -> None:
        """Log once that calls hang, until all of them have returned."""
        if not self._reported:
            self._reported = True
            _log.warning("%s", self.hanging_text(now))
