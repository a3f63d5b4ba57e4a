"""Moves the bytes of a wire over a byte stream with async methods, such as those of anyio, trio and curio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .application import check_methods
from .reading import READ_SIZE
from .wire import Wire

__all__ = ["WireStream"]

_METHODS = "receive", "send"
_Write = Callable[[], Awaitable[None]]


class WireStream:
    """Moves the bytes of one wire over an open stream with `await receive(size)` and `await send(data)`.

    Await `read` in a task, and call `attend` in `IO.attend`. `start(function)` runs an async function in another task,
    which exists while there is something to write, and returns a function that cancels it. `new_event()` makes an
    object with `set` and `wait`. `cause(error)` returns the error to report where writing raised `error`.
    """

    __slots__ = (
        "_cause",
        "_new_event",
        "_paused",
        "_start",
        "_stream",
        "_wire",
        "_writing",
        "stop_writing",
    )

    def __init__(
        self,
        wire: Wire,
        stream: Any,
        *,
        start: Callable[[_Write], Callable[[], object]],
        new_event: Callable[[], Any],
        cause: Callable[[Exception], BaseException],
    ) -> None:
        check_methods("connect= returns a byte stream with receive and send", stream, *_METHODS)
        self._wire = wire
        self._stream = stream
        self._start = start
        self._new_event = new_event
        self._cause = cause
        self._paused: Any = None
        self._writing = False
        self.stop_writing: Callable[[], object] = _nothing
        """A function that cancels the task that writes."""

    async def read(self) -> None:
        """Read until the wire is over. Raises the exceptions of the stream, including the one at its end."""
        wire = self._wire
        while not wire.over:
            if not wire.wants_data:
                self._paused = self._new_event()
                await self._paused.wait()
                continue
            data = await self._stream.receive(READ_SIZE)
            wire.received(data)
            del data  # or it would be kept until the next read, and it may be large

    def attend(self) -> None:
        """Read and write as the wire requires."""
        wire = self._wire
        if self._paused is not None and (wire.wants_data or wire.over):
            self._paused.set()
            self._paused = None
        if not self._writing and wire.has_to_write:
            self._writing = True
            self.stop_writing = self._start(self._write)

    async def _write(self) -> None:
        wire = self._wire
        try:
            while data := wire.to_write():
                await self._stream.send(data)
                wire.written(len(data))
        except Exception as error:
            wire.write_failed(self._cause(error))
        finally:
            self._writing = False


def _nothing() -> None:
    """Do nothing: no task writes."""
