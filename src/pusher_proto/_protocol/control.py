"""The items that a connection yields, and readers for the messages that concern the connection itself.

Pure functions. Servers write these messages differently; every shape that was seen is read here.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from .._base.secret import masked
from .._base.urls import shown_url
from .._wire.envelope import Envelope, text_of, value_of
from .._wire.websocket import UpgradeRefused
from ..errors import excerpt
from .failures import Cause, cause_of_status

__all__ = [
    "Ended",
    "ErrorReceived",
    "Greeted",
    "LinkItem",
    "LinkNews",
    "Malformed",
    "Ponged",
    "TextReceived",
    "Upgraded",
    "read_error",
    "read_greeting",
    "read_refused_upgrade",
    "shown",
]


class TextReceived(Struct, frozen=True):
    """A message as it was received, before anything is made of it: for `Message` events."""

    text: bytes


class Upgraded(Struct, frozen=True):
    """The WebSocket is open."""


class Greeted(Struct, frozen=True):
    """The server gave a socket id: the connection is established."""

    socket_id: str


class ErrorReceived(Struct, frozen=True):
    """A `pusher:error` on an established connection."""

    code: int | None
    message: str
    channel: str | None


class Malformed(Struct, frozen=True):
    """An invalid message; the connection is kept."""

    reason: str
    excerpt: str


class Ponged(Struct, frozen=True):
    """A `pusher:pong`: the server has dealt with a ping."""


class Ended(Struct, frozen=True):
    """The connection is over: nothing more comes."""

    code: int | None
    reason: str
    cause: Cause | None = None
    """What went wrong; None: what the code says."""
    retry_after: float | None = None
    """Seconds that the server asked to wait (Retry-After)."""
    at_fault: bool = False
    """Whether the stream must be dropped without ceremony."""
    hint: str = ""
    """What a person can do; an empty text where the code says it."""


LinkNews = TextReceived | Upgraded | Greeted | ErrorReceived | Malformed | Ponged | Ended
"""What concerns the connection itself."""

LinkItem = Envelope | LinkNews


def shown(text: str, limit: int = 128) -> str:
    """Return the start of what a server wrote, without the signatures that errors quote (Pusher: "but got KEY:...")."""
    return excerpt(masked(text[: 2 * limit]), limit)


# In a message, or in a string within one.
_AUTH = re.compile(r'(\\*"auth\\*"\s*:\s*\\*")[^"\\]*')
_NAMES = ("channel_data", "hash", "user_info")
_WHO = re.compile(rf'(\\*"(?:{"|".join(_NAMES)})\\*"\s*:\s*).*', re.DOTALL)


def shown_frame(data: bytes) -> str:
    """Return the start of a message for a log, without signatures and without data that identifies people."""
    text = data[:512].decode("utf-8", "replace")
    if "auth" in text:
        text = _AUTH.sub(r"\1***", text)
    if any(name in text for name in _NAMES):
        text = _WHO.sub(r"\1***", text)
    return shown(text, 200)


class _SocketId(Struct):
    socket_id: str | int | float


_read_socket_id = msgspec.json.Decoder(_SocketId).decode


def read_greeting(envelope: Envelope) -> tuple[str, Any] | None:
    """Return socket id and activity_timeout of a greeting, the latter as it stands there; None without a socket id."""
    data = value_of(envelope.data)
    if isinstance(data, str):
        try:  # a number that no float can hold is no reason to stay away
            data = {"socket_id": _read_socket_id(data).socket_id}
        except (ValueError, RecursionError):
            return None
    if not isinstance(data, dict):
        return None
    socket_id = data.get("socket_id")
    if isinstance(socket_id, bool) or not isinstance(socket_id, str | int | float):
        return None
    return (str(socket_id), data.get("activity_timeout")) if socket_id != "" else None


def read_error(sent: object, channel: str | None) -> ErrorReceived:
    """Return the meaning of a `pusher:error` that has `sent` as its data, in every shape seen.

    The data is an object or a string; the code is a number, a numeral or null. `channel` is the message's own.
    """
    data = value_of(sent)
    if not isinstance(data, dict):
        return ErrorReceived(None, shown(text_of(sent)), channel)
    code = data.get("code")
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 6:
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int):
        code = None
    channel = channel if channel is not None else data.get("channel")
    return ErrorReceived(
        code,
        # Kept long enough to find the channel's name in it; cut where it is shown.
        shown(text_of(data.get("message") or data.get("error") or data), 512),
        channel if isinstance(channel, str) else None,
    )


def read_refused_upgrade(item: UpgradeRefused) -> Ended:
    """Return the meaning of an HTTP answer to the upgrade that is not 101."""
    headers = dict(item.headers)
    reason = f"the upgrade was answered with HTTP {item.status} {item.reason}".rstrip()
    if 300 <= item.status < 400:
        location = shown_url(headers.get("location", "")) or "an unknown place"
        reason += f" to {location} (redirects are not followed)"
    retry_after = read_retry_after(headers.get("retry-after", ""))
    return Ended(item.status, reason, cause_of_status(item.status), retry_after, at_fault=True)


def read_retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header; None for a date, and for what is no number."""
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
