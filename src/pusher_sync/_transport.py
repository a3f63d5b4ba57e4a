"""One byte stream of the client: opening it, reading, writing in order, closing."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING

from pusher_proto import ConnectionUnsafe, OpenTransport
from pusher_proto.client import READ_SIZE, RECORD_SIZE

from ._dial import connect_tcp

if TYPE_CHECKING:
    from ._client import Client
    from ._loop import Loop

__all__ = ["Connect", "Transport"]

Connect = Callable[[str, int], socket.socket]
"""Opens a connected socket to a host and port."""


class Transport:
    """Tells the client's session what happens, and does what it is told by `send` and `close`.

    It is opened by a thread of its own; then all is done by the hub's thread, under the client's guard.
    """

    def __init__(self, client: Client, effect: OpenTransport) -> None:
        self.loop: Loop = client._loop
        """Who gives this its turns."""
        self._client = client
        self._effect = effect
        self._answer = client._session.transport_failed
        self._error: BaseException | str = ""
        self._outbox = bytearray()
        self._closing = False
        self._handshaking: socket.socket | None = None
        self._socket: socket.socket | None = None
        self._watched = 0
        self._read_on, self._write_on = EVENT_READ, EVENT_WRITE  # TLS may need the other one

    def send(self, data: bytes) -> None:
        """Write `data` after what was given before, at the next `flush`."""
        if not self._error:
            self._outbox += data

    def flush(self) -> None:
        """Write what one turn brought, in one piece."""
        if self._outbox and self._socket is not None and not self._watched & self._write_on:
            self._write(self._socket)

    def start_tls(self, host: str) -> None:
        """Begin TLS after what was given, in a thread of its own, and read nothing before that."""
        sock, ahead = self._socket, bytes(self._outbox)
        assert sock is not None  # it brought what this follows from
        self._unwatch()
        self._outbox.clear()
        self._handshaking, self._socket = sock, None

        def secured() -> socket.socket:
            try:
                sock.setblocking(True)
                sock.sendall(ahead)
                return self._secured(sock, host)
            except BaseException:
                sock.close()
                raise

        answer = self._client._session.tls_started
        threading.Thread(
            target=self._become, args=(secured, answer), name="pusher", daemon=True
        ).start()

    def close(self, *, abort: bool) -> None:
        """Close after what was given, or at once."""
        self._closing = True
        if abort or not self._outbox:
            self._end("given up" if self._socket is None else self._error)

    def resume(self) -> None:
        """Let the loop tell when there is something to read, if the session wants data, or room to write."""
        if self._socket is None:
            return
        wanted = self._write_on if self._outbox else 0
        if self._client._session.wants_data(self._effect.transport):
            wanted |= self._read_on
        if wanted != self._watched:
            self.loop.watch(self._socket, wanted, self)
            self._watched = wanted

    def ready(self, mask: int) -> None:
        """Write and read, as far as the socket is ready."""
        if mask & self._write_on and self._outbox and self._socket is not None:
            self._write(self._socket)
        if mask & self._read_on and self._socket is not None:
            self._read(self._socket)

    def release(self) -> None:
        """Close the socket, and tell nobody."""
        if self._socket is not None:
            with suppress(OSError):  # it is closed all the same
                self._socket.close()
            self._socket = None

    def run(self) -> None:
        """Open the stream, in a thread of its own; tell the session, or close it if it was given up meanwhile."""
        self._become(self._open, self._client._session.transport_opened)

    def _become(self, open_: Callable[[], socket.socket], answer: Callable[..., None]) -> None:
        client, number = self._client, self._effect.transport
        try:
            sock = open_()
        except (OSError, ConnectionUnsafe) as error:
            with client._guard:
                if not self._is_over():
                    self._end(error)
                    client._changed()
        except BaseException as error:
            self.loop.fail(error)
        else:
            with client._guard:
                self._handshaking = None
                if self._is_over():
                    sock.close()
                else:
                    self._socket, self._answer = sock, client._session.transport_closed
                    client._tell(answer, number)

    def _open(self) -> socket.socket:
        effect, connect = self._effect, self._client._connect
        if connect is not None:
            sock = connect(effect.host, effect.port)
        else:
            sock = connect_tcp(effect.host, effect.port, self._is_over)
        if effect.tls:
            return self._secured(sock, effect.host)
        sock.setblocking(False)
        return sock

    def _secured(self, sock: socket.socket, host: str) -> socket.socket:
        try:
            # The first time this takes a while.
            context = self._effect.ssl_context or self._client._context()
            self._check_wanted()
            sock.getpeername()  # one that was reset already is an error here; wrap_socket would forget to close it
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            self._handshaking = sock
            self._check_wanted()
            sock.do_handshake()
            sock.setblocking(False)
        except BaseException as error:
            sock.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise ConnectionUnsafe(
                    f"the certificate of {host} is not good: {error.verify_message}"
                ) from error
            raise
        return sock

    def _check_wanted(self) -> None:
        if self._is_over():
            raise OSError("given up")

    def _is_over(self) -> bool:
        return self._effect.transport not in self._client._transports

    def _end(self, error: BaseException | str) -> None:
        client, number = self._client, self._effect.transport
        self._unwatch()
        self.release()
        self._outbox.clear()
        if self._handshaking is not None:
            _shut_down(self._handshaking)  # its thread sees the end, and closes it
        del client._transports[number]
        self._answer(number, error, now=time.monotonic())

    def _unwatch(self) -> None:
        if self._socket is not None and self._watched:
            self.loop.watch(self._socket, 0, self)
        self._watched = 0

    def _read(self, sock: socket.socket) -> None:
        client, number = self._client, self._effect.transport
        self._read_on = EVENT_READ
        try:
            if isinstance(sock, ssl.SSLSocket):
                data = sock.recv(RECORD_SIZE)
                data += _decrypted(sock, len(data))
            else:
                data = sock.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            self._read_on = EVENT_WRITE
            return
        except OSError as error:
            self._end(self._error or error)
            return
        if not data:
            self._end(self._error)
            return
        client._session.receive_data(number, data, now=time.monotonic())

    def _write(self, sock: socket.socket) -> None:
        client, number = self._client, self._effect.transport
        self._write_on = EVENT_WRITE
        try:
            while self._outbox:
                sent = sock.send(self._outbox)
                del self._outbox[:sent]
                client._session.data_sent(number, sent, now=time.monotonic())
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except ssl.SSLWantReadError:
            self._write_on = EVENT_READ
            return
        except OSError as error:
            self._error = error
            self._outbox.clear()
            _shut_down(sock)  # reading brings what came before, and then the end
        if self._closing:
            self._end(self._error)


def _decrypted(sock: ssl.SSLSocket, size: int) -> bytes:
    """Return what follows a record that was read: a turn for each costs a lot, and no selector tells of the rest."""
    records = []
    with suppress(OSError):  # nothing more; or an end or an error, which the next read tells
        while (size < READ_SIZE or sock.pending()) and (record := sock.recv(RECORD_SIZE)):
            records.append(record)
            size += len(record)
    return b"".join(records)


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's own forgets that it is TLS
