"""TLS on bytes in memory, and the default SSL context of the process. Only this module of the core imports `ssl`."""

from __future__ import annotations

import ssl
from contextlib import suppress
from ssl import SSLContext
from typing import Any

from ..errors import ConnectionUnsafe
from .reading import RECORD_SIZE, SMALL_READ

__all__ = [
    "NOT_NOW", "SSLContext", "Tls", "cached_context", "default_context", "make_context", "must_return",
]  # fmt: skip

NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""The exceptions of a non-blocking socket, plain or with TLS, that cannot read or write now."""

_cached: tuple[ssl.DefaultVerifyPaths, SSLContext] | None = None


def cached_context() -> SSLContext | None:
    """Return the default context of the process if there is one for the current certificate store, else None."""
    if _cached is None:
        return None
    paths, context = _cached
    try:
        # Libraries such as truststore replace the class, for the certificate store of the operating system.
        is_current = type(context) is ssl.SSLContext and paths == ssl.get_default_verify_paths()
    except (
        Exception
    ):  # a tool such as blockbuster allows no look at files here: a worker thread takes it
        return None
    return context if is_current else None


def default_context() -> SSLContext:
    """Return the default context of the process, which all its clients share.

    The first call loads the certificate store, which takes 20 ms and 800 KB: call it in a worker thread. A context
    without certificate authorities is not cached, since the store may be installed or mounted later.
    """
    global _cached
    if (known := cached_context()) is not None:
        return known
    paths = ssl.get_default_verify_paths()
    context = ssl.create_default_context()
    # OpenSSL reads the files of a directory when it needs them, and does not count them before.
    if paths.capath is not None or authorities_of(context) != 0:
        _cached = (paths, context)
    return context


def authorities_of(context: SSLContext) -> int | None:
    """Return how many certificate authorities a context has loaded; None if it uses those of the operating system."""
    try:
        return context.cert_store_stats()["x509_ca"]
    except NotImplementedError:  # truststore
        return None


def make_context(_: object) -> SSLContext:
    """Return `default_context()`: for `IO.call`."""
    return default_context()


def must_return(function: object) -> bool:
    """Return whether the process must not end while a thread calls `function`, a function given to `IO.call`.

    So it is for the one that creates an SSL context, which takes 20 ms: as the process ends, OpenSSL frees its data,
    and a thread that still uses it crashes. Call it in a thread that is not a daemon.
    """
    return function is make_context


class Tls:
    """The client side of one TLS connection. Send the bytes of `to_send` after each call.

    `end` is None until the connection ends; then it is the error, or "" after the server's close_notify.
    """

    def __init__(self, context: SSLContext, host: str) -> None:
        # The dot at the end of an absolute name is for the name lookup only: certificates do not contain it.
        self._host = host = host.removesuffix(".")
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.established: bool = False
        self.end: Exception | str | None = None
        self.parted: bool = False
        """Whether close_notify was sent."""
        try:
            self._object = context.wrap_bio(self._received, self._to_send, server_hostname=host)
        except (
            OSError,
            ValueError,
        ) as error:  # a bad client certificate, a name that no certificate can have
            self.end = error
        else:
            self._read()  # start the handshake

    def decrypt(self, data: bytes) -> bytes:
        """Process received bytes, and return the data of all complete records in them."""
        if self.end is not None:
            return b""
        self._received.write(data)
        return self._read(RECORD_SIZE if len(data) >= SMALL_READ else SMALL_READ)

    def _read(self, size: int = SMALL_READ) -> bytes:
        records: list[bytes] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while record := self._object.read(size):
                records.append(record)
            self.end = ""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # both sides have sent close_notify
            self.end = ""
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {self._host} is invalid: {error.verify_message}"
            known = authorities_of(self._object.context)
            self.end = ConnectionUnsafe(message, verify_code=error.verify_code, authorities=known)
            self.end.__cause__ = error
        except ssl.SSLError as error:
            self.end = error
        return b"".join(records)

    def describe(self) -> str:
        """Return the version of TLS, and the issuer and the expiry of the certificate, as text."""
        certificate: dict[str, Any] = self._object.getpeercert() or {}
        issuer = {key: value for ((key, value),) in certificate.get("issuer", ())}
        by = issuer.get("organizationName") or issuer.get("commonName") or "an unknown authority"
        until = certificate.get("notAfter", "?")
        return f"{self._object.version()}, by {by}, until {until}"

    def encrypt(self, data: bytes) -> None:
        """Encrypt `data` and append it to the output. Call it only when `established` is True."""
        while data:
            data = data[self._object.write(data) :]

    def part(self) -> None:
        """Append close_notify to the output."""
        self.parted = True
        with suppress(ssl.SSLError):  # do not wait for the server's close_notify
            self._object.unwrap()

    @property
    def has_to_send(self) -> bool:
        """Whether there is output to send."""
        return self._to_send.pending > 0

    def to_send(self) -> bytes:
        """Return the output, and clear it."""
        return self._to_send.read()

    def cut_off(self) -> None:
        """Handle the end of the stream. Without close_notify it is an error only during the handshake."""
        if self.end is None and self.established:
            self.end = ""
        elif self.end is None:
            self._received.write_eof()
            self._read()
