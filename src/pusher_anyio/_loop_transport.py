"""A byte stream on asyncio: its event loop calls, and no task waits for what comes or for room to write."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from pusher_proto import OpenTransport
from pusher_proto.client import READ_SIZE

from ._dial import connected
from ._transport import Transport

if TYPE_CHECKING:
    import asyncio

    from ._client import Client
    from ._loop import AsyncioLoop

__all__ = ["LoopTransport"]


class LoopTransport(Transport):
    """A transport that is an asyncio.Protocol by its methods.

    A reader that is a task and asks anyio would cost 20 µs more each time, and 7 KB of each idle client.
    """

    def __init__(self, client: Client, loop: AsyncioLoop, effect: OpenTransport) -> None:
        super().__init__(client, effect)
        self._loop = loop
        self._opening: anyio.CancelScope | None = anyio.CancelScope(shield=True)
        self._wire: asyncio.Transport | None = None
        self._writing = False  # somebody will call `_write`
        self._held_up = False
        self._taken = 0  # by the wire, of what the session gave

    async def run(self) -> None:
        """Open the stream; then the loop calls."""
        host, port = self._effect.host, self._effect.port
        loop = self._loop.native
        protocol: Any = self  # by its methods: asyncio is imported only where it runs
        opening = self._opening = anyio.CancelScope(shield=True)
        try:
            await checkpoint_if_cancelled()
            with opening:
                sock = await connected(host, port, loop.sock_connect)
                try:
                    await loop.create_connection(lambda: protocol, sock=sock)
                except BaseException:
                    if self._opening is not None:
                        sock.close()
                    else:  # made in this very turn; uvloop says no more of it, asyncio would
                        self.connection_lost(None)
                    raise
        except OSError as error:
            self._error = error
        except BaseException:
            self._client._end()
            raise
        finally:
            if self._opening is not None:
                self._opening = None
                self._gone()

    def resume(self) -> None:
        """Read as long as the session wants data, and not otherwise."""
        wire = self._wire
        if wire is None or wire.is_closing():
            return
        wanted = self._may_read()
        if wanted is not wire.is_reading():
            if wanted:
                wire.resume_reading()
            else:
                wire.pause_reading()

    # What the loop calls

    def connection_made(self, wire: Any) -> None:
        """There is a connection."""
        self._opening, self._wire = None, wire
        with suppress(
            AttributeError
        ):  # what asyncio's own has; uvloop reads what fits its buffer of 256 KB
            wire.max_size = READ_SIZE
        wire.set_write_buffer_limits(0)  # so it tells when all is written
        self._loop.call(self._begin)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._loop.call(self._received, bytes(data))  # on Windows it may be a bytearray

    def eof_received(self) -> bool:
        """Nothing more will come."""
        self._loop.call(self._cut_off)
        return True  # closing is ours

    def pause_writing(self) -> None:
        """Not all could be written."""
        self._held_up = True

    def resume_writing(self) -> None:
        """Now it is."""
        self._held_up = False
        self._loop.call(self._write)

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        if self._wire is None:
            return
        if error is not None and not self._error:
            self._error = error
        self._wire = None
        self._loop.call(self._gone)

    # What the client and the session ask for

    def _abort(self) -> None:
        if self._wire is not None:
            self._wire.abort()
        elif self._opening is not None:
            self._opening.cancel()

    def _see_to_writing(self) -> None:
        if self._wire is not None and not self._writing:
            self._writing = True
            self._loop.soon(self._write)  # all that this turn brings

    def _write(self) -> None:
        client = self._client
        while (wire := self._wire) is not None and not (self._held_up or wire.is_closing()):
            if size := self._taken:
                self._taken = 0
                client._tell(client._session.data_sent, self._effect.transport, size)
            piece, self._taken = self._next_piece()
            if piece:
                wire.write(piece)
            elif not self._taken:
                self._writing = False
                if self._closing:
                    wire.abort()
                return
