"""URLs: taken apart, put together, and shown without what is secret in them."""

from __future__ import annotations

from base64 import b64decode
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._base.urls import (
    Address,
    address_of,
    app_target,
    check_host,
    credentials_of,
    form,
    shown_url,
    split_app_url,
)

any_text = st.text(st.characters(codec="utf-8"))
labels = st.text("abcXYZ019-_", min_size=1, max_size=63)
host_names = st.lists(labels, min_size=1, max_size=3).map(".".join)
ipv6 = st.ip_addresses(v=6).map(str)
hosts = host_names | st.ip_addresses(v=4).map(str) | ipv6
ports = st.integers(1, 65535)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# Hosts.


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("ws-eu.pusher.com", "ws-eu.pusher.com"),
        ("localhost", "localhost"),
        ("LOCALHOST.", "LOCALHOST."),
        ("soketi_1", "soketi_1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        ("a." * 126 + "b", "a." * 126 + "b"),
        ("a." * 127, "a." * 127),
    ],
)
def test_a_host_is_a_name_or_an_address_in_ascii(host: str, name: str) -> None:
    assert check_host(host) == name


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "a\nb",
        "a\r\nX-Evil: 1",
        "a\0",
        "a\x7f",
        "a%41",
        "a%\r\nX-Evil: 1",
        "fe80::1%e\r\nX-Evil: 1",
        "fe80::1%e th",
        "fe80::1%",
        "localhost:8080",  # the port is another parameter
        "127.0.0.1:80",
        "[::1]:80",
        ":",
        "::1::2",
        "[localhost",
        "wss://ws.test",
        "ws.test/path",
        "ws.test?x",
        "me@ws.test",
        "a..b",
        ".",
        ".a",
        "a" * 64,
        "a." * 127 + "b",
        "ä" * 64,
        "ex\u2100mple",  # a/c once it is normalized
        "\ud800",
        "<ws.test>",
    ],
)
def test_what_is_not_a_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not a host name: ") as raised:
        check_host(host)
    assert str(raised.value).endswith(" (a name or an address, without scheme, port or path)")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("host", [None, 7, b"localhost"])
def test_a_host_is_a_text(host: Any) -> None:
    with pytest.raises(TypeError, match="a host is a str, not "):
        check_host(host)


@tried
@given(hosts)
def test_every_name_and_address_is_a_host(host: str) -> None:
    assert check_host(host) == host
    assert check_host(bracketed(host)) == host


@tried
@given(any_text | st.text("ab.:%[]@/ \r\n"))
def test_a_host_that_passes_is_valid_in_a_header(text: str) -> None:
    try:
        host = check_host(text)
    except ValueError:
        return
    assert host
    assert host.isascii()
    assert host.isprintable()
    assert not set(host) & set(' /?#@[]\\"<>')
    if ":" in host:
        IPv6Address(host)


# Addresses.


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        (Address("ws.test", 443, True, "/"), "ws.test"),
        (Address("ws.test", 80, False, "/"), "ws.test"),
        (Address("ws.test", 80, True, "/"), "ws.test:80"),
        (Address("ws.test", 443, False, "/"), "ws.test:443"),
        (Address("::1", 443, True, "/"), "[::1]"),
        (Address("::1", 6001, False, "/"), "[::1]:6001"),
        (Address("fe80::1%eth0", 6001, False, "/"), "[fe80::1]:6001"),
    ],
)
def test_the_host_header_has_the_port_where_it_is_not_the_scheme_s_own(
    address: Address, authority: str
) -> None:
    assert address.authority == authority


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://app.test", Address("app.test", 80, False, "/")),
        ("https://app.test/", Address("app.test", 443, True, "/")),
        ("ws://app.test:80/a/b", Address("app.test", 80, False, "/a/b")),
        ("WSS://APP.test:8443/a?b=c&d", Address("app.test", 8443, True, "/a?b=c&d")),
        ("https://[::1]:8443/a", Address("::1", 8443, True, "/a")),
        ("https://me:pass@app.test/a", Address("app.test", 443, True, "/a")),
        ("https://app.test/a#fragment", Address("app.test", 443, True, "/a")),
        ("https://app.test?x=1", Address("app.test", 443, True, "/?x=1")),
        ("https://app.test/ä b%20c", Address("app.test", 443, True, "/%C3%A4%20b%20c")),
        ("https://app.test/?q=ä b", Address("app.test", 443, True, "/?q=%C3%A4%20b")),
        ("https://app.test/a\r\nX-Evil: 1", Address("app.test", 443, True, "/aX-Evil:%201")),
        ("https://bücher.example/", Address("xn--bcher-kva.example", 443, True, "/")),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: Address) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "an absolute ws, wss, http or https URL is needed, not ''"),
        ("/auth", "an absolute ws, wss, http or https URL is needed, not '/auth'"),
        ("app.test/auth", "an absolute ws, wss, http or https URL is needed, not 'app.test/auth'"),
        ("file:///etc/passwd", "an absolute ws, wss, http or https URL is needed, not 'file:///etc/passwd'"),
        ("ftp://me:hidden@app.test", "an absolute ws, wss, http or https URL is needed, not '***@app.test'"),
        ("http://", "an absolute ws, wss, http or https URL is needed, not 'http://'"),
        ("http://:80/", "an absolute ws, wss, http or https URL is needed, not 'http://:80/'"),
        ("http://app.test:0/", "a port is a number from 1 to 65535, not 0 as in 'http://app.test:0/'"),
        ("http://app.test:70000/", "not a URL: 'http://app.test:70000/'"),
        ("http://me:hid/den@app.test/", "not a URL: 'http://***@app.test/'"),
        ("http://[::1/", "not a URL: 'http://[::1/'"),
        ("http://[x]/?token=hidden", "not a URL: 'http://[x]/?***'"),
        ("http://a b/", "not a host name: 'a b' (a name or an address, without scheme, port or path)"),
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_refused_without_showing_its_secrets(
    url: str, message: str
) -> None:
    with pytest.raises(ValueError) as raised:
        address_of(url)
    assert str(raised.value) == message
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("url", [None, 7, b"http://app.test"])
def test_a_url_is_a_text(url: Any) -> None:
    with pytest.raises(TypeError, match="a URL is a str, not "):
        address_of(url)


