"""Names of channels and events: checks them, and finds the kind of a channel."""

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
    "is_of_protocol",
    "kind_of",
]

# The characters are those of https://pusher.com/docs/channels/using_channels/channels. It documents 164 characters as
# the limit; Pusher's HTTP libraries, Soketi and Sockudo accept 200, and so does this client.
_ALLOWED = "-a-zA-Z0-9_=@,.;"
MAX_NAME = 200
_FORBIDDEN = re.compile(f"[^{_ALLOWED}]")
_is_valid = re.compile(f"[{_ALLOWED}]{{1,{MAX_NAME}}}").fullmatch


class ChannelKind(Enum):
    """The kind of a channel, from the prefix of its name. Prefixes are case-sensitive."""

    PUBLIC = "public"
    """No prefix: any client may subscribe."""
    PRIVATE = "private"
    """`private-`: needs an authorization."""
    PRESENCE = "presence"
    """`presence-`: needs an authorization, and has a list of members."""
    ENCRYPTED = "encrypted"
    """`private-encrypted-`: needs an authorization with a key."""
    USER = "user"
    """`#server-to-user-<id>`: the session subscribes to it after signing in."""

    @property
    def needs_authorization(self) -> bool:
        """Whether subscribing needs an authorization."""
        return self not in _OPEN


_OPEN = (ChannelKind.PUBLIC, ChannelKind.USER)
USER_PREFIX = "#server-to-user-"

_PREFIXES = (  # the longest first: the prefix of encrypted channels starts with that of private channels
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
    """Return whether this is a cache channel: the server sends its last event after a success."""
    return channel.startswith(_CACHE)


def is_of_protocol(event: str) -> bool:
    """Return whether the protocol defines the messages of this name: an application cannot publish them."""
    return event.startswith(("pusher:", "pusher_internal:"))


def check_channel(channel: str, *, strict: bool = True) -> None:
    """Raise `InvalidName` unless `channel` is valid as the name of a channel.

    With `strict=False` allow any name but an empty one, control characters and invalid Unicode, since some self-hosted
    servers allow more than Pusher does.
    """
    # Programs without type checks may pass anything.
    if isinstance(channel, str) and _is_valid(channel):  # type: ignore[redundant-expr]  # see above
        return
    _check_text("a channel", channel)
    if not strict:
        return
    if channel.startswith("#"):
        raise InvalidName(
            f"channel names that start with # are reserved for the server: {excerpt(channel)!r}"
        )
    wrong = _FORBIDDEN.search(channel)
    if wrong:
        raise InvalidName(
            f"the character {wrong[0]!r} at position {wrong.start()} of the channel name {excerpt(channel)!r} is "
            "not allowed: letters, digits and -_=@,.; are (Options(strict_names=False) lifts this, and --any-name)"
        )
    raise InvalidName(f"a channel name has at most {MAX_NAME} characters, not {len(channel)}")


def check_client_event(event: str, *, strict: bool = True) -> None:
    """Raise `InvalidName` unless `event` is valid as the name of a client event: `client-` and a name."""
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
    """Raise TypeError or `InvalidName` for an empty name, control characters and invalid Unicode."""
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
