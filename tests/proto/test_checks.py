"""Checks: invalid headers and options are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._base.checks import (
    check_header,
    check_headers,
    check_option,
    check_secret,
    is_token,
)

# Headers.


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a:",
        "a\n",
        "ä",
        "Host",
        "host",
        "Content-Length",
        "Transfer-Encoding",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "sec-websocket-protocol",
    ],
)
def test_a_header_that_is_none_or_not_to_be_set_is_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match="cannot be set: the client sets it, or no header may have that name"
    ):
        check_header(name, "x")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "ä", "\0", "\x7f", " token", "token ", " "])
def test_a_value_that_no_header_may_have_is_refused_without_being_shown(value: str) -> None:
    message = "the value of the header 'X-A' is not printable ASCII, or has spaces at its ends"
    with pytest.raises(ValueError) as raised:
        check_header("X-A", value)
    assert str(raised.value) == message


@pytest.mark.parametrize("value", ["token\n", "token\r\n", "\n"])
def test_W24_a_value_that_ends_in_a_newline_is_named(value: str) -> None:
    with pytest.raises(
        ValueError, match=r"^the value of the header 'X-A' ends in a newline: strip\(\) it$"
    ):
        check_header("X-A", value)


@pytest.mark.parametrize(
    ("secret", "error", "message"),
    [
        ("s3cret\n", ValueError, "SECRET ends in a newline: strip() it"),
        (b"s3cret", TypeError, "SECRET is a str, not bytes: decode() it"),
        (None, TypeError, "SECRET is a str, not NoneType"),
        (
            " s3cret",
            ValueError,
            "SECRET has spaces at its ends, or contains characters that cannot be printed",
        ),
        (
            "s3\0cret",
            ValueError,
            "SECRET has spaces at its ends, or contains characters that cannot be printed",
        ),
    ],
)
def test_W24_a_secret_that_cannot_be_one_is_named_and_not_shown(
    secret: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        check_secret(secret, "SECRET")
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ({"Content-Type": "application/json"}, "form",
         "the body would be a form, not application/json: set body='json'"),
        ({"content-type": "application/vnd.api+json; x=1"}, "form",
         "the body would be a form, not application/vnd.api+json: set body='json'"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "json",
         "the body would be JSON, not application/x-www-form-urlencoded: set body='form'"),
        ({"X-A": "1", "x-a": "2"}, "form", "the header 'x-a' is given twice, also as 'X-A'"),
        ({"Content-Type": "application/json"}, "json", ""),
        ({"Content-Type": "text/plain"}, "form", ""),
    ],
)  # fmt: skip
def test_W20_headers_fit_the_body_and_each_other(
    headers: dict[str, str], body: str, message: str
) -> None:
    if not message:
        check_headers(headers, body)
        return
    with pytest.raises(ValueError) as raised:
        check_headers(headers, body)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (7, "x", "the name of a header is a str, not 7"),
        (b"X-A", "x", "the name of a header is a str, not b'X-A'"),
        ("X-A", None, "the value of the header 'X-A' is a NoneType, not a str"),
        ("X-A", b"hidden", "the value of the header 'X-A' is a bytes, not a str: decode() it"),
    ],
)
def test_a_header_that_is_not_text_is_a_type_error(name: Any, value: Any, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        check_header(name, value)
    assert str(raised.value) == message


@tried
@given(st.text() | st.text("abc-", min_size=1), st.text() | st.text("abc -"))
def test_a_header_that_passes_is_one_line_of_ascii(name: str, value: str) -> None:
    try:
        check_header(name, value)
    except ValueError:
        return
    line = f"{name}: {value}"
    assert line.isascii()
    assert line.isprintable()
    assert value == value.strip()


# Options.


@pytest.mark.parametrize(
    ("declared", "good", "bad", "needed"),
    [
        ("str", "", b"", "is a str, not bytes"),
        ("str | None", None, 7, "is a str, not int"),
        ("bool", False, 0, "is True or False, not int"),
        ("float", 1, True, "is a number, not bool"),
        ("float", 0.5, "1", "is a number, not str"),
        ("int", 1, 1.0, "is a number, not float"),
        ("int | None", None, 1.0, "is a number, not float"),
        ("int", 10**400, None, "is a number, not NoneType"),
        ("Callable[[str], str] | None", print, "print", "is a function, not str"),
        ("tuple[str, ...]", (), [], "is a tuple, not list"),
        ("Mapping[str, str]", {"a": "b"}, [], "is a mapping, not list"),
        ("OwnKey | None", object(), None, ""),
    ],
)
def test_an_option_is_what_it_is_declared_to_be(
    declared: str, good: object, bad: object, needed: str
) -> None:
    check_option("name", good, declared)
    if needed:
        with pytest.raises(TypeError) as raised:
            check_option("name", bad, declared)
        assert str(raised.value) == f"Options(name=...) {needed}"


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        (("a", 7), "tuple[str, ...]", "Options(name=...): 7 is not a string"),
        ({7: "a"}, "Mapping[str, str]", "Options(name=...): 7 is not a string"),
        ({"a": 7}, "Mapping[str, str]", "Options(name=...): the value of 'a' is not a string"),
    ],
)
def test_what_an_option_holds_are_strings(value: object, declared: str, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        check_option("name", value, declared)
    assert str(raised.value) == message


@tried
@given(st.floats() | st.integers())
def test_a_number_is_finite_and_positive_or_zero_where_that_means_something(value: float) -> None:
    for name, least in (("pong_timeout", 5e-324), ("retry_cap", 0)):
        if least <= value < float("inf"):
            check_option(name, value, "float")
        else:
            with pytest.raises(ValueError, match="a positive number is needed"):
                check_option(name, value, "float")
    check_option("port", value, "float")  # has its own range


@pytest.mark.parametrize(
    ("text", "fits"),
    [("soap.v1", True), ("a_b~c", True), ("", False), ("a b", False), ("a\n", False)],
)
def test_a_token_is_what_http_calls_one(text: str, fits: bool) -> None:
    assert is_token(text) is fits
