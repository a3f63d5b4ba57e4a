"""Frames to the server: what a server reads out of them, and what hides it on the way."""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from proto.strategies import tried
from proto.websocket_peer import KEY, upgraded
from pusher_proto._wire.masks import Masks
from pusher_proto.errors import LocalProtocolError


def read(data: bytes) -> list[tuple[Opcode, object]]:
    """Return what a server reads: each frame, and the text in it."""
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(data)
    frames: list[tuple[Opcode, object]] = []
    for frame in server.received_frames():
        assert frame.frame_finished
        assert frame.message_finished
        frames.append((frame.opcode, frame.payload))
    return frames


def numbered() -> Callable[[int], bytes]:
    """Return a source whose four bytes are the numbers from 1 on."""
    numbers = iter(range(1, 100_000))
    return lambda n: b"".join(next(numbers).to_bytes(4, "big") for _ in range(n // 4))


@tried
@given(st.lists(st.text(max_size=200)), st.integers())
@example(["a" * size for size in (0, 1, 125, 126, 127, 65535, 65536, 200_001)], 0)
def test_a_server_reads_the_texts(texts: list[str], seed: int) -> None:
    masks = Masks(random.Random(seed).randbytes)
    data = b"".join(masks.text_frame(text.encode()) for text in texts)
    assert read(data) == [(Opcode.TEXT, text) for text in texts]


def test_a_frame_by_example() -> None:
    masks = Masks(lambda n: b"\x01\x02\x03\x04" * (n // 4))
    assert masks.text_frame(b"AAAAA") == b"\x81\x85\x01\x02\x03\x04" + b"@CBE@"


def test_each_frame_has_its_own_mask() -> None:
    masks = Masks(numbered())
    frames = [masks.text_frame(b"") for _ in range(200)]
    assert [int.from_bytes(frame[2:6], "big") for frame in frames] == list(range(1, 201))


def drawn(n: int) -> bytes:
    """Return the key that the server of these tests answers to, and then masks."""
    return b64decode(KEY) + bytes(range(n - 16))


@pytest.mark.parametrize("text", ["price", "€", b"price", "€".encode(), ""])
def test_who_draws_for_itself_says_what_wsproto_would(text: str | bytes) -> None:
    ours, wsproto = upgraded(randbytes=drawn).send_text(text), upgraded().send_text(text)
    assert ours[2:6] == bytes(range(4))
    assert read(ours) == read(wsproto)


@pytest.mark.parametrize("wrong", [b"\xff", "\ud800"])
def test_what_is_not_utf8_is_refused(wrong: str | bytes) -> None:
    with pytest.raises(ValueError, match="codec can't"):
        upgraded(randbytes=drawn).send_text(wrong)


def test_nothing_is_said_after_goodbye() -> None:
    client = upgraded(randbytes=drawn)
    client.send_close()
    with pytest.raises(LocalProtocolError, match="a message cannot be sent"):
        client.send_text("late")
