"""A client in slow motion: drives a session of the core, and reports each step on its way with the time it took."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.tls import TLSAttribute, TLSStream

from pusher_proto import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    CancelCall,
    CloseTransport,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionUnsafe,
    Event,
    OpenTransport,
    Options,
    SendData,
    Session,
    StartTls,
)

__all__ = [
    "CONNECT",
    "KEY",
    "LOOKUP",
    "PROXY",
    "SECURE",
    "UPGRADE",
    "Lost",
    "Probe",
    "Watch",
    "way",
]

LOOKUP, CONNECT, PROXY, SECURE = "name lookup", "TCP", "proxy", "TLS and certificate"
UPGRADE, KEY = "upgrade", "key and cluster"


def way(options: Options) -> list[str]:
    """Return the steps to a connection, in order."""
    through = [PROXY] if options.proxy is not None else []
    return [LOOKUP, CONNECT, *through, SECURE, UPGRADE, KEY]


_PATIENCE = 3.0  # seconds for one of several addresses
_READ_SIZE = 65536
_BROKEN = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, ConnectionUnsafe)


class Lost(Exception):
    """There is no connection: `loss` says what the session made of it, `error` what the system said."""

    def __init__(self, loss: ConnectionLost, error: BaseException | None, timed_out: bool) -> None:
        super().__init__(loss.reason)
        self.loss = loss
        self.error = error
        self.timed_out = timed_out


class Watch:
    """Hears when a step begins and when it has succeeded. A step that never succeeds is where it failed."""

    def begin(self, name: str) -> None:
        """A step begins; the one before it has ended."""

    def end(self, detail: str = "") -> None:
        """The step has succeeded."""

    def skip(self, name: str, detail: str) -> None:
        """There is nothing to do in this step."""


class Probe:
    """A session and its streams, on the current event loop. `watch` gets each step to the connection."""

    def __init__(
        self, options: Options, context: ssl.SSLContext | None, watch: Watch, group: TaskGroup
    ) -> None:
        self.session = Session(options)
        self.events: list[Event] = []
        """Events of the session that have not been taken yet."""
        self.timed_out = False
        """Whether it was a deadline that brought the last of `events`."""
        self._context = context
        self._watch = watch
        self._group = group
        self._streams: dict[int, _Stream] = {}
        self._first: int | None = None
        self._head = b""
        self._upgrading = False
        self._at_proxy = options.proxy is not None
        self._error: BaseException | None = None
        self._changed = anyio.Event()

    def now(self) -> float:
        """Return the time, in the seconds that the session counts in."""
        return anyio.current_time()

    def tell(self, answer: Callable[..., None], *details: Any) -> None:
        """Tell the session something, and carry out what follows."""
        answer(*details, now=self.now())
        while (effect := self.session.next_effect()) is not None:
            match effect:
                case OpenTransport():
                    if self._first is None:
                        self._first = effect.transport
                    stream = self._streams[effect.transport] = _Stream(effect)
                    self._group.start_soon(self._live, stream)
                case SendData():
                    if effect.transport == self._first and effect.data.startswith(b"GET "):
                        self._ask_for_upgrade()
                    self._streams[effect.transport].send(effect.data)
                case StartTls():
                    self._streams[effect.transport].secures = effect.host
                case CloseTransport():
                    self._streams[effect.transport].close(abort=effect.abort)
                case Authorize() | AuthorizeMany() | CallApplication() | CancelCall():
                    raise AssertionError("the options say how authorizations are got")
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            self.timed_out = answer == self.session.handle_timeout
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Wait until something has happened, and let due timers fire."""
        deadline = self.session.next_deadline()
        changed = self._changed
        with anyio.move_on_after(None if deadline is None else max(0.0, deadline - self.now())):
            await changed.wait()
        if deadline is not None and self.now() >= deadline:
            self.tell(self.session.handle_timeout)

    async def connect(self) -> str:
        """Go all the way to a connection, and return its socket id. Raises `Lost`."""
        self.tell(self.session.connect)
        while True:
            for event in self.take():
                if isinstance(event, ConnectionEstablished):
                    return event.socket_id
            await self.changed()

    def take(self) -> list[Event]:
        """Return what the session told since this was called last. Raises `Lost` when that is the end."""
        events, self.events = self.events, []
        for event in events:
            if isinstance(event, ConnectionLost):
                raise Lost(event, self._error, self.timed_out)
        return events

    async def close(self) -> None:
        """End the connection in form."""
        self.tell(self.session.close)
        while not self.session.closed:
            await self.changed()
            self.events.clear()

    async def _live(self, stream: _Stream) -> None:
        """Open a stream, read from it, and tell the session of both."""
        number = stream.effect.transport
        answer = self.session.transport_failed
        error: BaseException | str = "given up"
        first = number == self._first
        with stream, stream.scope:
            try:
                raw = await self._open(stream.effect, self._watch if first else Watch())
                answer, error = self.session.transport_closed, ""
                if first and self._at_proxy:
                    self._watch.begin(PROXY)
                self.tell(self.session.transport_opened, number)
                stream.raw = raw
                try:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._write, stream)
                        await self._read(stream, first=first)
                finally:
                    await anyio.aclose_forcefully(stream.raw)
            except* _BROKEN as failed:
                error = _cause(failed)
        if first:
            self._error = error if isinstance(error, BaseException) else None
        del self._streams[number]
        self.tell(answer, number, "" if isinstance(error, anyio.EndOfStream) else error)

    async def _read(self, stream: _Stream, *, first: bool) -> None:
        number = stream.effect.transport
        while True:
            data = await stream.raw.receive(_READ_SIZE)
            self.tell(self.session.receive_data, number, data)
            if first and self._upgrading:
                self._upgrade(data)
            if stream.secures:
                host, stream.secures = stream.secures, ""
                watch = self._watch if first else Watch()
                if first:
                    self._pass_proxy()
                stream.raw = await self._secured(stream.raw, host, watch)
                self.tell(self.session.tls_started, number)

    async def _write(self, stream: _Stream) -> None:
        async for data in stream.outgoing:
            await stream.raw.send(data)
            self.tell(self.session.data_sent, stream.effect.transport, len(data))
        stream.scope.cancel()

    def _pass_proxy(self) -> None:
        if self._at_proxy:
            self._at_proxy = False
            self._watch.end()

    def _ask_for_upgrade(self) -> None:
        """Take note that the upgrade is asked for: all before it is done."""
        self._pass_proxy()
        self._upgrading = True
        self._watch.begin(UPGRADE)

    def _upgrade(self, data: bytes) -> None:
        """Tell the upgrade from what follows on it: only a server that took it is still worth talking to."""
        self._head += data
        lost = next((e for e in self.events if isinstance(e, ConnectionLost)), None)
        refused = lost is not None and (lost.code is None or lost.code < 1000)  # an HTTP status
        if not refused and b"\r\n\r\n" in self._head:
            self._upgrading = False
            self._watch.end()
            self._watch.begin(KEY)

    async def _open(self, effect: OpenTransport, watch: Watch) -> ByteStream:
        watch.begin(LOOKUP)
        addresses = await _addresses(effect.host, effect.port)
        watch.end(", ".join(addresses))
        watch.begin(CONNECT)
        stream, which = await _reach(addresses, effect.port)
        watch.end(f"{which} port {effect.port}")
        if effect.tls:
            return await self._secured(stream, effect.host, watch)
        if not self.session.options.address().tls:
            watch.skip(SECURE, "not asked for")
        return stream

    async def _secured(self, stream: ByteStream, host: str, watch: Watch) -> ByteStream:
        watch.begin(SECURE)
        context = self._context or ssl.create_default_context()
        try:
            secure = await TLSStream.wrap(
                stream, hostname=host, ssl_context=context, standard_compatible=False
            )
        except BaseException as error:
            await anyio.aclose_forcefully(stream)
            if isinstance(error, ssl.SSLCertVerificationError):
                raise ConnectionUnsafe(
                    f"the certificate of {host} is not good: {error.verify_message}",
                    verify_code=error.verify_code,
                    authorities=context.cert_store_stats()["x509_ca"],
                ) from error
            raise
        watch.end(_shown(secure))
        return secure


