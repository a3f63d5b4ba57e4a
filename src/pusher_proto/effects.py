"""What the session asks of a driver. Each is carried out at once, in the order in which it was pulled.

A driver knows byte streams and nothing of what goes over them: it opens, writes, closes, and asks the
application's authorizer. Numbers of transports and of requests are never reused within a session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from .auth import AuthRequest

__all__ = [
    "Authorize",
    "AuthorizeMany",
    "CloseTransport",
    "Effect",
    "OpenTransport",
    "SendData",
    "StartTls",
]


class OpenTransport(Struct, frozen=True):
    """Open a TCP stream, with TLS when `tls` is true.

    Ends exactly once: with `transport_failed`, or with `transport_opened` and later one `transport_closed`.
    No time limit is the driver's: when one passes the session says `CloseTransport(abort=True)`.
    """

    transport: int
    host: str
    """A host name or an address, without brackets. It is also the name that a certificate must carry."""
    port: int
    tls: bool
    ssl_context: Any = None
    """The `SSLContext` to use in place of the driver's own; None: the driver's own."""


class SendData(Struct, frozen=True):
    """Write all of `data`, after everything asked for before, and then say `data_sent`."""

    transport: int
    data: bytes


class StartTls(Struct, frozen=True):
    """Begin TLS on an open stream, after everything asked for before, and then say `tls_started`.

    What goes wrong with it ends the stream: `transport_closed`. Nothing is to be read in the clear meanwhile.
    """

    transport: int
    host: str
    """The name that the certificate must carry."""
    ssl_context: Any = None
    """As in `OpenTransport`."""


class CloseTransport(Struct, frozen=True):
    """Close the stream after what was queued for it, or with `abort` at once and without waiting for anything.

    On a stream that is still opening: give up and answer `transport_failed`.
    """

    transport: int
    abort: bool = False


class Authorize(Struct, frozen=True):
    """Ask the application for an authorization; answer with `authorized` or `authorization_failed`, exactly once."""

    request: int
    details: AuthRequest
    authorizer: Callable[..., object] | None = None
    """The function given to `subscribe(auth=...)`; None asks the one given to `open_pusher`."""


class AuthorizeMany(Struct, frozen=True):
    """Ask the application's `authorize_many` for several authorizations; each request is answered for itself,
    exactly once."""

    requests: tuple[int, ...]
    details: tuple[AuthRequest, ...]


Effect = OpenTransport | SendData | StartTls | CloseTransport | Authorize | AuthorizeMany
