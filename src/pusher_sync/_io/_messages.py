"""Moves the messages of one wire over a connection that the application opened: in threads, because its calls block."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from pusher_proto.driving import MessageWire, checked_connection, checked_message, connection_errors

__all__ = ["ConnectMessages", "MessageConnection", "MessagePipe"]

_AHEAD = 64
"""Messages that the receiving thread may be ahead of the loop."""


class MessageConnection(Protocol):
    """A connection that carries whole messages; what `connect_messages` returns. Each is used for one attempt.

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


class MessagePipe:
    """A connection and its wire. One thread opens it and receives, one sends, one closes it.

    `post` calls a function in the loop's thread, which does all with the wire but reading its attributes.
    """

    def __init__(
        self, wire: MessageWire, connect: ConnectMessages, guard: Any, post: Callable[..., None]
    ) -> None:
        self._wire = wire
        self._connect = connect
        self._connection: Any = None
        self._changed = threading.Condition(guard)
        self._post = post
        self._waiting = 0
        """Messages that were received and are not in the wire yet."""
        self._writing = False
        self._closer: threading.Thread | None = None

    @property
    def over(self) -> bool:
        """Whether nothing is left of the connection that could still be waited for."""
        return self._wire.over and not (self._closer and self._closer.is_alive())

    def attend(self) -> None:
        """Read, write, or end, as the wire says. Called under the guard."""
        self._changed.notify_all()
        if self._wire.over:
            self.close()

    def close(self) -> None:
        """Close the connection in a third thread: the other two may be stuck in it. Called under the guard."""
        if self._connection is not None and self._closer is None:
            self._closer = self._thread("close", self._close)
            with suppress(RuntimeError):  # at the end of the program there are no more threads
                self._closer.start()

    def join(self) -> None:
        """Wait for the end of the connection, for at most `close_timeout`."""
        if self._closer is not None and self._closer.is_alive():
            self._closer.join(self._wire.effect.close_timeout)

    def run(self) -> None:
        """Open the connection, and receive until its end. Called in its own thread."""
        wire = self._wire
        try:
            with connection_errors():
                connection = self._connect(
                    wire.host, wire.port, wire.effect.tls, wire.effect.target
                )
            checked_connection(connection)
            self._post(self._opened, connection)
            while self._may_receive():
                with connection_errors(connection):
                    message = connection.receive()
                message = checked_message(connection, message)
                if message is None:
                    self._post(wire.eof)
                    return
                with self._changed:
                    self._waiting += 1
                self._post(self._received, message)
        except Exception as error:
            self._post(wire.failed, error)

    def _may_receive(self) -> bool:
        """Wait until the wire wants a message; return False at its end."""
        wire = self._wire
        with self._changed:
            self._changed.wait_for(
                lambda: wire.over or (wire.wants_data and self._waiting < _AHEAD)
            )
            return not wire.over

    def _opened(self, connection: MessageConnection) -> None:
        self._connection = connection
        if self._wire.over:
            self.close()
        else:
            self._thread("send", self._send, connection).start()
            self._wire.opened()

    def _received(self, message: str | bytes) -> None:
        self._waiting -= 1
        self._wire.received(message)
        self._changed.notify_all()

    def _send(self, connection: MessageConnection) -> None:
        wire = self._wire
        while data := self._next_to_send():
            try:
                with connection_errors(connection):
                    connection.send(data.decode())
            except Exception as error:
                self._post(self._written, partial(wire.write_failed, error))
            else:
                self._post(self._written, partial(wire.written, len(data)))

    def _next_to_send(self) -> bytes:
        """Wait for the next message and return it; an empty one at the end of the wire."""
        wire = self._wire
        with self._changed:
            self._changed.wait_for(lambda: wire.over or (wire.has_to_write and not self._writing))
            self._writing = True
            return b"" if wire.over else wire.to_write()

    def _written(self, report: Callable[[], None]) -> None:
        self._writing = False
        report()
        self._changed.notify_all()

    def _close(self) -> None:
        with suppress(Exception):
            self._connection.close(*self._wire.goodbye)

    def _thread(self, what: str, target: Callable[..., None], *args: object) -> threading.Thread:
        name = f"pusher-{what} {self._wire.host}:{self._wire.port}"
        return threading.Thread(target=target, args=args, name=name, daemon=True)
