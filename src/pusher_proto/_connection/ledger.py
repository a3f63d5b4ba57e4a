"""The requests of one connection in the order in which they were sent, and what each answer says about them.

The protocol has no request ids. A success names its channel; a refusal names it on some servers only. An error that
names nothing is attributed to a request by these rules:

- It is about a request that was sent before it came and was not answered.
- Subscribe, sign-in and ping get one answer each; a client event and an unsubscribe get an error or nothing, as
  does the second subscribe to a presence channel.
- A server that is known to answer in order (Reverb, Sockudo) has answered everything that was sent before a request
  when it answers that request. Where the order is not known, an error is attributed only when as many requests are
  unanswered as there are errors.
- An error refuses nothing until the server has answered something after it, for it may be the reason why the
  connection ends. Where no answer is on its way, `wants_ping` asks for one ping.

A success always counts. One that contradicts the order ends the use of it for the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import islice, takewhile
from typing import ClassVar, NamedTuple

from msgspec import Struct

from .._protocol.control import ErrorReceived

__all__ = ["Asked", "Ledger", "PingCounts", "Verdict"]

_REFUSES_NOTHING = 4302
"""A watchlist was cut short; the sign-in succeeded."""


class Asked(Enum):
    """The kinds of requests."""

    SUBSCRIBE = "subscribe"
    SIGN_IN = "sign-in"
    PING = "ping"
    CLIENT_EVENT = "client event"
    UNSUBSCRIBE = "unsubscribe"
    USER_CHANNEL = "subscribe to the user's own channel"
    """Not every server answers it."""
    SUBSCRIBE_AGAIN = "second subscribe to a presence channel"
    """Sockudo answers it only where the first one was without effect."""

    __hash__: ClassVar[Callable[[Asked], int]] = object.__hash__


_SILENT = frozenset(
    (Asked.CLIENT_EVENT, Asked.UNSUBSCRIBE, Asked.USER_CHANNEL, Asked.SUBSCRIBE_AGAIN)
)

Key = tuple[Asked, str | None]
"""The kind of a request, and its channel."""

_PING: Key = (Asked.PING, None)


class PingCounts(NamedTuple):
    """The pings of one connection."""

    connection: int
    """The number of the connection, from 1."""
    sent: int
    """How many pings were sent on it."""
    answered: int
    """How many of them were answered."""


class Verdict(Struct, frozen=True):
    """What an error turned out to be about: a request that it refuses, or (`refused` None) something else."""

    error: ErrorReceived
    refused: Asked | None = None
    channel: str | None = None


class _Error:
    """An error that names nothing, while its request is looked for."""

    __slots__ = ("at", "channel", "confirmed", "error", "upto", "vague")

    def __init__(
        self, error: ErrorReceived, at: float, upto: int, *, vague: bool, channel: str | None
    ) -> None:
        self.error = error
        self.channel = channel
        """The channel whose client events alone it can be about."""
        self.at = at
        self.upto = upto
        """The number of the last request that it can be about."""
        self.vague = vague
        """Whether it can be about a request other than the unanswered ones."""
        self.confirmed = False
        """Whether the server has answered something since, so that the connection outlived the error."""


class Ledger:
    """What was asked on one connection and not answered yet. `in_order`: the server is known to answer in order."""

    __slots__ = (
        "_count", "_errors", "_in_order", "_known", "_numbers", "_passed", "_pinged_at", "_refused",
        "_repeated", "_silent", "_unplaced", "_waiting", "pings", "pongs",
    )  # fmt: skip

    def __init__(self, *, in_order: bool) -> None:
        self._known = self._in_order = in_order
        self._count = 0
        self._waiting: dict[int, Key] = {}
        """The unanswered requests of the kinds that get an answer, by number."""
        self._numbers: dict[Key, int] = {}
        self._silent: dict[int, Key] = {}
        """The requests that get an error or nothing, until something that was sent later is answered."""
        # Dicts instead of sets: an empty set takes 150 bytes more, in every idle client.
        self._repeated: dict[Key, None] = {}
        """The silent requests since the last request that gets an answer: each is noted once."""
        self._errors: list[_Error] = []
        self._passed: dict[Key, int] = {}
        """Requests that a server answering in order has passed over: it will not answer them."""
        self._refused: dict[Key, None] = {}
        """Requests that an error without a name refused."""
        self._pinged_at = 0.0
        self.pings: int = 0
        self.pongs: int = 0
        """How many pings were sent, and how many of them were answered."""
        self._unplaced: _Error | None = None

    # What was sent

    def asked(self, kind: Asked, channel: str | None = None, now: float = 0.0) -> None:
        """Note a request that goes out."""
        key = kind, channel
        if kind in _SILENT:
            if key not in self._repeated:
                self._repeated[key] = None
                self._count += 1
                self._silent[self._count] = key
            return
        if kind is Asked.PING:
            self.pings += 1
            if key in self._numbers:
                return  # the pong of the first closes less, and nothing wrongly
            self._pinged_at = now
        self._count += 1
        self._repeated.clear()
        self._passed.pop(key, None)
        self._refused.pop(key, None)
        if key in self._numbers:
            self._drop(self._numbers[key])
        self._numbers[key] = self._count
        self._waiting[self._count] = key

    # What the server says

    def answered(self, kind: Asked, channel: str | None = None) -> list[Verdict]:
        """Take an answer that names its request: a success, a pong, a refusal. Return what follows for others."""
        key = kind, channel
        if kind is Asked.PING:
            self.pongs = min(self.pongs + 1, self.pings)
        number = self._numbers.get(key)
        if number is None:
            if self._passed.pop(key, None) is not None or key in self._refused:
                self._in_order = False
                self._refused.pop(key, None)
            return []
        self._drop(number)
        passed_over = self._in_order and next(iter(self._waiting), number) < number
        if self._errors or passed_over:
            return self._in_sequence(number) if self._in_order else self._by_count(number)
        if self._silent:
            self._close_silent(number)
        return []

    def error(self, error: ErrorReceived, now: float) -> list[Verdict]:
        """Take an error that names no request; return the attributions that are certain at once."""
        if error.code == _REFUSES_NOTHING:
            return [Verdict(error)]
        pinged = self._numbers.get(_PING)
        channel = None
        if len(self._waiting) == (pinged is not None):
            channel = _triggered(self._silent)
            if pinged is not None and not self._silent:
                self._drop(pinged)
            if channel is None or not _may_end(error):
                return [Verdict(error, channel=channel)]
        # The user's own channel is hardly refused right after the sign-in.
        vague = any(kind is not Asked.USER_CHANNEL for kind, _ in self._silent.values())
        self._errors.append(_Error(error, now, self._count, vague=vague, channel=channel))
        return self._all_refused()

    def expired(self, kind: Asked, channel: str | None = None) -> ErrorReceived | None:
        """Forget a request whose time is over; return the error that may have been its answer."""
        key = kind, channel
        suspect = self.suspected(kind, channel)
        self._passed.pop(key, None)
        number = self._numbers.get(key)
        if number is not None:
            self._drop(number)
            for one in self._errors:
                one.vague = one.vague or number <= one.upto
        return suspect

    def lost(self) -> list[Verdict]:
        """Forget everything, as the connection has ended. Return the errors that nothing followed."""
        reports = [Verdict(one.error) for one in self._errors if not one.confirmed]
        self._in_order = self._known
        self._unplaced = None
        self.pings = self.pongs = 0
        for kept in (self._waiting, self._numbers, self._silent, self._passed):
            kept.clear()
        self._repeated.clear()
        self._refused.clear()
        self._errors.clear()
        return reports

    # Looks

    @property
    def wants_ping(self) -> bool:
        """Whether an error waits for an answer of the server, and no ping is on its way."""
        return self.undecided and not self.pinging

    @property
    def waiting(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._waiting)

    @property
    def pinging(self) -> bool:
        """Whether a ping waits for its pong."""
        return _PING in self._numbers

    @property
    def undecided(self) -> bool:
        """Whether an error waits for an answer of the server that decides what it is about."""
        return not all(one.confirmed for one in self._errors)

    @property
    def unplaced(self) -> ErrorReceived | None:
        """The last error that may be the answer to an unanswered request and could not be attributed to one."""
        asked = [*islice(self._waiting, 1), *self._passed.values()]
        return self._error_about(min(asked)) if asked else None

    def suspected(self, kind: Asked, channel: str | None = None) -> ErrorReceived | None:
        """Return the last error that may be the answer to this request, or None."""
        key = kind, channel
        number = self._numbers.get(key, self._passed.get(key))
        return None if number is None else self._error_about(number)

    def unanswered(self) -> list[str]:
        """Return the channels whose subscribe was not answered, in the order of asking."""
        return [name for kind, name in self._waiting.values() if kind is Asked.SUBSCRIBE and name]

    # Within

    def _error_about(self, number: int) -> ErrorReceived | None:
        open_ones = [self._unplaced] if self._unplaced is not None else []
        return next(
            (one.error for one in reversed([*open_ones, *self._errors]) if number <= one.upto), None
        )

    def _drop(self, number: int) -> None:
        del self._numbers[self._waiting.pop(number)]
        if not self._waiting:
            # A dict keeps the size of its largest time: after a thousand subscribes 75 KB.
            self._waiting.clear()
            self._numbers.clear()

    def _close_silent(self, number: int) -> dict[int, Key]:
        """Forget the silent requests before `number`, and return them."""
        early = {one: self._silent[one] for one in takewhile(number.__gt__, self._silent)}
        for one, key in early.items():
            del self._silent[one]
            self._repeated.pop(key, None)
        return early

    def _in_sequence(self, number: int) -> list[Verdict]:
        """Conclude from an answer of a server that answers in order: everything sent before `number` is over."""
        early = {one: self._waiting[one] for one in takewhile(number.__gt__, self._waiting)}
        for one in early:
            self._drop(one)
        silent = self._close_silent(number)
        errors, self._errors = self._errors, []
        if len(errors) >= len(early):
            return self._aligned(early, silent, errors)
        # A request was left without an answer, and it cannot be told which.
        self._passed.update((key, one) for one, key in early.items())
        if errors:
            self._unplaced = errors[-1]
        return [Verdict(one.error) for one in errors]

    def _aligned(
        self, waiting: dict[int, Key], silent: dict[int, Key], errors: list[_Error]
    ) -> list[Verdict]:
        """Put the errors down in order: one to each request that gets an answer, the rest to the silent ones."""
        more, channel, first = (
            len(errors) - len(waiting),
            _triggered(silent),
            min(silent, default=0),
        )
        found: list[Verdict] = []
        for number in sorted({*waiting, first}, reverse=True):
            if number in waiting:
                found.append(self._refuse(waiting[number], errors.pop()))
            else:
                found += [Verdict(errors.pop().error, channel=channel) for _ in range(more)]
        found.reverse()
        return found

    def _by_count(self, number: int) -> list[Verdict]:
        """Conclude from an answer where the order is not known: the errors are about requests that are left."""
        fresh = [one for one in self._errors if not one.confirmed]
        for one in fresh:
            one.confirmed = True
        verdicts = self._all_refused()
        self._close_silent(number)
        first = next(iter(self._waiting), self._count + 1)
        kept = [one for one in self._errors if not one.vague and first <= one.upto]
        for one in self._errors:
            if one in fresh:
                verdicts.append(Verdict(one.error, channel=one.channel))
                self._unplaced = one
        self._errors = kept
        return verdicts

    def _all_refused(self) -> list[Verdict]:
        """Refuse the oldest requests where as many errors are about them, and about nothing else."""
        verdicts: list[Verdict] = []
        while (count := self._covered()) > 0:
            for one in self._errors[:count]:
                number = next(iter(self._waiting))
                key = self._waiting[number]
                self._drop(number)
                verdicts.append(self._refuse(key, one))
            del self._errors[:count]
        return verdicts

    def _covered(self) -> int:
        """Return how many errors are about exactly as many requests, the oldest; 0 where that cannot be told."""
        errors, end = self._errors, self._count + 1
        if not errors or next(islice(self._waiting, len(errors), None), end) <= errors[0].upto:
            return 0
        pinged, outlived = self._numbers.get(_PING), False
        numbers = [*islice(self._waiting, len(errors) + 1), end]
        for count, (one, number) in enumerate(zip(errors, numbers, strict=False), 1):
            if one.vague or number > one.upto:
                return 0
            # An error that refuses the ping comes after everything sent before the ping was dealt with.
            outlived = outlived or (number == pinged and one.at > self._pinged_at)
            if (one.confirmed or outlived) and numbers[count] > one.upto:
                return count
        return 0

    def _refuse(self, key: Key, one: _Error) -> Verdict:
        if key == _PING:
            return Verdict(one.error)
        self._refused[key] = None
        return Verdict(one.error, *key)


def _triggered(silent: dict[int, Key]) -> str | None:
    """Return the one channel that the client events among these requests went to, or None."""
    names = {channel for kind, channel in silent.values() if kind is Asked.CLIENT_EVENT}
    return names.pop() if len(names) == 1 else None


def _may_end(error: ErrorReceived) -> bool:
    """Return whether the error is of the codes that mostly are about the end of the connection."""
    return error.code is not None and 4200 <= error.code < 4300
