"""Clients of a running test server that need no socket: they exchange whole messages with it in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
from anyio import to_thread
from anyio.from_thread import BlockingPortal
from anyio.lowlevel import checkpoint

from pusher_proto.testing.messages import MessageClient

__all__ = ["InMemory", "InMemoryAwaited", "InMemoryThere"]


class InMemory:
    """A client without a socket: a `_Peer` for the server and a `MessageConnection` for the client."""

    def __init__(
        self, to_server: Callable[[bytes], None], gone: Callable[[], None], host: str, target: str
    ) -> None:
        self.end: object = None
        self._to_server = to_server
        self._gone = gone
        self._client = MessageClient(host, target)
        self._arrived: deque[bytes] = deque()
        self._wake = anyio.Event()

    # For the server

    @property
    def unsent(self) -> int:
        """How many bytes of the server the client has not taken."""
        return sum(map(len, self._arrived))

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._arrived.append(data)
        self._wake.set()

    def finish(self, end: object) -> None:
        """End the connection, after what was written."""
        self.end = end
        self._wake.set()

    # For the client

    async def open(self) -> None:
        """Wait for the answer to the upgrade."""
        self._flush()
        while not self._client.is_open and await self._more():
            pass
        if not self._client.is_open:
            raise self._client.end or ConnectionResetError("the server dropped the connection")

    async def send(self, text: str) -> None:
        """Send a message to the server."""
        await checkpoint()
        self._client.send(text)
        self._flush()

    async def receive(self) -> str | None:
        """Return the next message of the server; None at the end. Raises `ConnectionEnded` for a close code."""
        messages = self._client.messages
        while not messages and await self._more():
            pass
        if messages:
            return messages.popleft()
        if self._client.end is not None:
            raise self._client.end
        return None

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        await checkpoint()
        self._client.close(code, reason)
        self._flush()
        self.hang_up()

    async def _more(self) -> bool:
        """Wait for bytes of the server and take them; return False at the end."""
        while not self._arrived:
            if self.end is not None or self._client.end is not None:
                return False
            self._wake = anyio.Event()
            await self._wake.wait()
        self._client.received(self._arrived.popleft())
        self._flush()
        return True

    def _flush(self) -> None:
        data, self._client.to_server = self._client.to_server, b""
        if data:
            self._to_server(data)

    def hang_up(self) -> None:
        """End the connection on both sides."""
        self.finish("gone")
        self._gone()


class InMemoryThere:
    """A client without a socket in another thread than the server's."""

    def __init__(self, portal: BlockingPortal, there: InMemory) -> None:
        self._portal = portal
        self._there = there

    def send(self, text: str) -> None:
        """Send a message to the server."""
        self._portal.call(self._there.send, text)

    def receive(self) -> str | None:
        """Return the next message of the server; None at the end. Raises `ConnectionEnded` for a close code."""
        return self._portal.call(self._there.receive)

    def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        self._portal.call(self._there.close, code, reason)


class InMemoryAwaited:
    """A client without a socket on another event loop than the server's."""

    def __init__(self, there: InMemoryThere) -> None:
        self._there = there

    async def send(self, text: str) -> None:
        """Send a message to the server."""
        await to_thread.run_sync(self._there.send, text)

    async def receive(self) -> str | None:
        """Return the next message of the server; None at the end. Raises `ConnectionEnded` for a close code."""
        return await to_thread.run_sync(self._there.receive, abandon_on_cancel=True)

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        await to_thread.run_sync(self._there.close, code, reason)
