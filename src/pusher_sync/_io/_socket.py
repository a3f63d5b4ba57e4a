"""Moves the bytes of one wire over a socket that does not block."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from pusher_proto.driving import READ_SIZE, SMALL_READ, Wire

__all__ = ["Connect", "Pipe"]

Connect = Callable[[str, int], socket.socket]
"""Opens a connected socket to a host and port."""

# A socket of the application may speak TLS itself, to a proxy for instance.
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Pipe:
    """A socket and its wire. The loop's thread calls everything here, under the guard."""

    __slots__ = ("_pending", "_selector", "_size", "_socket", "_watched", "_wire", "_writing")

    def __init__(self, wire: Wire, sock: socket.socket, selector: BaseSelector) -> None:
        self._wire = wire
        self._socket = sock
        self._selector = selector
        self._watched = 0
        self._writing = False
        self._size = SMALL_READ
        self._pending: Callable[[], int] = getattr(sock, "pending", int)

    def attend(self) -> None:
        """Write the wire's output, and watch the socket for the events that the wire needs."""
        wire = self._wire
        if self._writing:
            return  # `_write` continues
        if wire.has_to_write and not self._watched & EVENT_WRITE:
            self._write()
        wanted = EVENT_READ if wire.wants_data else 0
        if wire.has_to_write:
            wanted |= EVENT_WRITE
        if wire.over:
            self.close()
        elif wanted != self._watched:
            try:
                self._watch(wanted)
            except (OSError, ValueError, KeyError) as error:  # the application closed it
                wire.failed(error)

    def ready(self, mask: int) -> None:
        """Write and read: the socket is ready."""
        if mask & EVENT_WRITE:
            self._write()
            self.attend()
        if mask & EVENT_READ and self._wire.wants_data:
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
            except _NOT_NOW:
                return
            except OSError as error:
                wire.failed(error)
                return
            self._size = SMALL_READ if len(data) < SMALL_READ else READ_SIZE
            if data:
                wire.received(data)
            else:
                wire.eof()
            if not (self._pending() and wire.wants_data):
                return

    def _write(self) -> None:
        wire = self._wire
        self._writing = True
        try:
            while data := wire.to_write():
                wire.written(self._socket.send(data))
        except _NOT_NOW:
            pass
        except OSError as error:
            if self._socket.fileno() < 0:  # the application closed it
                wire.failed(error)
            wire.write_failed(error)
            # Reading returns the data received before, then the end.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        finally:
            self._writing = False
