"""The effects of a session: what a driver has to do. It carries out each one when it gets it, in their order.

A driver handles byte streams without knowing their contents: it opens, writes and closes them, and calls functions of
the application. In a `Session(messages=True)` a connection carries whole messages instead of bytes. A session never
uses the number of a transport or request again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from .auth import AuthRequest

__all__ = [
    "Authorize",
    "AuthorizeMany",
    "CallApplication",
    "CancelCall",
    "CloseMessages",
    "CloseTransport",
    "Effect",
    "OpenMessages",
    "OpenTransport",
    "SendData",
    "SendMessage",
    "StartTls",
]


class OpenTransport(Struct, frozen=True):
    """Open a TCP stream, with TLS when `tls` is true.

    Answer exactly once: by `transport_failed`, or by `transport_opened` and later one `transport_closed`. A driver
    needs no timeouts: when time is up, the session emits `CloseTransport(abort=True)`.
    """

    transport: int
    """The number of the new stream, for later effects and inputs."""
    host: str
    """A host name or an address, without brackets. It is also the name that a certificate must carry."""
    port: int
    """The port, from 1 to 65535."""
    tls: bool
    """Whether to establish TLS before `transport_opened`."""
    ssl_context: Any = None
    """The `SSLContext` for TLS on this stream, now or at a `StartTls`; None: the driver's own."""


class SendData(Struct, frozen=True):
    """Write all of `data` after all earlier effects of this stream, and then call `data_sent`."""

    transport: int
    """The number of the stream."""
    data: bytes
    """The bytes to write."""


class StartTls(Struct, frozen=True):
    """Start TLS on an open stream after all earlier effects of this stream, and then call `tls_started`.

    An error ends the stream: call `transport_closed`. Do not pass on any bytes received without TLS.
    """

    transport: int
    """The number of the stream."""
    host: str
    """The host name for which the certificate must be valid."""
    ssl_context: Any = None
    """As in `OpenTransport`."""


class CloseTransport(Struct, frozen=True):
    """Close the stream after all queued data is written, or with `abort` immediately.

    If the stream is still being opened, cancel that and call `transport_failed`.
    """

    transport: int
    """The number of the stream."""
    abort: bool = False
    """Whether to close immediately, without writing queued data."""


class OpenMessages(Struct, frozen=True):
    """Open a connection that carries whole messages, such as a WebSocket of another library.

    Answer it like `OpenTransport`. Pass a `ConnectionEnded` as the error, with the close code of the server or the HTTP
    status of its answer.
    """

    transport: int
    """The number of the new connection, for later effects and inputs."""
    host: str
    """A host name or an address, without brackets. It is also the name that a certificate must carry."""
    port: int
    """The port, from 1 to 65535."""
    tls: bool
    """Whether to use TLS."""
    target: str
    """The path of the URL with its query, such as `/app/KEY?protocol=7`."""
    close_timeout: float = 2.0
    """The limit for the closing handshake, in seconds (`Options.close_timeout`)."""


class SendMessage(Struct, frozen=True):
    """Send one text message after all earlier effects, and then call `data_sent` with its size in bytes of UTF-8."""

    transport: int
    """The number of the connection."""
    text: str
    """The text to send."""


class CloseMessages(Struct, frozen=True):
    """Close a connection that carries whole messages, after all queued messages are sent, with this close frame.

    For a connection that is still being opened, or that has to end immediately, the session emits
    `CloseTransport(abort=True)` instead.
    """

    transport: int
    """The number of the connection."""
    code: int = 1000
    """The code of the close frame: 1000, 1002, 1007, 1008 or 1009."""
    reason: str = ""
    """The text of the close frame, of at most 123 bytes."""


class Authorize(Struct, frozen=True):
    """Call the application's authorizer; answer exactly once, by `authorized` or `authorization_failed`."""

    request: int
    """The number of the call, for the answer."""
    details: AuthRequest
    """The socket id and the channel to sign."""
    authorizer: Callable[..., object] | None = None
    """The function of `subscribe(auth=...)`; None: the one of `open_pusher`."""


class AuthorizeMany(Struct, frozen=True):
    """Call the application's `authorize_many` for several authorizations; answer each request exactly once."""

    requests: tuple[int, ...]
    """The numbers of the requests, for the answers."""
    details: tuple[AuthRequest, ...]
    """The socket id and the channel of each, in the same order."""


class CallApplication(Struct, frozen=True):
    """Call `function()`, a function of the application, which may be slow and may be a coroutine function.

    Answer exactly once, by `call_ended` with its result or its exception.
    """

    request: int
    """The number of the call, for the answer."""
    function: Callable[[], object]
    """The function, without arguments."""


class CancelCall(Struct, frozen=True):
    """Cancel the call of a `CallApplication`, `Authorize` or `AuthorizeMany`: its result is no longer needed.

    Cancel a coroutine function; a plain function cannot be cancelled and runs to its end. Answer the call in both
    cases, when the function has ended, because the session counts pending calls.
    """

    request: int
    """The number of the call; for `AuthorizeMany` the first of its numbers."""


Effect = (
    OpenTransport
    | SendData
    | StartTls
    | CloseTransport
    | OpenMessages
    | SendMessage
    | CloseMessages
    | Authorize
    | AuthorizeMany
    | CallApplication
    | CancelCall
)
