"""The numbered byte streams of a session: opens each one, tunnels through the proxy, starts TLS, writes and closes.

The owner of a stream gets three calls: when the stream leads to its server, for received bytes, and when it ends. A
stream can also be a connection that carries whole messages: then its driver does everything below messages, proxy and
TLS included. Ignores reports of the driver about unknown and ended streams, so that no other module has to.
"""

from __future__ import annotations

from typing import Any, Protocol

from .._base.timers import Timer, Timers
from .._base.urls import Address
from .._wire.proxy import Proxy, ProxyFailed, Tunnel
from ..effects import (
    CloseMessages,
    CloseTransport,
    OpenMessages,
    OpenTransport,
    SendData,
    SendMessage,
    StartTls,
)
from ..errors import describe
from ..states import TRANSPORT, TransportInput, TransportState, advance
from .effect_queue import EffectQueue

__all__ = ["MessageOwner", "Owner", "Transports"]

S, G = TransportState, TransportInput


class Owner(Protocol):
    """The machine that uses a stream. It gets no call after it closed the stream, nor after `transport_closed`."""

    def transport_opened(self, transport: int) -> None:
        """Start to use the stream, which now leads to the server, with TLS if the address requires it."""

    def receive_data(self, transport: int, data: bytes, now: float) -> None:
        """Process bytes from the server, at least one."""

    def transport_closed(
        self, transport: int, error: BaseException | str | None, reason: str, now: float
    ) -> None:
        """Handle the end of the stream, or the failure to open it. `reason` is a description of `error`."""


class MessageOwner(Owner, Protocol):
    """The machine that uses a connection that carries whole messages."""

    def receive_message(self, message: str | bytes, now: float) -> None:
        """Process one message from the server: text, or the bytes of a binary message."""


class _Stream:
    """One numbered stream."""

    __slots__ = ("address", "messages_for", "owner", "ssl_context", "state", "tunnel", "unsent")

    def __init__(
        self, owner: Owner, address: Address, tunnel: Tunnel | None, ssl_context: Any
    ) -> None:
        self.owner = owner
        self.address = address
        self.tunnel = tunnel
        """The tunnel through the proxy, until it is open; None without a proxy."""
        self.ssl_context = ssl_context
        self.state = S.OPENING
        self.unsent = 0
        """How many bytes the driver has not reported as written."""
        self.messages_for: MessageOwner | None = None
        """The owner, if the stream carries whole messages."""

    def move(self, given: TransportInput) -> bool:
        """Advance the state; return False, and change nothing, when the table has no transition for the input."""
        if (self.state, given) not in TRANSPORT:
            return False
        self.state = advance(TRANSPORT, self.state, given)
        return True