@tried
@given(hosts, ports, st.sampled_from(["ws", "wss", "http", "https"]), any_text, any_text)
def test_the_target_of_any_url_is_valid_in_a_request_and_means_the_same(
    host: str, port: int, scheme: str, path: str, query: str
) -> None:
    url = f"{scheme}://{bracketed(host)}:{port}/{path}?{query}"
    parts = urlsplit(url)
    host, port_, tls, target = address_of(url)
    assert (host, port_, tls) == (parts.hostname, port, scheme in ("wss", "https"))
    assert target.startswith("/")
    assert target.isascii()
    assert not set(target) & {chr(code) for code in range(33)}
    assert unquote(target.partition("?")[0]) == unquote(parts.path or "/")


# The URL of an app.


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("wss://ws-eu.pusher.com/app/KEY", ("ws-eu.pusher.com", None, True, "", "KEY", {})),
        ("ws://localhost:6001/app/KEY/", ("localhost", 6001, False, "", "KEY", {})),
        ("wss://h/pre/fix/app/KEY", ("h", None, True, "/pre/fix", "KEY", {})),
        ("wss://h/app/app/app/KEY", ("h", None, True, "/app/app", "KEY", {})),
        ("wss://h/app/a%20b%2Fc", ("h", None, True, "", "a b/c", {})),
        ("http://[::1]:80/app/KEY?a=b&c=&d=%20", ("::1", 80, False, "", "KEY", {"a": "b", "c": "", "d": " "})),
    ],
)  # fmt: skip
def test_the_url_of_an_app_is_taken_apart(
    url: str, parts: tuple[str, int | None, bool, str, str, dict[str, str]]
) -> None:
    assert split_app_url(url) == parts


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("wss://h", "a URL that ends in /app/KEY is needed, not 'wss://h'"),
        ("wss://h/app", "a URL that ends in /app/KEY is needed, not 'wss://h/app'"),
        ("wss://h/app/", "a URL that ends in /app/KEY is needed, not 'wss://h/app/'"),
        ("wss://h/app//", "a URL that ends in /app/KEY is needed, not 'wss://h/app//'"),
        (
            "wss://h/app/KEY/more",
            "a URL that ends in /app/KEY is needed, not 'wss://h/app/KEY/more'",
        ),
        ("wss://me:hidden@h/", "a URL that ends in /app/KEY is needed, not 'wss://***@h/'"),
        (
            "wss://me:hidden@h/app/KEY",
            "the URL of a server cannot contain a user name or password: remove them",
        ),
        (
            "wss://me@h/app/KEY",
            "the URL of a server cannot contain a user name or password: remove them",
        ),
        (
            "wss://:hidden@h/app/KEY",
            "the URL of a server cannot contain a user name or password: remove them",
        ),
        ("app/KEY", "an absolute ws, wss, http or https URL is needed, not 'app/KEY'"),
    ],
)
def test_a_url_of_no_app_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        split_app_url(url)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("path", "key", "query", "target"),
    [
        ("", "KEY", {}, "/app/KEY"),
        ("/", "KEY", {}, "/app/KEY"),
        ("pre", "KEY", {}, "/pre/app/KEY"),
        ("/pre/fix/", "KEY", {}, "/pre/fix/app/KEY"),
        ("/pre%20fix", "KEY", {}, "/pre%20fix/app/KEY"),
        ("", "a/b ?#é", {}, "/app/a%2Fb%20%3F%23%C3%A9"),
        ("", "KEY", {"a": "b c", "d": "&=", "é": ""}, "/app/KEY?a=b+c&d=%26%3D&%C3%A9="),
    ],
)
def test_the_target_of_an_app_is_its_path_key_and_query(
    path: str, key: str, query: dict[str, str], target: str
) -> None:
    assert app_target(path, key, query) == target


