"""Moves the messages of one wire over a connection that the application opened: in threads, because its calls block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Protocol

from pusher_proto.driving import MessageWire, checked_connection, checked_message, connection_errors

__all__ = ["Closing", "ConnectMessages", "MessageConnection", "MessagePipe", "Report"]

_AT_ONCE = 64
"""The most messages that one thread receives before the loop has taken them."""


Report = Callable[[Any], object]
"""Takes the result of a function that ran in another thread."""


class MessageConnection(Protocol):
    """A connection that carries whole messages. `connect_messages` returns one for each attempt.

    `receive` and `send` may run at the same time, and both may be running when `close` is called.
    """

    def send(self, text: str, /) -> None:
        """Send one text message."""

    def receive(self) -> str | bytes | None:
        """Return the next message, or None at the end of the connection. May raise instead.

        Raise `ConnectionEnded(code, reason)` where the server closed with a code, or let an exception of a WebSocket
        library come out that has it.
        """

    def close(self, code: int, reason: str, /) -> None:
        """Close the connection, by a close frame where there is one. Called once, also after an error."""


ConnectMessages = Callable[[str, int, bool, str], MessageConnection]
"""Opens a connection to a host and port, with TLS or not, for a target such as `/app/KEY?protocol=7`."""


class Closing:
    """The threads of one client that close connections."""

    def __init__(self) -> None:
        self._threads: list[tuple[Thread, float]] = []

    def add(self, thread: Thread, seconds: float) -> None:
        """Add a thread that `wait` waits for, for at most `seconds`."""
        self._threads = [each for each in self._threads if each[0].is_alive()]
        self._threads.append((thread, seconds))

    def wait(self) -> None:
        """Wait for the threads."""
        for thread, seconds in self._threads:
            if thread.is_alive():  # it may not have started
                thread.join(seconds)


class MessagePipe:
    """A connection and its wire. Each call of the connection runs in another thread, as it blocks.

    `begin(what, function, done, failed)` calls a function in a new thread, and then one of the other two, with the
    result or the exception, in the loop's thread; `post` calls a function in the loop's thread. The thread that closes
    the connection is added to `closing`.
    """

    def __init__(
        self,
        wire: MessageWire,
        connect: ConnectMessages,
        begin: Callable[[str, Callable[[], object], Report, Report], Thread],
        post: Callable[..., None],
        closing: Closing,
    ) -> None:
        self._wire = wire
        self._begin = begin
        self._post = post
        self._closing = closing
        self._connection: Any = None
        self._sending = self._receiving = self._may_receive = False
        begin("dial", partial(self._open, connect), self._opened, wire.failed)

    def attend(self) -> None:
        """Read, write, or end, as the wire says."""
        wire, connection = self._wire, self._connection
        if connection is None:
            return
        if wire.over:
            self._close(connection)
            return
        if wire.has_to_write and not self._sending:
            self._sending = True
            data = wire.to_write()
            send, sent = partial(self._send, connection, data), partial(self._sent, len(data))
            self._begin("send", send, sent, wire.write_failed)
        self._may_receive = wire.wants_data
        if self._may_receive and not self._receiving:
            self._receiving = True
            receive = partial(self._receive, connection)
            self._begin("receive", receive, self._received, wire.failed)

    # In other threads

    def _open(self, connect: ConnectMessages) -> MessageConnection:
        wire = self._wire
        with connection_errors():
            connection = connect(wire.host, wire.port, wire.effect.tls, wire.effect.target)
        checked_connection(connection)
        return connection

    def _send(self, connection: MessageConnection, data: bytes) -> None:
        with connection_errors(connection):
            connection.send(data.decode())

    def _receive(self, connection: MessageConnection) -> bool:
        """Receive some messages, as long as the wire wants them. Return whether the connection has ended."""
        for _ in range(_AT_ONCE):
            if not self._may_receive:
                break
            with connection_errors(connection):
                received = connection.receive()
            message = checked_message(connection, received)
            if message is None:
                return True
            self._post(self._wire.received, message)
        return False

    # In the loop's

    def _opened(self, connection: MessageConnection) -> None:
        if self._wire.over:
            self._close(connection)
        else:
            self._connection = connection
            self._wire.opened()

    def _sent(self, size: int, _: None) -> None:
        self._sending = False
        self._wire.written(size)

    def _received(self, ended: bool) -> None:
        self._receiving = False
        if ended:
            self._wire.eof()
        else:
            self.attend()

    def _close(self, connection: MessageConnection) -> None:
        """Close in another thread: the first two may be stuck in the connection."""
        self._connection, self._may_receive = None, False
        close = partial(connection.close, *self._wire.goodbye)
        thread = self._begin("close", close, bool, bool)
        self._closing.add(thread, self._wire.effect.close_timeout)
