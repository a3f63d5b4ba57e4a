"""The server's side of a WebSocket written out by hand: answers and frames, good and bad."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest

from pusher_proto._wire import upgrade
from pusher_proto._wire.websocket import Item, UpgradeRequest, WebSocket, WebSocketLimits

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# The example of RFC 6455, 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "300"))
"""How many examples each property tries."""


def answer(
    status: str = "101 Switching Protocols",
    headers: Iterable[tuple[str, str]] = (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", ACCEPT),
    ),
    body: bytes = b"",
) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + body


def websocket(**options: Any) -> WebSocket:
    """Return a client; `options` are fields of the request, limits and arguments, by their names."""
    request, limits = (
        {name: options.pop(name) for name in tuple(options) if name in kind.__struct_fields__}
        for kind in (UpgradeRequest, WebSocketLimits)
    )
    asked = UpgradeRequest(**{"host": "ws.test", "target": "/app/key", **request})
    return WebSocket(asked, WebSocketLimits(**limits), **options)


def upgrading(**options: Any) -> WebSocket:
    """Return a client that has sent its request, with the key of the RFC."""
    with patch.object(upgrade, "generate_nonce", return_value=KEY):
        client = websocket(**options)
    client.open()
    return client


def upgraded(**options: Any) -> WebSocket:
    client = upgrading(**options)
    client.receive_data(answer())
    assert client.is_open
    return client


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
    width: int | None = None,
    length: int | None = None,
) -> bytes:
    """Return a server's frame. `width` forces 0, 2 or 8 bytes of length, `length` lies about it."""
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    short = {0: length, 2: 126, 8: 127}[width]
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | short])
    mask = b"\0\0\0\0" if masked else b""
    long = length.to_bytes(width, "big") if width else b""
    return head + long + mask + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(code.to_bytes(2, "big") + reason, CLOSE)


def sent(data: bytes) -> list[tuple[int, bytes]]:
    """Decode what a client sent: the opcode and payload of each frame, all final and masked."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80
        assert data[1] & 0x80
        width = {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        start = 2 + width
        length = int.from_bytes(data[2:start], "big") if width else data[1] & 0x7F
        mask, masked = data[start : start + 4], data[start + 4 : start + 4 + length]
        assert len(masked) == length
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
        frames.append((data[0] & 0x0F, payload))
        data = data[start + 4 + length :]
    return frames


def receive(client: WebSocket, pieces: Iterable[bytes]) -> tuple[list[Item], bytes]:
    """Give `pieces` one after the other; return all items and all output."""
    items: list[Item] = []
    output = b""
    for piece in pieces:
        items += client.receive_data(piece)
        output += client.data_to_send()
    return items, output


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut `data` at these places (modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)] or [b""]


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


Pieces = Callable[[bytes], list[bytes]]
in_any_pieces = pytest.mark.parametrize("pieces", [whole, bytewise])
