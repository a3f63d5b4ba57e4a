"""What the server asks of whoever carries its bytes: a driver on a port, or a simulation in memory."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["ServerClose", "ServerEffect", "ServerSend"]


class ServerSend(msgspec.Struct, frozen=True):
    """Send `data` to the client of this connection."""

    connection: int
    """The number that the caller gave to `connection_opened`."""
    data: bytes
    """What to send, in the order of the effects."""


class ServerClose(msgspec.Struct, frozen=True):
    """End this connection. The server forgets its number; later input for it is ignored.

    A driver does well to end its sending side and read on for a moment before it closes: closing
    with bytes unread resets the connection, and the client may lose what was sent last.
    """

    connection: int
    """The number that the caller gave to `connection_opened`."""
    abort: bool
    """False: after what was sent before. True: at once, as a crash would (a reset where possible)."""


ServerEffect: TypeAlias = ServerSend | ServerClose
