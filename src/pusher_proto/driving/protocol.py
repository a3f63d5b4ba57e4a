"""Moves the bytes of a wire over a transport of asyncio, or of another event loop with the same interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .reading import READ_SIZE
from .wire import Wire

__all__ = ["WireProtocol"]


class WireProtocol:
    """Moves the bytes of one wire over a transport. The event loop calls it as it calls an `asyncio.Protocol`.

    Derive from this class and from `asyncio.Protocol`, and give an object to `loop.create_connection`. It becomes
    `wire.moved_by` when there is a connection: call its `attend` in `IO.attend`. `soon(function)` calls a function in a
    later turn of the event loop, as `loop.call_soon` does. `gone(wire)` is called when the connection is closed.
    """

    __slots__ = ("_gone", "_soon", "_unwritten", "_wire", "_write_is_due", "transport")

    def __init__(
        self,
        wire: Wire,
        soon: Callable[[Callable[[], None]], object],
        gone: Callable[[Wire], object] = bool,
    ) -> None:
        self.transport: Any = None
        """The transport; None before `connection_made`."""
        self._wire = wire
        self._soon = soon
        self._gone = gone
        self._write_is_due = False
        self._unwritten = 0
        """How many bytes the transport has not written yet. It gets no more until they are written."""

    def attend(self) -> None:
        """Read, write or close as the wire requires. Call it only when there is a transport."""
        wire, transport = self._wire, self.transport
        if wire.over:
            transport.abort()
            return
        wanted = wire.wants_data
        if wanted is not transport.is_reading() and not transport.is_closing():
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()
        if not (self._write_is_due or self._unwritten) and wire.has_to_write:
            # Later: then everything sent in this turn is written together.
            self._soon(self._write)
            self._write_is_due = True

    def connection_made(self, transport: Any) -> None:
        """Use the transport of the new connection."""
        self.transport = transport
        self._wire.moved_by = self
        transport.set_write_buffer_limits(
            0
        )  # then it calls resume_writing when its buffer is empty
        if hasattr(transport, "max_size"):
            transport.max_size = READ_SIZE  # asyncio's own is 256 KB; uvloop has none
        self._wire.opened(transport.get_extra_info("peername"))
        self.attend()

    def data_received(self, data: bytes) -> None:
        """Pass on bytes that came."""
        self._wire.received(bytes(data))  # on Windows it may be a bytearray

    def eof_received(self) -> bool:
        """Report the end of the data. Return True: the wire decides when to close the transport."""
        self._wire.eof()
        return True

    def pause_writing(self) -> None:
        """Do nothing: `_write` checks the size of the transport's buffer."""

    def resume_writing(self) -> None:
        """Continue to write: the transport's buffer is empty."""
        size, self._unwritten = self._unwritten, 0
        self._wire.written(size)
        self._write()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end of the connection."""
        if error is None:
            self._wire.eof()
        else:
            self._wire.failed(error)
        self._gone(self._wire)

    def _write(self) -> None:
        wire, transport = self._wire, self.transport
        self._write_is_due = False
        while not (self._unwritten or transport.is_closing()) and (data := wire.to_write()):
            transport.write(data)
            if transport.get_write_buffer_size():
                self._unwritten = len(data)
            else:
                wire.written(len(data))
