"""A byte stream of anyio, which the application opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from pusher_proto import OpenTransport
from pusher_proto.client import READ_SIZE

from ._transport import Connect, Transport

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from ._client import Client

__all__ = ["StreamTransport"]


class StreamTransport(Transport):
    """One task opens it and reads. Another one writes, and is there only while there is something to write."""

    def __init__(self, client: Client, connect: Connect, effect: OpenTransport) -> None:
        super().__init__(client, effect)
        self._connect = connect
        self._scope = anyio.CancelScope(shield=True)  # it lives as long as the client's block
        self._stream: ByteStream | None = None
        self._writer: anyio.CancelScope | None = None
        self._resumed: anyio.Event | None = None

    def resume(self) -> None:
        """Read again, if reading was stopped and may go on."""
        if self._resumed is not None and self._may_read():
            self._resumed.set()
            self._resumed = None

    async def run(self) -> None:
        """Open the stream, and read until its end."""
        try:
            await checkpoint_if_cancelled()
            with self._scope:
                self._stream = stream = await self._connect(self._effect.host, self._effect.port)
                self._begin()
                await self._read(stream)
        except (OSError, anyio.BrokenResourceError) as failed:
            self._error = self._error or _cause(failed)
        except BaseException:
            self._client._end()
            raise
        finally:
            if self._writer is not None:
                self._writer.cancel()
            if self._stream is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.aclose_forcefully(self._stream)
            self._gone()

    async def _read(self, stream: ByteStream) -> None:
        while True:
            while not self._may_read():
                self._resumed = anyio.Event()
                await self._resumed.wait()
            try:
                data = await stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                self._cut_off()
                return
            self._received(data)
            del data  # or it would be held until the next read, and be large after a burst

    def _abort(self) -> None:
        self._scope.cancel()

    def _see_to_writing(self) -> None:
        if self._stream is not None and self._writer is None:
            self._writer = anyio.CancelScope(shield=True)
            self._client._start(self._write, self._stream, self._writer)

    async def _write(self, stream: ByteStream, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await self._write_all(stream)
        except (
            OSError,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,  # the reader saw the end first
        ) as error:
            self._error = self._error or _cause(error)
            self._abort()
        finally:
            self._writer = None

    async def _write_all(self, stream: ByteStream) -> None:
        client = self._client
        while True:
            piece, size = self._next_piece()
            if piece:
                await stream.send(piece)
            if size:
                client._tell(client._session.data_sent, self._effect.transport, size)
            elif not piece:
                break
        if self._closing:
            self._abort()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _cause(error: Exception) -> BaseException:
    """Return what went wrong below: anyio hides errors of the system behind its own."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = _first(cause)
    if isinstance(cause, OSError):
        return cause
    if isinstance(error, anyio.BrokenResourceError):  # on asyncio it does not tell what broke
        return ConnectionError("the connection broke")
    return error
