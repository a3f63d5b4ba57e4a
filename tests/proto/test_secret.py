"""Secrets: shown by `reveal()` and by nothing else."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from pusher_proto import Options, OwnKey
from pusher_proto._base.secret import Secret, masked

HIDDEN = "7ad3773142a6692b25b8"


def test_a_secret_reveals_its_text_when_asked() -> None:
    assert Secret(HIDDEN).reveal() == HIDDEN
    assert Secret(Secret(HIDDEN)).reveal() == HIDDEN


@pytest.mark.parametrize("show", [repr, str, format, "{0!r} {0}".format, "%s %r".__mod__])
def test_no_way_of_showing_it_shows_it(show: object) -> None:
    secret = Secret(HIDDEN)
    shown = show((secret, secret) if show == "%s %r".__mod__ else secret)  # type: ignore[operator]  # each way takes one argument
    assert HIDDEN not in shown
    assert "Secret('***')" in shown


def test_a_traceback_with_locals_does_not_show_it() -> None:
    def fail(secret: Secret) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as raised:
        fail(Secret(HIDDEN))
    shown = "".join(
        traceback.TracebackException.from_exception(raised.value, capture_locals=True).format()
    )
    assert "secret = Secret('***')" in shown
    # The line of this file that made the secret names a constant, not its value.
    assert HIDDEN not in shown.replace(f"HIDDEN = {HIDDEN!r}", "")


@pytest.mark.parametrize("take", [vars, dict, list, json.dumps, len], ids=lambda f: f.__name__)
def test_it_cannot_be_taken_apart(take: object) -> None:
    with pytest.raises(TypeError):
        take(Secret(HIDDEN))  # type: ignore[operator]  # each way takes one argument


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(Secret(HIDDEN), protocol)


def test_options_with_a_secret_can_be_copied() -> None:
    secret = Secret(HIDDEN)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    options = Options.from_host("a.test", key="k", auth=OwnKey("k", HIDDEN), proxy="http://u:p@b")
    assert copy.deepcopy(options) == options


def test_secrets_are_equal_when_their_texts_are_and_never_equal_to_a_text() -> None:
    assert Secret(HIDDEN) == Secret(HIDDEN)
    assert Secret(HIDDEN) != Secret("other")
    assert Secret(HIDDEN) != HIDDEN
    assert {Secret(HIDDEN), Secret(HIDDEN)} == {Secret(HIDDEN)}


SIGNATURE = "5ec7e7" * 10 + "5ec7"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"but got key:{SIGNATURE}", "but got key:***"),
        (f'{{"auth":"key:{SIGNATURE.upper()}"}}', '{"auth":"key:***"}'),
        (f"no channel room-{SIGNATURE}", f"no channel room-{SIGNATURE}"),
        (f"{SIGNATURE}0", f"{SIGNATURE}0"),
        (f'"shared_secret":"{KEY}"', '"shared_secret":"***"'),
        (f"{KEY}=", f"{KEY}="),
        ("Authorization: Bearer abc.def <p>", "Authorization: Bearer *** <p>"),
        (f"Bearer {'ab' * 32}.rest of it", "Bearer *** of it"),
        ('{"user_data":"{\\"id\\":1}"}', '{"user_data***'),
        ('{\\"user_data\\": {\n"id":1}}', '{\\"user_data***'),
        (
            "the authorization has no user_data: sign in",
            "the authorization has no user_data: sign in",
        ),
        (
            f'digest of 1.1::user::{{"id":"ada, eve"}}, but got {SIGNATURE}',
            "digest of 1.1::user::***, but got ***",
        ),
        ('digest of 1.1:presence-x:{"user_id":"a', "digest of 1.1:presence-x:***"),
        (f"digest of 1.1:private-x, but got {SIGNATURE}", "digest of 1.1:private-x, but got ***"),
        ("nothing", "nothing"),
    ],
)
def test_what_looks_secret_is_masked_in_what_others_wrote(text: str, shown: str) -> None:
    assert masked(text) == shown
