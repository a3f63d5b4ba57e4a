"""Hints: what to do about a code, a status, a certificate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._protocol.hints import (
    NO_GREETING,
    UNGREETED,
    explained,
    hint_for,
    status_hint,
    tls_hint,
)


@tried
@given(st.none() | st.integers() | st.integers(3990, 4410) | st.integers(200, 599), st.text())
def test_a_hint_is_a_clause(code: int | None, text: str) -> None:
    for hint in (hint_for(code, text), tls_hint(code), tls_hint(code, 0), UNGREETED, NO_GREETING):
        assert hint.isprintable()
        assert not hint.endswith(".")


@pytest.mark.parametrize(
    "code", [4000, 4001, 4003, 4004, 4005, 4009, 400, 401, 403, 404, 407, 426, 429]
)
def test_a_code_that_a_person_can_correct_has_a_hint(code: int) -> None:
    assert hint_for(code)


@pytest.mark.parametrize("code", [None, 1000, 1006, 4100, 4200, 4301, -1, 0, 418])
def test_other_codes_have_none(code: int | None) -> None:
    assert hint_for(code) == ""


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (4001, "", "check the key and the cluster"),
        (4004, "", "wait until the server has noticed"),
        (
            4009,
            "Connection not authorized within timeout.",
            "requires a sign-in or a private channel",
        ),
        (4009, "Origin not allowed", "Options(origin=...)"),
        (4009, "You got disconnected by the app.", "terminated by the application"),
        (200, "", "not a Pusher server"),
        (302, "", "captive portal"),
        (404, "", "check host, port and path"),
        (500, "", "drops the upgrade"),
        (502, "", "in front of it, failed"),
    ],
)
def test_what_a_hint_says(code: int, text: str, words: str) -> None:
    assert words in hint_for(code, text)
    if code < 1000:
        assert status_hint(code) == hint_for(code)


@pytest.mark.parametrize(
    ("code", "authorities", "words"),
    [
        (9, 140, "the clock of this machine"),
        (10, 140, "renew it at the server"),
        (18, 140, "self-signed"),
        (19, 140, "authority is not known here"),
        (19, 0, "no certificate authorities"),
        (20, 0, "apt install ca-certificates"),
        (20, 140, "leaves out an intermediate"),
        (20, None, "leaves out an intermediate"),
        (21, 0, "Install Certificates.command"),
        (23, 140, "revoked"),
        (62, 140, "in the certificate"),
        (64, 140, "in the certificate"),
        (85, 140, "VERIFY_X509_STRICT"),
        (92, 0, "VERIFY_X509_STRICT"),
    ],
)
def test_W16_a_certificate_that_is_not_accepted(code: int, authorities: int, words: str) -> None:
    assert words in tls_hint(code, authorities)


@pytest.mark.parametrize("code", [None, 0, 1, 1000])
def test_a_certificate_without_a_hint(code: int | None) -> None:
    assert tls_hint(code) == tls_hint(code, 0) == ""


@pytest.mark.parametrize("name", ["WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"])
def test_an_answer_that_is_not_tls_is_explained(name: str) -> None:
    words = f"SSLError: [SSL: {name}] (_ssl.c:1006)"
    assert explained(words) == (
        f"the server does not speak TLS on this port: to connect without it set tls=False, or --no-tls ({words})"
    )


def test_a_reason_that_speaks_for_itself_is_left_alone() -> None:
    assert explained("ConnectionRefusedError: refused") == "ConnectionRefusedError: refused"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("the answer is not valid HTTP", "another service answers on this port"),
        ("the connection ended within the answer to the upgrade", "another service answers"),
        ("the connection ended before it was open", "the server may expect TLS on this port"),
        ("the connection ended without a close frame", ""),
    ],
)
def test_an_end_before_the_upgrade_names_the_probable_reason(reason: str, words: str) -> None:
    hint = hint_for(None, reason)
    assert words in hint
    assert bool(words) is bool(hint)
