"""Takes the place of `WebSocket` on a connection that carries whole messages, which something else frames.

It has the same names, and what needs no bytes does nothing. So a link need not know which of the two it has.
"""

from __future__ import annotations

from .fast_lane import LONG, NO_READER, Reader, Run
from .items import BinaryReceived, Violation
from .websocket import Item

__all__ = ["Messages"]


class Messages:
    """One connection that carries whole messages. Call `open` once it is open."""

    inflated = 0
    under_way: int | None = None
    answer_began = False

    def __init__(self, *, max_message_size: int) -> None:
        """`max_message_size` counts the bytes of a text in UTF-8."""
        self._max_message_size = max_message_size
        self.is_open = False
        self.output: bytearray = bytearray()

    def open(self) -> bytes:
        """Begin; there is nothing to send."""
        self.is_open = True
        return b""

    def send_text(self, text: bytes) -> bytes:
        """Return `text`, which is one message."""
        return text

    def send_close(self, code: int = 1000, reason: str = "") -> bytes:  # noqa: ARG002 - as `WebSocket` has it
        """End; the close frame is sent by what frames the messages."""
        self.is_open = False
        return b""

    def receive_data(self, data: str | bytes, reader: Reader = NO_READER) -> list[Item]:
        """Take one message, text or the bytes of a binary message, and return its item."""
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

    def receive_eof(self) -> list[Item]:
        """Take the end of the connection."""
        self.is_open = False
        return []

    def data_to_send(self) -> bytes:
        """Return nothing: pongs and close frames are sent by what frames the messages."""
        return b""

    def another_second(self) -> None:
        """Start a new second; nothing is counted."""

    def _failed(self, code: int, reason: str) -> list[Item]:
        self.is_open = False
        return [Violation(code, reason)]
