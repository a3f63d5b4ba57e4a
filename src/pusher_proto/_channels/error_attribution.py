"""Finds out what an error of the server names: a channel, the sign-in, or nothing.

Protocol: subscribing. Some servers name the channel in the envelope; Pusher names it in the text of the error; Reverb
and Sockudo do not name it. The ledger of the connection finds the request of an error that names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .._base.checks import is_int
from .._protocol.control import ErrorReceived
from .._protocol.hints import refusal_hint
from .._wire.envelope import text_of, value_of
from ..errors import SubscriptionError, excerpt
from ..events import ChannelEvent
from .channel import Channel

__all__ = [
    "may_refuse_subscribe",
    "named_channel",
    "names_sign_in",
    "read_refusal",
    "refusal_of",
    "says_not_subscribed",
    "suspicion",
]

_CLIENT_EVENT = 4301

# "... digest of 1.2:private-a:{...}, but got ...", "Existing subscription to channel a", "subscribe to a"
_NAMED = re.compile(
    r"(?:digest of [0-9.]+:(?!:)|(?:subscri(?:ption|bed) to|for|on|of) channel |Invalid channel name )"
    r"(?P<surely>\S+)"
    r"|name contains invalid characters: '(?P<quoted>[^']+)'"
    r"|subscri(?:ption|be) to (?P<perhaps>\S+)",
    re.IGNORECASE,
)
_SIGN_IN = re.compile(r"digest of [0-9.]+::user::|\bsign-?in\b|\buser auth", re.IGNORECASE)


def named_channel(error: ErrorReceived, channels: Mapping[str, Channel]) -> str | None:
    """Return the channel that the error names, in its envelope or in its text."""
    if error.channel is not None:
        return error.channel
    found = _NAMED.search(error.message)
    if found is None:
        return None
    if found["quoted"] is not None:
        return found["quoted"]
    names = list(_beginnings(found["surely"] or found["perhaps"]))
    # A name in this position is the name of a channel, even if that was unsubscribed since.
    guess = names[-1] if found["surely"] else None
    return next((name for name in names if name in channels), guess)


def says_not_subscribed(error: ErrorReceived) -> bool:
    """Return whether the server rejected a client event because it does not count the channel as subscribed."""
    return error.code == _CLIENT_EVENT and "not subscribed" in error.message.lower()


def names_sign_in(error: ErrorReceived) -> bool:
    """Return whether the text of an error names the sign-in."""
    return _SIGN_IN.search(error.message) is not None


def may_refuse_subscribe(error: ErrorReceived) -> bool:
    """Return whether an error that names a channel may be the answer to its subscribe."""
    return error.code != _CLIENT_EVENT and not error.message.startswith("No current subscription")


def suspicion(error: ErrorReceived | None) -> str:
    """Return an addition to the message of a timeout: the error that may have been the answer, or ""."""
    if error is None:
        return ""
    code = "" if error.code is None else f" ({error.code})"
    return f"; this error of the server may be about it: {excerpt(error.message)!r}{code}"


def refusal_of(name: str, error: ErrorReceived) -> SubscriptionError:
    """Return the exception for a subscribe that the server refused."""
    text = f"the server refused {excerpt(name, 64)!r}"
    if error.message:
        text += f": {excerpt(error.message)}"
    if hint := refusal_hint(error.message):
        text += f" ({hint})"
    return SubscriptionError(text, channel=name, code=error.code)


def read_refusal(event: ChannelEvent) -> ErrorReceived:
    """Return the error in a subscription_error, whose data is Soketi's {type, error, status}, a text, or nothing."""
    data = value_of(event.wire_data)
    fields = data if isinstance(data, dict) else {}
    status = fields.get("status", fields.get("code"))
    code = status if is_int(status) else None
    why = fields.get("error") or fields.get("message") or (data if isinstance(data, str) else "")
    return ErrorReceived(code, text_of(why), event.channel)


def _beginnings(text: str) -> Iterator[str]:
    """Yield each possible name of a channel at the start of `text`, the longest first.

    A colon ends the name, unless the server allows colons in names; punctuation at its end may be part of it.
    """
    ends = [at for at, character in enumerate(text) if character == ":"]
    for end in (len(text), *reversed(ends)):
        name = text[:end]
        while name:
            yield name
            name = name[:-1] if name[-1] in ",.;" else ""