@tried
@given(
    hosts,
    ports,
    st.booleans(),
    st.lists(st.text("abc-._~", min_size=1), max_size=3).map("/".join),
    any_text.filter(str.strip),
    st.dictionaries(any_text, any_text, max_size=3),
)
def test_the_url_of_an_app_that_was_put_together_is_taken_apart_again(
    host: str, port: int, tls: bool, path: str, key: str, query: dict[str, str]
) -> None:
    url = f"{'wss' if tls else 'ws'}://{bracketed(host)}:{port}{app_target(path, key, query)}"
    prefix = f"/{path}" if path else ""
    assert split_app_url(url) == (host.lower(), port, tls, prefix, key, query)


# Forms, credentials, messages.


def test_a_form_has_every_special_character_encoded() -> None:
    fields = {"socket_id": "1.1", "channel_name": "presence-a@b;c,d=e+f g"}
    assert form(fields) == b"socket_id=1.1&channel_name=presence-a%40b%3Bc%2Cd%3De%2Bf%20g"


@tried
@given(st.dictionaries(any_text, any_text))
def test_a_form_is_read_as_it_was_filled_in(fields: dict[str, str]) -> None:
    text = form(fields).decode("ascii")
    assert dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))) == fields
    assert not set(text) - set("%&=-_.~") & set(" +@;,/:\r\n")


@pytest.mark.parametrize(
    ("url", "pair"),
    [
        ("https://app.test/", None),
        ("https://me:pass@app.test/", b"me:pass"),
        ("https://me@app.test/", b"me:"),
        ("https://:pass@app.test/", b":pass"),
        ("https://m%C3%A9:a%3Ab%40@app.test/", "mé:a:b@".encode()),
    ],
)
def test_user_name_and_password_of_a_url_become_a_header(url: str, pair: bytes | None) -> None:
    header = credentials_of(url)
    if pair is None:
        assert header is None
    else:
        assert header is not None
        assert header.startswith("Basic ")
        assert b64decode(header.removeprefix("Basic "), validate=True) == pair


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("https://app.test/a/b#c", "https://app.test/a/b#c"),
        ("https://hidden:hidden@app.test/a?hidden=1", "https://***@app.test/a?***"),
        ("https://me:hid/den@app.test/", "https://***@app.test/"),
        ("https://me:hid?den@app.test/", "https://***@app.test/"),
        ("https://me:hid@den@app.test/", "https://***@app.test/"),
        ("https://me:hid://den@app.test/", "https://***@app.test/"),
        ("me:hidden@app.test", "***@app.test"),
        ("a\r\nb", "a  b"),
        ("https://app.test/" + "x" * 100, "https://app.test/" + "x" * 46 + "…"),
    ],
)
def test_a_url_is_shown_without_its_secrets_and_cut_short(url: str, shown: str) -> None:
    assert shown_url(url) == shown


words = st.text("abc:/?#.&=", max_size=20)


@tried
@example("", "", "://", "")
@given(st.sampled_from(["https://", "ws://", ""]), words, words, words)
def test_no_password_and_no_query_is_ever_shown(scheme: str, one: str, two: str, end: str) -> None:
    url = f"{scheme}{one}HIDDEN{two}@app.test/{end}?HIDDEN={one}"
    assert "HIDDEN" not in shown_url(url)


@pytest.mark.parametrize(
    ("host", "encoded"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("faß.de", "xn--fa-hia.de"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("日本語。jp", "xn--wgv71a119e.jp"),
    ],
)
def test_W18_a_host_beyond_ascii_is_encoded_as_browsers_encode_it(host: str, encoded: str) -> None:
    assert check_host(host) == encoded


@pytest.mark.parametrize("host", ["a\u2044b.example", "x☃.example", "-ü.example", "ü-.example"])
def test_W18_a_host_that_idna_does_not_take_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        check_host(host)
