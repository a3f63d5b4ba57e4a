"""Moves the bytes of a wire over a byte stream with async methods, such as those of anyio, trio and curio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .application import check_methods
from .loop import LoopIO
from .reading import READ_SIZE
from .wire import Wire

__all__ = ["WireStream"]

_METHODS = "receive", "send"


class WireStream:
    """Moves the bytes of one wire over an open stream with `await receive(size)` and `await send(data)`.

    Await `run` in `LoopIO.move`, and then close the stream. `receive` raises `end` at the end of the data.
    """

    __slots__ = (
        "_end",
        "_io",
        "_paused",
        "_receiving",
        "_stop_writing",
        "_stream",
        "_wire",
        "_writing",
    )

    def __init__(self, wire: Wire, stream: Any, io: LoopIO, *, end: type[Exception]) -> None:
        check_methods("connect= returns a byte stream with receive and send", stream, *_METHODS)
        self._wire = wire
        self._stream = stream
        self._io = io
        self._end = end
        self._paused: Any = None
        self._receiving = self._writing = False
        self._stop_writing: Callable[[], object] = bool
        """Cancels the task that writes."""

    async def run(self, peer: object = None) -> None:
        """Report that the stream is open to the address `peer`, and move the bytes until the wire is over."""
        wire = self._wire
        wire.moved_by = self
        try:
            wire.opened(peer)
            while not wire.over:
                if not wire.wants_data:
                    self._paused = self._io.new_event()
                    await self._paused.wait()
                    continue
                self._receiving = True
                try:
                    data = await self._stream.receive(READ_SIZE)
                finally:
                    # From now on the task may close the stream, and must not be cancelled.
                    self._receiving = False
                wire.received(data)
                del data  # or it would be kept until the next read, and it may be large
        except self._end:
            wire.eof()
        except Exception as error:
            wire.failed(self._io.cause(error))
        finally:
            self._io.cut_off(wire)
            self._stop_writing()

    def attend(self) -> None:
        """Read, write or end as the wire requires."""
        wire = self._wire
        if self._paused is not None and (wire.wants_data or wire.over):
            self._paused.set()
            self._paused = None
        if wire.over:
            if self._receiving:
                self._io.give_up(wire)
        elif not self._writing and wire.has_to_write:
            self._writing = True
            self._stop_writing = self._io.start("pusher write", self._write)

    async def _write(self) -> None:
        wire = self._wire
        try:
            while data := wire.to_write():
                await self._stream.send(data)
                wire.written(len(data))
        except Exception as error:
            wire.write_failed(self._io.cause(error))
        finally:
            self._writing = False
