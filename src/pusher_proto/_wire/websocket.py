"""The client side of one WebSocket connection (RFC 6455): bytes in, whole text messages out.

It has no socket, no clock and no knowledge of Pusher. `upgrade` handles the upgrade and `frames` the frames after it;
this module decides which of the two processes received bytes and may send.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeAlias

from msgspec import Struct

from ..errors import LocalProtocolError
from .fast_lane import NO_READER, Reader
from .frames import Frames
from .items import BinaryReceived, FrameItem, PeerClosed, PongReceived, Violation
from .masks import Masks
from .upgrade import Outcome, Upgrade, UpgradeAccepted, UpgradeRefused, UpgradeRequest

__all__ = [
    "BinaryReceived",
    "Item",
    "PeerClosed",
    "PongReceived",
    "UpgradeAccepted",
    "UpgradeRefused",
    "UpgradeRequest",
    "Violation",
    "WebSocket",
    "WebSocketLimits",
]

Item: TypeAlias = FrameItem | UpgradeAccepted | UpgradeRefused
"""An item that received bytes complete. An item of type bytes is one text message, validated as UTF-8."""

_MASKS = 12
"""How many masks are drawn together with the key of the upgrade: enough for some time on most connections."""


class _State(Enum):
    UPGRADING = auto()
    UPGRADED = auto()
    ENDED = auto()


class WebSocketLimits(Struct, frozen=True):
    """Limits on the data that a server may send. A message of exactly the limit is accepted."""

    max_message_size: int = 1024 * 1024
    """Bytes of one message; of a compressed one, after inflating."""
    max_fragments: int = 65536
    """Frames of one message."""
    control_frame_rate: int = 10_000
    """Pings and pongs per second."""
    head: int = 16 * 1024
    """Bytes of the head of the answer to the upgrade."""


DEFAULT_LIMITS = WebSocketLimits()


class WebSocket:
    """One connection, from the upgrade request to the close frames.

    Send the bytes that `open` returns, pass every byte received to `receive_data`, and after each call send
    the bytes that `data_to_send` returns; call `another_second` once a second. `fast=False` sends every frame through
    wsproto, for tests.
    """

    __slots__ = ("_frames", "_masks", "_state", "_upgrade", "output")

    def __init__(
        self,
        request: UpgradeRequest,
        limits: WebSocketLimits = DEFAULT_LIMITS,
        *,
        fast: bool = True,
        randbytes: Callable[[int], bytes] | None = None,
    ) -> None:
        """Raises LocalProtocolError for values that HTTP does not allow.

        `randbytes` draws the key of the upgrade and the masks of messages; without it wsproto draws them.
        """
        # One draw for the key and the first masks: each draw may be a system call.
        drawn = randbytes(16 + 4 * _MASKS) if randbytes is not None else b""
        self._state = _State.UPGRADING
        self._upgrade: Upgrade | None = Upgrade(
            request,
            head_limit=limits.head,
            nonce=b64encode(drawn[:16]) if drawn else None,
        )
        self._frames = Frames(
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            control_frame_rate=limits.control_frame_rate,
            fast=fast,
        )
        self.output: bytearray = self._frames.output
        """The pongs and close frames to send. `data_to_send` returns and clears them."""
        self._masks = Masks(randbytes, drawn[16:]) if fast and randbytes is not None else None

    def open(self) -> bytes:
        """Return the upgrade request (RFC 6455, 4.1). Call it once."""
        if self._upgrade is None:
            raise LocalProtocolError("the upgrade was requested before")
        return self._upgrade.request()

    def send_text(self, text: str | bytes) -> bytes:
        """Return `text` as one masked text frame (RFC 6455, 5.6).

        Raises ValueError when it is not UTF-8 or holds lone surrogates, LocalProtocolError while
        the connection is not open.
        """
        if not self._frames.is_open or self._state is not _State.UPGRADED:
            self._require_upgraded()
            self._frames.require_open()
        if self._masks is None:
            return self._frames.send_text(text)
        data = text.encode() if isinstance(text, str) else text
        if not data.isascii():
            data.decode()
        return self._masks.text_frame(data)

    def send_close(self, code: int = 1000, reason: str = "") -> bytes:
        """Return our close frame (RFC 6455, 5.5.1), or b"" when it was sent or cannot be sent yet.

        After that, received messages and pongs are dropped and pings are not answered; the end of the connection, a
        `PeerClosed` or a `Violation`, is still returned. A reason is cut after 123 bytes, which is the limit of
        RFC 6455. Raises ValueError for a code that may not be sent (RFC 6455, 7.4).
        """
        if self._state is _State.UPGRADED:
            return self._frames.send_close(code, reason)
        return b""

    def receive_data(self, data: bytes, reader: Reader = NO_READER) -> list[Item]:
        """Process received bytes, split anywhere; return the items that they complete. `reader` reads whole texts.

        Never raises, whatever the bytes are. Of many pings in one call only the last 16 are answered, as RFC 6455,
        5.5.3 allows.
        """
        items: list[Item] = []
        if self._upgrade is not None and data:
            outcome = self._upgrade.receive_data(data)
            if outcome is not None:
                items.append(outcome)
                data = self._upgraded(self._upgrade, outcome)
        if self._state is _State.UPGRADED:
            items += self._frames.receive_data(data, reader)
        return items

    def receive_eof(self) -> None:
        """Process the end of the stream."""
        self._upgrade = None
        self._state = _State.ENDED
        self._frames.end()

    def data_to_send(self) -> bytes:
        """Return the pongs and close frames to send, and clear them."""
        data = bytes(self._frames.output)
        self._frames.output.clear()
        return data

    def another_second(self) -> None:
        """Start a new second. More than `control_frame_rate` pings and pongs in it are a `Violation` (1008)."""
        self._frames.another_second()

    @property
    def inflated(self) -> int:
        """The total size of compressed messages after inflating, in bytes."""
        return self._frames.inflated

    @property
    def incomplete(self) -> int | None:
        """The number of the incomplete message, the same until it is complete; None when there is none."""
        return self._frames.incomplete

    @property
    def answer_began(self) -> bool:
        """Whether a part of the answer to the upgrade was received, but not all of it."""
        return self._upgrade is not None and self._upgrade.began

    @property
    def is_open(self) -> bool:
        """True from the accepted upgrade until a close frame is sent or received."""
        return self._state is _State.UPGRADED and self._frames.is_open

    def _upgraded(self, upgrade: Upgrade, outcome: Outcome) -> bytes:
        """Switch to frames, or end after a failed upgrade; return the bytes that follow the answer."""
        self._upgrade = None
        self._state = _State.UPGRADED if type(outcome) is UpgradeAccepted else _State.ENDED
        if upgrade.no_context_takeover is not None:
            self._frames.inflate(no_context_takeover=upgrade.no_context_takeover)
        return upgrade.rest

    def _require_upgraded(self) -> None:
        if self._state is not _State.UPGRADED:
            raise LocalProtocolError("a message cannot be sent: the WebSocket is not open")
