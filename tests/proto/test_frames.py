"""Frames after the upgrade: what is delivered, answered and refused, the same in both lanes."""

from __future__ import annotations

import pytest

from proto.websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Pieces,
    close,
    frame,
    in_any_pieces,
    receive,
    sent,
    upgraded,
)
from pusher_proto._wire.websocket import BinaryReceived, PeerClosed, PongReceived, Violation
from pusher_proto.errors import LocalProtocolError

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["fast", "wsproto"])

EURO = "€".encode()


# Messages.


@in_any_pieces
@pytest.mark.parametrize("size", [0, 1, 2, 125, 126, 127, 65535, 65536, 70000])
def test_a_text_frame_of_any_length_is_a_message(size: int, pieces: Pieces, fast: bool) -> None:
    items, output = receive(upgraded(fast=fast), pieces(frame(b"x" * size) + frame(b"next")))
    assert items == [b"x" * size, b"next"]
    assert output == b""


def test_all_messages_of_one_read_are_in_order(fast: bool) -> None:
    messages = [f'{{"n":{n},"text":"é€😀"}}'.encode() for n in range(500)]
    assert upgraded(fast=fast).receive_data(b"".join(map(frame, messages))) == messages


@in_any_pieces
def test_the_fragments_of_a_message_are_joined(pieces: Pieces, fast: bool) -> None:
    data = (
        frame(b"a" + EURO[:1], fin=False)
        + frame(EURO[1:2], CONTINUATION, fin=False)
        + frame(b"", CONTINUATION, fin=False)
        + frame(EURO[2:] + b"z", CONTINUATION)
        + frame(b"next")
    )
    assert receive(upgraded(fast=fast), pieces(data)) == (["a€z".encode(), b"next"], b"")


@in_any_pieces
def test_control_frames_between_fragments_are_served(pieces: Pieces, fast: bool) -> None:
    data = (
        frame(b"one ", fin=False)
        + frame(b"p", PING)
        + frame(b"", PONG)
        + frame(b"message", CONTINUATION)
    )
    items, output = receive(upgraded(fast=fast), pieces(data))
    assert items == [PongReceived(), b"one message"]
    assert sent(output) == [(PONG, b"p")]


@in_any_pieces
def test_binary_messages_are_reported_and_ignored(pieces: Pieces, fast: bool) -> None:
    data = (
        frame(b"\xff" * 300, BINARY)
        + frame(b"\xff", BINARY, fin=False)
        + frame(b"\xff\xff", CONTINUATION)
        + frame(b"text")
    )
    items, output = receive(upgraded(fast=fast), pieces(data))
    assert items == [BinaryReceived(300), BinaryReceived(3), b"text"]
    assert output == b""


@pytest.mark.timeout(20)
def test_a_long_message_in_small_reads_is_not_copied_for_each_of_them(fast: bool) -> None:
    # Copying what is there for each read would move 16 GiB, and take its time.
    message = b"x" * (1024 * 1024)
    data = frame(message)
    items, _ = receive(upgraded(fast=fast), [data[at : at + 32] for at in range(0, len(data), 32)])
    assert items == [message]


# Limits.


def test_a_message_of_exactly_the_limit_is_delivered(fast: bool) -> None:
    client = upgraded(fast=fast, max_message_size=1000)
    data = frame(b"x" * 1000) + frame(b"y" * 400, fin=False) + frame(b"z" * 600, CONTINUATION)
    assert client.receive_data(data) == [b"x" * 1000, b"y" * 400 + b"z" * 600]


@pytest.mark.parametrize(
    "head",
    [
        frame(length=1001),
        frame(b"x" * 1001),
        frame(opcode=BINARY, length=1001),
        frame(length=2**63 - 1),
        frame(b"y" * 400, fin=False) + frame(opcode=CONTINUATION, length=601),
        frame(b"y" * 400, BINARY, fin=False) + frame(opcode=CONTINUATION, length=601),
    ],
)
@in_any_pieces
def test_a_longer_message_is_refused_at_its_header(head: bytes, pieces: Pieces, fast: bool) -> None:
    client = upgraded(fast=fast, max_message_size=1000)
    items, output = receive(client, pieces(frame(b"before") + head))
    assert items == [b"before", Violation(1009, "message of more than 1000 bytes")]
    assert sent(output) == [(CLOSE, b"\x03\xf1message of more than 1000 bytes")]
    assert not client.is_open
    assert receive(client, [b"x" * 1001, frame(b"p", PING)]) == ([], b"")


