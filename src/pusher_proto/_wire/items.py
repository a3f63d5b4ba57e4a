"""What receiving on a WebSocket can give besides whole texts."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from .fast_lane import Run

__all__ = ["BinaryReceived", "FrameItem", "PeerClosed", "PongReceived", "Violation"]


class BinaryReceived(Struct, frozen=True):
    """A binary message came and was ignored: the protocol above has none."""

    size: int


class PongReceived(Struct, frozen=True):
    """The server answered a ping, or sent a pong unasked (RFC 6455, 5.5.3)."""


class PeerClosed(Struct, frozen=True):
    """The server's close frame came; our answer to it is in the output (RFC 6455, 5.5.1)."""

    code: int
    """1005 when the frame carried none (RFC 6455, 7.1.5)."""
    reason: str


class Violation(Struct, frozen=True):
    """The server broke HTTP, RFC 6455 or a limit of ours; whatever it sends next is ignored."""

    code: int | None
    """The code of the close frame in the output, unless ours went before. None: no upgrade came."""
    reason: str


FrameItem: TypeAlias = bytes | Run | BinaryReceived | PongReceived | PeerClosed | Violation
"""Text, what a reader gave for texts, or another thing."""
