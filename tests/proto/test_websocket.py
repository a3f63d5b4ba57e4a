"""The upgrade: the request, its answers good and bad, and what may be called when."""

from __future__ import annotations

from typing import Any

import pytest

from proto.websocket_peer import (
    ACCEPT,
    CLOSE,
    TEXT,
    Pieces,
    answer,
    bytewise,
    frame,
    in_any_pieces,
    receive,
    sent,
    upgraded,
    upgrading,
    websocket,
)
from pusher_proto._wire.websocket import UpgradeAccepted, UpgradeRefused, Violation
from pusher_proto.errors import LocalProtocolError

UPGRADE = ("Upgrade", "websocket")
CONNECTION = ("Connection", "Upgrade")
OUR_ACCEPT = ("Sec-WebSocket-Accept", ACCEPT)
HEAD_LIMIT = 16384


def head_of(size: int) -> bytes:
    """A good 101 whose head has exactly this many bytes."""
    padding = ("Padding", "x" * (size - len(answer()) - len("Padding: \r\n")))
    head = answer(headers=[UPGRADE, CONNECTION, OUR_ACCEPT, padding])
    assert len(head) == size
    return head


# The request.


def test_the_request_asks_for_the_upgrade_and_offers_no_extension() -> None:
    client = websocket(host="ws.test:8080", target="/app/key?protocol=7")
    lines = client.open().split(b"\r\n")
    assert lines[4].startswith(b"Sec-WebSocket-Key: ")
    assert [line for line in lines if line is not lines[4]] == [
        b"GET /app/key?protocol=7 HTTP/1.1",
        b"Host: ws.test:8080",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"",
        b"",
    ]


def test_headers_and_subprotocols_of_the_caller_are_sent() -> None:
    client = websocket(
        host="ws.test", target="/", headers=[("Origin", "https://a.test")], subprotocols=["a", "b"]
    )
    lines = client.open().split(b"\r\n")
    assert b"Origin: https://a.test" in lines
    assert b"Sec-WebSocket-Protocol: a, b" in lines


def test_each_connection_has_its_own_key() -> None:
    one, two = (websocket(host="ws.test", target="/").open() for _ in range(2))
    assert one != two


def test_the_request_is_made_once() -> None:
    client = upgrading()
    with pytest.raises(LocalProtocolError, match="requested before"):
        client.open()
    client = upgrading()
    client.receive_data(answer())
    with pytest.raises(LocalProtocolError, match="requested before"):
        client.open()


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "/with space"},
        {"target": "/line\r\nX-Evil: 1"},
        {"target": "/é"},
        {"target": ""},
        {"host": "a\r\nb"},
        {"headers": [("X-Token", "secret\r\nX-Evil: 1")]},
        {"headers": [("X Token", "secret")]},
        {"headers": [("X-Token", "secrét")]},
    ],
)
def test_what_http_does_not_allow_is_refused_at_construction(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        websocket(**wrong)
    assert "secr" not in str(caught.value)
    assert caught.value.__cause__ is None


# The answer that accepts.


def test_a_101_opens_the_connection() -> None:
    client = upgrading()
    assert not client.is_open
    headers = [UPGRADE, CONNECTION, OUR_ACCEPT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=é")]
    assert client.receive_data(answer(headers=headers)) == [UpgradeAccepted()]
    assert client.is_open
    assert client.data_to_send() == b""


def test_case_and_further_tokens_do_not_matter() -> None:
    client = upgrading()
    headers = [("UPGRADE", "WebSocket"), ("connection", "keep-alive, UPGRADE"), OUR_ACCEPT]
    client.receive_data(answer(headers=headers))
    assert client.is_open


@pytest.mark.parametrize("chosen", [[], [("Sec-WebSocket-Protocol", "b")]])
def test_a_server_may_choose_an_offered_subprotocol_or_none(chosen: list[tuple[str, str]]) -> None:
    client = upgrading(subprotocols=["a", "b"])
    headers = [UPGRADE, CONNECTION, OUR_ACCEPT, *chosen]
    assert client.receive_data(answer(headers=headers)) == [UpgradeAccepted()]
    assert client.is_open


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_frames_in_the_same_bytes_as_the_101_are_not_lost(cut: int) -> None:
    client = upgrading()
    data = answer() + frame(b"first") + frame(b"second")
    items, _ = receive(client, [data[: len(data) - cut], data[len(data) - cut :]])
    assert items[1:] == [b"first", b"second"]


def test_other_informational_answers_are_passed_over() -> None:
    client = upgrading()
    early = answer("100 Continue", []) + answer("103 Early Hints", [("Link", "</a>")])
    items, _ = receive(client, bytewise(early + answer()))
    assert [type(item) for item in items] == [UpgradeAccepted]


# Answers that break the upgrade.


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([CONNECTION, OUR_ACCEPT], "no header 'Upgrade: websocket'"),
        ([("Upgrade", "h2c"), CONNECTION, OUR_ACCEPT], "no header 'Upgrade: websocket'"),
        ([UPGRADE, OUR_ACCEPT], "no header 'Connection: Upgrade'"),
        ([UPGRADE, ("Connection", "close"), OUR_ACCEPT], "no header 'Connection: Upgrade'"),
        ([UPGRADE, CONNECTION], "Sec-WebSocket-Accept"),
        ([UPGRADE, CONNECTION, ("Sec-WebSocket-Accept", "x")], "Sec-WebSocket-Accept"),
        ([UPGRADE, CONNECTION, ("Sec-WebSocket-Accept", "é")], "Sec-WebSocket-Accept"),
        ([UPGRADE, CONNECTION, OUR_ACCEPT, OUR_ACCEPT], "Sec-WebSocket-Accept"),
        (
            [UPGRADE, CONNECTION, OUR_ACCEPT, ("Sec-WebSocket-Extensions", "permessage-deflate")],
            "extension",
        ),
        ([UPGRADE, CONNECTION, OUR_ACCEPT, ("Sec-WebSocket-Protocol", "c")], "subprotocol"),
        ([UPGRADE, CONNECTION, OUR_ACCEPT, ("Sec-WebSocket-Protocol", "é")], "subprotocol"),
        ([UPGRADE, CONNECTION, OUR_ACCEPT, *[("Sec-WebSocket-Protocol", "a")] * 2], "subprotocol"),
        ([UPGRADE, CONNECTION, OUR_ACCEPT, ("Bad Name", "x")], "not valid HTTP"),
    ],
)
def test_a_wrong_101_fails_the_upgrade(headers: list[tuple[str, str]], reason: str) -> None:
    client = upgrading(subprotocols=["a", "b"])
    [violation] = client.receive_data(answer(headers=headers) + frame(b"not delivered"))
    assert isinstance(violation, Violation)
    assert violation.code is None
    assert reason in violation.reason
    assert not client.is_open
    assert client.receive_data(frame(b"ignored")) == []
    client.receive_eof()
    assert client.data_to_send() == b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\r\n",
        b"HTTP/1.1 999999 Odd\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
    ],
)
@in_any_pieces
def test_what_is_not_http_fails_the_upgrade(garbage: bytes, pieces: Pieces) -> None:
    items, output = receive(upgrading(), pieces(garbage))
    assert items == [Violation(None, "the answer is not valid HTTP")]
    assert output == b""


