"""Adapts a connection of the application that carries whole messages to a byte stream: each piece is a message."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import anyio

from pusher_proto.driving import MessageWire, checked_connection, checked_message, connection_errors

__all__ = ["ConnectMessages", "MessageConnection", "open_messages"]


class MessageConnection(Protocol):
    """A connection that carries whole messages. `connect_messages` returns one for each attempt.

    `receive` and `send` may run at the same time, and both may be running when `close` is called.
    """

    async def send(self, text: str, /) -> None:
        """Send one text message."""

    async def receive(self) -> str | bytes | None:
        """Return the next message, or None at the end of the connection. May raise instead.

        Raise `ConnectionEnded(code, reason)` where the server closed with a code, or let an exception of a WebSocket
        library come out that has it.
        """

    async def close(self, code: int, reason: str, /) -> None:
        """Close the connection, by a close frame where there is one. Called once, also after an error."""


ConnectMessages = Callable[[str, int, bool, str], Awaitable[MessageConnection]]
"""Opens a connection to a host and port, with TLS or not, for a target such as `/app/KEY?protocol=7`."""


class _Pieces(anyio.TypedAttributeProvider):
    """The methods of a byte stream that `WireStream` uses."""

    def __init__(self, connection: MessageConnection, wire: MessageWire) -> None:
        self._connection = connection
        self._wire = wire

    async def receive(self, _: int) -> str | bytes:
        with connection_errors(self._connection):
            message = await self._connection.receive()
        message = checked_message(self._connection, message)
        if message is None:
            raise anyio.EndOfStream
        return message

    async def send(self, data: bytes) -> None:
        with connection_errors(self._connection):
            await self._connection.send(data.decode())

    async def aclose(self) -> None:
        wire = self._wire
        with (
            anyio.move_on_after(wire.effect.close_timeout, shield=True),
            suppress(Exception),
        ):
            await self._connection.close(*wire.goodbye)


async def open_messages(connect: ConnectMessages, wire: MessageWire) -> Any:
    """Open the connection of `wire`. Return it as a byte stream."""
    effect = wire.effect
    with connection_errors():
        opened: Any = connect(effect.host, effect.port, effect.tls, effect.target)
        connection = await opened if inspect.isawaitable(opened) else opened
    checked_connection(connection)
    return _Pieces(connection, wire)
