"""TLS for bytes that somebody else moves."""

from __future__ import annotations

import ssl

from pusher_proto import ConnectionUnsafe
from pusher_proto.client import RECORD_SIZE

__all__ = ["Tls"]


class Tls:
    """The client's side of one TLS connection. Whatever is done, there may be something to send afterwards.

    `end` is None until it is over: then the error, or an empty text when the server has said so.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._host = host
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._received, self._to_send, server_hostname=host)
        self.established = False
        self.end: Exception | str | None = None
        self._read()  # and so it begins

    def decrypt(self, data: bytes) -> bytes:
        """Take what was received, and return all that it says: to take one record each turn would cost a lot."""
        if self.end is not None:
            return b""
        self._received.write(data)
        return self._read()

    def _read(self) -> bytes:
        records: list[bytes] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while record := self._object.read(RECORD_SIZE):
                records.append(record)
            self.end = ""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {self._host} is not good: {error.verify_message}"
            self.end = ConnectionUnsafe(message)
            self.end.__cause__ = error
        except ssl.SSLError as error:
            self.end = error
        return b"".join(records)

    def encrypt(self, data: bytes) -> None:
        """Add `data` to what is to be sent. Only when it is established."""
        while data:
            data = data[self._object.write(data) :]

    @property
    def has_to_send(self) -> bool:
        """Whether `to_send` has something."""
        return self._to_send.pending > 0

    def to_send(self) -> bytes:
        """Return what is to be sent now, once."""
        return self._to_send.read()

    def cut_off(self) -> None:
        """Note that nothing more will be received. Without a goodbye that is an error only before it is established."""
        if self.end is None and self.established:
            self.end = ""
        elif self.end is None:
            self._received.write_eof()
            self._read()
