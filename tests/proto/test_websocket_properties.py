"""Whatever a server sends and however it is split: nothing raises, and both lanes say the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proto.websocket_peer import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    EXAMPLES,
    PING,
    PONG,
    TEXT,
    answer,
    frame,
    receive,
    sent,
    split,
    upgraded,
    upgrading,
)
from pusher_proto._wire.websocket import Item

LIMIT = 200
FRAGMENTS = 4
CONTROLS = 20

tried = settings(max_examples=EXAMPLES, deadline=None)

texts = st.text(max_size=40).map(str.encode)
sized_texts = st.sampled_from([1, 2, 3, 120, 125, 126, 127, LIMIT - 1, LIMIT]).map(
    lambda size: b"x" * size
)
any_payloads = st.one_of(
    texts, st.binary(max_size=20), st.sampled_from([b"", b"x" * LIMIT, b"x" * (LIMIT + 1)])
)
controls = st.builds(frame, texts.map(lambda text: text[:125]), st.sampled_from([PING, PONG]))


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in a few frames, sometimes too many, with control frames between them."""
    parts = split(
        draw(texts | sized_texts), draw(st.lists(st.integers(0, 300), max_size=FRAGMENTS))
    )
    opcodes = [draw(st.sampled_from([TEXT, TEXT, BINARY])), *[CONTINUATION] * len(parts)]
    data = b""
    for index, part in enumerate(parts):
        data += frame(part, opcodes[index], fin=index == len(parts) - 1)
        data += draw(st.just(b"") | controls)
    return data


good_frames = st.one_of(
    st.builds(frame, texts),
    st.builds(frame, sized_texts),
    st.builds(frame, texts | sized_texts, st.just(BINARY)),
    controls,
    fragmented(),
)
odd_frames = st.one_of(
    st.builds(frame, any_payloads),
    st.builds(frame, any_payloads, width=st.sampled_from([2, 8])),
    st.builds(frame, any_payloads, st.sampled_from([TEXT, CONTINUATION, PING]), fin=st.booleans()),
    st.builds(lambda one, two: frame(one, fin=False) + frame(two), texts, texts),
    st.builds(
        frame,
        any_payloads,
        st.integers(0, 15),
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 1, 2, 4]),
        masked=st.booleans(),
    ),
    st.builds(
        frame,
        any_payloads,
        st.sampled_from([TEXT, BINARY, CONTINUATION, PING, CLOSE]),
        length=st.sampled_from([0, 1, 130, LIMIT + 1, 65536, 2**32, 2**63, 2**64 - 1]),
    ),
    st.builds(
        lambda code, reason: frame(code.to_bytes(2, "big") + reason, CLOSE),
        st.sampled_from([999, 1000, 1004, 1006, 1011, 4100, 5000]) | st.integers(0, 65535),
        texts | st.binary(max_size=5),
    ),
    st.builds(frame, st.binary(max_size=2), st.just(CLOSE)),
)


@st.composite
def mutated(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> bytes:
    """A stream, often with a few bytes replaced, inserted or cut off."""
    data = bytearray(draw(streams))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["replace", "insert", "cut"])):
            case "replace":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "insert":
                data[at:at] = draw(st.binary(max_size=3))
            case _:
                del data[at:]
    return bytes(data)


# Most odd frames end the connection, so the good ones come first.
streams = mutated(
    st.builds(
        lambda good, odd, more: b"".join([*good, *odd, *more]),
        st.lists(good_frames, min_size=1, max_size=8),
        st.lists(odd_frames, max_size=2),
        st.lists(good_frames, max_size=2),
    )
)
cuts = st.lists(st.integers(0, 2000), max_size=12)

OK_HEADERS = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", ACCEPT),
]
heads = st.one_of(
    st.just(answer()),
    st.just(answer("103 Early Hints", []) + answer()),
    st.builds(
        answer,
        st.sampled_from(["101 Switching", "200 OK", "204 None", "403 ", "503 Busy"]),
        st.lists(
            st.sampled_from(
                [
                    *OK_HEADERS,
                    ("Sec-WebSocket-Extensions", "x"),
                    ("Sec-WebSocket-Protocol", "a"),
                    ("Content-Length", "5"),
                    ("Transfer-Encoding", "chunked"),
                    ("Padding", "x" * 15_000),
                ]
            ),
            max_size=4,
        ),
        st.sampled_from([b"", b"hello", b"3\r\nwhy\r\n0\r\n\r\n", b"x" * 400]),
    ),
)
answers = mutated(
    st.tuples(heads, st.lists(good_frames, max_size=2)).map(lambda it: it[0] + b"".join(it[1]))
)


def talk(
    data: list[bytes], *, fast: bool, close_after: int | None = None
) -> tuple[list[Item], list[tuple[int, bytes]]]:
    """Give the pieces to a client, which closes after a number of them; return its items and frames."""
    client = upgraded(
        fast=fast, max_message_size=LIMIT, max_fragments=FRAGMENTS, control_frame_rate=CONTROLS
    )
    if close_after is None:
        items, output = receive(client, data)
        return items, sent(output)
    items, output = receive(client, data[:close_after])
    client.send_close()
    more_items, more_output = receive(client, data[close_after:])
    return items + more_items, sent(output + more_output)


@tried
@given(streams, cuts, st.none() | st.integers(0, 12))
def test_both_lanes_agree(stream: bytes, cuts: list[int], close_after: int | None) -> None:
    pieces = split(stream, cuts)
    assert talk(pieces, fast=True, close_after=close_after) == talk(
        pieces, fast=False, close_after=close_after
    )


@tried
@given(streams, cuts, st.booleans())
def test_splitting_changes_no_item(stream: bytes, cuts: list[int], fast: bool) -> None:
    whole_items, whole_output = talk([stream], fast=fast)
    items, output = talk(split(stream, cuts), fast=fast)
    assert items == whole_items
    # Of pings that came together only the last few were answered; nothing else may differ.
    assert [it for it in output if it[0] != PONG] == [it for it in whole_output if it[0] != PONG]
    pongs = [it for it in output if it[0] == PONG]
    assert pongs[-16:] == [it for it in whole_output if it[0] == PONG]


@tried
@given(st.one_of(st.binary(max_size=300), streams, answers), cuts)
def test_arbitrary_bytes_never_raise(data: bytes, cuts: list[int]) -> None:
    for client in (upgrading(), upgraded(fast=True), upgraded(fast=False)):
        receive(client, split(data, cuts))
        client.receive_eof()
        receive(client, [data])


@tried
@given(answers, cuts)
def test_splitting_the_answer_changes_no_item(data: bytes, cuts: list[int]) -> None:
    outcomes = []
    for pieces in ([data], split(data, cuts), split(data, [*cuts, 16383, 16384, 16385])):
        client = upgrading(subprotocols=["a"])
        items, output = receive(client, pieces)
        outcomes.append((items, sent(output)))
    assert outcomes[0][0] == outcomes[1][0] == outcomes[2][0]
