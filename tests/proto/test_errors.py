"""Errors: what they say, what they carry, and that they survive being copied and pickled."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto import errors
from pusher_proto.errors import (
    AuthorizationError,
    ClientClosed,
    ConnectionFailed,
    ConnectionUnsafe,
    DataError,
    DecryptionError,
    InvalidName,
    LocalProtocolError,
    NotSubscribed,
    OutboxFull,
    PusherError,
    PusherTimeout,
    SignInError,
    StreamOverflow,
    SubscriptionError,
    UnsupportedFeature,
    describe,
    excerpt,
)

# Excerpts.


@tried
@given(st.text() | st.binary() | st.integers() | st.lists(st.text()), st.integers(1, 40))
def test_an_excerpt_is_one_printable_line_of_bounded_length(value: object, limit: int) -> None:
    text = excerpt(value, limit)
    assert len(text) <= limit
    assert text.isprintable()
    whole = value if isinstance(value, str) else repr(value)
    assert text.endswith("…") if len(whole) > limit else len(text) == len(whole)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        ("12345678", "12345678"),
        ("123456789", "1234567…"),
        ("a\r\nb\0c", "a  b c"),
        ("\u202eevil\ud800", " evil "),
        (b"\r\n", "b'\\r\\n'"),
        (None, "None"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_an_excerpt_shows_the_start_of_a_value(value: object, shown: str) -> None:
    assert excerpt(value, 8) == shown


def test_an_excerpt_of_a_long_text_has_128_characters() -> None:
    assert excerpt("x" * 128) == "x" * 128
    assert excerpt("x" * 129) == "x" * 127 + "…"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise AttributeError("no text")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, ""),
        ("", ""),
        ("given up", "given up"),
        ("two\nlines", "two lines"),
        ("x" * 300, "x" * 199 + "…"),
        (
            OSError(111, "Connection refused"),
            "ConnectionRefusedError: [Errno 111] Connection refused",
        ),
        (EOFError(), "EOFError"),
        (ValueError("a\nb"), "ValueError: a b"),
        (ValueError("x" * 300), "ValueError: " + "x" * 187 + "…"),
        (Unprintable(), "Unprintable"),
    ],
)
def test_an_error_is_described_in_one_line(error: BaseException | str | None, line: str) -> None:
    assert describe(error) == line


# The hierarchy.


def test_every_error_is_a_pusher_error_and_exported() -> None:
    classes = {
        name: one
        for name, one in vars(errors).items()
        if inspect.isclass(one) and issubclass(one, BaseException)
    }
    assert all(issubclass(one, PusherError) for one in classes.values())
    assert sorted([*classes, "describe", "excerpt", "message_of"]) == sorted(errors.__all__)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (InvalidName, (LocalProtocolError, ValueError)),
        (NotSubscribed, (LocalProtocolError,)),
        (OutboxFull, (LocalProtocolError,)),
        (UnsupportedFeature, (LocalProtocolError,)),
        (AuthorizationError, (SubscriptionError,)),
        (PusherTimeout, (PusherError, TimeoutError)),
        *(
            (one, (PusherError,))
            for one in (
                ClientClosed,
                ConnectionFailed,
                ConnectionUnsafe,
                DataError,
                DecryptionError,
                LocalProtocolError,
                SignInError,
                StreamOverflow,
                SubscriptionError,
            )
        ),
    ],
)
def test_an_error_can_be_caught_as_its_parents(
    error: type[PusherError], parents: tuple[type[Exception], ...]
) -> None:
    assert error.__bases__ == parents


# Messages and attributes.


@pytest.mark.parametrize(
    ("code", "reason", "hint", "text"),
    [
        (None, "", "", "there is no connection"),
        (4001, "", "", "the server refused the connection with code 4001"),
        (None, "no\nmore", "", "no more"),
        (1006, "reset", "", "the connection ended with code 1006: reset"),
        (503, "busy", "", "the server refused the connection with code 503: busy"),
        (
            4001,
            "no such app",
            "check the key",
            "the server refused the connection with code 4001: no such app (check the key)",
        ),
    ],
)
def test_a_failed_connection_says_code_reason_and_what_to_do(
    code: int | None, reason: str, hint: str, text: str
) -> None:
    error = ConnectionFailed(code, reason, hint)
    assert (str(error), error.code, error.reason, error.hint) == (text, code, reason, hint)


def test_a_failed_connection_quotes_only_the_start_of_a_long_reason() -> None:
    assert len(str(ConnectionFailed(4001, "x" * 10_000))) < 320


def test_an_authorization_error_is_a_subscription_error_with_the_status_as_its_code() -> None:
    error = AuthorizationError("no", channel="private-x", status=403, body="<html>")
    carried = error.channel, error.code, error.status, error.body, error.temporary
    assert (str(error), *carried) == ("no", "private-x", 403, 403, "<html>", False)


EVERY_KIND = [
    ConnectionFailed(4001, "no such app", "check the key"),
    ConnectionFailed(None, ""),
    SubscriptionError("refused", channel="presence-x", code=4009),
    AuthorizationError("no", channel=None, status=503, body="<h1>", temporary=True),
    InvalidName("wrong"),
    PusherTimeout("late"),
    DecryptionError("closed"),
    ConnectionUnsafe("expired"),
]


@pytest.mark.parametrize("error", EVERY_KIND, ids=lambda error: type(error).__name__)
def test_a_copied_or_pickled_error_says_and_carries_the_same(error: PusherError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
