"""The items that a connection emits, and functions that read the messages about the connection itself.

Servers write these messages in different formats; this module reads every format that is known.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from .._base.checks import is_int, is_number
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
    "read_id",
    "read_refused_upgrade",
    "shown",
]


class TextReceived(Struct, frozen=True):
    """The raw text of a received message, for `Message` events."""

    text: bytes


class Upgraded(Struct, frozen=True):
    """The WebSocket is open."""


class Greeted(Struct, frozen=True):
    """The server sent its greeting with a socket id: the connection is established."""

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
    """A `pusher:pong`: the server has processed a `pusher:ping`."""


class Ended(Struct, frozen=True):
    """The connection ended. This is its last item."""

    code: int | None
    reason: str
    cause: Cause | None = None
    """Why it ended; None when the code says why."""
    retry_after: float | None = None
    """Seconds to wait before the next attempt, from the header Retry-After."""
    abort: bool = False
    """Whether to abort the stream instead of closing it in an orderly way."""
    hint: str = ""
    """Advice for the user; empty if `hint_for` has a hint for the code."""


LinkNews = TextReceived | Upgraded | Greeted | ErrorReceived | Malformed | Ponged | Ended
"""An item about the connection itself."""

LinkItem = Envelope | LinkNews
"""An item that a connection emits: an envelope is a message of a channel or of the user."""


def shown(text: str, limit: int = 128) -> str:
    """Return the start of a server's text, without the signatures that errors quote (Pusher: "but got KEY:...")."""
    return excerpt(masked(text[: 2 * limit]), limit)


# In a message, or in a string inside it, where the quotes are escaped.
_AUTH = re.compile(r'(\\*"auth\\*"\s*:\s*\\*")[^"\\]*')
_NAMES = ("channel_data", "hash", "user_info")
_WHO = re.compile(rf'(\\*"(?:{"|".join(_NAMES)})\\*"\s*:\s*).*', re.DOTALL)


def shown_frame(data: bytes) -> str:
    """Return the start of a message for a log, without signatures and without data that identifies people."""
    text = data[:512].decode("utf-8", "replace")
    if "auth" in text:
        text = _AUTH.sub(r"\1***", text)
    for name in _NAMES:
        if name in text:
            text = _WHO.sub(r"\1***", text)
            break
    return shown(text, 200)


class _SocketId(Struct):
    socket_id: str | int | float


_read_socket_id = msgspec.json.Decoder(_SocketId).decode


def read_greeting(envelope: Envelope) -> tuple[str, Any] | None:
    """Return socket id and activity_timeout of a greeting, or None without a socket id.

    The activity_timeout is the value in the message, unchecked.
    """
    data = value_of(envelope.data)
    if isinstance(data, str):
        try:  # JSON that `value_of` cannot decode, for example a number too large for a float
            data = {"socket_id": _read_socket_id(data).socket_id}
        except (ValueError, RecursionError):
            return None
    if not isinstance(data, dict):
        return None
    socket_id = read_id(data.get("socket_id"))
    return None if socket_id is None else (socket_id, data.get("activity_timeout"))


def read_id(value: object) -> str | None:
    """Return the id of a user or socket as text: a string or a number. None if it is neither, or empty."""
    if not isinstance(value, str) and not is_number(value):
        return None
    return str(value) or None


def read_error(sent: object, channel: str | None) -> ErrorReceived:
    """Return code, message and channel of a `pusher:error` whose data is `sent`.

    The data may be an object or a string; its code a number, a string of digits or null. `channel` is the channel of
    the message itself.
    """
    data = value_of(sent)
    if not isinstance(data, dict):
        return ErrorReceived(None, shown(text_of(sent)), channel)
    code = data.get("code")
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 6:
        code = int(code)
    code = code if is_int(code) else None
    channel = channel if channel is not None else data.get("channel")
    return ErrorReceived(
        code,
        # Long enough to find a channel's name in it; logs and events show less.
        shown(text_of(data.get("message") or data.get("error") or data), 512),
        channel if isinstance(channel, str) else None,
    )


def read_refused_upgrade(item: UpgradeRefused) -> Ended:
    """Return the end of a connection whose upgrade was answered with an HTTP status other than 101."""
    headers = dict(item.headers)
    reason = f"the upgrade was answered with HTTP {item.status} {item.reason}".rstrip()
    if 300 <= item.status < 400:
        location = shown_url(headers.get("location", "")) or "an unknown place"
        reason += f" to {location} (redirects are not followed)"
    retry_after = read_retry_after(headers.get("retry-after", ""))
    return Ended(item.status, reason, cause_of_status(item.status), retry_after, abort=True)


def read_retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header; None for a date or an invalid value."""
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
