"""TLS over bytes in memory, and the default context of the process. The only module of the core that imports `ssl`."""

from __future__ import annotations

import ssl
from contextlib import suppress
from ssl import SSLContext
from typing import Any

from ..errors import ConnectionUnsafe
from .reading import RECORD_SIZE, SMALL_READ

__all__ = ["NOT_NOW", "SSLContext", "Tls", "cached_context", "default_context"]

NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket that does not block raises when it cannot read or write now, also one that speaks TLS itself."""

_cached: tuple[ssl.DefaultVerifyPaths, SSLContext] | None = None


def cached_context() -> SSLContext | None:
    """Return the default context of the process if it was made already, for the certificate store of today."""
    if _cached is not None and _cached[0] == ssl.get_default_verify_paths():
        return _cached[1]
    return None


def default_context() -> SSLContext:
    """Return the default context of the process, which all its clients share.

    The first call loads the certificate store: some 20 ms and 800 KB. Call it in a worker thread. A context without
    any certificate authority is not kept: the store may be installed or mounted later.
    """
    global _cached
    if (known := cached_context()) is not None:
        return known
    paths = ssl.get_default_verify_paths()
    context = ssl.create_default_context()
    # OpenSSL reads the files of a directory when it needs them, and counts none of them before.
    if context.cert_store_stats()["x509_ca"] or paths.capath is not None:
        _cached = (paths, context)
    return context


class Tls:
    """The client's side of one TLS connection. After every call there may be something to send.

    `end` is None until the connection is over: then the error, or "" after the server's close_notify.
    """

    def __init__(self, context: SSLContext, host: str) -> None:
        # The dot at the end of an absolute name is for the name lookup: no certificate has it.
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
            self._read()  # the first step of the handshake: the server waits for it

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
        except ssl.SSLZeroReturnError:  # both sides have said goodbye
            self.end = ""
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {self._host} is not good: {error.verify_message}"
            known = self._object.context.cert_store_stats()["x509_ca"]
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
        """Encrypt `data` and add it to the output. Call it only after `established` is True."""
        while data:
            data = data[self._object.write(data) :]

    def part(self) -> None:
        """Add close_notify to the output."""
        self.parted = True
        with suppress(ssl.SSLError):  # the answer to it is not waited for
            self._object.unwrap()

    @property
    def has_to_send(self) -> bool:
        """Whether `to_send` has something."""
        return self._to_send.pending > 0

    def to_send(self) -> bytes:
        """Return the output, and clear it."""
        return self._to_send.read()

    def cut_off(self) -> None:
        """Note that nothing more will be received. Without close_notify that is an error only before `established`."""
        if self.end is None and self.established:
            self.end = ""
        elif self.end is None:
            self._received.write_eof()
            self._read()
