"""One byte stream of the client: opening it, reading, writing in order, closing."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint_if_cancelled
from anyio.streams.tls import TLSStream

from pusher_proto import ConnectionUnsafe, OpenTransport

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Connect", "Transport"]

Connect = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a byte stream to a host and port."""

WRITE_SIZE = 4096
READ_SIZE = 256 * 1024  # what asyncio reads at once; to ask for less has it cut up and copied


class Transport:
    """Tells the client's session what happens, and does what it is told by `send` and `close`."""

    def __init__(self, client: Client, effect: OpenTransport) -> None:
        self._client = client
        self._effect = effect
        self._scope = anyio.CancelScope(shield=True)  # it lives as long as the client's block
        self._outbox: deque[bytes] = deque()
        self._secures = ""
        self._closing = False
        self._paused = False
        self._wake = anyio.Event()
        self._readable = anyio.Event()

    def send(self, data: bytes) -> None:
        """Write `data` after what was given before."""
        self._outbox.append(data)
        self._wake.set()

    def start_tls(self, host: str) -> None:
        """Begin TLS after what was given, and read nothing before that."""
        self._secures = host
        self._readable = anyio.Event()
        self._wake.set()

    def close(self, *, abort: bool) -> None:
        """Close after what was given, or at once."""
        self._closing = True
        self._wake.set()
        if abort:
            self._scope.cancel()

    def resume(self) -> None:
        """Read again, if reading was stopped and the session wants data."""
        if self._paused and self._client._session.wants_data(self._effect.transport):
            self._paused = False
            self._readable.set()

    async def run(self) -> None:
        """Live from opening to the end; tell the session of each, exactly once."""
        number, client = self._effect.transport, self._client
        session = client._session
        answer = session.transport_failed
        error: BaseException | str = "given up"
        try:
            await checkpoint_if_cancelled()
            with self._scope:
                stream = await self._open()
                answer, error = session.transport_closed, ""
                client._tell(session.transport_opened, number)
                await self._live(stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, ConnectionUnsafe) as failed:
            error = _cause(failed)
        except BaseException:
            client._end()
            raise
        finally:
            client._tell(answer, number, error)
            del client._transports[number]

    async def _open(self) -> ByteStream:
        effect = self._effect
        stream = await self._client._connect(effect.host, effect.port)
        return await self._secured(stream, effect.host) if effect.tls else stream

    async def _secured(self, stream: ByteStream, host: str) -> ByteStream:
        try:
            return await TLSStream.wrap(
                stream,
                hostname=host,
                ssl_context=self._client._context(),
                standard_compatible=False,
            )
        except BaseException as error:
            await anyio.aclose_forcefully(stream)
            if isinstance(error, ssl.SSLCertVerificationError):
                raise ConnectionUnsafe(
                    f"the certificate of {host} is not good: {error.verify_message}"
                ) from error
            raise

    async def _live(self, stream: ByteStream) -> None:
        self._stream = stream
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._write, group.cancel_scope)
                await self._read()
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            error = _first(errors)
            raise error from error.__cause__  # which tells what the system said
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        client, number = self._client, self._effect.transport
        session = client._session
        while True:
            if self._secures:
                await self._readable.wait()
            if not session.wants_data(number):
                self._paused, self._readable = True, anyio.Event()
                await self._readable.wait()
            try:
                data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                return
            client._tell(session.receive_data, number, data)

    async def _write(self, scope: anyio.CancelScope) -> None:
        client, number = self._client, self._effect.transport
        session = client._session
        while True:
            while self._outbox:
                data = self._take_from_outbox()
                await self._stream.send(data)
                client._tell(session.data_sent, number, len(data))
            if self._closing:
                scope.cancel()
                return
            if self._secures:
                self._stream = await self._secured(self._stream, self._secures)
                self._secures = ""
                self._readable.set()
                client._tell(session.tls_started, number)
                continue
            self._wake = anyio.Event()
            await self._wake.wait()

    def _take_from_outbox(self) -> bytes:
        """Return what goes in one write: all that one turn brought, but not so much that nobody hears of progress."""
        outbox = self._outbox
        data = outbox.popleft()
        if not outbox or len(data) >= WRITE_SIZE:
            return data
        together, size = [data], len(data)
        while outbox and size < WRITE_SIZE:
            together.append(outbox.popleft())
            size += len(together[-1])
        return b"".join(together)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _cause(error: Exception) -> BaseException:
    """Return what went wrong below: anyio hides errors of the system behind its own."""
    if isinstance(error, ConnectionUnsafe):
        return error
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = _first(cause)
    if isinstance(cause, OSError):
        return cause
    if isinstance(error, anyio.BrokenResourceError):  # on asyncio it does not tell what broke
        return ConnectionError("the connection broke")
    return error
