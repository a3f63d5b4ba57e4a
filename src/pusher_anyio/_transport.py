"""One byte stream of the client: opening it, reading, writing in order, closing."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint_if_cancelled
from anyio.streams.tls import TLSAttribute, TLSStream

from pusher_proto import ConnectionUnsafe, OpenTransport

from ._tls import READ_SIZE, AtOnce, decrypted

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Connect", "Transport"]

Connect = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a byte stream to a host and port."""

WRITE_SIZE = 4096


class Transport:
    """Tells the client's session what happens, and does what it is told by `send` and `close`.

    One task opens the stream and reads. Another one writes, and is there only while there is something to write.
    """

    def __init__(self, client: Client, effect: OpenTransport) -> None:
        self._client = client
        self._effect = effect
        self._scope = anyio.CancelScope(shield=True)  # it lives as long as the client's block
        self._stream: ByteStream | None = None
        self._outbox: list[bytes] = []
        self._tls: ssl.SSLObject | None = None
        self._secures = ""
        self._closing = False
        self._writer: anyio.CancelScope | None = None
        self._broken: Exception | None = None
        self._resumed: anyio.Event | None = None

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
        self._see_to_writing()
        if abort:
            self._scope.cancel()

    def resume(self) -> None:
        """Read again, if reading was stopped and may go on."""
        if self._resumed is not None and self._may_read():
            self._resumed.set()
            self._resumed = None

    async def run(self) -> None:
        """Live from opening to the end; tell the session of each, exactly once."""
        number, client = self._effect.transport, self._client
        session = client._session
        answer = session.transport_failed
        error: BaseException | str = "given up"
        try:
            await checkpoint_if_cancelled()
            with self._scope:
                self._stream = await self._open()
                answer, error = session.transport_closed, ""
                client._tell(session.transport_opened, number)
                if self._closing:
                    self._see_to_writing()
                await self._read()
            if self._broken is not None:
                error = _cause(self._broken)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, ConnectionUnsafe) as failed:
            error = _cause(failed)
        except BaseException:
            client._end()
            raise
        finally:
            if self._writer is not None:
                self._writer.cancel()
            if self._stream is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.aclose_forcefully(self._stream)
            client._tell(answer, number, error)
            del client._transports[number]

    async def _open(self) -> ByteStream:
        effect = self._effect
        stream = await self._client._connect(effect.host, effect.port)
        return await self._secured(stream, effect.host) if effect.tls else stream

    async def _secured(self, stream: ByteStream, host: str) -> ByteStream:
        try:
            secured = await TLSStream.wrap(
                AtOnce(stream),
                hostname=host,
                ssl_context=self._client._context(),
                standard_compatible=False,
            )
            self._tls = secured.extra(TLSAttribute.ssl_object)  # noqa: S610 - this is not Django's `extra`
            return secured
        except BaseException as error:
            await anyio.aclose_forcefully(stream)
            if isinstance(error, ssl.SSLCertVerificationError):
                raise ConnectionUnsafe(
                    f"the certificate of {host} is not good: {error.verify_message}"
                ) from error
            raise

    def _may_read(self) -> bool:
        return not self._secures and self._client._session.wants_data(self._effect.transport)

    async def _read(self) -> None:
        client, number = self._client, self._effect.transport
        session = client._session
        while True:
            while not self._may_read():
                self._resumed = anyio.Event()
                await self._resumed.wait()
            assert self._stream is not None  # it may have become another one, with TLS
            try:
                data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                return
            if self._tls is not None:
                data += decrypted(self._tls)
            client._tell(session.receive_data, number, data)
            del data  # or it would be held until the next read, and be 256 KB after a burst

    def _see_to_writing(self) -> None:
        """Let a task do what is to be done in order, unless there is one, or no stream yet."""
        if self._stream is not None and self._writer is None:
            self._writer = anyio.CancelScope(shield=True)
            self._client._start(self._write, self._writer)

    async def _write(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await self._write_all()
        except (
            *(OSError, anyio.EndOfStream, ConnectionUnsafe),
            *(
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
            ),  # closed: the reader saw the end first
        ) as error:
            self._broken = error
            self._scope.cancel()
        finally:
            self._writer = None

    async def _write_all(self) -> None:
        client, number = self._client, self._effect.transport
        session = client._session
        while self._outbox or self._secures or self._closing:
            assert self._stream is not None  # else there would be no task for this
            if self._outbox:
                data = self._take_from_outbox()
                await self._stream.send(data)
                client._tell(session.data_sent, number, len(data))
            elif self._closing:
                self._scope.cancel()
                return
            else:
                self._stream = await self._secured(self._stream, self._secures)
                self._secures = ""
                client._tell(session.tls_started, number)

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
