"""Matches the server's answers and errors to the requests of one connection.

The protocol has no request ids. A success names its channel; an error names it on some servers only. The ledger keeps
the requests in the order in which they were sent, and attributes an error that names nothing by these rules:

- It is about an unanswered request that was sent before the error was received.
- Subscribe, sign-in and ping get one answer each. A client event, an unsubscribe and the second subscribe to a presence
  channel get an error or no answer: they are the silent requests.
- A server that answers in order (Reverb, Sockudo) has answered all earlier requests when it answers a request. Where
  the order is not known, an error is attributed only when there are as many unanswered requests as errors.
- An error refuses no request until the server has answered something after it: it may be the reason for the end of the
  connection. If no answer is expected, `wants_ping` requests a ping.

A success always counts. One that contradicts the order stops its use for this connection.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import islice, takewhile
from typing import ClassVar, NamedTuple

from msgspec import Struct

from .._protocol.control import ErrorReceived

__all__ = ["Ledger", "PingCounts", "RequestKind", "Verdict"]

_REFUSES_NOTHING = 4302
"""Pusher's error code for a watchlist that was truncated: the sign-in itself succeeded."""


class RequestKind(Enum):
    """The kinds of requests."""

    SUBSCRIBE = "subscribe"
    SIGN_IN = "sign-in"
    PING = "ping"
    CLIENT_EVENT = "client event"
    UNSUBSCRIBE = "unsubscribe"
    USER_CHANNEL = "subscribe to the user's own channel"
    """Only some servers answer it."""
    SUBSCRIBE_AGAIN = "second subscribe to a presence channel"
    """Sockudo answers it only if the first one had no effect."""

    __hash__: ClassVar[Callable[[RequestKind], int]] = object.__hash__


_SILENT = frozenset(
    (
        RequestKind.CLIENT_EVENT,
        RequestKind.UNSUBSCRIBE,
        RequestKind.USER_CHANNEL,
        RequestKind.SUBSCRIBE_AGAIN,
    )
)

Key = tuple[RequestKind, str | None]
"""The kind of a request, and its channel."""

_PING: Key = (RequestKind.PING, None)


class PingCounts(NamedTuple):
    """The pings of one connection."""

    connection: int
    """The number of the connection, from 1."""
    sent: int
    """How many pings were sent on it."""
    answered: int
    """How many of them were answered."""


class Verdict(Struct, frozen=True):
    """An error with the request that it refuses; `refused` is None for an error that refuses no request.

    `channel` is the channel of that request, or the one that the error is about.
    """

    error: ErrorReceived
    refused: RequestKind | None = None
    channel: str | None = None


class _Error:
    """An error without a name that is not attributed to a request yet."""

    __slots__ = ("at", "channel", "confirmed", "error", "upto", "vague")

    def __init__(
        self, error: ErrorReceived, at: float, upto: int, *, vague: bool, channel: str | None
    ) -> None:
        self.error = error
        self.channel = channel
        """The only channel whose client events it can be about, or None."""
        self.at = at
        self.upto = upto
        """The number of the last request that was sent before it."""
        self.vague = vague
        """Whether it can be about a silent or expired request."""
        self.confirmed = False
        """Whether the server has answered a request since: the error did not end the connection."""


