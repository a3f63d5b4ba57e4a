"""The numbered byte streams of a session, who owns each, and the queue of effects.

Knows nothing of what goes over a stream. Answers for unknown or finished numbers are told apart here, once.
"""

from __future__ import annotations

from typing import Protocol

from .._base.timers import Timer, Timers
from .._base.urls import Address
from .._wire.proxy import Proxy, Tunnel
from ..effects import (
    Authorize,
    AuthorizeMany,
    CloseTransport,
    Effect,
    OpenTransport,
    SendData,
    StartTls,
)

__all__ = ["Owner", "Transports"]


class Owner(Protocol):
    """Whoever asked for a stream and hears of it."""

    def transport_opened(self, transport: int) -> None:
        """The stream is open."""


class _Stream:
    __slots__ = ("address", "begun", "is_open", "owner", "securing", "tunnel", "unsent")

    def __init__(self, owner: Owner | None, address: Address, tunnel: Tunnel | None) -> None:
        self.owner = owner
        self.address = address
        self.is_open = False
        """Whether it is the owner's: open, to the server, and with TLS where that is wanted."""
        self.unsent = 0
        self.tunnel = tunnel
        """What is said to the proxy, until it has let us through."""
        self.begun = False
        """Whether the proxy was spoken to."""
        self.securing = False


class Transports:
    """Hands out numbers, keeps owners, and sees to it that a stream which was told to close is gone in time."""

    def __init__(self, timers: Timers, close_timeout: float, proxy: Proxy | None = None) -> None:
        self.effects: list[Effect] = []  # an empty deque would take 700 bytes
        self.proxy = proxy
        self._timers = timers
        self._close_timeout = close_timeout
        self._streams: dict[int, _Stream] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, transport: int) -> bool:
        return transport in self._streams

    def owner(self, transport: int) -> Owner | None:
        """Return who has the bytes of this stream; None for one that is unknown, not open yet or told to close."""
        stream = self._streams.get(transport)
        return stream.owner if stream is not None and stream.is_open else None

    def unsent(self, transport: int) -> int:
        """Return how many bytes the driver has still to send on this stream."""
        stream = self._streams.get(transport)
        return stream.unsent if stream else 0

    def open(self, address: Address, owner: Owner) -> int:
        """Ask for a stream to `address` and return its number."""
        self._last += 1
        proxy, to, tunnel = self.proxy, address, None
        if proxy is not None:
            tunnel = proxy.tunnel(address.host, address.port)
            to = Address(proxy.host, proxy.port, False, "")
        self._streams[self._last] = _Stream(owner, address, tunnel)
        self.effects.append(OpenTransport(self._last, to.host, to.port, to.tls))
        return self._last

    # Through a proxy

    def tunnel(self, transport: int) -> Tunnel | None:
        """Return what is said to the proxy on this stream, until it leads to the server."""
        stream = self._streams.get(transport)
        return stream.tunnel if stream is not None and stream.owner is not None else None

    def begin_tunnel(self, transport: int) -> Tunnel | None:
        """The same the first time."""
        tunnel = self.tunnel(transport)
        if tunnel is None or self._streams[transport].begun:
            return None
        self._streams[transport].begun = True
        return tunnel

    def send_ahead(self, transport: int, data: bytes) -> None:
        """Ask for `data` to be written to the proxy."""
        if data:
            self._streams[transport].unsent += len(data)
            self.effects.append(SendData(transport, data))

    def leave_tunnel(self, transport: int) -> bool:
        """The stream leads to the server. Ask for TLS where it is wanted, and return whether it is."""
        stream = self._streams[transport]
        stream.tunnel = None
        stream.securing = stream.address.tls
        if stream.securing:
            self.effects.append(StartTls(transport, stream.address.host))
        return stream.securing

    def is_securing(self, transport: int) -> bool:
        """Return whether TLS is about to begin on this stream."""
        stream = self._streams.get(transport)
        return stream is not None and stream.securing and stream.owner is not None

    def end_securing(self, transport: int) -> bool:
        """Note that TLS began; return whether that was waited for."""
        stream = self._streams.get(transport)
        securing = stream is not None and stream.securing
        if stream is not None:
            stream.securing = False
        return securing

    def give_up(self, transport: int, now: float) -> Owner | None:
        """Abort a stream that leads nowhere; return its owner."""
        owner = self._streams[transport].owner
        self.close(transport, now, abort=True)
        return owner

    # With their owners

    def send(self, transport: int, data: bytes) -> None:
        """Ask for `data` to be written; nothing for a stream that is not open or was told to close."""
        stream = self._streams.get(transport)
        if data and stream is not None and stream.is_open and stream.owner is not None:
            stream.unsent += len(data)
            self.effects.append(SendData(transport, data))

    def linger(self, transport: int, now: float) -> None:
        """Give the stream close_timeout from now to end; then it is aborted."""
        if transport in self._streams and not self._timers.is_set(Timer.CLOSE, transport):
            self._timers.set(Timer.CLOSE, now + self._close_timeout, transport)

    def close(self, transport: int, now: float, *, abort: bool = False) -> None:
        """Ask for the end of a stream; its owner hears no more of it."""
        stream = self._streams[transport]
        stream.owner = None
        self.effects.append(CloseTransport(transport, abort=abort or not stream.is_open))
        self.linger(transport, now)

    def opened(self, transport: int) -> Owner | None:
        """Note that a stream is open; return its owner the first time, if it has one."""
        stream = self._streams.get(transport)
        if stream is None or stream.is_open or stream.securing:
            return None
        stream.is_open = True
        return stream.owner

    def sent(self, transport: int, size: int) -> None:
        """Note that the driver wrote `size` bytes."""
        stream = self._streams[transport]
        stream.unsent = max(0, stream.unsent - size)

    def gone(self, transport: int) -> Owner | None:
        """Note that a stream failed to open or ended; return its owner, if it still has one.

        What was still to be done with it is void: a driver hears no more of a stream whose end it told.
        """
        stream = self._streams.pop(transport, None)
        for effect in [
            e
            for e in self.effects
            if not isinstance(e, Authorize | AuthorizeMany) and e.transport == transport
        ]:
            self.effects.remove(effect)
        self._timers.stop(Timer.CLOSE, transport)
        return stream.owner if stream else None

    def close_due(self, transport: int) -> None:
        """Give up on an orderly end: abort, and count the stream as gone whatever the driver says."""
        del self._streams[transport]
        self.effects.append(CloseTransport(transport, abort=True))

    def next_effect(self) -> Effect | None:
        """Return the next effect; what is to be sent on one stream in a row comes as one."""
        effects = self.effects
        if not effects:
            return None
        effect, count = effects[0], 1
        if type(effect) is SendData:
            chunks = [effect.data]
            for following in effects[1:]:
                if type(following) is not SendData or following.transport != effect.transport:
                    break
                chunks.append(following.data)
                count += 1
            if count > 1:
                effect = SendData(effect.transport, b"".join(chunks))
        del effects[:count]
        return effect
