"""WebSocket frames as bytes, right or wrong, for what wsproto would not send."""

from __future__ import annotations

import json
import struct
from typing import Any

from .client import DEFAULT_TARGET

UPGRADE = (
    f"GET {DEFAULT_TARGET} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
).encode()


def frame(
    payload: bytes, *, opcode: int = 1, final: bool = True, masked: bool = True, reserved: int = 0
) -> bytes:
    """Return one frame; the mask is zero, so that the payload can be read in a dump."""
    first = (0x80 if final else 0) | (reserved << 4) | opcode
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes([first, mark | len(payload)])
    elif len(payload) < 2**16:
        head = bytes([first, mark | 126]) + struct.pack("!H", len(payload))
    else:
        head = bytes([first, mark | 127]) + struct.pack("!Q", len(payload))
    return head + (bytes(4) if masked else b"") + payload


def event(name: str, data: Any = None, channel: str | None = None) -> bytes:
    """Return the frame of one event."""
    message = {"event": name, "data": {} if data is None else data}
    if channel is not None:
        message["channel"] = channel
    return frame(json.dumps(message).encode())


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """Return a close frame."""
    payload = b"" if code is None else struct.pack("!H", code) + reason.encode()
    return frame(payload, opcode=8)
