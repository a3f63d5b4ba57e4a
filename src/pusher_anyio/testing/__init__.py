"""Runs the server machine of `pusher_proto.testing` on a port: for tests, and for `pusher-proto serve`.

`serve` runs it on the current event loop, asyncio or trio; `serve_in_thread` runs it in its own thread. Both give
an object with `port`, `server` and all controls of the server, without their `now`.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSStream

from pusher_proto.client import Opening
from pusher_proto.testing import Server, ServerClose, ServerEffect, ServerRequest, ServerSend
from pusher_proto.testing.expectations import AsyncExpectations, Expectations
from pusher_proto.testing.running import Controls

from .._io import current_loop
from .._leaving import Leaving
from ._in_memory import InMemory, InMemoryAwaited, InMemoryThere
from ._post import post

__all__ = ["AwaitedServer", "RunningServer", "ServerInThread", "serve", "serve_in_thread"]

R = TypeVar("R")

_READ_SIZE = 65536
_LINGER = 1.0  # seconds that a client has to read the last bytes and to disconnect
_UNSENT = 64 * 1024 * 1024  # bytes for a client that does not read; a client with more is dropped


class _End(Enum):
    """How a connection ends."""

    POLITE = "after the outgoing bytes, when the client disconnects or a second later"
    ABORT = "at once"


class _Peer:
    """One client: its outgoing bytes, and how its connection ends."""

    def __init__(self, most: int | None) -> None:
        self.outbox: deque[bytes] = deque()
        self.unsent = 0
        self.most = most
        self.end: _End | None = None
        self.wake = anyio.Event()
        self.scope = anyio.CancelScope()

    def write(self, data: bytes) -> None:
        if self.most is not None and len(self.outbox) >= self.most:
            return
        self.outbox.append(data)
        self.unsent += len(data)
        self.wake.set()
        if self.unsent > _UNSENT:
            self.finish(_End.ABORT)

    def finish(self, end: _End) -> None:
        self.end = end
        self.wake.set()
        if end is _End.ABORT:
            self.scope.cancel()


class RunningServer(Controls, AsyncExpectations, Leaving):
    """A server on the current event loop. Made by `serve`; call it on that event loop only."""

    _listeners: Sequence[Listener[SocketStream]] = ()

    def __init__(
        self, server: Server, host: str, port: int, ssl_context: ssl.SSLContext | None
    ) -> None:
        self._errors = []
        self.server = server
        self.host = host
        self.port = port
        self.tls: bool = ssl_context is not None
        self._ssl_context = ssl_context
        self._peers: dict[int, _Peer | InMemory] = {}
        self._count = 0
        self._rearm = anyio.Event()
        self._happened = anyio.Event()
        self._requests: deque[ServerRequest] = deque()
        self._requested = anyio.Event()
        self._io = current_loop()
        self._io.broke = self._broke

    async def close(self) -> None:
        """Drop all clients and free the port. Any task may call it.

        Raises the error that ended the server, if there is one.
        """
        await self._end()
        self._raise_errors()

    async def _close(self) -> None:
        await self._end()

    async def _end(self) -> None:
        # asyncio logs an InvalidStateError when an accept is cancelled while a client connects: close it first.
        await _close_all(self._listeners)
        for peer in tuple(self._peers.values()):
            if isinstance(peer, InMemory):  # the others end with their tasks
                peer.hang_up()
        await self._io.end()

    def _start(self, listeners: Sequence[Listener[SocketStream]]) -> None:
        self._listeners = listeners
        self._io.start("pusher serve", self._run)

    async def _run(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._run_timers)
            group.start_soon(self._run_requests)
            for listener in self._listeners:
                group.start_soon(_listen, listener, self)

    def _received(self, number: int, data: bytes) -> None:
        self.do(lambda server, now: server.receive_data(number, data, now=now))

    def _forget(self, number: int) -> None:
        if self._peers.pop(number, None) is not None:
            self.do(lambda server, now: server.connection_closed(number, now=now))

    async def connect_messages(
        self,
        host: str,
        port: int,
        tls: bool,  # noqa: ARG002 - as the client calls it; memory needs none
        target: str,
    ) -> InMemory:
        """Open a connection in memory: `open_pusher(options, connect_messages=running.connect_messages)`.

        Its messages go to the server and back without a socket. The server answers under any host and port.
        """
        await checkpoint()
        self._count += 1
        number = self._count
        peer = self._peers[number] = InMemory(
            partial(self._received, number), partial(self._forget, number), f"{host}:{port}", target
        )
        self.do(lambda server, now: server.connection_opened(number, now=now))
        try:
            await peer.open()
        except BaseException:
            peer.hang_up()
            raise
        return peer

    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)`, carry out its effects, and return its result."""
        try:
            return action(self.server, anyio.current_time())
        finally:
            self._carry_out()

    async def wait_until(self, condition: Callable[[Server], R], timeout: float = 10.0) -> R:
        """Wait until `condition(server)` is true, and return its result. Raises TimeoutError."""
        with anyio.fail_after(timeout):
            while not (seen := condition(self.server)):
                await self._happened.wait()
        return seen

    def _carry_out(self) -> None:
        while (effect := self.server.next_effect()) is not None:
            self._carry_out_one(effect)
        self._rearm.set()
        self._happened.set()
        self._happened = anyio.Event()

    def _carry_out_one(self, effect: ServerEffect) -> None:
        if isinstance(effect, ServerRequest):
            self._requests.append(effect)
            self._requested.set()
            return
        peer = self._peers.get(effect.connection)
        if peer is None:
            return
        match effect:
            case ServerSend():
                peer.write(effect.data)
            case ServerClose():
                peer.finish(_End.ABORT if effect.abort else _End.POLITE)

    async def _run_timers(self) -> None:
        while True:
            due = self.server.next_deadline()
            self._rearm = anyio.Event()
            with anyio.CancelScope(deadline=float("inf") if due is None else due):
                await self._rearm.wait()
            if due is not None and anyio.current_time() >= due:
                self.do(lambda server, now: server.handle_timeout(now=now))

    async def _run_requests(self) -> None:
        """Send the requests of webhooks, each in its own task."""
        async with anyio.create_task_group() as group:
            while True:
                while self._requests:
                    group.start_soon(self._request, self._requests.popleft())
                self._requested = anyio.Event()
                await self._requested.wait()

    async def _request(self, request: ServerRequest) -> None:
        status = await post(request.url, request.headers, request.body)
        self.do(lambda server, now: server.request_answered(request.request, status, now=now))

    async def drained(self, timeout: float) -> None:
        """Wait until all clients have disconnected, or for `timeout` seconds."""
        with anyio.move_on_after(timeout):
            while self._peers:
                await self._happened.wait()

    async def _serve(self, raw: ByteStream) -> None:
        """Serve one client until it disconnects."""
        self._count += 1
        number, stream = self._count, raw
        peer = _Peer(self.server.limits.unsent_messages)
        address = raw.extra(SocketAttribute.remote_address, None)  # noqa: S610 - not Django's
        host = address[0] if isinstance(address, tuple) else None
        try:
            with peer.scope:
                if self._ssl_context is not None:
                    stream = await TLSStream.wrap(
                        raw,
                        server_side=True,
                        ssl_context=self._ssl_context,
                        standard_compatible=False,
                    )
                self._peers[number] = peer
                self.do(lambda server, now: server.connection_opened(number, peer=host, now=now))
                await self._live(number, peer, stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            pass  # the client disconnected, or refused the certificate
        finally:
            if peer.end is _End.ABORT:
                _reset_on_close(raw)
            self._forget(number)
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(raw)

    async def _live(self, number: int, peer: _Peer, stream: ByteStream) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, number, peer, stream)
            await self._write(peer, stream)
            group.cancel_scope.cancel()
        await _linger(stream)

    async def _read(self, number: int, peer: _Peer, stream: ByteStream) -> None:
        try:
            while True:
                data = await stream.receive(_READ_SIZE)
                self.server.receive_data(number, data, now=anyio.current_time())
                self._carry_out()
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            # Earlier answers are still sent: some clients end their side after a request.
            peer.finish(_End.POLITE)
            self.do(lambda server, now: server.connection_closed(number, now=now))

    async def _write(self, peer: _Peer, stream: ByteStream) -> None:
        while True:
            try:
                while peer.outbox:
                    data = peer.outbox.popleft()
                    await stream.send(data)
                    peer.unsent -= len(data)
            except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
                return  # with TLS writing reads as well, and may see the end
            if peer.end is not None:
                return
            peer.wake = anyio.Event()
            await peer.wake.wait()