@in_any_pieces
def test_a_message_of_too_many_frames_is_refused(pieces: Pieces, fast: bool) -> None:
    client = upgraded(fast=fast, max_fragments=3)
    start = frame(b"a", fin=False) + frame(b"", CONTINUATION, fin=False)
    end = frame(b"z", CONTINUATION)
    assert receive(client, pieces(start + end))[0] == [b"az"]
    items, output = receive(client, pieces(start + frame(b"", CONTINUATION, fin=False) + end))
    assert items == [Violation(1009, "message of more than 3 frames")]
    assert sent(output)[0][0] == CLOSE


# Control frames.


@in_any_pieces
@pytest.mark.parametrize("payload", [b"", b"p", b"p" * 125])
def test_a_ping_is_answered(payload: bytes, pieces: Pieces, fast: bool) -> None:
    data = frame(b"before") + frame(payload, PING) + frame(b"behind")
    items, output = receive(upgraded(fast=fast), pieces(data))
    assert items == [b"before", b"behind"]
    assert sent(output) == [(PONG, payload)]


def test_a_few_pings_in_one_read_are_all_answered(fast: bool) -> None:
    client = upgraded(fast=fast)
    client.receive_data(b"".join(frame(b"%d" % n, PING) for n in range(10)))
    assert sent(client.data_to_send()) == [(PONG, b"%d" % n) for n in range(10)]
    assert client.data_to_send() == b""


def test_of_many_pings_in_one_read_the_last_sixteen_are_answered(fast: bool) -> None:
    client = upgraded(fast=fast)
    client.receive_data(b"".join(frame(b"%d" % n, PING) for n in range(1000)))
    assert sent(client.data_to_send()) == [(PONG, b"%d" % n) for n in range(984, 1000)]


@in_any_pieces
def test_a_second_has_a_limit_of_pings_and_pongs(pieces: Pieces, fast: bool) -> None:
    client = upgraded(fast=fast, control_frame_rate=4)
    second = frame(b"a", PING) + frame(b"b", PONG) + frame(b"text") + frame(b"c", PING) * 2
    for _ in range(2):
        client.another_second()
        assert receive(client, pieces(second))[0] == [PongReceived(), b"text"]
    more = frame(b"message", fin=False) + frame(b"", CONTINUATION) + frame(b"d", PING)
    items, output = receive(client, pieces(more + frame(b"ignored")))
    assert items == [b"message", Violation(1008, "more than 4 pings and pongs in a second")]
    assert sent(output) == [(CLOSE, b"\x03\xf0more than 4 pings and pongs in a second")]


@in_any_pieces
@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_ping_or_pong_too_many_is_refused_at_its_header(
    opcode: int, pieces: Pieces, fast: bool
) -> None:
    client = upgraded(fast=fast, control_frame_rate=1)
    data = frame(b"", PONG) + frame(opcode=opcode, length=100)
    items, _ = receive(client, pieces(data))
    assert items == [PongReceived(), Violation(1008, "more than 1 pings and pongs in a second")]


@in_any_pieces
def test_the_close_of_the_peer_does_not_count(pieces: Pieces, fast: bool) -> None:
    client = upgraded(fast=fast, control_frame_rate=1)
    items, _ = receive(client, pieces(frame(b"", PONG) + close(1000)))
    assert items == [PongReceived(), PeerClosed(1000, "")]


def test_a_ping_before_the_end_is_answered_first(fast: bool) -> None:
    for end in (close(1000), frame(rsv=1)):
        _, output = receive(upgraded(fast=fast), [frame(b"p", PING) + end])
        assert [opcode for opcode, _ in sent(output)] == [PONG, CLOSE]


@in_any_pieces
@pytest.mark.parametrize(
    ("data", "closed", "answer"),
    [
        (frame(b"", CLOSE), PeerClosed(1005, ""), b""),
        (close(1000), PeerClosed(1000, ""), b"\x03\xe8"),
        (close(1011, EURO), PeerClosed(1011, "€"), b"\x03\xf3" + EURO),
        (close(4100, b"x" * 123), PeerClosed(4100, "x" * 123), b"\x10\x04" + b"x" * 123),
    ],
)
def test_the_close_of_the_peer_is_answered_and_reported(
    data: bytes, closed: PeerClosed, answer: bytes, pieces: Pieces, fast: bool
) -> None:
    client = upgraded(fast=fast)
    items, output = receive(client, pieces(frame(b"before") + data + frame(b"ignored")))
    assert items == [b"before", closed]
    assert type(closed.code) is int
    assert sent(output) == [(CLOSE, answer)]
    assert not client.is_open
    assert client.send_close() == b""
    with pytest.raises(LocalProtocolError, match="close frame"):
        client.send_text("x")


