"""Decides what follows a failure, by one table for connections, channels and the sign-in.

The rule of the table: no failure is final after a success. A client that was connected, a channel that was subscribed
and a user who was signed in are retried, in the end rarely, until they succeed or the application stops them. Only
permanent failures before the first success are final at once. `docs/reconnecting.md` shows the table;
`tests/failure_table.py` writes it from this module.

`cause_of_close`, `cause_of_status`, `cause_of_refusal` and the like classify a failure. `step_after` looks up in
`FAILURES` which step follows, and `delay_after` converts the step into seconds.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, assert_never

from .._base.backoff import Rng, delay_before
from ..errors import AuthorizationError, is_temporary
from ..options import Options

__all__ = [
    "FAILURES",
    "PROMPT_ATTEMPTS",
    "Cause",
    "Row",
    "Step",
    "Subject",
    "cause_of_authorization",
    "cause_of_close",
    "cause_of_refusal",
    "cause_of_sign_in_authorization",
    "cause_of_status",
    "delay_after",
    "retry_in",
    "step_after",
]

AUTHORIZE_WITHIN = 10.0
"""Seconds after the greeting within which a 4009 means that this client never tried to authorize."""

_PATIENT = 1.0
"""The least delay of `Step.WAIT`, in seconds."""
_PROMPT_CAP = 8.0
"""The longest delay of `Step.PROMPT` in its first attempts, in seconds."""
PROMPT_ATTEMPTS = 6
"""How many attempts are prompt. With at most 1, 2, 4, 8, 8 and 8 s between them they take half a minute: then servers
close connections without a sign-in."""
_SPREAD = 0.1
"""The largest random part that is added to a fixed delay, relative to it: a thousand clients must not retry at once."""


class Subject(Enum):
    """The kind of thing that failed."""

    CONNECTION = "the connection"
    CHANNEL = "a channel"
    SIGN_IN = "the sign-in"


class Step(Enum):
    """The reaction to a failure. The value is its description in the documentation."""

    AT_ONCE = 'immediately the first time; when that repeats, as "wait"'
    BACK_OFF = "after a random delay of up to `retry_base`, doubled each time, at most `retry_cap`"
    WAIT = 'as "back off", and after 1 s at least'
    A_FEW = 'as "wait", `first_attempts` attempts in all; then never'
    PROMPT = 'as "wait", and after 8 s at most in the first half minute'
    PROMPT_THEN_RARE = 'as "promptly" in the first half minute, then as "rarely"'
    SLOW = "after 30 s, 1, 2 and then each 5 minutes (`slow_retry`)"
    RARE = "after 1, 5, 15 and then each 60 minutes (`refused_retry`)"
    WHEN_FREE = "after 1, 2, 4, 8 and then each 15 minutes (`capacity_retry`)"
    FINAL = "no further attempt: the client fails, or the channel and the sign-in wait for the next connection"


class Row(NamedTuple):
    """A line of the table: the step before the first success, the step after it, and the reason for both."""

    subject: Subject
    at_first: Step
    once_good: Step
    reason: str


class Cause(Enum):
    """The cause of a failure. The value is its description in the documentation."""

    NO_NETWORK = "no network, a name that is not found, a refused or reset connection, a timeout"
    ENDED = "an end without a close code, or with one below 4000 or above 4399"
    SILENCE = "no answer to a ping"
    RESTARTING = "close codes 4200 to 4299"
    OVER_CAPACITY = "close codes 4100 to 4199"
    RATE_LIMITED = "close codes 4300 to 4399"
    UNGREETED = "an end after the upgrade and before the greeting"
    NO_GREETING = "something other than a greeting after the upgrade"
    VIOLATION = "a violation of HTTP, WebSocket or a limit of `Options`"
    NO_URL = "`resolve_url` raised"
    UPGRADE_BUSY = "the upgrade is answered with 408, 425, 429 or 5xx"
    UPGRADE_ASTRAY = "the upgrade is answered with 2xx or 3xx"
    UPGRADE_REFUSED = "the upgrade is answered with another 4xx"
    PROXY_REFUSED = "the proxy requires a login, or rejects the login"
    QUOTA = "close code 4004"
    UNAUTHORIZED_SO_FAR = (
        "close code 4009 while an authorization is pending or has failed temporarily"
    )
    UNAUTHORIZED = (
        "close code 4009 within 10 s of the greeting, without any authorization requested"
    )
    UNAUTHORIZED_LATE = "close code 4009 later"
    TERMINATED = 'close code 4009 "disconnected by the app"'
    REFUSED = "other close codes from 4000 to 4099"
    CERTIFICATE = "a certificate that cannot be verified"
    CERTIFICATE_EARLY = "a certificate that is not valid yet"

    AUTH_DELAYED = "no authorization, temporarily: 408, 429, 5xx, no network, no answer"
    AUTH_REFUSED = "no authorization: another status, or an answer without one"
    SUBSCRIBE_UNANSWERED = "the server does not answer the subscribe"
    SUBSCRIBE_DELAYED = "the server refuses with 408, 429, 5xx, 4301 or an internal error"
    CHANNEL_FULL = "the channel is full (4100, over capacity)"
    CHANNEL_ENDS_CONNECTION = "the server ends the connection when the channel is subscribed"
    SUBSCRIBE_REFUSED = "the server refuses for another reason"

    SIGN_IN_AUTH_DELAYED = (
        "no authorization to sign in, temporarily: 408, 429, 5xx, no network, no answer"
    )
    SIGN_IN_AUTH_REFUSED = "no authorization to sign in: another status, or an answer without one"
    SIGN_IN_UNANSWERED = "the server does not answer the sign-in"
    SIGN_IN_REFUSED = "the server refuses the sign-in"


S = Step
_LINK, _CHANNEL, _USER = Subject

FAILURES: dict[Cause, Row] = {
    Cause.NO_NETWORK: Row(_LINK, S.BACK_OFF, S.BACK_OFF, "networks recover"),
    Cause.ENDED: Row(
        _LINK, S.BACK_OFF, S.BACK_OFF, "a crash, a restart, or a proxy that ends connections"
    ),
    Cause.SILENCE: Row(_LINK, S.AT_ONCE, S.AT_ONCE, "the timeout was delay enough"),
    Cause.RESTARTING: Row(_LINK, S.AT_ONCE, S.AT_ONCE, "the server asks for a reconnect"),
    Cause.OVER_CAPACITY: Row(_LINK, S.WAIT, S.WAIT, "the server asks for a delay"),
    Cause.RATE_LIMITED: Row(_LINK, S.WAIT, S.WAIT, "the server limits messages"),
    Cause.UNGREETED: Row(
        _LINK,
        S.BACK_OFF,
        S.BACK_OFF,
        "Sockudo does so for an unknown key, a disabled app and a full one; the last is temporary",
    ),
    Cause.NO_GREETING: Row(_LINK, S.WAIT, S.WAIT, "another server answers, or a proxy in between"),
    Cause.VIOLATION: Row(_LINK, S.WAIT, S.WAIT, "a fault of the server or of a proxy in between"),
    Cause.NO_URL: Row(_LINK, S.WAIT, S.WAIT, "the application may know the URL later"),
    Cause.UPGRADE_BUSY: Row(_LINK, S.WAIT, S.WAIT, "an overload or a restart"),
    Cause.UPGRADE_ASTRAY: Row(_LINK, S.WAIT, S.WAIT, "a captive portal or a proxy in between"),
    Cause.UPGRADE_REFUSED: Row(
        _LINK, S.A_FEW, S.WAIT, "reverse proxies do so for seconds during a deploy"
    ),
    Cause.PROXY_REFUSED: Row(
        _LINK, S.FINAL, S.WAIT, "a wrong login may lock an account; logins expire and are renewed"
    ),
    Cause.QUOTA: Row(
        _LINK, S.FINAL, S.WAIT, "the client's lost connection may still count for minutes"
    ),
    Cause.UNAUTHORIZED_SO_FAR: Row(
        _LINK, S.WAIT, S.WAIT, "the auth endpoint may answer on the next connection"
    ),
    Cause.UNAUTHORIZED: Row(
        _LINK,
        S.FINAL,
        S.SLOW,
        "this app requires a sign-in or a private channel, or another Origin",
    ),
    Cause.UNAUTHORIZED_LATE: Row(
        _LINK,
        S.SLOW,
        S.SLOW,
        "this app requires a sign-in or a private channel soon after the greeting",
    ),
    Cause.TERMINATED: Row(_LINK, S.FINAL, S.FINAL, "the application disconnected this user"),
    Cause.REFUSED: Row(
        _LINK, S.FINAL, S.SLOW, "a wrong key, path or protocol; apps are disabled and enabled again"
    ),
    Cause.CERTIFICATE: Row(
        _LINK,
        S.FINAL,
        S.SLOW,
        "no secret was sent; certificates are renewed, captive portals are temporary",
    ),
    Cause.CERTIFICATE_EARLY: Row(
        _LINK, S.SLOW, S.SLOW, "the clock of this machine may be wrong and set later"
    ),
    Cause.AUTH_DELAYED: Row(_CHANNEL, S.WAIT, S.WAIT, "the endpoint is down or overloaded"),
    Cause.AUTH_REFUSED: Row(
        _CHANNEL, S.FINAL, S.RARE, "deploys, expired sessions and login pages are temporary"
    ),
    Cause.SUBSCRIBE_UNANSWERED: Row(_CHANNEL, S.WAIT, S.WAIT, "the answer was lost"),
    Cause.SUBSCRIBE_DELAYED: Row(_CHANNEL, S.WAIT, S.WAIT, "an overload, or a limit on messages"),
    Cause.CHANNEL_FULL: Row(_CHANNEL, S.WHEN_FREE, S.WHEN_FREE, "members leave"),
    Cause.CHANNEL_ENDS_CONNECTION: Row(
        _CHANNEL, S.WHEN_FREE, S.WHEN_FREE, "one channel must not cost the others their connection"
    ),
    Cause.SUBSCRIBE_REFUSED: Row(
        _CHANNEL, S.FINAL, S.RARE, "a wrong secret or name; secrets are rotated"
    ),
    Cause.SIGN_IN_AUTH_DELAYED: Row(
        _USER, S.PROMPT, S.PROMPT, "some servers end the connection of a user that signs in late"
    ),
    Cause.SIGN_IN_AUTH_REFUSED: Row(
        _USER,
        S.FINAL,
        S.PROMPT_THEN_RARE,
        "deploys, expired sessions and login pages are temporary",
    ),
    Cause.SIGN_IN_UNANSWERED: Row(
        _USER, S.FINAL, S.PROMPT_THEN_RARE, "servers without the feature do not answer"
    ),
    Cause.SIGN_IN_REFUSED: Row(
        _USER, S.FINAL, S.PROMPT_THEN_RARE, "a wrong secret; secrets are rotated"
    ),
}
"""The table. A final failure of a channel or a sign-in ends with the connection: the next one tries again."""

_REFUSALS = {S.FINAL, S.A_FEW, S.SLOW, S.RARE, S.PROMPT_THEN_RARE}
"""The steps that follow refusals: `give_up="at_refusal"` makes them final."""


def step_after(cause: Cause, *, good: bool, failures: int, options: Options) -> Step:
    """Return the step that follows failure number `failures` in a row.

    `good` is whether the connection, channel or sign-in succeeded before on this client.
    """
    row = FAILURES[cause]
    if options.give_up == "at_refusal" and {row.at_first, row.once_good} & _REFUSALS:
        return S.FINAL
    if options.give_up == "never" and row.at_first in (S.FINAL, S.A_FEW):
        return S.SLOW if row.once_good is S.FINAL else row.once_good
    step = row.once_good if good else row.at_first
    if step is S.A_FEW:
        return S.WAIT if failures < options.first_attempts else S.FINAL
    return step


def delay_after(
    cause: Cause, step: Step, failures: int, options: Options, rng: Rng, *, at_least: float = 0.0
) -> float:
    """Return the delay of `step` in seconds, after failure number `failures` in a row.

    It is at least `at_least` and `Options.retry_floor`. The exception is the first attempt after 4200 to 4299, where
    the server asks for a reconnect: it follows at once, unless the server has several nodes.
    """
    if step is S.AT_ONCE and options.several_nodes:
        step = S.BACK_OFF
    if step is S.AT_ONCE:
        if failures == 1:
            return 0.0 if cause is Cause.RESTARTING else options.retry_floor
        step = S.WAIT
    if step in (S.WAIT, S.PROMPT, S.PROMPT_THEN_RARE):
        at_least = max(at_least, _PATIENT)
    at_least = max(at_least, options.retry_floor)
    cap = options.retry_cap
    base = options.retry_base if FAILURES[cause].subject is Subject.CONNECTION else 1.0
    match step:
        case S.AT_ONCE | S.BACK_OFF | S.WAIT | S.A_FEW:
            return delay_before(failures, rng, base=base, cap=cap, at_least=at_least)
        case S.PROMPT | S.PROMPT_THEN_RARE:
            if failures > PROMPT_ATTEMPTS and step is S.PROMPT_THEN_RARE:
                return _fixed(options.refused_retry, failures - PROMPT_ATTEMPTS, at_least, rng)
            cap = min(cap, _PROMPT_CAP) if failures <= PROMPT_ATTEMPTS else cap
            return delay_before(failures, rng, base=base, cap=cap, at_least=at_least)
        case S.SLOW:
            return _fixed(options.slow_retry, failures, at_least, rng)
        case S.RARE:
            return _fixed(options.refused_retry, failures, at_least, rng)
        case S.WHEN_FREE:
            return _fixed(options.capacity_retry, failures, at_least, rng)
        case S.FINAL:
            raise ValueError("no attempt follows a final failure")
        case _:
            assert_never(step)


def retry_in(
    cause: Cause, *, good: bool, failures: int, options: Options, rng: Rng
) -> float | None:
    """Return the seconds until a channel or sign-in is tried again; None: no attempt on this connection."""
    step = step_after(cause, good=good, failures=failures, options=options)
    return None if step is S.FINAL else delay_after(cause, step, failures, options, rng)


def _fixed(delays: tuple[float, ...], failures: int, at_least: float, rng: Rng) -> float:
    """Return delay number `failures`, or the last one beyond the end, plus a random part of up to a tenth."""
    delay = delays[min(failures, len(delays)) - 1]
    return max(at_least, delay + rng.uniform(0.0, _SPREAD * delay))


# Classify failures.


def cause_of_close(
    code: int | None, text: str, *, connected_for: float | None = None, authorizing: bool = False
) -> Cause:
    """Return the cause of an end with `code`, from the close frame or from a `pusher:error` before the end.

    `connected_for` is the age of the connection in seconds, None before its greeting; `authorizing` is whether an
    authorization is pending or has failed temporarily. Classifies codes by range, as Pusher's protocol document does.
    """
    if code is None or not 4000 <= code < 4400:
        return Cause.ENDED
    if code >= 4300:
        # Pusher sends these in pusher:error only; other servers close with them when a client exceeds a limit.
        return Cause.RATE_LIMITED
    if code >= 4200:
        return Cause.RESTARTING
    if code >= 4100:
        return Cause.OVER_CAPACITY
    if code == 4004:
        return Cause.QUOTA
    if code != 4009:
        return Cause.REFUSED
    if says_terminated(text):
        return Cause.TERMINATED
    if authorizing:
        return Cause.UNAUTHORIZED_SO_FAR
    if connected_for is not None and connected_for > AUTHORIZE_WITHIN:
        return Cause.UNAUTHORIZED_LATE
    return Cause.UNAUTHORIZED


def says_terminated(text: str) -> bool:
    """Return whether a 4009 with this text means that the application terminated the user's connections."""
    return any(words in text.lower() for words in ("disconnected by the app", "terminated by"))


