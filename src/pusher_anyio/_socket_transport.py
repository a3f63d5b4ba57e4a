"""A byte stream on trio: a socket, and one task that waits for what comes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from pusher_proto import OpenTransport
from pusher_proto.client import READ_SIZE

from ._dial import connected
from ._transport import Transport

if TYPE_CHECKING:
    from ._client import Client
    from ._loop import Loop

__all__ = ["SocketTransport"]


class SocketTransport(Transport):
    """One task opens the socket and reads. To write takes none, unless there is no room.

    With a stream of anyio, and a task for each write, an idle client would take 10 KB more.
    """

    def __init__(self, client: Client, loop: Loop, effect: OpenTransport) -> None:
        super().__init__(client, effect)
        self._loop = loop
        self._scope = anyio.CancelScope(shield=True)  # it lives as long as the client's block
        self._socket: socket.socket | None = None
        self._resumed: anyio.Event | None = None
        self._writing = False  # somebody will call `_write`
        self._piece = b""
        self._taken = 0  # by the piece, of what the session gave

    def resume(self) -> None:
        """Read again, if reading was stopped and may go on."""
        if self._resumed is not None and self._may_read():
            self._resumed.set()
            self._resumed = None

    async def run(self) -> None:
        """Open the socket, and read until its end."""
        try:
            await checkpoint_if_cancelled()
            with self._scope:
                self._socket = sock = await connected(self._effect.host, self._effect.port)
                self._begin()
                await self._read(sock)
        except OSError as error:
            self._error = self._error or error
        except BaseException:
            self._client._end()
            raise
        finally:
            if self._socket is not None:
                anyio.notify_closing(self._socket)
                self._socket.close()
                self._socket = None
            self._gone()

    async def _read(self, sock: socket.socket) -> None:
        while True:
            while not self._may_read():
                self._resumed = anyio.Event()
                await self._resumed.wait()
            try:
                data = sock.recv(READ_SIZE)
            except BlockingIOError:
                await anyio.wait_readable(sock)
                continue
            if not data:
                self._cut_off()
                return
            self._received(data)
            del data  # or it would be held until the next read, and be large after a burst
            await checkpoint()

    def _abort(self) -> None:
        self._scope.cancel()

    def _see_to_writing(self) -> None:
        if self._socket is not None and not self._writing:
            self._writing = True
            self._loop.soon(self._write)  # all that this turn brings

    def _write(self) -> None:
        client = self._client
        while (sock := self._socket) is not None and not self._scope.cancel_called:
            if not self._piece:
                self._piece, self._taken = self._next_piece()
            if self._piece:
                try:
                    sent = sock.send(self._piece)
                except BlockingIOError:
                    client._start(self._wait_for_room, sock)
                    return
                except OSError as error:
                    self._error = self._error or error
                    self._abort()
                    return
                self._piece = self._piece[sent:]
                if self._piece:
                    continue
            elif not self._taken:
                self._writing = False
                if self._closing:
                    self._abort()
                return
            if size := self._taken:
                self._taken = 0
                client._tell(client._session.data_sent, self._effect.transport, size)

    async def _wait_for_room(self, sock: socket.socket) -> None:
        with anyio.CancelScope(shield=True):  # like the socket
            try:
                await anyio.wait_writable(sock)
            except anyio.ClosedResourceError:
                return
        self._write()
