"""Decrypts events: XSalsa20-Poly1305 under the channel's shared secret (NaCl's secretbox).

Stricter than most libraries: base64 without other characters, nonces of 24 bytes, ciphertexts with a complete tag.

PyNaCl is imported when the first encrypted channel is subscribed: it takes 15 ms and a native library, and programs
without encrypted channels do not need it.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import DecryptionError, UnsupportedFeature, excerpt
from .envelope import text_of, value_of

__all__ = ["KEY_SIZE", "Key", "MalformedBox", "WrongKey", "check_available", "read_key"]

# In bytes; https://nacl.cr.yp.to/secretbox.html
KEY_SIZE = 32
_NONCE_SIZE = 24
_TAG_SIZE = 16


def check_available() -> None:
    """Import PyNaCl. Raises UnsupportedFeature, which says what to install, when the import fails."""
    try:
        import nacl.secret  # noqa: F401 - imported now, so that the first event does not wait for it
    except ImportError as error:
        raise UnsupportedFeature(
            f"encrypted channels need PyNaCl, which cannot be imported ({error}): install pynacl; in a program frozen "
            "by PyInstaller add --hidden-import _cffi_backend"
        ) from error


class MalformedBox(DecryptionError):
    """The data is not an encrypted box: no key decrypts it."""


class WrongKey(DecryptionError):
    """This key does not decrypt the box; another may."""


class Key:
    """The key of one channel."""

    __slots__ = ("_box", "_failure")

    def __init__(self, key: bytes) -> None:
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox

        self._box = SecretBox(key)
        self._failure = CryptoError

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled")

    def open(self, data: Any, decode: Callable[[bytes], str] | None) -> str:
        """Return the decrypted text of an event's data. `decode` turns the decrypted bytes into text; None means UTF-8.

        Raises `MalformedBox` or `WrongKey`.
        """
        value = value_of(data)
        if not isinstance(value, dict):
            raise MalformedBox(
                "the data is not encrypted: an object with nonce and ciphertext was expected"
            )
        nonce, box = _bytes_of(value, "nonce"), _bytes_of(value, "ciphertext")
        if len(nonce) != _NONCE_SIZE:
            raise MalformedBox(f"a nonce has {_NONCE_SIZE} bytes, not {len(nonce)}")
        if len(box) < _TAG_SIZE:
            raise MalformedBox(f"a ciphertext has {_TAG_SIZE} bytes at least, not {len(box)}")
        try:
            opened = self._box.decrypt(box, nonce)
        except self._failure:
            raise WrongKey("the channel's key does not decrypt the data") from None
        try:
            text = decode(opened) if decode is not None else opened.decode()
        except (
            Exception
        ) as error:  # UnicodeDecodeError, or any exception of the application's function
            raise MalformedBox(
                f"the decrypted bytes cannot be decoded as text: {type(error).__name__}"
            ) from None
        if not isinstance(text, str):
            raise MalformedBox(f"decrypted_text returned {type(text).__name__}, not a str")
        return text


def read_key(text: str | None) -> Key:
    """Return the key in an authorization's base64 `text`. Raises ValueError unless it has 32 bytes."""
    key = _decode(text) if isinstance(text, str) else None
    if key is None or len(key) != KEY_SIZE:
        raise ValueError(f"a shared_secret is {KEY_SIZE} bytes in base64")
    return Key(key)


def _decode(text: str) -> bytes | None:
    """Return the bytes of a base64 text, or None unless it is in canonical form."""
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        return None
    # Decoding ignores extra characters, padding and bits; encoding the bytes again shows them.
    return data if binascii.b2a_base64(data, newline=False).decode() == text else None


def _bytes_of(value: dict[str, Any], name: str) -> bytes:
    """Return the base64 bytes of one key of the box. Raises `MalformedBox`."""
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedBox(f"the {name} is missing or not a string: {excerpt(text_of(text), 32)!r}")
    data = _decode(text)
    if data is None:
        raise MalformedBox(f"the {name} is not base64")
    return data
