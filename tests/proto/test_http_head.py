"""The heads of HTTP responses, received in any pieces."""

from __future__ import annotations

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from pusher_proto._wire.http_head import HeadReader, HeadTooLarge

LIMIT = 100
PIECES = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 S\r\n", b"HTTP/1.1 100 C\r\n\r\n"),
    *(b"a: b\r\n", b"no header\r\n", b" folded\r\n", b"\r\n", b"\n", b"\x16", b"x" * 60),
)


def asked() -> HeadReader:
    """Return a reader whose connection has sent a request."""
    reader = HeadReader(LIMIT)
    reader.http.send(
        h11.Request(method="GET", target="/", headers=[("Host", "t"), ("Upgrade", "w")])
    )
    reader.http.send(h11.EndOfMessage())
    return reader


def by_bytes(data: bytes) -> tuple[int, object]:
    """Return after how many bytes the reader has a result, and the result."""
    reader = asked()
    for at in range(len(data)):
        try:
            head, _ = reader.receive_data(data[at : at + 1])
        except (h11.RemoteProtocolError, HeadTooLarge) as error:
            return at, type(error)
        if head is not None:
            return at, (head.status_code, list(head.headers))
    return len(data), None


def by_h11(data: bytes) -> tuple[int, object]:
    """Return the same with h11 alone."""
    http = asked().http
    for at in range(len(data)):
        http.receive_data(data[at : at + 1])
        try:
            event = http.next_event()
            while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                event = http.next_event()
        except h11.RemoteProtocolError as error:
            return at, type(error)
        if isinstance(event, h11.Response | h11.InformationalResponse):
            return at, (event.status_code, list(event.headers))
        if at + 1 == LIMIT:
            return at, HeadTooLarge
    return len(data), None


@given(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join))
@example(b"\x16")
@example(b"HTTP/1.1 100 C\r\n\r\n\x16")
@example(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n")
def test_each_byte_gives_what_h11_gives_for_it(data: bytes) -> None:
    assert by_bytes(data) == by_h11(data)


@given(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join))
def test_a_head_in_one_piece_gives_the_same_as_in_many(data: bytes) -> None:
    result: object = None
    try:
        head, _ = asked().receive_data(data) if data else (None, b"")
        result = head and (head.status_code, list(head.headers))
    except (h11.RemoteProtocolError, HeadTooLarge) as error:
        result = type(error)
    assert result == by_bytes(data)[1]
