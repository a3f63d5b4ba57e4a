"""Both lanes of `_frames` on thousands of byte strings, drawn from a seed: cheap ones, beside those of Hypothesis.

`PUSHER_PROTO_LANE_EXAMPLES` and `PUSHER_PROTO_LANE_SEED` make longer and other runs.
"""

from __future__ import annotations

import os
from random import Random

from proto.reading import READER, flat
from proto.websocket_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, sent
from pusher_proto._wire.fast_lane import NO_READER, Run
from pusher_proto._wire.frames import Frames
from pusher_proto._wire.items import FrameItem, Violation

EXAMPLES = int(os.environ.get("PUSHER_PROTO_LANE_EXAMPLES", "12000"))
SEED = int(os.environ.get("PUSHER_PROTO_LANE_SEED", "1"))

LIMITS = (200, 1000, 70_000)
SIZES = (0, 1, 2, 3, 5, 30, 124, 125, 126, 127, 199, 200, 201, 999, 1000, 1001)
ALPHABET = ("a", "{", '"', "\\", "\u00e9", "\u20ac", "\U0001f600", "\0")


def text(rng: Random) -> bytes:
    """Return text of a size near a limit, mostly ASCII as most text is."""
    size = rng.choice(SIZES)
    if rng.random() < 0.01:
        size = rng.choice((65_535, 65_536, 69_999, 70_000, 70_001))
    if rng.random() < 0.7:
        return b"x" * size
    return "".join(rng.choices(ALPHABET, k=min(size, 120))).encode()


def message(rng: Random) -> bytes:
    """Return what a server may send: mostly one whole text."""
    what = rng.random()
    if what < 0.45:
        return frame(text(rng))
    if what < 0.6:
        return b"".join(frame(text(rng)) for _ in range(rng.randrange(2, 6)))
    if what < 0.75:
        return frame(text(rng)[:125], rng.choice((PING, PONG)))
    if what < 0.8:
        return frame(text(rng), BINARY)
    whole, parts = text(rng), []
    cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randrange(5)))
    ends = [*cuts, len(whole)]
    for number, (start, end) in enumerate(zip([0, *cuts], ends, strict=True)):
        opcode = CONTINUATION if number else rng.choice((TEXT, TEXT, BINARY))
        parts.append(frame(whole[start:end], opcode, fin=number == len(cuts)))
        if rng.random() < 0.2:
            parts.append(frame(b"between", PING))
    return b"".join(parts)


def oddity(rng: Random) -> bytes:
    """Return what no server may send, or what ends the connection."""
    payload = rng.choice((b"", b"odd", b"\xff\xfe", b"\xe2\x82", rng.randbytes(5), text(rng)))
    match rng.randrange(6):
        case 0:
            return frame(payload, width=rng.choice((2, 8)) if len(payload) < 65_536 else 8)
        case 1:
            return frame(
                payload, rng.randrange(16), fin=rng.random() < 0.5, rsv=rng.choice((0, 1, 2, 4))
            )
        case 2:
            return frame(payload, masked=True)
        case 3:
            length = rng.choice((0, 1, 130, 201, 65_536, 2**32, 2**63, 2**64 - 1))
            return frame(payload, rng.choice((TEXT, BINARY, PING, CLOSE)), length=length)
        case 4:
            code = rng.choice((999, 1000, 1004, 1006, 1011, 4100, 4200, 5000))
            return frame(code.to_bytes(2, "big") + payload[:100], CLOSE)
        case _:
            return frame(payload)


def stream(rng: Random) -> bytes:
    """Return a connection's bytes, often with some replaced, inserted or cut off."""
    parts = [message(rng) for _ in range(rng.randrange(1, 7))]
    if rng.random() < 0.4:
        parts.insert(rng.randrange(len(parts) + 1), oddity(rng))
    data = bytearray(b"".join(parts))
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(3):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                data[at:at] = rng.randbytes(rng.randrange(1, 4))
            case _:
                del data[at:]
    return bytes(data) if rng.random() < 0.97 else rng.randbytes(rng.randrange(300))


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """Return the bytes as reads may bring them."""
    if len(data) < 400 and rng.random() < 0.05:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(7)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def test_both_lanes_say_the_same_of_thousands_of_streams() -> None:
    rng = Random(SEED)
    texts = violations = split_texts = runs = mixed = 0
    for example in range(EXAMPLES):
        limit, close_after = rng.choice(LIMITS), rng.choice((None, None, None, rng.randrange(7)))
        parts = pieces(rng, stream(rng))
        lanes = [
            Frames(max_message_size=limit, max_fragments=4, control_frame_rate=20, fast=fast)
            for fast in (True, False, True)
        ]
        readers = (NO_READER, NO_READER, READER)
        said: list[list[FrameItem]] = []
        for number, part in enumerate(parts):
            said = [
                lane.receive_data(part, reader) for lane, reader in zip(lanes, readers, strict=True)
            ]
            assert said[0] == said[1] == flat(said[2]), (SEED, example, number)
            runs += any(isinstance(item, Run) and len(item.events) > 1 for item in said[2])
            mixed += any(isinstance(item, Run) and not item.alike for item in said[2])
            if number == close_after:
                for lane in lanes:
                    lane.output += lane.send_close(1000, "")
            outputs = [sent(bytes(lane.output)) for lane in lanes]
            assert outputs[0] == outputs[1] == outputs[2], (SEED, example, number)
            assert len({lane.is_open for lane in lanes}) == 1, (SEED, example, number)
            begun = [lane.incomplete is not None for lane in lanes]
            assert len(set(begun)) == 1, (SEED, example, number)
            for lane in lanes:
                lane.output.clear()
            found = sum(type(item) is bytes for item in said[0])
            texts += found
            split_texts += found and number > 0
            violations += any(type(item) is Violation for item in said[0])
    # The examples are useful: most have text to take, many end in a violation, many are split.
    assert texts > EXAMPLES
    assert runs > EXAMPLES // 20
    assert mixed > EXAMPLES // 40
    assert violations > EXAMPLES // 5
    assert split_texts > EXAMPLES // 3
