"""Kinds of channels by their names, as the server sees them."""

from __future__ import annotations

import re
from enum import Enum, auto

__all__ = ["USER_CHANNEL", "Kind", "is_cache", "is_name", "is_user_id", "kind_of"]

USER_CHANNEL = "#server-to-user-"

_CHANNEL = re.compile(rf"({USER_CHANNEL})?[-a-zA-Z0-9_=@,.;]+\Z")
_USER_ID = re.compile(r"[-a-zA-Z0-9_=@,.;]+\Z")
_CACHE = ("cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-")


class Kind(Enum):
    """Kinds of channels, by what subscribers need."""

    PUBLIC = auto()
    PRIVATE = auto()
    ENCRYPTED = auto()
    PRESENCE = auto()
    USER = auto()


# Longest prefix first. Exact and anchored, as Pusher does; Reverb and Soketi match more loosely.
_KINDS = (
    ("private-encrypted-", Kind.ENCRYPTED),
    ("private-", Kind.PRIVATE),
    ("presence-", Kind.PRESENCE),
    (USER_CHANNEL, Kind.USER),
)


def kind_of(channel: str) -> Kind:
    """Return the kind of a channel."""
    return next((kind for prefix, kind in _KINDS if channel.startswith(prefix)), Kind.PUBLIC)


def is_cache(channel: str) -> bool:
    """Return whether the last event of this channel is kept for later subscribers."""
    return channel.startswith(_CACHE)


def is_name(channel: str, limit: int) -> bool:
    """Return whether a channel may have this name."""
    return len(channel) <= limit and _CHANNEL.match(channel) is not None


def is_user_id(user_id: str, limit: int) -> bool:
    """Return whether a user may have this id."""
    return len(user_id) <= limit and _USER_ID.match(user_id) is not None
