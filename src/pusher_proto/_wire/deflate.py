"""The receiving half of permessage-deflate (RFC 7692): offers it, checks the answer, and inflates up to a limit.

The client never compresses its own messages, as RFC 7692, 6 allows: they are short, and the size of a compressed
message can reveal a secret in it. So only the parameters for the server's window matter here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from ..errors import excerpt

__all__ = ["OFFER", "InflateError", "Inflater", "read_agreement"]

OFFER = "permessage-deflate; client_max_window_bits"
"""The offer that browsers send."""

_WITHOUT_VALUE = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = ("server_max_window_bits", "client_max_window_bits")
_BITS = re.compile(r'(?:[89]|1[0-5])|"(?:[89]|1[0-5])"')

# A sender removes this tail from each message (RFC 7692, 7.2.1). An empty block precedes it when the sender set BFINAL
# (7.2.3.4).
_TAIL = b"\x00\x00\xff\xff"
_AFTER_THE_LAST_BLOCK = (_TAIL, b"\x00" + _TAIL)


class InflateError(Exception):
    """The message cannot be inflated. `code` is the code for the close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read_agreement(values: Iterable[str]) -> bool:
    """Return whether the server starts each message with an empty window (server_no_context_takeover).

    `values` are the Sec-WebSocket-Extensions headers of its answer to `OFFER`. Raises ValueError for an answer that
    RFC 7692, 7.1 does not allow: another extension or a second one, unknown parameters, bad values, duplicates.
    """
    name, *parameters = (part.strip(" \t") for part in ", ".join(values).split(";"))
    if name != "permessage-deflate":
        raise ValueError("the server chose an extension that was not offered")
    seen = set()
    for parameter in parameters:
        key, equals, value = (part.strip(" \t") for part in parameter.partition("="))
        good = (key in _WITHOUT_VALUE and not equals) or (
            key in _WINDOW_BITS and _BITS.fullmatch(value) is not None
        )
        if not good or key in seen:
            raise ValueError(
                f"the server chose an invalid parameter of permessage-deflate: {excerpt(parameter, 64)}"
            )
        seen.add(key)
    return "server_no_context_takeover" in seen


class Inflater:
    """Inflates the messages of one connection, each to at most `max_size` bytes."""

    def __init__(self, *, max_size: int, no_context_takeover: bool) -> None:
        """`no_context_takeover`: each message starts with an empty window."""
        self._max_size = max_size
        self._no_context_takeover = no_context_takeover
        # A window of 15 bits also inflates the output of a smaller one.
        self._decompressor = zlib.decompressobj(wbits=-15)
        self.size = 0
        """How many inflated bytes the incomplete message has so far."""
        self.max_deflated = max_size + max_size // 4 + 64
        """The most bytes that a message of `max_size` bytes can have when it is compressed."""

    def inflate(self, deflated: bytes, *, last: bool) -> bytes:
        """Return the inflated payload of one frame; `last` is true for the last frame of a message.

        Raises `InflateError`.
        """
        decompressor = self._decompressor
        room = self._max_size - self.size
        if last:
            deflated += _TAIL
        try:
            inflated = decompressor.decompress(deflated, room + 1)
        except zlib.error:
            raise InflateError(1007, "the compressed data of a message is invalid") from None
        if len(inflated) > room:
            raise InflateError(
                1009,
                f"message of more than {self._max_size} bytes",
            )
        self.size += len(inflated)
        if decompressor.eof and not (last and decompressor.unused_data in _AFTER_THE_LAST_BLOCK):
            raise InflateError(
                1007, "the compressed data of a message continues after its last block"
            )
        if last:
            self.size = 0
            if self._no_context_takeover or decompressor.eof:
                self._decompressor = zlib.decompressobj(wbits=-15)
        return inflated
