"""One byte stream of the client: opening it, reading, writing in order, closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from anyio.abc import ByteStream

from pusher_proto import OpenTransport
from pusher_proto.driving import Tls

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Connect", "Transport"]

Connect = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a byte stream to a host and port."""

WRITE_SIZE = 4096


class Transport(ABC):
    """Tells the client's session what happens, and does what it is told by `send`, `start_tls` and `close`.

    It ends exactly once, by `_gone`. Who opens it says `_begin` then; who moves its bytes takes them from `_next_piece`
    and brings them to `_received`.
    """

    def __init__(self, client: Client, effect: OpenTransport) -> None:
        self._client = client
        self._effect = effect
        self._is_open = False  # as the session sees it: with TLS, if it is wanted from the start
        self._secures = effect.host if effect.tls else ""
        self._tls: Tls | None = None
        self._outbox: list[bytes] = []
        self._closing = False
        self._error: BaseException | str = ""

    def send(self, data: bytes) -> None:
        """Write `data` after what was given before."""
        self._outbox.append(data)
        self._see_to_writing()

    def start_tls(self, host: str) -> None:
        """Begin TLS after what was given, and read nothing before that."""
        self._secures = host
        self._see_to_writing()

    def close(self, *, abort: bool) -> None:
        """Close after what was given, or at once."""
        self._closing = True
        if abort:
            self._abort()
        else:
            self._see_to_writing()

    @abstractmethod
    def resume(self) -> None:
        """Read again, if reading was stopped and may go on."""

    @abstractmethod
    async def run(self) -> None:
        """Open the stream."""

    @abstractmethod
    def _see_to_writing(self) -> None:
        """Let somebody write, close, and begin TLS, in this order, unless nothing is open yet."""

    @abstractmethod
    def _abort(self) -> None:
        """Close at once, or give up opening."""

    def _begin(self) -> None:
        if not self._secures:
            self._opened()
        if self._secures or self._closing:
            self._see_to_writing()

    def _opened(self) -> None:
        self._is_open = True
        self._client._tell(self._client._session.transport_opened, self._effect.transport)

    def _may_read(self) -> bool:
        if self._secures:
            return False
        shaking_hands = self._tls is not None and not self._tls.established
        return shaking_hands or self._client._session.wants_data(self._effect.transport)

    def _received(self, data: bytes) -> None:
        client, number, tls = self._client, self._effect.transport, self._tls
        if tls is None:
            client._tell(client._session.receive_data, number, data)
            return
        was_established = tls.established
        data = tls.decrypt(data)
        if tls.has_to_send:
            self._see_to_writing()
        if tls.established and not was_established:
            if self._is_open:
                client._tell(client._session.tls_started, number)
            else:
                self._opened()
        if data:
            client._tell(client._session.receive_data, number, data)
        self._look_at_tls(tls)

    def _cut_off(self) -> None:
        """Nothing more is received."""
        if self._tls is not None:
            self._tls.cut_off()
            self._look_at_tls(self._tls)
        self._abort()

    def _look_at_tls(self, tls: Tls) -> None:
        if tls.end is not None:
            self._error = tls.end
            self.close(abort=tls.established)  # else the server is to hear what was wrong with it

    def _next_piece(self) -> tuple[bytes, int]:
        """Return what to write next, if anything, and how much of what the session gave is in it."""
        if self._secures and not self._outbox:
            self._tls = Tls(self._effect.ssl_context or self._client._context(), self._secures)
            self._secures = ""
            self.resume()
        tls = self._tls
        if tls is None:
            data = self._take_from_outbox()
            return data, len(data)
        data = self._take_from_outbox() if tls.established else b""
        tls.encrypt(data)
        return tls.to_send(), len(data)

    def _take_from_outbox(self) -> bytes:
        """Return what goes in one write: all that one turn brought, but not so much that nobody hears of progress."""
        count = size = 0
        for data in self._outbox:
            count += 1
            size += len(data)
            if size >= WRITE_SIZE:
                break
        together = b"".join(self._outbox[:count])
        del self._outbox[:count]
        return together

    def _gone(self) -> None:
        client, number = self._client, self._effect.transport
        session = client._session
        answer = session.transport_closed if self._is_open else session.transport_failed
        try:
            client._tell(answer, number, self._error or ("" if self._is_open else "given up"))
        finally:  # the end of the block waits for this
            del client._transports[number]
            client._lifecycle.notify()
