"""Parses and writes WebSocket frames after the upgrade (RFC 6455, 5): bytes in, whole text messages out, and back.

There are two lanes. The fast lane parses whole, final, unmasked text frames between messages, and passes them to a
reader. Every other frame goes to wsproto, one at a time, except the frames of compressed messages, which this module
inflates (RFC 7692). Both lanes check a header as soon as it is received, text as far as it is received, and other
payloads once they are complete. So both give the same result for the same bytes, however they are split.
"""

from __future__ import annotations

import codecs
from enum import Enum, auto
from functools import cached_property

from wsproto.frame_protocol import (
    LOCAL_ONLY_CLOSE_REASONS,
    Frame,
    FrameProtocol,
    Opcode,
    ParseFailed,
)

from ..errors import LocalProtocolError
from .deflate import InflateError, Inflater
from .fast_lane import NO_READER, Reader, take_text_frames
from .items import BinaryReceived, FrameItem, PeerClosed, PongReceived, Violation

__all__ = ["Frames"]

# The valid first bytes of a frame: no RSV bit, a defined opcode, FIN on control frames
# (RFC 6455, 5.2 and 5.5).
_FIRST_BYTES = frozenset(b"\x00\x01\x02\x80\x81\x82\x88\x89\x8a")
# With RSV1, which marks the first frame of a compressed message (RFC 7692, 6).
_DEFLATED = frozenset(b"\x41\x42\xc1\xc2")

_PONGS = 16
"""How many pings of one read are answered: the last ones. RFC 6455, 5.5.3 requires one answer only."""

_HTTP_BEHIND_UPGRADE = (
    "the server failed after the upgrade: it answered in HTTP instead of frames; look at its log"
)
_NOT_UTF8 = "text that is not UTF-8"


class _State(Enum):
    OPEN = auto()
    CLOSING = auto()  # our close frame was sent, the server's is awaited
    ENDED = auto()