async def _linger(stream: ByteStream) -> None:
    """End the sending side and read for another moment: closing with unread bytes would discard the last bytes sent."""
    with anyio.move_on_after(_LINGER):
        try:
            if isinstance(stream, TLSStream):
                try:
                    await stream.unwrap()
                finally:
                    stream = stream.transport_stream  # type: ignore[assignment]  # the stream below TLS
            await stream.send_eof()
            while True:
                await stream.receive(_READ_SIZE)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            pass


async def _listen(listener: Listener[ByteStream], running: RunningServer) -> None:
    """Serve the clients of one address until its listener is closed."""
    try:
        await listener.serve(running._serve)
    except* anyio.ClosedResourceError:
        pass


def _reset_on_close(stream: ByteStream) -> None:
    """Make the next close a reset, as after a crash."""
    format_of_linger = "hh" if os.name == "nt" else "ii"
    try:
        there = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(format_of_linger, 1, 0))
    except OSError:
        pass  # it is closed already


def serve(
    server: Server | None = None,
    *,
    host: str | Sequence[str] = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
) -> Opening[RunningServer]:
    """Run a server: `async with serve() as running`, or `running = await serve()` and `await running.close()`.

    `server` is the machine, by default one with the demonstration app. `host` is one address or several, all with the
    same port; port 0 takes a free one, which `running.port` has. With `ssl_context` it speaks TLS. Closing drops all
    clients and frees the port; any task may do it. An exception of the block is raised unchanged.
    """
    hosts = [host] if isinstance(host, str) else list(host)

    async def open_() -> RunningServer:
        listeners: list[Listener[SocketStream]] = []
        there = port
        try:
            for each in hosts:
                listener = await anyio.create_tcp_listener(local_host=each, local_port=there)
                listeners.append(listener)
                there = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        except BaseException:
            await _close_all(listeners)
            raise
        running = RunningServer(server or Server(), hosts[0], there, ssl_context)
        running._start(listeners)
        return running

    return Opening("serve", open_)


