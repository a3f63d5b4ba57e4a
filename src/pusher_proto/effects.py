"""What the session asks of a driver. Each is carried out at once, in the order in which it was pulled.

A driver knows byte streams and nothing of what goes over them: it opens, writes, closes, and asks the
application's authorizer. In a `Session(messages=True)` the connection carries whole messages instead of bytes. Numbers
of transports and of requests are never reused within a session.
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

    Ends exactly once: with `transport_failed`, or with `transport_opened` and later one `transport_closed`.
    No time limit is the driver's: when one passes the session says `CloseTransport(abort=True)`.
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
    """Write all of `data`, after everything asked for before, and then say `data_sent`."""

    transport: int
    """The number of the stream."""
    data: bytes
    """The bytes to write."""


class StartTls(Struct, frozen=True):
    """Begin TLS on an open stream, after everything asked for before, and then say `tls_started`.

    What goes wrong with it ends the stream: `transport_closed`. Read nothing in the clear until then.
    """

    transport: int
    """The number of the stream."""
    host: str
    """The name that the certificate must carry."""
    ssl_context: Any = None
    """As in `OpenTransport`."""


class CloseTransport(Struct, frozen=True):
    """Close the stream after the data queued for it, or with `abort` at once and without waiting for anything.

    On a stream that is still opening: give up and answer `transport_failed`.
    """

    transport: int
    """The number of the stream."""
    abort: bool = False
    """Whether to close at once, without writing queued data."""


class OpenMessages(Struct, frozen=True):
    """Open a connection that carries whole messages, such as a WebSocket of another library.

    Answered as `OpenTransport` is. A `ConnectionEnded` as the error has the close code of the server, or the HTTP
    status of its answer.
    """

    transport: int
    """The number of the new connection, for later effects and inputs."""
    host: str
    """A host name or an address, without brackets. It is also the name that a certificate must carry."""
    port: int
    """The port, from 1 to 65535."""
    tls: bool
    """Whether the connection is to use TLS."""
    target: str
    """The path of the URL with its query, such as `/app/KEY?protocol=7`."""
    close_timeout: float = 2.0
    """Seconds that an orderly end may take (`Options.close_timeout`)."""


class SendMessage(Struct, frozen=True):
    """Send one text message, after everything asked for before, and then say `data_sent` with its bytes in UTF-8."""

    transport: int
    """The number of the connection."""
    text: str
    """The text to send."""


class CloseMessages(Struct, frozen=True):
    """Close a connection that carries messages, after the messages queued for it, by a close frame with this code.

    A connection that is still opening, or that has to end at once, gets a `CloseTransport(abort=True)` instead.
    """

    transport: int
    """The number of the connection."""
    code: int = 1000
    """The code of the close frame: 1000, 1002, 1007, 1008 or 1009."""
    reason: str = ""
    """The text of the close frame, of at most 123 bytes."""


class Authorize(Struct, frozen=True):
    """Ask the application for an authorization; answer with `authorized` or `authorization_failed`, exactly once."""

    request: int
    """The number of the call, for the answer."""
    details: AuthRequest
    """The socket id and the channel to sign."""
    authorizer: Callable[..., object] | None = None
    """The function given to `subscribe(auth=...)`; None asks the one given to `open_pusher`."""


class AuthorizeMany(Struct, frozen=True):
    """Ask the application's `authorize_many` for several authorizations; each request is answered for itself,
    exactly once."""

    requests: tuple[int, ...]
    """The numbers of the requests, for the answers."""
    details: tuple[AuthRequest, ...]
    """The socket id and the channel of each, in the same order."""


class CallApplication(Struct, frozen=True):
    """Call `function()`, a function of the application, where it may take its time: it may wait for a network, and
    it may be a coroutine function.

    Answer with `call_ended`, exactly once, with its result or its exception.
    """

    request: int
    """The number of the call, for the answer."""
    function: Callable[[], object]
    """The function, without arguments."""


class CancelCall(Struct, frozen=True):
    """Cancel the call of a `CallApplication`, `Authorize` or `AuthorizeMany`: its result is no longer needed.

    A coroutine function is cancelled; a plain function cannot be, and runs to its end. In both cases the call is
    still answered once, when the function has ended, because the session counts the calls that have not.
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