class Transports:
    """All streams of a session, by number. Each one ends at most `close_timeout` seconds after its `close`."""

    __slots__ = (
        "_close_timeout", "_last", "_proxy", "_streams", "_timers", "bytes_received", "bytes_sent",
        "effects",
    )  # fmt: skip

    def __init__(self, timers: Timers, close_timeout: float, proxy: Proxy | None = None) -> None:
        self.effects: EffectQueue = EffectQueue()
        self.bytes_received: int = 0
        """Bytes received for owners, without a proxy's answers."""
        self.bytes_sent: int = 0
        """Bytes that the driver reported as written, on streams that had not ended."""
        self._proxy = proxy
        self._timers = timers
        self._close_timeout = close_timeout
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        """The number of the last stream."""

    def use(self, proxy: Proxy | None) -> None:
        """Use this proxy, or none, for streams that are opened from now on."""
        self._proxy = proxy

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, transport: int) -> bool:
        return transport in self._streams

    # Calls of owners.

    def open(self, address: Address, owner: Owner, ssl_context: Any = None) -> int:
        """Open a stream to `address` and return its number. `ssl_context` replaces the driver's SSL context."""
        self._last += 1
        proxy, to, tunnel = self._proxy, address, None
        if proxy is not None:
            tunnel = proxy.tunnel(address.host, address.port)
            to = Address(proxy.host, proxy.port, False, "")
        self._streams[self._last] = _Stream(owner, address, tunnel, ssl_context)
        self.effects.append(OpenTransport(self._last, to.host, to.port, to.tls, ssl_context))
        return self._last

    def open_messages(self, address: Address, owner: MessageOwner) -> int:
        """Open a connection to `address` that carries whole messages, and return its number."""
        self._last += 1
        stream = self._streams[self._last] = _Stream(owner, address, None, None)
        stream.messages_for = owner
        self.effects.append(
            OpenMessages(
                self._last,
                address.host,
                address.port,
                address.tls,
                address.target,
                self._close_timeout,
            )
        )
        return self._last

    def send(self, transport: int, data: bytes) -> None:
        """Write `data`. Does nothing when the stream is not open."""
        stream = self._streams.get(transport)
        if data and stream is not None and stream.state is S.OPEN:
            self._write(transport, stream, data)

    def unsent(self, transport: int) -> int:
        """Return how many bytes of this stream the driver has not reported as written."""
        stream = self._streams.get(transport)
        return stream.unsent if stream else 0

    def linger(self, transport: int, now: float) -> None:
        """Abort the stream if it has not ended `close_timeout` seconds from now."""
        if transport in self._streams and not self._timers.is_set(Timer.CLOSE, transport):
            self._timers.set(Timer.CLOSE, now + self._close_timeout, transport)

    def close(
        self,
        transport: int,
        now: float,
        *,
        abort: bool = False,
        code: int = 1000,
        reason: str = "",
    ) -> None:
        """Close a stream; its owner gets no further call about it.

        A stream that is not open yet is aborted. `code` and `reason` are for the close frame of a connection that
        carries whole messages.
        """
        stream = self._streams[transport]
        abort = abort or stream.state not in (S.OPEN, S.CLOSING)
        stream.move(G.CLOSE)
        if stream.messages_for is None or abort:
            self.effects.append(CloseTransport(transport, abort=abort))
        else:
            self.effects.append(CloseMessages(transport, code, reason))
        self.linger(transport, now)

    def close_due(self, transport: int) -> None:
        """Abort a stream that did not end in time, and ignore all further reports about it."""
        del self._streams[transport]
        self.effects.append(CloseTransport(transport, abort=True))

    # Reports of the driver.

    def transport_opened(self, transport: int) -> None:
        """Start the tunnel through the proxy, or notify the owner when there is no proxy."""
        stream = self._streams.get(transport)
        if stream is None:
            return
        if stream.tunnel is None:
            self._advance(transport, stream, G.OPENED)
        elif stream.move(G.REACHED_PROXY):
            self._write(transport, stream, stream.tunnel.open())

    def tls_started(self, transport: int) -> None:
        """Notify the owner that TLS has started on a tunnel through the proxy."""
        stream = self._streams.get(transport)
        if stream is not None:
            self._advance(transport, stream, G.SECURED)

    def receive_data(self, transport: int, data: bytes, now: float) -> None:
        """Pass received bytes to the owner, or to the tunnel while there is one."""
        stream = self._streams.get(transport)
        if stream is None or not data:
            return
        if stream.state is S.TUNNELING:
            data = self._through_proxy(transport, stream, data, now)
        elif stream.state is S.SECURING:  # no server sends before the client in TLS
            self._refuse_surplus(transport, stream, now)
        if data and stream.state is S.OPEN:
            self.bytes_received += len(data)
            stream.owner.receive_data(transport, data, now)

    def receive_message(self, transport: int, message: str | bytes, now: float) -> int:
        """Pass a received message to the owner, and return its size in bytes."""
        stream = self._streams.get(transport)
        if stream is None or stream.messages_for is None or stream.state is not S.OPEN:
            return 0
        if isinstance(message, bytes) or message.isascii():
            size = len(message)
        else:
            size = len(message.encode("utf-8", "replace"))
        self.bytes_received += size
        stream.messages_for.receive_message(message, now)
        return size

    def data_sent(self, transport: int, size: int) -> None:
        """Count `size` bytes as written."""
        stream = self._streams.get(transport)
        if stream is not None:
            self.bytes_sent += size
            stream.unsent = max(0, stream.unsent - size)

    def transport_closed(
        self, transport: int, error: BaseException | str | None, now: float
    ) -> None:
        """Remove a stream that ended or failed to open, with its effects, and notify its owner."""
        stream = self._streams.pop(transport, None)
        self.effects.drop(transport)
        self._timers.stop(Timer.CLOSE, transport)
        if stream is None or stream.state is S.CLOSING:
            return
        reason = describe(error)
        if stream.tunnel is not None:
            reason = f"{self._proxy}: {reason or 'it ended the connection'}"
        stream.owner.transport_closed(transport, error, reason, now)

    def _write(self, transport: int, stream: _Stream, data: bytes) -> None:
        stream.unsent += len(data)
        if stream.messages_for is None:
            self.effects.append(SendData(transport, data))
        else:
            self.effects.append(SendMessage(transport, data.decode()))

    def _advance(self, transport: int, stream: _Stream, given: TransportInput) -> None:
        """Advance the state to open, and notify the owner."""
        if stream.move(given):
            stream.owner.transport_opened(transport)

    def _through_proxy(self, transport: int, stream: _Stream, data: bytes, now: float) -> bytes:
        """Pass bytes to the tunnel; return the bytes that follow the proxy's last answer, which are the server's."""
        tunnel = stream.tunnel
        assert tunnel is not None  # as the state is TUNNELING
        try:
            following = tunnel.receive_data(data)
        except ProxyFailed as failed:
            self._fail(transport, stream, failed, now)
            return b""
        if following:
            self._write(transport, stream, following)
        if not tunnel.done:
            return b""
        stream.tunnel = None
        if not stream.address.tls:
            self._advance(transport, stream, G.PASSED_PROXY)
            return tunnel.surplus
        stream.move(G.PASSED_PROXY_FOR_TLS)
        self.effects.append(StartTls(transport, stream.address.host, stream.ssl_context))
        if tunnel.surplus:
            self._refuse_surplus(transport, stream, now)
        return b""

    def _refuse_surplus(self, transport: int, stream: _Stream, now: float) -> None:
        self._fail(
            transport, stream, ProxyFailed("the proxy sent bytes before TLS had started"), now
        )

    def _fail(self, transport: int, stream: _Stream, failed: ProxyFailed, now: float) -> None:
        """Abort a stream whose tunnel failed, and notify its owner."""
        self.close(transport, now, abort=True)
        stream.owner.transport_closed(transport, failed, describe(str(failed)), now)
