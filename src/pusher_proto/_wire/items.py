"""The items that a WebSocket returns for received bytes, besides complete texts."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from .fast_lane import Run

__all__ = ["BinaryReceived", "FrameItem", "PeerClosed", "PongReceived", "Violation"]


class BinaryReceived(Struct, frozen=True):
    """A binary message, which the client ignores: Pusher's protocol has none."""

    size: int


class PongReceived(Struct, frozen=True):
    """A pong: the answer to a ping, or unsolicited (RFC 6455, 5.5.3)."""


class PeerClosed(Struct, frozen=True):
    """The server's close frame; the answer to it is in the output (RFC 6455, 5.5.1)."""

    code: int
    """1005 for a frame without a code (RFC 6455, 7.1.5)."""
    reason: str


class Violation(Struct, frozen=True):
    """The server violated HTTP, RFC 6455 or a limit of the options. The WebSocket ignores further bytes."""

    code: int | None
    """The code of the close frame in the output, unless one was sent before. None when the upgrade failed."""
    reason: str


FrameItem: TypeAlias = bytes | Run | BinaryReceived | PongReceived | PeerClosed | Violation
"""A text, a run of events for texts, or one of the items above."""
