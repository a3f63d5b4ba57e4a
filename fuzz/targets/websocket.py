"""The client side of a WebSocket: the fast lane and wsproto, with compression and without.

For any bytes after the request for an upgrade, or after its success, and for a close by the client anywhere in between:
nothing raises; the fast lane, with and without a reader of its texts, and wsproto alone report the same items and send
the same frames; splitting the bytes changes no item and no frame, except how many of the pings in one read are
answered; at most the size of one message is buffered; and after a violation or a close nothing is reported.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from fuzz.source import Source, splits
from proto.reading import READER, flat
from proto.websocket_peer import ACCEPT, KEY, PONG, answer, sent
from pusher_proto._wire.fast_lane import NO_READER, Reader
from pusher_proto._wire.websocket import (
    PeerClosed,
    UpgradeRefused,
    UpgradeRequest,
    Violation,
    WebSocket,
    WebSocketLimits,
)

__all__ = ["fuzz_one"]

LIMIT = 200
FRAGMENTS = 4
CONTROLS = 20
HEAD = 300
FORGETS = "server_no_context_takeover"
HEADERS = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", ACCEPT),
]

FAST, SLOW, READ = (True, NO_READER), (False, NO_READER), (True, READER)
LANES = (FAST, SLOW, READ)

Outcome = tuple[list[object], list[tuple[int, bytes]]]


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: a byte of choices, one for the place of the client's close, and the data."""
    source = Source(data)
    choices, close_at = source.number(), source.number()
    stream = source.rest()
    upgraded, closes = bool(choices & 1), bool(choices & 2)
    compression = (None, "", "permessage-deflate", f"permessage-deflate; {FORGETS}")[
        choices >> 4 & 3
    ]
    most = LIMIT if compression is None else LIMIT + LIMIT // 4 + 64
    before = stream[:close_at] if closes else stream
    after = stream[close_at:] if closes else b""

    def talk(lane: tuple[bool, Reader], first: list[bytes], second: list[bytes]) -> Outcome:
        fast, reader = lane
        websocket = WebSocket(
            UpgradeRequest("ws.test", "/app/key", (), ("a",), compression is not None),
            WebSocketLimits(LIMIT, FRAGMENTS, CONTROLS, HEAD),
            fast=fast,
            randbytes=lambda _: b64decode(KEY),
        )
        websocket.open()
        if upgraded:
            chosen = [("Sec-WebSocket-Extensions", compression)] if compression else []
            websocket.receive_data(answer(headers=[*HEADERS, *chosen]))
            assert websocket.is_open
        items: list[object] = []
        output = b""
        over = False
        for pieces in (first, second):
            for piece in pieces:
                fresh = websocket.receive_data(piece, reader)
                assert not (over and fresh), "something was reported after the end"
                over = any(isinstance(i, PeerClosed | Violation | UpgradeRefused) for i in fresh)
                items += flat(fresh)
                output += websocket.data_to_send()
                frames = websocket._frames
                assert len(frames._held) <= most + 14
                assert len(frames._text) <= LIMIT
                assert (
                    compression is not None or len(frames._held) + len(frames._text) <= LIMIT + 14
                )
            if closes and pieces is first:
                output += websocket.send_close(1000, "bye")
        websocket.receive_eof()
        return items, sent(output)

    whole = talk(FAST, [before], [after])
    for lane in (SLOW, READ):
        assert talk(lane, [before], [after]) == whole, "the lanes disagree"
    for first, second in zip(splits(before), splits(after), strict=True):
        for lane in LANES:
            outcome = talk(lane, first, second)
            assert outcome[0] == whole[0], "splitting changed an item"
            assert _comparable(outcome) == _comparable(whole), "splitting changed a frame"


def _comparable(outcome: Outcome) -> tuple[Any, ...]:
    """Return an outcome without the pongs that depend on how data is split: all but the last."""
    frames = outcome[1]
    pongs = [frame for frame in frames if frame[0] == PONG]
    return [frame for frame in frames if frame[0] != PONG], pongs[-1:]
