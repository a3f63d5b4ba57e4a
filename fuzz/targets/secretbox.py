"""Opening encrypted events.

For any data of an event: opening it returns a text or raises MalformedBox or WrongKey, whose message is short and holds
no key; it opens exactly when NaCl itself opens the data in canonical base64, and to the same text; a box that NaCl has
sealed opens, and no longer opens when one bit is changed; and an invalid key is a ValueError.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import nacl.exceptions
from nacl.secret import SecretBox

from fuzz.source import Source
from pusher_proto._wire.secretbox import MalformedBox, WrongKey, read_key

__all__ = ["fuzz_one"]

KEY = bytes(range(32))
SHARED = base64.b64encode(KEY).decode()


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: a byte that chooses the check, then its data."""
    source = Source(data)
    match source.number() % 4:
        case 0:
            _check(source.rest().decode("utf-8", "replace"))
        case 1:
            nonce, box = source.take(24), source.rest()
            _check(_event(nonce, box))
        case 2:
            _sealed(source)
        case _:
            _keys(source.rest())


def _check(event: str) -> str | None:
    expected = _expected(event)
    try:
        text = read_key(SHARED).open(event, None)
    except (MalformedBox, WrongKey) as error:
        assert expected is None
        assert SHARED not in str(error)
        assert len(str(error)) < 300
        return None
    assert text == expected
    return text


def _expected(event: str) -> str | None:
    """Open a box with NaCl itself; return None if it does not open."""
    try:
        fields = json.loads(event)
        nonce, box = (_canonical(fields[name]) for name in ("nonce", "ciphertext"))
        return SecretBox(KEY).decrypt(box, nonce).decode()
    except (ValueError, KeyError, TypeError, RecursionError, nacl.exceptions.CryptoError):
        return None


def _canonical(text: Any) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(text)
    return data


def _sealed(source: Source) -> None:
    nonce, at, bit = source.take(24).ljust(24, b"\0"), source.number(2), source.number() % 8
    text = source.rest()
    box = bytes(SecretBox(KEY).encrypt(text, nonce).ciphertext)
    opened = _check(_event(nonce, box))
    try:
        assert opened == text.decode()
    except UnicodeDecodeError:
        assert opened is None
    changed = bytearray(nonce + box)
    changed[at % len(changed)] ^= 1 << bit
    assert _check(_event(bytes(changed[:24]), bytes(changed[24:]))) is None


def _event(nonce: bytes, box: bytes) -> str:
    fields = {"nonce": nonce, "ciphertext": box}
    return json.dumps({name: base64.b64encode(value).decode() for name, value in fields.items()})


def _keys(data: bytes) -> None:
    text = data.decode("latin-1")
    try:
        read_key(text)
        key = base64.b64decode(text)
    except (ValueError, binascii.Error) as error:
        assert text not in str(error) or len(text) < 8
        assert not (len(data) == 44 and _is_key(text))
        return
    assert len(key) == 32
    assert base64.b64encode(key).decode() == text


def _is_key(text: str) -> bool:
    try:
        return len(_canonical(text)) == 32
    except ValueError:
        return False
