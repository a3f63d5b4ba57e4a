"""The effects of the server, which its caller carries out: a driver on a port, or a simulation in memory."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["ServerClose", "ServerEffect", "ServerRequest", "ServerSend"]


class ServerSend(msgspec.Struct, frozen=True):
    """Send `data` to the client of this connection."""

    connection: int
    """The number that the caller gave to `connection_opened`."""
    data: bytes
    """The bytes to send, in the order of the effects."""


class ServerClose(msgspec.Struct, frozen=True):
    """End this connection. The server forgets its number; later input for it is ignored.

    A driver should end its sending side and read on for a moment before it closes: closing with bytes unread resets
    the connection, and the client may lose the last messages.
    """

    connection: int
    """The number that the caller gave to `connection_opened`."""
    abort: bool
    """False: after the data sent before. True: at once, as in a crash (a reset where possible)."""


class ServerRequest(msgspec.Struct, frozen=True):
    """Send an HTTP request to another server, and pass the status of its answer to `request_answered`.

    Only emitted by a server with webhooks.
    """

    connection: int
    """Always 0: no client asked for it."""
    request: int
    """The number for `request_answered`."""
    url: str
    """The URL of the webhook."""
    headers: tuple[tuple[str, str], ...]
    """All but `Host` and `Content-Length`."""
    body: bytes
    """The body to POST."""


ServerEffect: TypeAlias = ServerSend | ServerClose | ServerRequest
