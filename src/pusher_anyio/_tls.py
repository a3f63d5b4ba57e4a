"""Reading a lot at once, with TLS as well."""

from __future__ import annotations

import ssl
from contextlib import suppress

from anyio.abc import ByteStream

__all__ = ["READ_SIZE", "AtOnce", "decrypted"]

READ_SIZE = 256 * 1024  # what asyncio reads at once; to ask for less has it cut up and copied


# The C library of Linux maps a buffer of this size for each read and unmaps it again, until a larger one was freed:
# then it keeps the memory (mallopt(3), M_MMAP_THRESHOLD). An event now and then takes 20 µs less.
_once = bytes(2 * READ_SIZE)
del _once


class AtOnce(ByteStream):
    """Gives TLS all that was received: it would ask for a quarter of that, and have the rest copied each time."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def decrypted(tls: ssl.SSLObject) -> bytes:
    """Return what is there beside the one record that a stream gives at a time: a turn for each would cost a lot."""
    records = []
    # Until nothing more is there; or an end or an error, which the stream tells by itself.
    with suppress(ssl.SSLError):
        while record := tls.read(READ_SIZE):
            records.append(record)
    return b"".join(records)
