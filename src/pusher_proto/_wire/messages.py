"""Replaces `WebSocket` on a connection where another library does the framing, and that carries whole messages.

It has the same methods; those about bytes and control frames do nothing. So a link works with either of the two.
"""

from __future__ import annotations

from .fast_lane import LONG, NO_READER, Reader, Run
from .items import BinaryReceived, Violation
from .websocket import Item

__all__ = ["Messages"]


class Messages:
    """A connection that carries whole messages. Call `open` when the connection is open."""

    inflated = 0
    incomplete: int | None = None
    answer_began = False

    def __init__(self, *, max_message_size: int) -> None:
        """`max_message_size` is the limit for a text, in bytes of UTF-8."""
        self._max_message_size = max_message_size
        self.is_open = False
        self.output: bytearray = bytearray()

    def open(self) -> bytes:
        """Mark the connection as open; return b"", as there is nothing to send."""
        self.is_open = True
        return b""

    def send_text(self, text: bytes) -> bytes:
        """Return `text` unchanged: it is one message."""
        return text

    def send_close(self, code: int = 1000, reason: str = "") -> bytes:  # noqa: ARG002 - the signature of `WebSocket`
        """Mark the connection as closed; return b"", as the other library sends the close frame."""
        self.is_open = False
        return b""

    def receive_data(self, data: str | bytes, reader: Reader = NO_READER) -> list[Item]:
        """Process one received message, a text or the bytes of a binary one, and return its item."""
        if not self.is_open:
            return []
        if isinstance(data, bytes):
            return [BinaryReceived(len(data))]
        try:
            text = data.encode()
        except UnicodeEncodeError:  # a lone surrogate
            return self._failed(1007, "text that is not UTF-8")
        if len(text) > self._max_message_size:
            return self._failed(1009, f"message of more than {self._max_message_size} bytes")
        try:
            event = reader.short(text) if len(text) < LONG else reader.long(memoryview(text))
        except (ValueError, RecursionError):
            return [text]
        return [Run([event], alike=True)]

    def receive_eof(self) -> None:
        """Process the end of the connection."""
        self.is_open = False

    def data_to_send(self) -> bytes:
        """Return b"": the other library sends pongs and close frames."""
        return b""

    def another_second(self) -> None:
        """Do nothing: the other library handles pings and pongs."""

    def _failed(self, code: int, reason: str) -> list[Item]:
        """Mark the connection as closed and return the violation."""
        self.is_open = False
        return [Violation(code, reason)]