# Answers that refuse.


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503, 504])
@in_any_pieces
def test_another_status_refuses(status: int, pieces: Pieces) -> None:
    body = b"" if status == 204 else b"why"
    headers = [("Content-Length", str(len(body))), ("Retry-After", "9")]
    items, output = receive(upgrading(), pieces(answer(f"{status} Sorry", headers, body)))
    assert items == [
        UpgradeRefused(
            status=status,
            reason="Sorry",
            headers=(("content-length", str(len(body))), ("retry-after", "9")),
        )
    ]
    assert output == b""


def test_the_body_of_a_refusal_is_not_awaited() -> None:
    client = upgrading()
    [refused] = client.receive_data(answer("502 Bad Gateway", [("Content-Length", "10000000")]))
    assert isinstance(refused, UpgradeRefused)
    assert client.receive_data(b"x" * 200_000) == []
    client.receive_eof()
    assert not client.is_open


# The limit of the head.


@in_any_pieces
def test_a_head_of_exactly_the_limit_is_accepted(pieces: Pieces) -> None:
    items, _ = receive(upgrading(), pieces(head_of(HEAD_LIMIT) + frame(b"first")))
    assert [type(item) for item in items] == [UpgradeAccepted, bytes]


@in_any_pieces
@pytest.mark.parametrize(
    "head",
    [
        head_of(HEAD_LIMIT + 1),
        answer("200 OK", [("Padding", "x" * 100_000)]),
        answer("103 Early Hints", []) * 1000 + answer(),
        b"HTTP/1.1 101 " + b"x" * 100_000,
    ],
)
def test_a_longer_head_fails_the_upgrade(head: bytes, pieces: Pieces) -> None:
    items, _ = receive(upgrading(), pieces(head))
    assert items == [Violation(None, "the answer's head exceeds 16384 bytes")]


# Calls that the state does not allow.


def test_nothing_is_sent_before_the_upgrade() -> None:
    client = upgrading()
    with pytest.raises(LocalProtocolError, match="not open"):
        client.send_text("x")
    assert client.send_close() == b""
    client.receive_data(answer())
    assert sent(client.send_text("x")) == [(TEXT, b"x")]
    assert sent(client.send_close()) == [(CLOSE, b"\x03\xe8")]


def test_the_end_of_the_stream_before_the_answer_reports_nothing() -> None:
    client = upgrading()
    client.receive_data(b"HTTP/1.1 ")
    client.receive_eof()
    assert client.receive_data(b"101 Switching Protocols\r\n\r\n") == []


def test_after_the_end_of_the_stream_nothing_is_open() -> None:
    client = upgraded()
    client.receive_data(frame(b"not whole")[:5])
    client.receive_eof()
    assert not client.is_open
    assert client.receive_data(frame(b"ignored")) == []
    assert client.send_close() == b""
    with pytest.raises(LocalProtocolError, match="not open"):
        client.send_text("x")
