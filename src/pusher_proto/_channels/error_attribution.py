"""Errors of the server, read in every shape seen, and what each is about.

Protocol: subscribing. Only some servers name the channel in the envelope; Pusher names it in the text, Reverb
nowhere. What is put down to a channel wrongly is mended when the success comes after all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .._connection.link import ErrorReceived
from .._wire.envelope import text_of, value_of
from ..events import ChannelEvent
from ..states import ChannelState
from .channel import Channel

__all__ = [
    "blamed_channel",
    "concerns_sign_in",
    "concerns_subscribing",
    "named_channel",
    "read_refusal",
]

TRIGGER_COUNTS = 5.0
"""Seconds after a client event in which an error that names no channel may be about it."""

_UNAUTHORIZED = 4009
_CLIENT_EVENT = 4301
_NOT_ABOUT_SUBSCRIBING = (
    4200,  # Reverb: "Invalid message format"
    4301,
    4302,  # a watchlist was cut; the sign-in succeeded
)
_NOT_ABOUT_SIGN_IN = (4301, 4302)

# "... digest of 1.2:private-a:{...}, but got ...", "Existing subscription to channel a", "subscribe to a"
_NAMED = re.compile(
    r"(?:digest of [0-9.]+:(?!:)|(?:subscription to|for|on|of) channel )(?P<surely>\S+)"
    r"|subscri(?:ption|be) to (?P<perhaps>\S+)",
    re.IGNORECASE,
)
_SIGN_IN = re.compile(r"::user::|\b(?:sign-? ?in|user auth)", re.IGNORECASE)


def named_channel(error: ErrorReceived, channels: Mapping[str, Channel]) -> str | None:
    """Return the channel that the error names, in its envelope or in its text."""
    if error.channel is not None:
        return error.channel
    found = _NAMED.search(error.message)
    if found is None:
        return None
    names = list(_beginnings(found["surely"] or found["perhaps"]))
    guess = names[-1] if found["surely"] else None  # a channel that was left meanwhile
    return next((name for name in names if name in channels), guess)


def blamed_channel(error: ErrorReceived, channels: Mapping[str, Channel], now: float) -> str | None:
    """Return the channel that an error without a name must be about: the only one of which something was asked."""
    if error.code == _CLIENT_EVENT:
        used = [c.name for c in channels.values() if now - c.triggered_at <= TRIGGER_COUNTS]
        return used[0] if len(used) == 1 else None
    if error.code in _NOT_ABOUT_SUBSCRIBING or _SIGN_IN.search(error.message):
        return None
    asking = (ChannelState.SUBSCRIBING, ChannelState.UNSUBSCRIBING)
    asked = [channel for channel in channels.values() if channel.state in asking]
    if (
        error.code == _UNAUTHORIZED and len(asked) > 1
    ):  # a public channel is hardly refused for that
        asked = [channel for channel in asked if channel.kind.needs_authorization]
    return asked[0].name if len(asked) == 1 else None


def concerns_subscribing(error: ErrorReceived) -> bool:
    """Return whether an error about a channel may be the answer to its subscribe."""
    return error.code != _CLIENT_EVENT and not error.message.startswith("No current subscription")


def concerns_sign_in(error: ErrorReceived) -> bool:
    """Return whether an error about no channel may be the answer to a sign-in that is under way."""
    return error.code not in _NOT_ABOUT_SIGN_IN and "subscri" not in error.message.lower()


def read_refusal(event: ChannelEvent) -> ErrorReceived:
    """Read a subscription_error: Soketi's {type, error, status}, a bare text, or nothing."""
    data = value_of(event.wire_data)
    fields = data if isinstance(data, dict) else {}
    status = fields.get("status", fields.get("code"))
    code = status if isinstance(status, int) and not isinstance(status, bool) else None
    why = fields.get("error") or fields.get("message") or (data if isinstance(data, str) else "")
    return ErrorReceived(code, text_of(why), event.channel)


def _beginnings(text: str) -> Iterator[str]:
    """Yield what the name at the start of `text` may be, the longest first.

    A colon ends it, unless the server allows colons in names; punctuation after it may be its own.
    """
    ends = [at for at, character in enumerate(text) if character == ":"]
    for end in (len(text), *reversed(ends)):
        name = text[:end]
        while name:
            yield name
            name = name[:-1] if name[-1] in ",.;" else ""
