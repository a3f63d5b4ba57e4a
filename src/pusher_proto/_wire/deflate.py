"""permessage-deflate (RFC 7692), the receiving half: the offer, the check of the answer, and inflating with a limit.

The client never compresses its own messages, which RFC 7692, 6 leaves to each sender: they are short, and sizes of
compressed secrets reveal them. So only the parameters about the server's window matter here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from ..errors import excerpt

__all__ = ["OFFER", "InflateError", "Inflater", "read_agreement"]

OFFER = "permessage-deflate; client_max_window_bits"
"""The same offer that browsers make."""

_WITHOUT_VALUE = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = ("server_max_window_bits", "client_max_window_bits")
_BITS = re.compile(r'(?:[89]|1[0-5])|"(?:[89]|1[0-5])"')

# A sender removes this tail from each message (RFC 7692, 7.2.1). An empty block precedes it where a sender ended its
# stream (7.2.3.4).
_TAIL = b"\x00\x00\xff\xff"
_AFTER_THE_LAST_BLOCK = (_TAIL, b"\x00" + _TAIL)


class InflateError(Exception):
    """The message cannot be inflated. `code` is for the close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read_agreement(values: Iterable[str]) -> bool:
    """Return whether the server forgets its window after each message (server_no_context_takeover).

    `values` are the headers Sec-WebSocket-Extensions of its answer to `OFFER`. Raises ValueError for anything that
    RFC 7692, 7.1 does not allow there: another extension or a second one, unknown parameters, bad values, duplicates.
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
                f"the server's parameter of permessage-deflate is not allowed: {excerpt(parameter, 64)}"
            )
        seen.add(key)
    return "server_no_context_takeover" in seen


class Inflater:
    """Inflates the messages of one connection, none of them to more than `max_size` bytes."""

    def __init__(self, *, max_size: int, forgets: bool) -> None:
        """`forgets`: each message starts with an empty window."""
        self._max_size = max_size
        self._forgets = forgets
        # A window of 15 bits reads the output of any smaller one.
        self._inflate = zlib.decompressobj(wbits=-15)
        self.size = 0
        """How many inflated bytes the incomplete message has so far."""
        self.max_deflated = max_size + max_size // 4 + 64
        """The most compressed bytes that a message of `max_size` bytes can have."""

    def take(self, deflated: bytes, *, last: bool) -> bytes:
        """Return the inflated payload of a frame; `last` marks the last frame of a message. Raises `InflateError`."""
        inflate = self._inflate
        room = self._max_size - self.size
        if last:
            deflated += _TAIL
        try:
            inflated = inflate.decompress(deflated, room + 1)
        except zlib.error:
            raise InflateError(1007, "a message that is not deflated as it should be") from None
        if len(inflated) > room:
            raise InflateError(1009, f"message of more than {self._max_size} bytes")
        self.size += len(inflated)
        if inflate.eof and not (last and inflate.unused_data in _AFTER_THE_LAST_BLOCK):
            raise InflateError(1007, "a message that continues after its last block")
        if last:
            self.size = 0
            if self._forgets or inflate.eof:
                self._inflate = zlib.decompressobj(wbits=-15)
        return inflated
