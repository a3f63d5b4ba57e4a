"""Byte streams of anyio: on trio all streams, on asyncio the streams that the application opens."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import ByteStream, SocketAttribute

from pusher_proto.driving import Wire, WireStream

from ._loop import Connect, Loop

__all__ = ["Stream"]


class Stream:
    """Opens a stream, and moves the bytes of one wire over it."""

    task: object = None

    def __init__(self, loop: Loop, wire: Wire, connect: Connect) -> None:
        self._loop = loop
        self._wire = wire
        self._connect = connect
        self._scope: anyio.CancelScope | None = None
        self._moving: WireStream | None = None

    async def run(self) -> None:
        """Open the stream, and read until its end."""
        wire, stream = self._wire, None
        try:
            with anyio.CancelScope() as self._scope:
                if not wire.over:
                    stream = await self._connect(wire.host, wire.port)
                    self._moving = self._move(stream)
                    wire.opened(_peer(stream))
                    try:
                        await self._moving.read()
                    except anyio.EndOfStream:
                        wire.eof()
        except Exception as error:
            wire.failed(_cause(error))
        finally:
            wire.failed("given up")
            if self._moving is not None:
                self._moving.stop_writing()
            if stream is not None:
                # Whatever the application's stream raises here, it is over.
                with anyio.CancelScope(shield=True), suppress(Exception):
                    await anyio.aclose_forcefully(stream)
            self._loop.gone(wire)

    def attend(self) -> None:
        """Read, write, or end, as the wire says."""
        if self._wire.over and self._scope is not None:
            self._scope.cancel()
        elif self._moving is not None:
            self._moving.attend()

    def _move(self, stream: ByteStream) -> WireStream:
        loop, start = self._loop, partial(self._loop.start, "pusher write")
        return WireStream(self._wire, stream, start=start, new_event=loop.new_event, cause=_cause)


def _cause(error: BaseException) -> BaseException:
    """Return the error of the system that anyio wrapped in its own."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        if cause.errno and str(cause.strerror).startswith("Connect call failed"):
            return OSError(cause.errno, os.strerror(cause.errno))  # asyncio hides the system's text
        return cause
    if isinstance(error, anyio.BrokenResourceError):  # on asyncio it does not say what broke
        return ConnectionError("the connection broke")
    return error


def _peer(stream: ByteStream) -> object:
    """Return the address of the other end; None for a stream that does not know it."""
    extra = getattr(stream, "extra", None)
    return None if extra is None else extra(SocketAttribute.remote_address, None)
