"""Signatures: the published vectors, and what is refused before anything is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto.errors import InvalidName
from pusher_proto.signing import (
    check_socket_id,
    shared_secret,
    sign,
    sign_channel,
    sign_user,
)

# protocol.md, section 17: from Pusher's documentation, and recomputed.
KEY = "278d425bdf160c739803"
SECRET = "7ad3773142a6692b25b8"
SOCKET = "1234.1234"

member = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'
other_member = '{"user_id":10,"user_info":{"name":"Mr. Pusher"}}'

digits = st.text("0123456789", min_size=1, max_size=64)
socket_ids = st.builds("{}.{}".format, digits, digits)
channels = st.text("abcXYZ019-_=@,.;", min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("channel", "data", "signature"),
    [
        ("private-foobar", None, "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"),
        ("presence-foobar", member, "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"),
        ("presence-foobar", other_member, "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"),
        ("private-encrypted-foobar", None, "e6a18892d037c5d5e76a2265df4f086ffc38631605530dfd214aa5bff495f533"),
    ],
)  # fmt: skip
def test_the_published_channel_signatures(channel: str, data: str | None, signature: str) -> None:
    assert sign_channel(KEY, SECRET, SOCKET, channel, data) == f"{KEY}:{signature}"


def test_the_published_user_signature() -> None:
    signature = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    assert sign_user(KEY, SECRET, SOCKET, '{"id":"12345"}') == f"{KEY}:{signature}"


@pytest.mark.parametrize(
    ("master_key", "shared"),
    [
        (bytes(range(32)), "g3Au6SZ+UCU+IMfFsFva0rq+Gi4tzSHR6WCcWZbS9sY="),
        (bytes(range(1, 33)), "cHqOhJsolnsWy+JkRQr9JuG4kuGKAqiFQJ4WG3UO3X4="),
    ],
)
def test_the_published_keys_of_an_encrypted_channel(master_key: bytes, shared: str) -> None:
    assert shared_secret("private-encrypted-foobar", master_key) == shared


@tried
@given(st.text(min_size=1, max_size=80), socket_ids, channels, st.none() | st.text())
def test_a_token_is_the_key_and_the_lowercase_hmac_of_what_is_signed(
    secret: str, socket_id: str, channel: str, data: str | None
) -> None:
    signed = f"{socket_id}:{channel}" + ("" if data is None else f":{data}")
    digest = hmac.digest(secret.encode(), signed.encode(), hashlib.sha256).hex()
    assert sign(secret, signed) == digest
    assert sign_channel("MixedCase", secret, socket_id, channel, data) == f"MixedCase:{digest}"


@tried
@given(st.binary(min_size=32, max_size=32), channels, channels)
def test_each_channel_has_its_own_32_bytes_for_a_key(master_key: bytes, one: str, two: str) -> None:
    keys = [base64.b64decode(shared_secret(name, master_key), validate=True) for name in (one, two)]
    assert [len(key) for key in keys] == [32, 32]
    assert (keys[0] == keys[1]) == (one == two)


# Refusals.


@pytest.mark.parametrize(
    "socket_id",
    [
        "",
        "1.1:private-x",
        "1.1\n",
        "\n1.1",
        "1.1 ",
        " 1.1",
        "+1.1",
        "1,1",
        "\u0661.\u0661",
        "\uff11.\uff11",
        "1" * 129,
    ],
)
def test_a_socket_id_that_no_server_issues_is_never_signed(socket_id: str) -> None:
    for attempt in (
        lambda: check_socket_id(socket_id),
        lambda: sign_channel(KEY, SECRET, socket_id, "private-x"),
        lambda: sign_user(KEY, SECRET, socket_id, "{}"),
    ):
        with pytest.raises(ValueError, match="not a valid socket id"):
            attempt()


def test_of_a_socket_id_that_is_refused_the_start_is_shown() -> None:
    with pytest.raises(ValueError, match=f"socket id: '{64 * '1'}'$"):
        check_socket_id(200 * "1")


def test_W26_a_uuid_is_a_socket_id() -> None:
    socket_id = "0f8fad5b-d9cb-469f-a165-70867728950e"
    token = sign_channel(KEY, SECRET, socket_id, "private-x")
    assert token == f"{KEY}:{sign(SECRET, f'{socket_id}:private-x')}"


@tried
@given(st.text() | st.text("0123456789abcXYZ._-:\n", max_size=140))
def test_W26_a_socket_id_has_ascii_letters_digits_dots_dashes_and_underscores(text: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", text):
        check_socket_id(text)
    else:
        with pytest.raises(ValueError, match="not a valid socket id"):
            check_socket_id(text)


@pytest.mark.parametrize(
    "channel", ["", "private-x\r\n", "private-x\0", "x" * 201, 'presence-x:{"user_id":"1"}']
)
def test_a_channel_that_is_none_is_never_signed(channel: str) -> None:
    # A colon would let the name of one channel be the channel data of another.
    with pytest.raises(InvalidName):
        sign_channel(KEY, SECRET, SOCKET, channel)


def test_a_custom_server_may_have_its_own_names_signed() -> None:
    signed = sign_channel(KEY, SECRET, SOCKET, "private-market:btc", strict_names=False)
    assert signed == f"{KEY}:{sign(SECRET, f'{SOCKET}:private-market:btc')}"
    with pytest.raises(InvalidName):
        sign_channel(KEY, SECRET, SOCKET, "private-x\n", strict_names=False)
