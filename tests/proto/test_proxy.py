"""The requests to a proxy, and the meaning of its answers."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_proto._base.secret import Secret
from pusher_proto._wire.proxy import Proxy, ProxyFailed, Tunnel, proxy_of

HTTP = "http://ada:hunter2@proxy.test:3128"
SOCKS = "socks5://ada:hunter2@proxy.test"
GOOD = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
REQUEST = b"\x05\x01\x00\x03\x07ws.test\x01\xbb"
LOGIN = b"\x01\x03ada\x07hunter2"
CONNECTED = b"\x05\x00\x00\x01" + bytes(6)


def tunnel(url: str, host: str = "ws.test", port: int = 443, max_head: int = 1000) -> Tunnel:
    return proxy_of(Secret(url), max_head).tunnel(host, port)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        (HTTP, Proxy("http", "proxy.test", 3128, Secret("ada"), Secret("hunter2"), 1000)),
        (SOCKS, Proxy("socks5", "proxy.test", 1080, Secret("ada"), Secret("hunter2"), 1000)),
        ("http://proxy.test", Proxy("http", "proxy.test", 80, None, Secret(""), 1000)),
        ("HTTP://proxy.test/", Proxy("http", "proxy.test", 80, None, Secret(""), 1000)),
        ("socks://127.0.0.1:7890", Proxy("socks", "127.0.0.1", 7890, None, Secret(""), 1000)),
        ("socks5h://[::1]:9", Proxy("socks5h", "::1", 9, None, Secret(""), 1000)),
        ("http://a%40b:c%3A@x", Proxy("http", "x", 80, Secret("a@b"), Secret("c:"), 1000)),
        ("http://a@x", Proxy("http", "x", 80, Secret("a"), Secret(""), 1000)),
    ],
)
def test_a_proxy_is_read_from_its_url(url: str, proxy: Proxy) -> None:
    assert proxy_of(Secret(url), 1000) == proxy
    assert "hunter2" not in repr(proxy_of(Secret(url), 1000))
    assert "hunter2" not in str(proxy_of(Secret(url), 1000))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.test:3128",
        "https://ada:hunter2@proxy.test",
        "socks4://proxy.test",
        "http://",
        "http://proxy.test:0",
        "http://proxy.test:x",
        "http://proxy.test/path",
        "http://proxy.test?hunter2",
        "http://:hunter2@proxy.test",
        "http://[::1:80",
        f"http://{'a' * 256}:hunter2@proxy.test",
        f"http://ada:{'hunter2' * 40}@proxy.test",
        "http://ada:hunter2@two words",
    ],
)
def test_what_is_not_a_proxy_is_refused_without_its_login(url: str) -> None:
    with pytest.raises(ValueError, match="a proxy is http://host:port or") as caught:
        proxy_of(Secret(url), 1000)
    assert "hunter2" not in str(caught.value)


def test_a_proxy_over_tls_is_refused_with_the_likely_reason() -> None:
    with pytest.raises(
        ValueError, match=r"not 'https://\*\*\*@proxy.test': the connection to the pr"
    ):
        proxy_of(Secret("https://ada:hunter2@proxy.test"), 1000)


# CONNECT


@pytest.mark.parametrize(
    ("url", "host", "expected"),
    [
        (
            HTTP,
            "ws.test",
            b"CONNECT ws.test:443 HTTP/1.1\r\nHost: ws.test:443\r\n"
            b"Proxy-Authorization: Basic " + b64encode(b"ada:hunter2") + b"\r\n\r\n",
        ),
        ("http://x", "::1", b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"),
    ],
)
def test_http_is_asked_for_a_tunnel(url: str, host: str, expected: bytes) -> None:
    assert tunnel(url, host).open() == expected


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Fine\r\nContent-Length: 5\r\n\r\n",
    ],
)
@pytest.mark.parametrize("surplus", [b"", b"\x16\x03\x01", b"x" * 2000])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_after_a_good_answer_the_stream_is_the_servers(
    answer: bytes, surplus: bytes, size: int
) -> None:
    way = tunnel(HTTP)
    way.open()
    data, got = answer + surplus, b""
    for at in range(0, len(data), size):
        if way.done:
            got += data[at : at + size]
        else:
            assert way.receive_data(data[at : at + size]) == b""
            got += way.surplus
    assert (way.done, got) == (True, surplus)


def failure(way: Tunnel, *answers: bytes) -> tuple[str, int | None, bool]:
    with pytest.raises(ProxyFailed) as caught:
        said(way, *answers)
    assert "hunter2" not in repr(caught.value)
    text = str(caught.value)
    assert text.startswith("the proxy at proxy.test:")
    return re.sub(r"the proxy at [a-z0-9.:]+ ", "", text), caught.value.status, caught.value.refused


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            (
                "answered CONNECT with 407 Proxy Authentication Required (it requires another user name and password)",
                407,
                True,
            ),
        ),
        (b"HTTP/1.1 403 \r\n\r\n", ("answered CONNECT with 403", 403, False)),
        (
            b"HTTP/1.1 502 no Bearer abc\r\nContent-Length: 3\r\n\r\n",
            ("answered CONNECT with 502 no Bearer ***", 502, False),
        ),
        (b"HTTP/1.1 301 Moved\r\n\r\n", ("answered CONNECT with 301 Moved", 301, False)),
        (
            b"SSH-2.0\r\n\r\n",
            ("does not answer in HTTP: is it an HTTP proxy, without TLS?", None, False),
        ),
    ],
)
def test_other_answers_of_http_say_why_not(answer: bytes, expected: Any) -> None:
    assert failure(tunnel(HTTP), answer) == expected
    if b"SSH" not in answer:
        assert failure(tunnel(HTTP), *(bytes([byte]) for byte in answer)) == expected


def test_without_a_login_another_one_is_not_spoken_of() -> None:
    answer = b"HTTP/1.1 407 No\r\n\r\n"
    (text, *_) = failure(tunnel("http://proxy.test"), answer)
    assert text.endswith("(it requires a user name and password)")


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_the_head_of_an_answer_is_limited(size: int) -> None:
    def answer(length: int) -> list[bytes]:
        head = b"HTTP/1.1 200 OK\r\nX: "
        head += b"x" * (length - len(head) - 4) + b"\r\n\r\n"
        return [head[at : at + size] for at in range(0, length, size)]

    assert failure(tunnel(HTTP), *answer(1001)) == (
        "answered with a head of more than 1000 bytes",
        None,
        False,
    )
    way = tunnel(HTTP)
    way.open()
    for each in answer(1000):
        way.receive_data(each)
    assert way.done


# SOCKS 5


def said(way: Tunnel, *answers: bytes) -> list[bytes]:
    return [way.open(), *(way.receive_data(each) for each in answers)]


def test_socks_is_greeted_and_asked() -> None:
    way = tunnel("socks5://proxy.test")
    assert said(way, b"\x05\x00", CONNECTED) == [b"\x05\x01\x00", REQUEST, b""]
    assert (way.done, way.surplus) == (True, b"")


def test_socks_is_given_the_login_when_it_wants_it() -> None:
    way = tunnel(SOCKS)
    expected = [b"\x05\x02\x00\x02", LOGIN, REQUEST, b""]
    assert said(way, b"\x05\x02", b"\x01\x00", CONNECTED + b"more") == expected
    assert (way.done, way.surplus) == (True, b"more")
    assert said(tunnel(SOCKS), b"\x05\x00") == [b"\x05\x02\x00\x02", REQUEST]


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("127.0.0.1", b"\x01\x7f\x00\x00\x01"),
        ("::1", b"\x04" + bytes(15) + b"\x01"),
        ("a.b", b"\x03\x03a.b"),
    ],
)
def test_socks_gets_names_and_addresses(host: str, written: bytes) -> None:
    way = tunnel("socks5://proxy.test", host, 80)
    assert said(way, b"\x05\x00")[1] == b"\x05\x01\x00" + written + b"\x00\x50"


@pytest.mark.parametrize(
    "bound", [b"\x01" + bytes(4), b"\x03\x03a.b", b"\x03\x00", b"\x04" + bytes(16)]
)
def test_socks_may_send_any_address_a_byte_at_a_time(bound: bytes) -> None:
    way = tunnel(SOCKS)
    dialogue = b"\x05\x02\x01\x00\x05\x00\x00" + bound + b"\x01\xbb"
    answers = said(way, *(bytes([byte]) for byte in dialogue))
    assert b"".join(answers) == b"\x05\x02\x00\x02" + LOGIN + REQUEST
    assert (way.done, way.surplus) == (True, b"")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([b"\x05\xff"], ("requires a login of another kind", None, True)),
        ([b"\x05\x01"], ("requires a login of another kind", None, True)),
        ([b"HTTP/1.1 400 Bad"], ("does not speak SOCKS 5", None, False)),
        ([b"\x05\x02", b"\x01\x01"], ("rejected the user name and password", None, True)),
        ([b"\x05\x00", b"\x04\x00\x00\x01\x00"], ("does not speak SOCKS 5", None, False)),
        ([b"\x05\x00", b"\x05\x00\x00\x02\x00"], ("does not speak SOCKS 5", None, False)),
        (
            [b"\x05\x00", b"\x05\x05\x00\x01\x00"],
            ("cannot connect to the server: connection refused", None, False),
        ),
        (
            [b"\x05\x00", b"\x05\x63\x00\x01\x00"],
            ("cannot connect to the server: code 99", None, False),
        ),
    ],
)
def test_other_answers_of_socks_say_why_not(answers: list[bytes], expected: Any) -> None:
    assert failure(tunnel(SOCKS), *answers) == expected


def test_socks_without_a_login_has_none_to_give() -> None:
    way = tunnel("socks5://proxy.test")
    assert failure(way, b"\x05\x02") == ("requires a login of another kind", None, True)


@given(
    st.sampled_from([HTTP, SOCKS, "socks5://proxy.test"]),
    st.lists(
        st.one_of(st.binary(max_size=8), st.sampled_from([GOOD, b"\x05\x02\x01\x00\x05\x00"]))
    ),
)
def test_whatever_a_proxy_sends_raises_only_proxy_failed(url: str, answers: list[bytes]) -> None:
    way = tunnel(url)
    way.open()
    for each in answers:
        if way.done:
            break
        try:
            way.receive_data(each)
        except ProxyFailed:
            break