async def _close_all(listeners: Sequence[Listener[SocketStream]]) -> None:
    with anyio.CancelScope(shield=True):
        for listener in listeners:
            await listener.aclose()


class ServerInThread(Controls, Expectations):
    """A server in its own thread. Made by `serve_in_thread`; may be used from any thread."""

    def __init__(self, running: RunningServer, portal: BlockingPortal) -> None:
        self.server: Server = running.server
        self.host: str = running.host
        self.port: int = running.port
        self.tls: bool = running.tls
        self.aio: AwaitedServer = AwaitedServer(self)
        """The waits and `connect_messages`, for tests on an event loop: `await server.aio.expect_subscribed(...)`."""
        self._running = running
        self._portal = portal

    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)` in the server's thread and return its result."""
        result: R = self._portal.call(self._running.do, action)
        return result

    def wait_until(self, condition: Callable[[Server], R], timeout: float = 10.0) -> R:
        """Wait until `condition(server)` is true, and return its result. Raises TimeoutError.

        `condition` is called in the server's thread.
        """
        result: R = self._portal.call(self._running.wait_until, condition, timeout)
        return result

    def connect_messages(self, host: str, port: int, tls: bool, target: str) -> InMemoryThere:
        """Open a connection in memory: `open_pusher(options, connect_messages=running.connect_messages)`.

        Its messages go to the server and back without a socket. The server answers under any host and port.
        """
        connect = self._running.connect_messages
        return InMemoryThere(self._portal, self._portal.call(connect, host, port, tls, target))


class AwaitedServer(AsyncExpectations):
    """A server in another thread, for tests on an event loop."""

    def __init__(self, there: ServerInThread) -> None:
        self.server: Server = there.server
        self._there = there

    async def connect_messages(
        self, host: str, port: int, tls: bool, target: str
    ) -> InMemoryAwaited:
        """Open a connection in memory: `open_pusher(options, connect_messages=server.aio.connect_messages)`."""
        opened = partial(self._there.connect_messages, host, port, tls, target)
        return InMemoryAwaited(await anyio.to_thread.run_sync(opened))

    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)` in the server's thread and return its result."""
        return self._there.do(action)

    async def wait_until(self, condition: Callable[[Server], R], timeout: float = 10.0) -> R:
        """Wait until `condition(server)` is true, and return its result. Raises TimeoutError."""
        wait = partial(self._there.wait_until, condition, timeout)
        return await anyio.to_thread.run_sync(wait, abandon_on_cancel=True)


@contextmanager
def serve_in_thread(
    server: Server | None = None,
    *,
    host: str | Sequence[str] = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
) -> Iterator[ServerInThread]:
    """Run a server in its own thread until the end of the block: `with serve_in_thread() as running`.

    The parameters are those of `serve`.
    """
    serving = serve(server, host=host, port=port, ssl_context=ssl_context)
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(serving) as running,
    ):
        yield ServerInThread(running, portal)