# Violations.

WRONG_FRAMES = {
    "masked": (frame(masked=True, length=500), "masked"),
    "masked, short": (frame(b"x", masked=True), "masked"),
    "RSV1": (frame(b"x", rsv=4), "Reserved bit"),
    "RSV2": (frame(length=500, rsv=2), "Reserved bit"),
    "RSV3": (frame(b"x", rsv=1, opcode=PING), "Reserved bit"),
    "opcode 3": (frame(b"x", 3), "Invalid opcode 0x3"),
    "opcode 7": (frame(length=500, opcode=7), "Invalid opcode 0x7"),
    "opcode 11": (frame(b"x", 11), "Invalid opcode 0xb"),
    "opcode 15": (frame(b"x", 15, fin=False), "Invalid opcode 0xf"),
    "long ping": (frame(opcode=PING, length=126), "len > 125"),
    "long ping, whole": (frame(b"x" * 200, PING), "len > 125"),
    "long close": (frame(opcode=CLOSE, length=70000), "len > 125"),
    "ping in fragments": (frame(b"x", PING, fin=False), "fragment control frame"),
    "close in fragments": (frame(b"", CLOSE, fin=False), "fragment control frame"),
    "no start": (frame(b"x", CONTINUATION), "unexpected CONTINUATION"),
    "no start, empty": (frame(b"", CONTINUATION, fin=False), "unexpected CONTINUATION"),
    "text in a message": (frame(b"x", fin=False) + frame(b"y"), "expected CONTINUATION"),
    "binary in a message": (frame(b"x", fin=False) + frame(b"y", BINARY), "expected CONTINUATION"),
    "2 bytes of length for 125": (frame(b"x" * 125, width=2), "1 would have sufficed"),
    "8 bytes of length for 65535": (frame(b"x" * 65535, width=8), "2 would have sufficed"),
    "negative length": (frame(length=2**63), "non-zero MSB"),
    "close of 1 byte": (frame(b"\x03", CLOSE), "1 byte"),
    **{f"close {code}": (close(code), "CLOSE") for code in (0, 999, 1004, 1005, 1006, 1015)},
    **{f"close {code}": (close(code), "CLOSE") for code in (1014, 1016, 2999, 5000, 65535)},
}


@in_any_pieces
@pytest.mark.parametrize("name", WRONG_FRAMES)
def test_a_wrong_frame_is_a_protocol_error(name: str, pieces: Pieces, fast: bool) -> None:
    data, reason = WRONG_FRAMES[name]
    client = upgraded(fast=fast)
    items, output = receive(client, pieces(frame(b"before") + data + frame(b"ignored") * 2))
    [before, violation] = items
    assert before == b"before"
    assert isinstance(violation, Violation)
    assert violation.code == 1002
    assert reason in violation.reason
    [(opcode, payload)] = sent(output)
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xea")
    assert not client.is_open


@in_any_pieces
@pytest.mark.parametrize(
    "data",
    [
        frame(b"bad \xff text"),
        frame(b"\xff"),
        frame(EURO[:2]),
        frame(b"\xed\xa0\x80"),
        frame(b"x" * 200 + b"\xc0\x80"),
        frame(EURO[:2], fin=False) + frame(b"x", CONTINUATION),
        frame(EURO[:2], fin=False) + frame(b"", CONTINUATION),
        frame(b"\xff", fin=False),
        close(1000, b"\xff"),
        close(1000, EURO[:2]),
    ],
)
def test_text_that_is_not_utf_8_is_refused(data: bytes, pieces: Pieces, fast: bool) -> None:
    items, output = receive(upgraded(fast=fast), pieces(frame(b"before") + data))
    [before, violation] = items
    assert before == b"before"
    assert isinstance(violation, Violation)
    assert violation.code == 1007
    [(opcode, payload)] = sent(output)
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xef")


@in_any_pieces
@pytest.mark.parametrize(
    "data",
    [
        frame(b"\xff", length=100),
        frame(b"x" * 200 + b"\xc0", length=70000),
        frame(EURO[:2] + b"x", length=4),
        frame(EURO[:1], fin=False) + frame(EURO[1:2] + b"x", CONTINUATION, length=1000),
        frame(EURO[:2], fin=False)
        + frame(b"p", PING)
        + frame(EURO[2:] + EURO[:1], CONTINUATION, fin=False)
        + frame(b"\xff", CONTINUATION, length=3),
        frame(b"\xff", BINARY) + frame(b"\xff", length=2),
        frame(EURO) + frame(b"\xff", length=2),
    ],
)
def test_text_is_refused_before_it_is_whole(data: bytes, pieces: Pieces, fast: bool) -> None:
    items, output = receive(upgraded(fast=fast), pieces(data))
    assert items[-1] == Violation(1007, "text that is not UTF-8")
    assert sent(output)[-1] == (CLOSE, b"\x03\xeftext that is not UTF-8")


