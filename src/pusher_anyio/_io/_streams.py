"""A byte stream of anyio: on trio, and wherever the application opens it."""

from __future__ import annotations

import os
from collections.abc import Callable

import anyio
from anyio.abc import ByteStream, SocketAttribute

from pusher_proto.driving import READ_SIZE, Wire

from ._loop import Connect, Loop

__all__ = ["Stream"]


class Stream:
    """Moves the bytes of one wire. One task opens it and reads; another task exists while it writes."""

    task: object = None

    def __init__(self, loop: Loop, wire: Wire, connect: Connect) -> None:
        self._loop = loop
        self._wire = wire
        self._connect = connect
        self._scope: anyio.CancelScope | None = None
        self._stream: ByteStream | None = None
        self._paused: anyio.Event | None = None
        self._writing = False
        self._stop_writing: Callable[[], object] = int  # nothing yet

    async def run(self) -> None:
        """Open the stream, and read until its end."""
        wire = self._wire
        try:
            with anyio.CancelScope() as self._scope:
                if not wire.over:
                    self._stream = await self._connect(wire.host, wire.port)
                    wire.opened(_peer(self._stream))
                    await self._read(self._stream)
        except Exception as error:
            wire.failed(_cause(error))
        finally:
            wire.failed("given up")
            self._stop_writing()
            if self._stream is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.aclose_forcefully(self._stream)
            self._loop.gone(wire)

    async def _read(self, stream: ByteStream) -> None:
        wire = self._wire
        while not wire.over:
            if not wire.wants_data:
                self._paused = self._loop.new_event()
                await self._paused.wait()
                continue
            try:
                data = await stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                wire.eof()
                return
            wire.received(data)
            del data  # or it would be held until the next read, and be large after a burst

    def attend(self) -> None:
        """Read, write, or end, as the wire says."""
        wire = self._wire
        if wire.over:
            if self._scope is not None:
                self._scope.cancel()
            return
        if self._stream is None:
            return
        if self._paused is not None and wire.wants_data:
            self._paused.set()
            self._paused = None
        if not self._writing and wire.has_to_write:
            self._writing = True
            self._stop_writing = self._loop.start("pusher write", self._write, self._stream)

    async def _write(self, stream: ByteStream) -> None:
        wire = self._wire
        try:
            while data := wire.to_write():
                await stream.send(data)
                wire.written(len(data))
        except Exception as error:
            wire.write_failed(_cause(error))
        finally:
            self._writing = False


def _cause(error: BaseException) -> BaseException:
    """Return what went wrong below: anyio hides errors of the system behind its own."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        if cause.errno and str(cause.strerror).startswith("Connect call failed"):
            return OSError(cause.errno, os.strerror(cause.errno))  # asyncio says that of all errors
        return cause
    if isinstance(error, anyio.BrokenResourceError):  # on asyncio it does not tell what broke
        return ConnectionError("the connection broke")
    return error


def _peer(stream: ByteStream) -> object:
    """Return the address of the other end; a connection of messages, and a stream made by hand, may have none."""
    extra = getattr(stream, "extra", None)
    return None if extra is None else extra(SocketAttribute.remote_address, None)
