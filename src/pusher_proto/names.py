"""Names of channels and events: the kind of a channel by its name, and the names that the protocol allows."""

from __future__ import annotations

import re
from enum import Enum

from .errors import InvalidName, excerpt

__all__ = [
    "USER_PREFIX",
    "ChannelKind",
    "check_channel",
    "check_client_event",
    "is_cache",
    "kind_of",
]

# https://pusher.com/docs/channels/using_channels/channels: the set of characters; 164 characters are
# documented, the HTTP libraries, Soketi and Sockudo take 200, and so do we.
_ALLOWED = "-a-zA-Z0-9_=@,.;"
MAX_NAME = 200
_FORBIDDEN = re.compile(f"[^{_ALLOWED}]")
_is_right = re.compile(f"[{_ALLOWED}]{{1,{MAX_NAME}}}").fullmatch


class ChannelKind(Enum):
    """The kind of a channel, which its prefix decides. Prefixes are exact and case-sensitive."""

    PUBLIC = "public"
    """No prefix: every client may subscribe."""
    PRIVATE = "private"
    """`private-`: needs an authorization."""
    PRESENCE = "presence"
    """`presence-`: needs an authorization, and has a list of members."""
    ENCRYPTED = "encrypted"
    """`private-encrypted-`: needs an authorization with a key."""
    USER = "user"
    """`#server-to-user-<id>`: subscribed by the session itself after signing in."""

    @property
    def needs_authorization(self) -> bool:
        """Whether subscribing needs an authorization."""
        return self not in _OPEN


_OPEN = (ChannelKind.PUBLIC, ChannelKind.USER)
USER_PREFIX = "#server-to-user-"

_PREFIXES = (  # the longest first: an encrypted channel is a private one by its prefix too
    ("private-encrypted-", ChannelKind.ENCRYPTED),
    ("private-", ChannelKind.PRIVATE),
    ("presence-", ChannelKind.PRESENCE),
    (USER_PREFIX, ChannelKind.USER),
)


def kind_of(channel: str) -> ChannelKind:
    """Return the kind of the channel with this name."""
    if not channel.startswith(("private-", "presence-", "#")):
        return ChannelKind.PUBLIC
    for prefix, kind in _PREFIXES:
        if channel.startswith(prefix):
            return kind
    return ChannelKind.PUBLIC


_CACHE = ("cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-")


def is_cache(channel: str) -> bool:
    """Return whether the server sends the last event of this channel on subscribing."""
    return channel.startswith(_CACHE)


def check_channel(channel: str, *, strict: bool = True) -> None:
    """Raise `InvalidName` unless `channel` may be subscribed to.

    With `strict` false only what can never work is refused: an empty name, control characters and text that
    is not valid Unicode (some self-hosted servers allow more than Pusher does).
    """
    # Programs without type checks may pass anything.
    if isinstance(channel, str) and _is_right(channel):  # type: ignore[redundant-expr]  # see above
        return
    _check_text("a channel", channel)
    if not strict:
        return
    if channel.startswith("#"):
        raise InvalidName(
            f"channel names that start with # are the server's own: {excerpt(channel)!r}"
        )
    wrong = _FORBIDDEN.search(channel)
    if wrong:
        raise InvalidName(
            f"the character {wrong[0]!r} at position {wrong.start()} of the channel name {excerpt(channel)!r} is "
            "not allowed: letters, digits and -_=@,.; are (Options(strict_names=False) lifts this, and --any-name)"
        )
    raise InvalidName(f"a channel name has at most {MAX_NAME} characters, not {len(channel)}")


def check_client_event(event: str, *, strict: bool = True) -> None:
    """Raise `InvalidName` unless clients may trigger `event`: `client-` followed by a name."""
    _check_text("an event", event)
    if event == "client-":
        raise InvalidName("a client event's name starts with 'client-' and has something after it")
    if not event.startswith("client-"):
        raise InvalidName(
            f"a client event's name starts with 'client-': write {'client-' + excerpt(event, 64)!r}"
        )
    if strict and len(event) > MAX_NAME:
        raise InvalidName(f"an event name has at most {MAX_NAME} characters, not {len(event)}")


def _check_text(what: str, name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} name is a str, not {type(name).__name__}")
    if not name:
        raise InvalidName(f"{what} name cannot be empty")
    if name.isascii() and name.isprintable():
        return
    for position, character in enumerate(name):
        if character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff":
            raise InvalidName(
                f"the character {character!r} at position {position} of {what} name is not allowed"
            )
