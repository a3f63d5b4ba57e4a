"""Signs channels and users with the secret of the app, by HMAC.

Pure functions of strings. `OwnKey` signs with them, and the test server checks signatures with them. A `Secret` is
revealed inside one expression only, so that no traceback with local variables shows it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from ._base.secret import Secret
from .names import check_channel

__all__ = [
    "channel_token",
    "check_socket_id",
    "shared_secret",
    "sign",
    "sign_channel",
    "sign_user",
]

# With a colon in the socket id an attacker could get a signature for another channel (Pusher's advisory of
# 2015), so check the format before signing. Pusher's ids are digits.digits; Slanger and Garufa issue UUIDs.
_SOCKET_ID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


def check_socket_id(socket_id: str) -> None:
    """Raise ValueError unless `socket_id` has 1 to 128 ASCII letters, digits, `.`, `_` and `-`."""
    if not _SOCKET_ID.match(socket_id):
        raise ValueError(f"not a valid socket id: {socket_id[:64]!r}")


def sign(secret: Secret | str, text: str) -> str:
    """Return the lowercase hex HMAC-SHA256 of `text` under `secret`."""
    return hmac.new(Secret(secret).reveal().encode(), text.encode(), hashlib.sha256).hexdigest()


def sign_channel(
    key: str,
    secret: Secret | str,
    socket_id: str,
    channel: str,
    channel_data: str | None = None,
    *,
    strict_names: bool = True,
) -> str:
    """Return the token `KEY:signature` with which `socket_id` may subscribe to `channel`.

    `channel_data` is the JSON text of a presence member, which has to be sent unchanged. `strict_names=False` allows
    names that only self-hosted servers accept; a name with a colon can look like another name and its data. Raises
    ValueError for an invalid socket id or name.
    """
    check_socket_id(socket_id)
    check_channel(channel, strict=strict_names)
    return channel_token(key, secret, socket_id, channel, channel_data)


def channel_token(
    key: str, secret: Secret | str, socket_id: str, channel: str, channel_data: str | None
) -> str:
    """Return what `sign_channel` returns, for a socket id and a name that were checked."""
    text = f"{socket_id}:{channel}"
    if channel_data is not None:
        text += f":{channel_data}"
    return f"{key}:{sign(secret, text)}"


def shared_secret(channel: str, master_key: bytes) -> str:
    """Return the key of an encrypted channel, from the app's master key, in base64 as in an authorization."""
    return base64.b64encode(hashlib.sha256(channel.encode() + master_key).digest()).decode()


def sign_user(key: str, secret: Secret | str, socket_id: str, user_data: str) -> str:
    """Return the token `KEY:signature` with which `socket_id` may sign in as the user of `user_data`.

    Raises ValueError for an invalid socket id.
    """
    check_socket_id(socket_id)
    return f"{key}:{sign(secret, f'{socket_id}::user::{user_data}')}"
