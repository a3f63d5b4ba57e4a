"""One connection to an auth endpoint: answers whole and cut, their limits, and when it may be used again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from proto.websocket_peer import Pieces, answer, bytewise, in_any_pieces, split
from pusher_proto._wire.http import Headers, HttpConnection, HttpFailed, HttpRequest, HttpResponse

REQUEST = HttpRequest("/auth", "auth.test", [("X-Own", "1")], b"socket_id=1.1")


def asked(*, max_head: int = 1000, max_body: int = 1000) -> HttpConnection:
    """Return a connection on which one request was sent."""
    http = HttpConnection(max_head=max_head, max_body=max_body)
    http.send(REQUEST)
    return http


def ok(body: bytes = b"{}", size: int | None = None) -> bytes:
    """Return an answer, its head of `size` bytes."""
    headers = [("Content-Length", str(len(body)))]
    if size is not None:
        least = len(answer("200 OK", [*headers, ("Padding", "")]))
        headers.append(("Padding", "x" * (size - least)))
    return answer("200 OK", headers, body)


def receive(http: HttpConnection, pieces: list[bytes]) -> list[HttpResponse]:
    return [it for piece in pieces if (it := http.receive_data(piece)) is not None]


def test_the_request_has_a_length_and_the_headers_that_were_given() -> None:
    http = HttpConnection(max_head=1000, max_body=1000)
    assert http.send(REQUEST) == (
        b"POST /auth HTTP/1.1\r\nHost: auth.test\r\nX-Own: 1\r\n"
        b"Content-Length: 13\r\n\r\nsocket_id=1.1"
    )


@in_any_pieces
def test_an_answer_is_given_once_it_is_whole(pieces: Pieces) -> None:
    http = asked()
    assert receive(http, pieces(ok(b'{"auth":"x"}'))) == [
        HttpResponse(200, Headers({"content-length": "12"}.items()), b'{"auth":"x"}')
    ]
    assert http.reusable


@in_any_pieces
def test_one_connection_takes_many_requests(pieces: Pieces) -> None:
    http = asked()
    for number in range(3):
        body = b"%d" % number
        assert [it.body for it in receive(http, pieces(ok(body)))] == [body]
        assert http.reusable
        assert not http.send(REQUEST).startswith(b"HTTP")


@pytest.mark.parametrize("surplus", [b"x", ok(b'{"auth":"of somebody else"}'), ok()[:10]])
def test_bytes_after_an_answer_are_never_the_answer_to_the_next_request(
    surplus: bytes,
) -> None:
    http = asked()
    assert [it.body for it in receive(http, [ok(b"mine") + surplus])] == [b"mine"]
    assert not http.reusable


def test_a_server_that_wants_to_close_gets_no_other_request() -> None:
    http = asked()
    headers = [("Content-Length", "2"), ("Connection", "close")]
    assert len(receive(http, [answer("200 OK", headers, b"{}")])) == 1
    assert not http.reusable


@in_any_pieces
def test_announcements_are_passed_over(pieces: Pieces) -> None:
    early = answer("103 Early Hints", [("Link", "</x>")]) * 3
    assert [it.status for it in receive(asked(), pieces(early + ok()))] == [200]


@in_any_pieces
@pytest.mark.parametrize("announcements", [0, 3])
def test_a_head_of_exactly_the_limit_is_accepted(pieces: Pieces, announcements: int) -> None:
    early = answer("100 Continue", []) * announcements
    data = early + ok(b"body", size=1000 - len(early))
    http = asked()
    assert [it.body for it in receive(http, pieces(data))] == [b"body"]
    http.send(REQUEST)  # and the count begins again
    assert [it.body for it in receive(http, pieces(data))] == [b"body"]


@in_any_pieces
@pytest.mark.parametrize("announcements", [0, 3, 100])
def test_a_longer_head_is_refused(pieces: Pieces, announcements: int) -> None:
    early = answer("100 Continue", []) * announcements
    data = early + ok(b"body", size=max(200, 1001 - len(early)))
    with pytest.raises(HttpFailed, match=r"^the head of the answer is larger than 1000 bytes$"):
        receive(asked(), pieces(data))


@pytest.mark.parametrize("cut", [1, 400, 600, 999])
def test_a_longer_head_is_refused_in_two_pieces_too(cut: int) -> None:
    data = ok(b"body", size=1001)
    with pytest.raises(HttpFailed, match=r"^the head of the answer is larger than 1000 bytes$"):
        receive(asked(), [data[:cut], data[cut:]])
    data = ok(b"body", size=1000)
    assert [it.body for it in receive(asked(), [data[:cut], data[cut:]])] == [b"body"]


@in_any_pieces
def test_a_head_without_an_end_is_refused(pieces: Pieces) -> None:
    with pytest.raises(HttpFailed, match="larger than 1000 bytes"):
        receive(asked(), pieces(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000))


@in_any_pieces
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_exactly_the_limit_is_accepted_and_no_longer_one(
    pieces: Pieces, chunked: bool
) -> None:
    for size, accepted in ((100, True), (101, False)):
        body = b"x" * size
        data = ok(body)
        if chunked:
            parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:60], body[60:]))
            data = answer("200 OK", [("Transfer-Encoding", "chunked")], parts + b"0\r\n\r\n")
        if accepted:
            assert [it.body for it in receive(asked(max_body=100), pieces(data))] == [body]
        else:
            with pytest.raises(HttpFailed, match=r"^the answer is larger than 100 bytes$"):
                receive(asked(max_body=100), pieces(data))


def test_the_end_of_the_stream_ends_an_answer_without_a_length() -> None:
    http = asked()
    assert receive(http, [answer("200 OK", [], b"a"), b"b"]) == []
    assert http.receive_data(b"") == HttpResponse(200, Headers(), b"ab")


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200", ok(b"body")[:-1]])
def test_the_end_of_the_stream_before_that_of_the_answer_fails(begun: bytes) -> None:
    http = asked()
    receive(http, bytewise(begun))
    assert http.response_began == bool(begun)
    with pytest.raises(HttpFailed):
        http.receive_data(b"")


@in_any_pieces
@pytest.mark.parametrize("data", [b"SSH-2.0\r\n\r\n", b"\0" * 100, b"HTTP/1.1 huh\r\n\r\n"])
def test_what_is_not_http_fails(data: bytes, pieces: Pieces) -> None:
    with pytest.raises(HttpFailed, match=r"^the answer is not HTTP$"):
        receive(asked(), pieces(data))


def test_the_end_of_the_stream_after_the_answer_is_the_answer_to_nothing() -> None:
    http = asked()
    assert receive(http, [ok()])[0].status == 200
    with pytest.raises(HttpFailed, match=r"^the connection ended before the answer did$"):
        http.receive_data(b"")


# Every shape of an answer.


def chunked(*parts: bytes, trailers: bytes = b"") -> bytes:
    return (
        b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in parts) + b"0\r\n" + trailers + b"\r\n"
    )


@in_any_pieces
@pytest.mark.parametrize(
    ("data", "response", "reusable"),
    [
        (ok(b""), HttpResponse(200, Headers({"content-length": "0"}.items()), b""), True),
        (answer("204 No Content"[:14], []), HttpResponse(204, Headers(), b""), True),
        (
            answer("403 ", [("Content-Length", "2"), ("X-A", "1"), ("x-a", "2")], b"no"),
            HttpResponse(403, Headers({"content-length": "2", "x-a": "2"}.items()), b"no"),
            True,
        ),
        (
            answer("200 OK", [("Transfer-Encoding", "chunked")], chunked(b"a", b"bc")),
            HttpResponse(200, Headers({"transfer-encoding": "chunked"}.items()), b"abc"),
            True,
        ),
        (
            answer(
                "200 OK", [("Transfer-Encoding", "chunked")], chunked(b"a", trailers=b"T: 1\r\n")
            ),
            HttpResponse(200, Headers({"transfer-encoding": "chunked"}.items()), b"a"),
            True,
        ),
        (
            ok(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
            HttpResponse(200, Headers({"content-length": "2"}.items()), b"{}"),
            False,
        ),
        (
            answer("200 OK", [("Content-Length", "2"), ("X-A", "\xe4")], b"{}"),
            HttpResponse(200, Headers({"content-length": "2", "x-a": "\xe4"}.items()), b"{}"),
            True,
        ),
        (
            ok(b"{}").replace(b"\r\n", b"\n"),  # as careless servers write it
            HttpResponse(200, Headers({"content-length": "2"}.items()), b"{}"),
            True,
        ),
    ],
)
def test_an_answer_may_be_written_in_many_ways(
    data: bytes, response: HttpResponse, reusable: bool, pieces: Pieces
) -> None:
    http = asked()
    assert receive(http, pieces(data)) == [response]
    assert http.reusable is reusable


@in_any_pieces
def test_an_answer_of_http_1_0_without_a_length_ends_with_the_stream(pieces: Pieces) -> None:
    http = asked()
    assert receive(http, pieces(b"HTTP/1.0 200 OK\r\n\r\n{}")) == []
    assert http.receive_data(b"") == HttpResponse(200, Headers(), b"{}")
    assert not http.reusable


@in_any_pieces
@pytest.mark.parametrize(
    "data",
    [
        answer("101 Switching Protocols", [("Upgrade", "x"), ("Connection", "upgrade")]),
        answer("200 OK", [("Content-Length", "1"), ("Content-Length", "2")], b"{}"),
        answer("200 OK", [("Content-Length", "-1")], b"{}"),
        answer("200 OK", [("Transfer-Encoding", "gzip")], b"{}"),
        answer("200 OK", [("Transfer-Encoding", "chunked")], b"zz\r\n{}\r\n"),
        answer("200 OK", [("a b", "1")], b"{}"),
        b"\r\n\r\n" + ok(),
        b"<html></html>\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_sure_to_mean_one_thing_fails(data: bytes, pieces: Pieces) -> None:
    http = asked()
    with pytest.raises(HttpFailed, match=r"^the answer is not HTTP$"):
        receive(http, pieces(data))
    assert not http.reusable


bodies = st.binary(max_size=60)
answers = st.one_of(
    bodies.map(ok),
    st.lists(bodies.filter(bool), max_size=4).map(
        lambda parts: answer("201 Created", [("Transfer-Encoding", "chunked")], chunked(*parts))
    ),
    bodies.map(lambda body: answer("500 Oops", [], body)),
    st.builds(
        lambda early, body: early + ok(body),
        st.sampled_from([b"", answer("100 Continue", []), answer("103 Hints", [("A", "b")])]),
        bodies,
    ),
    st.integers(150, 220).map(lambda size: ok(b"{}", size)),
    st.binary(max_size=80),
)


def outcome(pieces: list[bytes]) -> tuple[list[HttpResponse], str | None, bool]:
    """Return the result of `pieces` and the end of the stream: answers, failure, and whether it is reusable."""
    http = asked(max_head=200, max_body=50)
    responses: list[HttpResponse] = []
    try:
        for piece in pieces:
            response = http.receive_data(piece)
            if response is not None:
                return [response], None, http.reusable
        response = http.receive_data(b"")
        responses = [response] if response is not None else []
    except HttpFailed as failed:
        return [], str(failed), False
    return responses, None, http.reusable


@tried
@given(answers, st.data())
def test_however_an_answer_is_cut_and_damaged_the_outcome_is_the_same_and_nothing_else_raises(
    data: bytes, draw: st.DataObject
) -> None:
    if data and draw.draw(st.booleans()):
        at = draw.draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([draw.draw(st.integers(0, 255))]) + data[at + 1 :]
    data = data[: draw.draw(st.integers(0, len(data)) | st.just(len(data)))]
    cuts = draw.draw(st.lists(st.integers(0, 400), max_size=4))
    expected = outcome([data] if data else [])
    assert outcome(bytewise(data)) == expected
    assert outcome([piece for piece in split(data, cuts) if piece]) == expected


@pytest.mark.parametrize("cut", range(1, len(ok(b"{}"))))
def test_nothing_is_given_before_the_last_byte(cut: int) -> None:
    http, data = asked(), ok(b"{}")
    assert not http.response_began
    assert http.receive_data(data[:cut]) is None
    assert (http.response_began, http.reusable) == (True, False)
    assert http.receive_data(data[cut:]) == HttpResponse(
        200, Headers({"content-length": "2"}.items()), b"{}"
    )