class Frames:
    """Parses and writes the frames of one connection.

    `output` collects the pongs and close frames that answer received frames; the owner sends and clears them.
    Accepts `control_frame_rate` pings and pongs between two calls of `another_second`.
    """

    def __init__(
        self, *, max_message_size: int, max_fragments: int, control_frame_rate: int, fast: bool
    ) -> None:
        self.output = bytearray()
        self._max_message_size = max_message_size
        self._max_fragments = max_fragments
        self._control_frame_rate = self._controls_left = control_frame_rate
        self._fast = fast
        self._state = _State.OPEN
        # The start of an incomplete frame, and how many of its bytes the next step needs.
        self._held = bytearray()
        self._need = 0
        # The incomplete message: its frames and bytes so far; and the number of messages so far.
        self._fragments = self._size = self._messages = 0
        self._is_text = False
        self._text = bytearray()
        # How many bytes of text in `_held` are checked, and the first bytes of a character that is incomplete there.
        self._checked = 0
        self._cut = b""
        self._pings: list[bytes] = []
        self._first_bytes = _FIRST_BYTES
        self._inflater: Inflater | None = None
        self.inflated = 0
        """The total size of compressed messages after inflating, in bytes."""
        self._deflated = False  # whether the incomplete message is compressed

    @cached_property
    def _wsproto(self) -> FrameProtocol:
        """wsproto's parser. Most connections need it for their close frame only, so it is made on first use."""
        return FrameProtocol(client=True, extensions=[])

    def inflate(self, *, no_context_takeover: bool) -> None:
        """Accept compressed messages from now on. `no_context_takeover`: each one starts with an empty window."""
        self._first_bytes = _FIRST_BYTES | _DEFLATED
        self._inflater = Inflater(
            max_size=self._max_message_size, no_context_takeover=no_context_takeover
        )

    def send_text(self, text: str | bytes) -> bytes:
        """Return one masked text frame. Raises ValueError for text that cannot be encoded as UTF-8."""
        self.require_open()
        return bytes(self._wsproto.send_data(text if isinstance(text, str) else text.decode()))

    def send_close(self, code: int, reason: str) -> bytes:
        """Return our close frame, or b"" when one was sent. Raises ValueError for a code that may not be sent."""
        if not 1000 <= code <= 4999 or code in LOCAL_ONLY_CLOSE_REASONS:
            raise ValueError(f"a close frame cannot carry the code {code}")
        if self._state is not _State.OPEN:
            return b""
        frame = bytes(self._wsproto.close(code, reason))
        self._state = _State.CLOSING
        return frame

    def receive_data(self, data: bytes, reader: Reader = NO_READER) -> list[FrameItem]:
        """Process received bytes, split anywhere; return the items that they complete. `reader` reads whole texts."""
        items: list[FrameItem] = []
        held = self._held
        at = 0
        while held:
            missing = self._need - len(held)
            held += data[at : at + missing]
            at += missing
            if len(held) < self._need:
                self._check_held(items)
                return items
            # Now the frame is complete; or its length is known, and `_split` sets `_need` to it.
            if self._split(bytes(held), 0, items, reader):
                held.clear()
        at = self._split(data, at, items, reader)
        if self._state is not _State.ENDED:
            if at < len(data):
                held += data[at:]
                self._check_held(items)
            if self._pings:
                self._answer_pings()
        return items

    def another_second(self) -> None:
        """Start a new second for the limit on pings and pongs."""
        self._controls_left = self._control_frame_rate

    def end(self) -> None:
        """Drop the incomplete frame and ignore all further bytes."""
        self._state = _State.ENDED
        self._held.clear()
        self._text.clear()

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        return self._state is _State.OPEN

    @property
    def incomplete(self) -> int | None:
        """The number of the incomplete message or frame, or None when there is none."""
        return self._messages if self._held or self._fragments else None

    def _split(self, data: bytes, at: int, items: list[FrameItem], reader: Reader) -> int:
        """Process the complete frames from `at` on; return the start of the first incomplete one."""
        while self._state is not _State.ENDED:
            if self._fast and not self._fragments and self._state is _State.OPEN:
                start, limit = at, self._max_message_size
                at = take_text_frames(data, at, items, limit=limit, reader=reader)
                if at > start:
                    self._next_message()
                    if at == len(data):
                        break
            end = self._take_frame(data, at, items)
            if end == at:
                break
            at = end
            if not self._fragments:
                self._next_message()
        return at

    def _next_message(self) -> None:
        """Reset the state of one message: the last one is complete."""
        self._messages += 1
        self._checked = 0
        self._cut = b""

    def _take_frame(self, data: bytes, at: int, items: list[FrameItem]) -> int:
        """Process the frame at `at` and return its end. Set `_need` and return `at` when the frame is incomplete."""
        have = len(data) - at
        self._need = 2
        if have < 2:
            return at
        first = data[at]
        length = data[at + 1] & 0x7F
        control = first & 0x08
        wrong = first not in self._first_bytes or data[at + 1] > 0x7F or (control and length > 125)
        header = 2
        if length > 125:
            self._need = header = 4 if length == 126 else 10
            if have < header:
                return at
            least = 126 if length == 126 else 65536
            length = int.from_bytes(data[at + 2 : at + header], "big")
            wrong = wrong or not least <= length < 1 << 63
        if data[at : at + 2] == b"HT":
            self._fail(1002, _HTTP_BEHIND_UPGRADE, items)
            return at + 2
        if wrong:
            # wsproto finds the error in the header alone: do not wait for the payload.
            self._pass_to_wsproto(data[at : at + header], b"", items)
            return at + header
        if control:
            if first != 0x88 and not self._controls_left:
                rate = self._control_frame_rate
                self._fail(1008, f"more than {rate} pings and pongs in a second", items)
                return at + header
        elif (first & 0x0F == 0) != (self._fragments > 0):
            # wsproto would report it only for a frame with a payload (RFC 6455, 5.4).
            expected = "expected" if self._fragments else "unexpected"
            self._fail(1002, f"{expected} CONTINUATION", items)
            return at + header
        elif self._size + length > self._size_limit(first):
            self._fail(1009, f"message of more than {self._max_message_size} bytes", items)
            return at + header
        elif self._fragments >= self._max_fragments:
            self._fail(1009, f"message of more than {self._max_fragments} frames", items)
            return at + header
        self._need = header + length
        if have < self._need:
            return at
        end = at + self._need
        payload = data[at + header : end]
        if first in _DEFLATED or (self._deflated and not control):
            self._take_deflated(first, payload, items)
        else:
            self._pass_to_wsproto(data[at:end], payload, items)
        return end

    def _size_limit(self, first: int) -> int:
        """Return the limit in bytes of the message that the frame with this first byte starts or continues."""
        if self._inflater is not None and (first in _DEFLATED or self._deflated):
            return self._inflater.max_deflated
        return self._max_message_size

    def _pass_to_wsproto(self, frame: bytes, payload: bytes, items: list[FrameItem]) -> None:
        """Pass one complete frame, or an invalid header, to wsproto and process its result."""
        self._wsproto.receive_bytes(frame)
        try:
            for parsed in self._wsproto.received_frames():
                self._process(parsed, payload, items)
        except ParseFailed as error:
            code = int(error.code)
            # wsproto's message contains the position in the frame, which depends on how the bytes were split.
            self._fail(code, _NOT_UTF8 if code == 1007 else str(error), items)

    def _process(self, frame: Frame, payload: bytes, items: list[FrameItem]) -> None:
        """Process a frame that wsproto accepted."""
        if isinstance(frame.payload, tuple):
            code, reason = frame.payload
            self._answer_pings()
            if self._state is _State.OPEN:
                self.output += self._wsproto.close(code, reason)
            items.append(PeerClosed(int(code), reason))
            self.end()
        elif frame.opcode is Opcode.PING:
            self._controls_left -= 1
            if self._state is _State.OPEN:
                self._pings.append(payload)
        elif frame.opcode is Opcode.PONG:
            self._controls_left -= 1
            if self._state is _State.OPEN:
                items.append(PongReceived())
        else:
            self._fragments += 1
            self._size += len(payload)
            self._is_text = frame.opcode is Opcode.TEXT
            if self._is_text:
                self._text += payload
            if frame.message_finished:
                self._finish(self._size, items)
            elif self._is_text:
                self._check_text(payload[self._checked :])
                self._checked = 0

    def _take_deflated(self, first: int, payload: bytes, items: list[FrameItem]) -> None:
        """Process a frame of a compressed message."""
        inflater = self._inflater
        assert inflater is not None  # without one the first byte of such a frame is invalid
        if first in _DEFLATED:
            self._deflated, self._is_text = True, first & 0x0F == 1
        self._fragments += 1
        self._size += len(payload)
        last = first > 0x7F
        size = inflater.size
        try:
            inflated = inflater.inflate(payload, last=last)
            size += len(inflated)
            self.inflated += len(inflated)
            if self._is_text:
                self._text += inflated
            if last:
                if self._is_text:
                    self._text.decode()
                self._finish(size, items)
        except InflateError as error:
            self._fail(error.code, str(error), items)
        except UnicodeDecodeError:
            self._fail(1007, _NOT_UTF8, items)

    def _finish(self, size: int, items: list[FrameItem]) -> None:
        """Append the complete message, of `size` bytes, to `items`."""
        if self._state is _State.OPEN:
            items.append(bytes(self._text) if self._is_text else BinaryReceived(size))
        self._fragments = self._size = 0
        self._deflated = False
        self._text.clear()

    def _check_held(self, items: list[FrameItem]) -> None:
        """Fail the connection when the incomplete text in `_held` cannot become valid UTF-8 (RFC 6455, 8.1)."""
        held = self._held
        # A masked frame is rejected once its header is complete.
        if len(held) < 3 or held[1] > 0x7F:
            return
        if self._deflated or held[0] & 0x40:
            return  # compressed text is checked when it is complete
        opcode = held[0] & 0x0F
        if opcode == 1 or (opcode == 0 and self._is_text):
            start = 2 if held[1] < 126 else 4 if held[1] == 126 else 10
            fresh = held[start + self._checked :]
            self._checked += len(fresh)
            if not self._cut and fresh.isascii():
                return
            try:
                self._check_text(bytes(fresh))
            except UnicodeDecodeError:
                self._fail(1007, _NOT_UTF8, items)

    def _check_text(self, text: bytes) -> None:
        """Raise UnicodeDecodeError when the message, continued by `text`, cannot be valid UTF-8."""
        text = self._cut + text
        end = len(text) if text.isascii() else codecs.utf_8_decode(text, "strict", False)[1]
        self._cut = text[end:]

    def _fail(self, code: int, reason: str, items: list[FrameItem]) -> None:
        """Fail the connection (RFC 6455, 7.1.7)."""
        self._answer_pings()
        if self._state is _State.OPEN:
            self.output += self._wsproto.close(code, reason)
        items.append(Violation(code, reason))
        self.end()

    def _answer_pings(self) -> None:
        """Append a pong to `output` for each of the last pings, at most `_PONGS`."""
        for ping in self._pings[-_PONGS:]:
            self.output += self._wsproto.pong(ping)
        self._pings.clear()

    def require_open(self) -> None:
        """Raise LocalProtocolError once either side has begun to close."""
        if self._state is not _State.OPEN:
            raise LocalProtocolError("a message cannot be sent: a close frame was sent or received")