def cause_of_status(status: int) -> Cause:
    """Return the cause of an upgrade answered with this HTTP status instead of 101."""
    if status >= 500 or status in (408, 425, 429):
        return Cause.UPGRADE_BUSY
    return Cause.UPGRADE_REFUSED if status >= 400 else Cause.UPGRADE_ASTRAY


def cause_of_authorization(error: AuthorizationError) -> Cause:
    """Return the cause for a channel whose authorization failed."""
    return Cause.AUTH_DELAYED if error.temporary else Cause.AUTH_REFUSED


def cause_of_sign_in_authorization(error: AuthorizationError) -> Cause:
    """Return the cause for a sign-in whose authorization failed."""
    return Cause.SIGN_IN_AUTH_DELAYED if error.temporary else Cause.SIGN_IN_AUTH_REFUSED


def cause_of_refusal(code: int | None, text: str) -> Cause:
    """Return the cause of a refused subscribe, from the server's code or status and its text."""
    words = text.lower()
    if code == 4100 or "over capacity" in words or "over quota" in words:
        return Cause.CHANNEL_FULL
    if is_temporary(code) or code == 4301:
        return Cause.SUBSCRIBE_DELAYED
    if "internal error" in words or "internal server error" in words or "rate limit" in words:
        return Cause.SUBSCRIBE_DELAYED
    return Cause.SUBSCRIBE_REFUSED