class Ledger:
    """The unanswered requests of one connection. `in_order` is whether the server is known to answer in order."""

    __slots__ = (
        "_count", "_errors", "_in_order", "_known_in_order", "_numbers", "_passed", "_pinged_at", "_refused",
        "_repeated", "_silent", "_unplaced", "_waiting", "pings", "pongs",
    )  # fmt: skip

    def __init__(self, *, in_order: bool) -> None:
        self._known_in_order = self._in_order = in_order
        self._count = 0
        """The number of the last request."""
        self._waiting: dict[int, Key] = {}
        """The unanswered requests that get an answer, by number. Requests are numbered in the order of sending."""
        self._numbers: dict[Key, int] = {}
        """The numbers of the same requests."""
        self._silent: dict[int, Key] = {}
        """The silent requests, by number, until a later request is answered."""
        # Dicts instead of sets: an empty set takes 150 bytes more, in every idle client.
        self._repeated: dict[Key, None] = {}
        """The silent requests since the last request that gets an answer: each is recorded once."""
        self._errors: list[_Error] = []
        self._passed: dict[Key, int] = {}
        """Requests that a server that answers in order has skipped, with their numbers: it will not answer them."""
        self._refused: dict[Key, None] = {}
        """Requests to which an error without a name was attributed."""
        self._pinged_at = 0.0
        """When the unanswered ping was sent."""
        self.pings: int = 0
        """How many pings were sent."""
        self.pongs: int = 0
        """How many of them were answered."""
        self._unplaced: _Error | None = None
        """The last error that could not be attributed."""

    # Requests.

    def sent(self, kind: RequestKind, channel: str | None = None, now: float = 0.0) -> None:
        """Record a request that is sent."""
        key = kind, channel
        if kind in _SILENT:
            if key not in self._repeated:
                self._repeated[key] = None
                self._count += 1
                self._silent[self._count] = key
            return
        if kind is RequestKind.PING:
            self.pings += 1
            if key in self._numbers:
                return  # keep the older number: its pong answers fewer requests, so it attributes nothing wrongly
            self._pinged_at = now
        self._count += 1
        self._repeated.clear()
        self._passed.pop(key, None)
        self._refused.pop(key, None)
        if key in self._numbers:
            self._drop(self._numbers[key])
        self._numbers[key] = self._count
        self._waiting[self._count] = key

    # Answers.

    def answered(self, kind: RequestKind, channel: str | None = None) -> list[Verdict]:
        """Record an answer that names its request: a success, pong or refusal. Return the errors that it attributes."""
        key = kind, channel
        if kind is RequestKind.PING:
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
        """Record an error that names no request; return the errors that can be attributed at once."""
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
        # A server does not refuse the user's own channel right after the sign-in.
        vague = any(kind is not RequestKind.USER_CHANNEL for kind, _ in self._silent.values())
        self._errors.append(_Error(error, now, self._count, vague=vague, channel=channel))
        return self._all_refused()

    def expired(self, kind: RequestKind, channel: str | None = None) -> ErrorReceived | None:
        """Remove a request that timed out; return the error that may have been its answer, or None."""
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
        """Reset at the end of the connection. Return the errors after which the server answered nothing."""
        reports = [Verdict(one.error) for one in self._errors if not one.confirmed]
        self._in_order = self._known_in_order
        self._unplaced = None
        self.pings = self.pongs = 0
        for kept in (self._waiting, self._numbers, self._silent, self._passed):
            kept.clear()
        self._repeated.clear()
        self._refused.clear()
        self._errors.clear()
        return reports

    # Queries.

    @property
    def wants_ping(self) -> bool:
        """Whether an error needs an answer after it to be attributed, and no ping is unanswered."""
        return self.undecided and not self.pinging

    @property
    def waiting(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._waiting)

    @property
    def pinging(self) -> bool:
        """Whether a ping is unanswered."""
        return _PING in self._numbers

    @property
    def undecided(self) -> bool:
        """Whether the server has answered nothing after some error."""
        return not all(one.confirmed for one in self._errors)

    @property
    def unplaced(self) -> ErrorReceived | None:
        """The last error that may be the answer to an unanswered request but was not attributed to it."""
        asked = [*islice(self._waiting, 1), *self._passed.values()]
        return self._error_about(min(asked)) if asked else None

    def suspected(self, kind: RequestKind, channel: str | None = None) -> ErrorReceived | None:
        """Return the last error that may be the answer to this request, or None."""
        key = kind, channel
        number = self._numbers.get(key, self._passed.get(key))
        return None if number is None else self._error_about(number)

    def unanswered(self) -> list[str]:
        """Return the channels whose subscribe is unanswered, in the order of sending."""
        return [
            name for kind, name in self._waiting.values() if kind is RequestKind.SUBSCRIBE and name
        ]

    # Attribution.

    def _error_about(self, number: int) -> ErrorReceived | None:
        """Return the last error that may be about request `number`, or None."""
        open_ones = [self._unplaced] if self._unplaced is not None else []
        return next(
            (one.error for one in reversed([*open_ones, *self._errors]) if number <= one.upto), None
        )

    def _drop(self, number: int) -> None:
        """Remove a request that gets an answer."""
        del self._numbers[self._waiting.pop(number)]
        if not self._waiting:
            # A dict does not shrink until it is cleared: after a thousand subscribes the two take 75 KB.
            self._waiting.clear()
            self._numbers.clear()

    def _close_silent(self, number: int) -> dict[int, Key]:
        """Remove the silent requests before `number`, and return them."""
        early = {one: self._silent[one] for one in takewhile(number.__gt__, self._silent)}
        for one, key in early.items():
            del self._silent[one]
            self._repeated.pop(key, None)
        return early

    def _in_sequence(self, number: int) -> list[Verdict]:
        """Attribute errors after the answer to `number`, if the server answers in order: earlier requests are over."""
        early = {one: self._waiting[one] for one in takewhile(number.__gt__, self._waiting)}
        for one in early:
            self._drop(one)
        silent = self._close_silent(number)
        errors, self._errors = self._errors, []
        if len(errors) >= len(early):
            return self._aligned(early, silent, errors)
        # Some request got no answer, and there is no way to know which.
        self._passed.update((key, one) for one, key in early.items())
        if errors:
            self._unplaced = errors[-1]
        return [Verdict(one.error) for one in errors]

    def _aligned(
        self, waiting: dict[int, Key], silent: dict[int, Key], errors: list[_Error]
    ) -> list[Verdict]:
        """Attribute the errors in order: one to each request that gets an answer, the rest to the silent requests.

        The silent requests count as one: the rest has the place of the first of them.
        """
        more, channel = len(errors) - len(waiting), _triggered(silent)
        first = min(silent, default=0)
        found: list[Verdict] = []
        for number in sorted({*waiting, first}, reverse=True):
            if number in waiting:
                found.append(self._refuse(waiting[number], errors.pop()))
            else:
                found += [Verdict(errors.pop().error, channel=channel) for _ in range(more)]
        found.reverse()
        return found

    def _by_count(self, number: int) -> list[Verdict]:
        """Attribute errors after the answer to `number` where the order of answers is not known."""
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
        """Attribute the oldest errors to the oldest requests where there are as many and nothing else is possible."""
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
        """Return how many of the oldest errors are about as many of the oldest requests; 0 when that is not certain."""
        errors, end = self._errors, self._count + 1
        if not errors or next(islice(self._waiting, len(errors), None), end) <= errors[0].upto:
            return 0
        pinged, outlived = self._numbers.get(_PING), False
        numbers = [*islice(self._waiting, len(errors) + 1), end]
        for count, (one, number) in enumerate(zip(errors, numbers, strict=False), 1):
            if one.vague or number > one.upto:
                return 0
            # An error that answers the ping follows the answers to all requests before the ping.
            outlived = outlived or (number == pinged and one.at > self._pinged_at)
            if (one.confirmed or outlived) and numbers[count] > one.upto:
                return count
        return 0

    def _refuse(self, key: Key, one: _Error) -> Verdict:
        """Attribute an error to a request."""
        if key == _PING:
            return Verdict(one.error)
        self._refused[key] = None
        return Verdict(one.error, *key)


def _triggered(silent: dict[int, Key]) -> str | None:
    """Return the channel of the client events among these requests, or None unless there is exactly one."""
    names = {channel for kind, channel in silent.values() if kind is RequestKind.CLIENT_EVENT}
    return names.pop() if len(names) == 1 else None


def _may_end(error: ErrorReceived) -> bool:
    """Return whether the error has a code that usually announces the end of the connection (4200 to 4299)."""
    return error.code is not None and 4200 <= error.code < 4300
