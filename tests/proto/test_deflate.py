"""permessage-deflate: what may be agreed upon, messages in every shape, and bombs that do not go off."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from proto.test_limits import MEGABYTE, Peak, in_small_pieces, measured
from proto.websocket_peer import (
    ACCEPT,
    BINARY,
    CONTINUATION,
    EXAMPLES,
    PING,
    TEXT,
    Pieces,
    answer,
    bytewise,
    close,
    frame,
    in_any_pieces,
    receive,
    sent,
    split,
    upgrading,
    websocket,
    whole,
)
from pusher_proto._wire.deflate import read_agreement
from pusher_proto._wire.websocket import (
    BinaryReceived,
    Item,
    PeerClosed,
    UpgradeAccepted,
    Violation,
    WebSocket,
)

in_both_lanes = pytest.mark.parametrize("fast", [True, False])
tried = settings(max_examples=max(1, EXAMPLES // 5), deadline=None)

RSV1 = 4
HEADERS = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", ACCEPT),
]


def agreeing(*values: str, **options: Any) -> tuple[WebSocket, list[Item]]:
    """Return a client that offered compression, and what it made of this answer."""
    client = upgrading(compression=True, **options)
    chosen = [("Sec-WebSocket-Extensions", value) for value in values]
    return client, client.receive_data(answer(headers=[*HEADERS, *chosen]))


def inflating(extension: str = "permessage-deflate", **options: Any) -> WebSocket:
    client, [accepted] = agreeing(extension, **options)
    assert isinstance(accepted, UpgradeAccepted)
    return client


class Deflater:
    """A sender with one window for all messages, or one for each when it `forgets`."""

    def __init__(self, *, bits: int = 15, level: int = 6, forgets: bool = False) -> None:
        self._make: Callable[[], Any] = lambda: zlib.compressobj(level, zlib.DEFLATED, -bits)
        self._forgets = forgets
        self._deflate = self._make()

    def body(self, text: bytes) -> bytes:
        data: bytes = self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if self._forgets:
            self._deflate = self._make()
        return data.removesuffix(b"\0\0\xff\xff")

    def frame(self, text: bytes, opcode: int = TEXT) -> bytes:
        return frame(self.body(text), opcode, rsv=RSV1)

    def fragments(self, text: bytes, count: int, opcode: int = TEXT, between: bytes = b"") -> bytes:
        body = self.body(text)
        size = -(-len(body) // count)
        parts = [body[at * size : (at + 1) * size] for at in range(count)]
        return between.join(
            frame(part, CONTINUATION if at else opcode, fin=at == count - 1, rsv=0 if at else RSV1)
            for at, part in enumerate(parts)
        )


# Negotiation.


def test_it_is_offered_only_when_it_is_requested() -> None:
    offers = [
        [line for line in client.open().split(b"\r\n") if b"xtensions" in line]
        for client in (
            websocket(host="ws.test", target="/"),
            websocket(host="ws.test", target="/", compression=True),
        )
    ]
    assert offers == [
        [],
        [b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"],
    ]


@pytest.mark.parametrize(
    ("values", "forgets"),
    [
        (["permessage-deflate"], False),
        ([" permessage-deflate ; server_no_context_takeover "], True),
        (["permessage-deflate;client_no_context_takeover"], False),
        (["permessage-deflate; server_max_window_bits=8"], False),
        (['permessage-deflate; client_max_window_bits = "15"'], False),
        (
            [
                "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
            ],
            False,
        ),
        (
            [
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=12",
            ],
            True,
        ),
    ],
)
def test_what_rfc_7692_allows_is_agreed_upon(values: list[str], forgets: bool) -> None:
    assert read_agreement(values) is forgets
    assert agreeing(*values)[0].is_open


OTHER = "the server chose an extension that was not offered"
PARAMETER = "the server chose an invalid parameter of permessage-deflate: "


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["x-webkit-deflate-frame"], OTHER),
        (["permessage-bzip2"], OTHER),
        (["permessage-deflate, permessage-deflate"], OTHER),
        (["permessage-deflate", "permessage-deflate"], OTHER),
        (["permessage-deflate;"], PARAMETER),
        (["permessage-deflate; unknown"], PARAMETER + "unknown"),
        (["permessage-deflate; server_no_context_takeover, x"], PARAMETER),
        (["permessage-deflate; server_no_context_takeover=1"], PARAMETER),
        (["permessage-deflate; server_no_context_takeover="], PARAMETER),
        (["permessage-deflate; server_max_window_bits"], PARAMETER),
        (["permessage-deflate; client_max_window_bits"], PARAMETER),
        (["permessage-deflate; server_max_window_bits=7"], PARAMETER),
        (["permessage-deflate; server_max_window_bits=16"], PARAMETER),
        (["permessage-deflate; server_max_window_bits=010"], PARAMETER),
        (['permessage-deflate; server_max_window_bits="10'], PARAMETER),
        (["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"], PARAMETER),
    ],
)
def test_anything_else_is_refused(values: list[str], why: str) -> None:
    client, [refused] = agreeing(*values)
    assert isinstance(refused, Violation)
    assert refused.code is None
    assert refused.reason.startswith(why)
    assert not client.is_open


def test_what_was_not_offered_is_refused() -> None:
    client = upgrading()
    headers = [*HEADERS, ("Sec-WebSocket-Extensions", "permessage-deflate")]
    assert client.receive_data(answer(headers=headers)) == [Violation(None, OTHER)]


@pytest.mark.parametrize("values", [[], [""], [" , "]])
def test_a_server_may_do_without(values: list[str]) -> None:
    client, [accepted] = agreeing(*values)
    assert isinstance(accepted, UpgradeAccepted)
    assert client.receive_data(frame(b"plain")) == [b"plain"]
    (wrong,) = client.receive_data(Deflater().frame(b"text"))
    assert isinstance(wrong, Violation)
    assert wrong.code == 1002


# Messages.

TEXTS = [
    b"",
    b"x",
    b'{"event":"ev"}' * 40,
    "é€😀".encode() * 99,
    random.Random(1).randbytes(3000).hex().encode(),
]


@in_both_lanes
@pytest.mark.parametrize("pieces", [whole, in_small_pieces])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize(
    ("extension", "deflater"),
    [
        ("permessage-deflate", {}),
        ("permessage-deflate", {"forgets": True}),  # a server may do so without saying it
        ("permessage-deflate; server_no_context_takeover", {"forgets": True}),
        ("permessage-deflate; server_max_window_bits=9", {"bits": 9}),
    ],
)
def test_messages_are_inflated(
    extension: str, deflater: dict[str, Any], level: int, pieces: Pieces, fast: bool
) -> None:
    client, server = inflating(extension, fast=fast), Deflater(level=level, **deflater)
    stream, expected = b"", []
    for text in TEXTS * 2:
        stream += (
            server.frame(text) + frame(text) + server.fragments(text, 3, between=frame(b"p", PING))
        )
        stream += server.frame(text, BINARY) + server.fragments(text, 2, BINARY)
        expected += [text, text, text, BinaryReceived(len(text)), BinaryReceived(len(text))]
    items, output = receive(client, pieces(stream))
    assert items == expected
    assert set(sent(output)) == {(0xA, b"p")}
    assert client.incomplete is None


@in_any_pieces
def test_the_examples_of_the_standard(pieces: Pieces) -> None:
    """RFC 7692, 7.2.3: one block, fragments, a shared window, no compression, a last block, two blocks."""
    examples = [
        "c1 07 f2 48 cd c9 c9 07 00",
        "41 03 f2 48 cd 80 04 c9 c9 07 00",
        "c1 05 f2 00 11 00 00",
        "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00",
        "c1 08 f3 48 cd c9 c9 07 00 00",
        "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00",
    ]
    client = inflating()
    for example in examples:
        assert receive(client, pieces(bytes.fromhex(example)))[0] == [b"Hello"]


@in_both_lanes
@in_any_pieces
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(b"\x07\xff\xff", rsv=RSV1), 1007),
        (frame(b"\x07\xff\xff", fin=False, rsv=RSV1), 1007),
        # After a block that says that it is the last.
        (frame(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x01", rsv=RSV1), 1007),
        (frame(b"\xf3\x48\xcd\xc9\xc9\x07\x00", fin=False, rsv=RSV1), 1007),
        (Deflater().frame(b"\xff"), 1007),
        (Deflater().fragments(b"\xc3(", 2), 1007),
        (Deflater().frame(b"\xc3"), 1007),
        (frame(b"x", PING, rsv=RSV1), 1002),
        (frame(b"", CONTINUATION, rsv=RSV1), 1002),
        (frame(b"", rsv=RSV1, fin=False) + frame(b"", CONTINUATION, rsv=RSV1), 1002),
        (frame(b"", rsv=RSV1, fin=False) + frame(b"", rsv=RSV1), 1002),
        (frame(b"", rsv=RSV1, fin=False) + frame(b""), 1002),
        (frame(b"", fin=False) + frame(b"", rsv=RSV1), 1002),
        (frame(b"", rsv=RSV1, masked=True), 1002),
        (frame(b"", rsv=6), 1002),
    ],
)
def test_what_is_wrong_ends_the_connection(
    wrong: bytes, code: int, pieces: Pieces, fast: bool
) -> None:
    items, output = receive(inflating(fast=fast), pieces(wrong + frame(b"late")))
    (violation,) = items
    assert isinstance(violation, Violation)
    assert violation.code == code
    assert sent(output)[0][1][:2] == code.to_bytes(2, "big")


def test_after_our_close_frame_messages_are_dropped_and_the_end_is_seen() -> None:
    client, server = inflating(), Deflater()
    client.send_close()
    stream = server.frame(b"dropped") + server.fragments(b"dropped", 2) + close(1000)
    assert client.receive_data(stream) == [PeerClosed(1000, "")]


# Limits.

LIMIT = 10_000


def zeros(size: int) -> bytes:
    return b"0" * size


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size).hex().encode()[:size]


@in_both_lanes
@pytest.mark.parametrize("pieces", [whole, in_small_pieces])
@pytest.mark.parametrize("text", [zeros, noise])
@pytest.mark.parametrize("level", [0, 9])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_may_inflate_to_exactly_the_limit(
    opcode: int,
    count: int,
    level: int,
    text: Callable[[int], bytes],
    pieces: Pieces,
    fast: bool,
) -> None:
    for over in (0, 1, 2, 1000):
        client, server = inflating(fast=fast, max_message_size=LIMIT), Deflater(level=level)
        stream = server.fragments(text(LIMIT), count, opcode)
        stream += server.fragments(text(LIMIT + over), count, opcode)
        items, output = receive(client, pieces(stream))
        good = [text(LIMIT) if opcode == TEXT else BinaryReceived(LIMIT)]
        if over == 0:
            assert items == good * 2
            assert output == b""
        else:
            assert items == [*good, Violation(1009, f"message of more than {LIMIT} bytes")]
            assert sent(output)[0][1][:2] == (1009).to_bytes(2, "big")


@in_any_pieces
def test_a_message_that_cannot_be_small_enough_is_refused_by_its_length(pieces: Pieces) -> None:
    most = LIMIT + LIMIT // 4 + 64
    for head, refused in (
        (frame(length=most, rsv=RSV1), False),
        (frame(length=most + 1, rsv=RSV1), True),
        (frame(b"\0", fin=False, rsv=RSV1) + frame(b"", CONTINUATION, length=most - 1), False),
        (frame(b"\0", fin=False, rsv=RSV1) + frame(b"", CONTINUATION, length=most), True),
    ):
        items, _ = receive(inflating(max_message_size=LIMIT), pieces(head))
        assert bool(items) is refused


@in_both_lanes
def test_a_compressed_message_has_a_limit_of_frames(fast: bool) -> None:
    for count, refused in ((5, False), (6, True)):
        client = inflating(fast=fast, max_fragments=5)
        items = client.receive_data(Deflater().fragments(b"x" * 100, count))
        assert isinstance(items[0], Violation) is refused


@cache
def bomb(size: int) -> bytes:
    """Return the body of a message of this size, made in steps so that the test itself needs no memory."""
    deflate, step = zlib.compressobj(9, zlib.DEFLATED, -15), zeros(MEGABYTE // 10)
    parts = [deflate.compress(step) for _ in range(size // len(step))]
    return b"".join([*parts, deflate.flush(zlib.Z_SYNC_FLUSH)])[:-4]


def explode(client: WebSocket, pieces: Iterable[bytes]) -> tuple[list[Item], Peak]:
    with measured() as peak:
        items, _ = receive(client, pieces)
    return items, peak


@in_both_lanes
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("count", [1, 10])
def test_a_bomb_of_a_hundred_megabytes_does_not_go_off(count: int, opcode: int, fast: bool) -> None:
    body = bomb(100 * MEGABYTE)
    assert len(body) < 105_000
    size = len(body) // count + 1
    stream = [
        frame(
            body[at : at + size],
            CONTINUATION if at else opcode,
            fin=at + size >= len(body),
            rsv=0 if at else RSV1,
        )
        for at in range(0, len(body), size)
    ]
    items, peak = explode(inflating(fast=fast), stream)
    assert items == [Violation(1009, "message of more than 1048576 bytes")]
    assert peak.value < 5 * MEGABYTE


def test_a_larger_bomb_takes_no_more_memory() -> None:
    peaks = []
    for megabytes in (2, 10, 100):
        stream = [frame(bomb(megabytes * MEGABYTE), rsv=RSV1)]
        items, peak = explode(inflating(), stream)
        assert isinstance(items[0], Violation)
        peaks.append(peak.value)
    assert max(peaks) - min(peaks) < MEGABYTE  # what is sent differs by 100 KB


def test_many_bombs_below_the_limit_take_the_memory_of_one() -> None:
    client, one = inflating(max_message_size=MEGABYTE), frame(bomb(MEGABYTE), rsv=RSV1)
    with measured() as peak:
        for _ in range(50):
            (text,) = client.receive_data(one)
            assert isinstance(text, bytes)
            assert len(text) == MEGABYTE
    assert peak.value < 5 * MEGABYTE


def test_blocks_of_nothing_are_bounded_by_their_length() -> None:
    empty = b"\0\0\0\xff\xff" * 100_000
    items, peak = explode(inflating(max_message_size=LIMIT), [frame(empty, rsv=RSV1)])
    assert items == [Violation(1009, f"message of more than {LIMIT} bytes")]
    assert peak.value < MEGABYTE


# Whatever comes.


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """The output of a server, compressed or not, in fragments or not, and often with a fault in it."""
    server = Deflater(level=draw(st.sampled_from([0, 1, 9])), forgets=draw(st.booleans()))
    data = bytearray()
    for _ in range(draw(st.integers(1, 6))):
        text = draw(st.text(max_size=30)).encode() * draw(st.sampled_from([1, 1, 20]))
        opcode = draw(st.sampled_from([TEXT, TEXT, BINARY]))
        match draw(st.integers(0, 3)):
            case 0:
                data += frame(text, opcode)
            case 1:
                data += server.frame(text, opcode)
            case 2:
                between = draw(st.sampled_from([b"", frame(b"p", PING)]))
                data += server.fragments(text, draw(st.integers(1, 5)), opcode, between)
            case _:
                data += frame(
                    draw(st.binary(max_size=20)), opcode, rsv=RSV1, fin=draw(st.booleans())
                )
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + 1] = draw(st.binary(max_size=2))
    return bytes(data)


@tried
@given(streams(), st.lists(st.integers(0, 800), max_size=8))
def test_both_lanes_agree_and_splitting_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    outcomes = []
    for fast in (True, False):
        for pieces in ([stream], split(stream, cuts), bytewise(stream)):
            client = inflating(fast=fast, max_message_size=200, max_fragments=4)
            items, output = receive(client, pieces)
            outcomes.append((items, [one for one in sent(output) if one[0] != 0xA]))
    assert all(outcome == outcomes[0] for outcome in outcomes)


# Another's implementation.


@pytest.mark.parametrize(
    "chosen",
    [
        PerMessageDeflate(),
        PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True),
        PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9),
    ],
)
def test_it_talks_to_another_implementation(chosen: PerMessageDeflate) -> None:
    client = websocket(host="ws.test", target="/", compression=True)
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(client.open())
    (request,) = server.events()
    assert isinstance(request, Request)
    accepted, *_ = client.receive_data(server.send(AcceptConnection(extensions=[chosen])))
    assert isinstance(accepted, UpgradeAccepted)
    for text in ("Hello", "Hello", "€" * 500, ""):
        data = server.send(TextMessage(text))
        assert data[0] & 0x40
        assert client.receive_data(data) == [text.encode()]
        server.receive_data(client.send_text(text))
        (echo,) = server.events()
        assert isinstance(echo, TextMessage)
        assert echo.data == text