class _Stream:
    """What is known of one byte stream."""

    def __init__(self, effect: OpenTransport) -> None:
        self.effect = effect
        self.raw: ByteStream
        self.secures = ""
        """The name that the certificate must carry, when TLS is to begin now."""
        self.scope = anyio.CancelScope()
        self._give, self.outgoing = anyio.create_memory_object_stream[bytes](float("inf"))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._give.close()
        self.outgoing.close()

    def send(self, data: bytes) -> None:
        self._give.send_nowait(data)

    def close(self, *, abort: bool) -> None:
        self._give.close()
        if abort:
            self.scope.cancel()


async def _addresses(host: str, port: int) -> list[str]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _reach(addresses: list[str], port: int) -> tuple[ByteStream, str]:
    """Connect to the first address that answers; each but the last has only so long."""
    for address in addresses[:-1]:
        try:
            with anyio.fail_after(_PATIENCE):
                return await anyio.connect_tcp(address, port), address
        except OSError:
            continue
    return await anyio.connect_tcp(addresses[-1], port), addresses[-1]


def _shown(stream: TLSStream) -> str:
    """Return what a person wants to know of a certificate."""
    secure = stream.extra(TLSAttribute.ssl_object)  # noqa: S610 - not Django's
    certificate: dict[str, Any] = secure.getpeercert() or {}
    issuer = {key: value for ((key, value),) in certificate.get("issuer", ())}
    by = issuer.get("organizationName") or issuer.get("commonName") or "an unknown authority"
    return f"{secure.version()}, by {by}, until {certificate.get('notAfter', '?')}"


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what went wrong below: anyio hides errors of the system behind its own."""
    error: BaseException = group
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif isinstance(error.__cause__, OSError | BaseExceptionGroup) and not isinstance(
            error, ConnectionUnsafe
        ):
            error = error.__cause__
        else:
            return error
