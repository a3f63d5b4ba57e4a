"""Moves the bytes of a wire over a non-blocking socket with a selector."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from .addresses import peer_of
from .application import check_methods
from .reading import READ_SIZE, SMALL_READ
from .tls import NOT_NOW
from .wire import Wire

__all__ = ["WireSocket", "checked_socket"]

SocketT = TypeVar("SocketT")

_READ, _WRITE = 1, 2
"""EVENT_READ and EVENT_WRITE of `selectors`."""
_BOTH = 2
"""SHUT_RDWR of `socket`."""


def checked_socket(sock: SocketT) -> SocketT:
    """Return a socket, which does not block from now on. Raises TypeError for an object that is not a socket."""
    check_methods(
        "connect= returns a connected socket", sock, "fileno", "setblocking", "recv", "send"
    )
    found: Any = sock
    found.setblocking(False)
    return sock


class WireSocket:
    """Moves the bytes of one wire over a connected socket that does not block.

    It registers the socket with `selector`, one of `selectors`, for what the wire needs now. When the selector reports
    a key, call `key.data(events)`. Call `attend` in `IO.attend`; it closes the socket when the wire is over. The
    application may close the socket at any time, and the socket may speak TLS itself, to a proxy for instance.
    """

    __slots__ = ("_pending", "_selector", "_size", "_socket", "_watched", "_wire", "_writing")

    def __init__(self, wire: Wire, sock: Any, selector: Any) -> None:
        self._wire = wire
        self._socket = sock
        self._selector = selector
        self._watched = 0
        self._writing = False
        self._size = SMALL_READ
        self._pending: Callable[[], int] | None = getattr(sock, "pending", None)
        """Of a socket that speaks TLS: how many bytes it has decrypted, which no selector reports."""

    @classmethod
    def opened(cls, wire: Wire, selector: Any, sock: Any) -> None:
        """Let `sock`, which is connected now, carry the wire. It is closed if the wire is over already."""
        if wire.over:
            sock.close()
        else:
            wire.moved_by = cls(wire, sock, selector)
            wire.opened(peer_of(sock))

    def attend(self) -> None:
        """Write the wire's output, and watch the socket for the events that the wire needs."""
        wire = self._wire
        if self._writing:
            return  # `_write` continues
        if wire.has_to_write and not self._watched & _WRITE:
            self._write()
        wanted = _READ if wire.wants_data else 0
        if wire.has_to_write:
            wanted |= _WRITE
        if wire.over:
            self.close()
        elif wanted != self._watched:
            try:
                self._watch(wanted)
            except (OSError, ValueError, KeyError) as error:  # the application closed it
                wire.failed(error)

    def ready(self, events: int) -> None:
        """Read and write: the socket is ready for these events."""
        if events & _WRITE:
            self._write()
            self.attend()
        if events & _READ and self._wire.wants_data:
            self._read()

    def close(self) -> None:
        """Close the socket."""
        with suppress(OSError, ValueError, KeyError):
            self._watch(0)
        with suppress(OSError):
            self._socket.close()

    def _watch(self, wanted: int) -> None:
        before, self._watched = self._watched, wanted
        if before:
            self._selector.unregister(self._socket)
        if wanted:
            number = self._socket.fileno()
            if number in self._selector.get_map():  # that of a socket that the application closed
                self._selector.unregister(number)
            self._selector.register(self._socket, wanted, self.ready)

    def _read(self) -> None:
        wire = self._wire
        while True:
            try:
                data = self._socket.recv(self._size)
            except NOT_NOW:
                return
            except OSError as error:
                wire.failed(error)
                return
            self._size = SMALL_READ if len(data) < SMALL_READ else READ_SIZE
            if data:
                wire.received(data)
            else:
                wire.eof()
            if self._pending is None or not (self._pending() and wire.wants_data):
                return

    def _write(self) -> None:
        wire = self._wire
        self._writing = True
        try:
            while data := wire.to_write():
                wire.written(self._socket.send(data))
        except NOT_NOW:
            pass
        except OSError as error:
            self._write_failed(error)
        finally:
            self._writing = False

    def _write_failed(self, error: OSError) -> None:
        if self._socket.fileno() < 0:  # the application closed it
            self._wire.failed(error)
        self._wire.write_failed(error)
        if (
            self._pending is None
        ):  # without TLS: reading returns the data received before, then the end
            with suppress(OSError):
                self._socket.shutdown(_BOTH)
