"""Opening encrypted events: the vectors of the protocol, and strictness about data that is nearly right."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import SecretBox

from pusher_proto import UnsupportedFeature
from pusher_proto._wire.secretbox import Key, MalformedBox, WrongKey, check_available, read_key
from pusher_proto.signing import shared_secret

CHANNEL = "private-encrypted-foobar"
SECRET = "g3Au6SZ+UCU+IMfFsFva0rq+Gi4tzSHR6WCcWZbS9sY="
ROTATED = "cHqOhJsolnsWy+JkRQr9JuG4kuGKAqiFQJ4WG3UO3X4="
NONCE = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7"
BOX = "84RaH9sB9K2g7jZBchXfelhTEZSLBDgserLx2YK05qo+HKAvybMcOw=="
ROTATED_BOX = "z4WQmocYIG8s1FRrtotjkEjWDX5R9DdcAFflgjZPANVXI3RhoeGlhA=="
PLAIN = '{"hello":"wörld","n":1}'


def boxed(ciphertext: Any = BOX, nonce: Any = NONCE) -> dict[str, Any]:
    return {"nonce": nonce, "ciphertext": ciphertext}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sealed(text: bytes, key: str = SECRET) -> dict[str, Any]:
    box = SecretBox(base64.b64decode(key)).encrypt(text, bytes(range(24)))
    return boxed(b64(box.ciphertext), b64(box.nonce))


# Vectors.


def test_the_key_of_a_channel_follows_from_the_master_key() -> None:
    assert shared_secret(CHANNEL, bytes(range(32))) == SECRET
    assert shared_secret(CHANNEL, bytes(range(1, 33))) == ROTATED


@pytest.mark.parametrize(
    ("secret", "nonce", "box", "text"),
    [
        (SECRET, NONCE, BOX, PLAIN),
        (ROTATED, NONCE, ROTATED_BOX, PLAIN),
        (SECRET, NONCE, "zJpHqdrPu44sV5j8f1B0kA==", ""),
        (
            SECRET,
            NONCE,
            "/ieKt6wk32+n5WxBVUVMu1MdGJiJSCNrOOSqOlqp/u5WY80P",
            "plain text, not JSON",
        ),
        (
            "iBvNoPVYwByqSfg6anjPpEQ2j051b3rt1Vmnb+z5doo=",
            "4sVYwy4j/8dCcjyxtPCWyk19GaaViaW9",
            "/GMESnFGlbNn01BuBjp31XYa3i9vZsGKR8fgR9EDhXKx3lzGiUD501A=",
            '{"message":"hello world"}',
        ),
        (
            "EOWC/ked3NtBDvEs9gFwk7x4oZEbH9I0Lz2qkopBxxs=",
            "Ew2lLeGzSefk8fyVPbwL1yV+8HMyIBrm",
            "ig9HfL7OKJ9TL97WFRG0xpuk9w0DXUJhLQlQbGf+ID9S3h15vb/fgDfsnsGxQNQDxw+i",
            '{"name":"freddy","message":"hello"}',
        ),
    ],
)
def test_the_vectors_open(secret: str, nonce: str, box: str, text: str) -> None:
    data = boxed(box, nonce)
    assert read_key(secret).open(data, None) == text
    assert read_key(secret).open(json.dumps(data), None) == text


@pytest.mark.parametrize(("secret", "box"), [(ROTATED, BOX), (SECRET, ROTATED_BOX)])
def test_the_key_from_before_a_rotation_does_not_open_later_messages(secret: str, box: str) -> None:
    with pytest.raises(WrongKey, match="the channel's key does not decrypt the data"):
        read_key(secret).open(boxed(box), None)


@given(st.text())
def test_whatever_was_sealed_opens(text: str) -> None:
    assert read_key(SECRET).open(sealed(text.encode()), None) == text


@given(st.binary(min_size=16, max_size=60).filter(lambda box: b64(box) != BOX))
def test_nothing_else_opens(box: bytes) -> None:
    with pytest.raises(WrongKey):
        read_key(SECRET).open(boxed(b64(box)), None)


# Data that is not a box.


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "an object with nonce and ciphertext"),
        ("", "an object with nonce and ciphertext"),
        ('{"hello":', "an object with nonce and ciphertext"),
        ("[]", "an object with nonce and ciphertext"),
        (["nonce", "ciphertext"], "an object with nonce and ciphertext"),
        (5, "an object with nonce and ciphertext"),
        ({"hello": "world"}, "the nonce is missing or not a string"),
        ({"nonce": NONCE}, "the ciphertext is missing or not a string"),
        ({"ciphertext": BOX}, "the nonce is missing or not a string"),
        (boxed(nonce=None), "the nonce is missing or not a string"),
        (boxed(nonce=24), "the nonce is missing or not a string: '24'"),
        ("text", "^the data is not encrypted: an object with nonce and ciphertext was expected$"),
        (boxed(ciphertext={"a": 1}), "the ciphertext is missing or not a string"),
        (boxed(nonce="ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp"), "the nonce is not base64"),
        (boxed(nonce=NONCE + "===="), "the nonce is not base64"),
        (boxed(nonce=" " + NONCE), "the nonce is not base64"),
        (boxed(nonce=NONCE + "\n"), "the nonce is not base64"),
        (boxed(nonce="é" + NONCE[1:]), "the nonce is not base64"),
        (boxed(BOX.rstrip("=")), "the ciphertext is not base64"),
        (boxed(BOX.rstrip("=") + "="), "the ciphertext is not base64"),
        (boxed(BOX + "=="), "the ciphertext is not base64"),
        (boxed(BOX + BOX), "the ciphertext is not base64"),
        (boxed(BOX.replace("+", "-")), "the ciphertext is not base64"),
        (boxed(BOX.replace("w==", "x==")), "the ciphertext is not base64"),
        (boxed(nonce=""), "a nonce has 24 bytes, not 0"),
        (boxed(nonce=b64(bytes(23))), "a nonce has 24 bytes, not 23"),
        (boxed(nonce=b64(bytes(25))), "a nonce has 24 bytes, not 25"),
        (boxed(""), "a ciphertext has 16 bytes at least, not 0"),
        (boxed(b64(bytes(15))), "a ciphertext has 16 bytes at least, not 15"),
    ],
)
def test_data_that_is_not_a_box_is_malformed(data: Any, why: str) -> None:
    with pytest.raises(MalformedBox, match=why):
        read_key(SECRET).open(data, None)


def test_the_message_of_an_error_shows_no_whole_payload() -> None:
    with pytest.raises(MalformedBox) as caught:
        read_key(SECRET).open({"nonce": ["x" * 1000]}, None)
    shown = '["' + 29 * "x" + "…"  # 32 characters
    assert str(caught.value) == f"the nonce is missing or not a string: {shown!r}"


# From bytes to text.


def test_bytes_that_are_not_utf_8_are_not_text() -> None:
    with pytest.raises(
        MalformedBox, match="the decrypted bytes cannot be decoded as text: UnicodeDecodeError"
    ):
        read_key(SECRET).open(sealed(b"\xff\xfe"), None)


def test_the_application_may_make_text_of_the_bytes_itself() -> None:
    assert read_key(SECRET).open(sealed(b"\xff\xfe"), lambda data: data.decode("latin-1")) == "ÿþ"


def test_what_the_function_of_the_application_raises_is_reported() -> None:
    def decode(data: bytes) -> str:
        raise KeyError(data)

    with pytest.raises(MalformedBox, match="cannot be decoded as text: KeyError"):
        read_key(SECRET).open(sealed(b"secret words"), decode)


def test_a_function_that_makes_no_text_is_reported() -> None:
    with pytest.raises(MalformedBox, match="decrypted_text returned bytes, not a str"):
        read_key(SECRET).open(sealed(b"abc"), lambda data: data)  # type: ignore[arg-type, return-value]  # wrong on purpose


# The key.


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        b64(bytes(31)),
        b64(bytes(33)),
        SECRET.rstrip("="),
        SECRET + "=",
        SECRET + "\n",
        SECRET.replace("+", "-").replace("/", "_"),
        SECRET.replace("Y=", "Z="),
        "é" + SECRET[1:],
        SECRET.encode(),
        5,
    ],
)
def test_a_key_that_is_not_32_bytes_in_base64_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="a shared_secret is 32 bytes in base64") as caught:
        read_key(text)
    assert not text or str(text) not in str(caught.value)


def test_the_repr_of_a_key_hides_it_and_a_key_cannot_be_pickled() -> None:
    key = read_key(SECRET)
    assert repr(key) == str(key) == "Key(***)"
    assert not hasattr(key, "__dict__")
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"^a key cannot be pickled$"):
            take(key)


def test_two_keys_open_each_their_own() -> None:
    keys = [read_key(SECRET), read_key(ROTATED)]
    assert all(isinstance(key, Key) for key in keys)
    assert [
        key.open(boxed(box), None) for key, box in zip(keys, (BOX, ROTATED_BOX), strict=True)
    ] == [
        PLAIN,
        PLAIN,
    ]


def test_without_pynacl_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacl.secret", None)
    with pytest.raises(UnsupportedFeature, match="install pynacl"):
        check_available()