@in_any_pieces
def test_the_length_of_a_masked_frame_is_not_taken_for_text(pieces: Pieces, fast: bool) -> None:
    client = upgraded(fast=fast)
    items, _ = receive(client, pieces(b"\x81\xfe\x80\x00"))
    assert items == [Violation(1002, "client received unexpected masked frame")]


@in_any_pieces
def test_a_character_may_be_cut_anywhere_and_binary_is_not_text(pieces: Pieces, fast: bool) -> None:
    data = (
        frame(EURO[:1], fin=False)
        + frame(EURO[1:2], CONTINUATION, fin=False)
        + frame(EURO[2:] + EURO, CONTINUATION)
        + frame(b"\xff" * 200, BINARY, fin=False)
        + frame(b"\xfe" * 200, CONTINUATION)
        + frame(EURO * 100)
    )
    client = upgraded(fast=fast)
    items = []
    for piece in pieces(data):
        for start in range(0, len(piece), 7):
            items += client.receive_data(piece[start : start + 7])
    assert items == [EURO * 2, BinaryReceived(400), EURO * 100]


def test_a_message_in_progress_has_a_number_until_it_ends(fast: bool) -> None:
    client = upgraded(fast=fast)
    numbers = []
    for piece in (
        frame(b"whole"),
        frame(b"begun")[:1],
        frame(b"begun")[1:-1],
        frame(b"begun")[-1:] + frame(b"next")[:-1],
        frame(b"next")[-1:] + frame(b"first", fin=False),
        frame(b"p", PING),
        frame(b"last", CONTINUATION)[:-1],
        frame(b"last", CONTINUATION)[-1:],
        frame(b"ping", PING)[:-1],
        frame(b"ping", PING)[-1:] + frame(b"ping", PING)[:-1],
    ):
        client.receive_data(piece)
        numbers.append(client.incomplete)
    first, second, third, fourth, fifth = sorted({n for n in numbers if n is not None})
    assert numbers == [None, first, first, second, third, third, third, None, fourth, fifth]


# Sending.


def test_text_is_sent_masked(fast: bool) -> None:
    client = upgraded(fast=fast)
    assert sent(client.send_text("€" * 100)) == [(TEXT, EURO * 100)]
    assert sent(client.send_text(b"x" * 70000)) == [(TEXT, b"x" * 70000)]


def test_what_cannot_be_sent_changes_nothing(fast: bool) -> None:
    client = upgraded(fast=fast)
    for text in ("\ud800", b"\xff"):
        with pytest.raises(ValueError, match="utf-8"):
            client.send_text(text)
    for code in (999, 1005, 1006, 1015, 5000):
        with pytest.raises(ValueError, match="cannot carry"):
            client.send_close(code)
    with pytest.raises(ValueError, match="utf-8"):
        client.send_close(1000, "\ud800")
    assert client.is_open
    assert sent(client.send_text("x")) == [(TEXT, b"x")]


def test_the_close_is_sent_once(fast: bool) -> None:
    client = upgraded(fast=fast)
    assert sent(client.send_close(1001, "€" * 50)) == [(CLOSE, b"\x03\xe9" + EURO * 41)]
    assert client.send_close() == b""
    assert not client.is_open
    with pytest.raises(LocalProtocolError, match="close frame"):
        client.send_text("x")


@in_any_pieces
def test_after_our_close_only_the_end_is_reported(pieces: Pieces, fast: bool) -> None:
    client = upgraded(fast=fast)
    client.receive_data(frame(b"begun", fin=False))
    client.send_close()
    data = (
        frame(b"rest", CONTINUATION)
        + frame(b"text")
        + frame(b"binary", BINARY)
        + frame(b"p", PING)
        + frame(b"", PONG)
        + close(1000, b"bye")
    )
    assert receive(client, pieces(data)) == ([PeerClosed(1000, "bye")], b"")


def test_a_violation_after_our_close_is_reported_and_not_answered(fast: bool) -> None:
    client = upgraded(fast=fast)
    client.send_close()
    items, output = receive(client, [frame(b"\xff")])
    assert [type(item) for item in items] == [Violation]
    assert output == b""
