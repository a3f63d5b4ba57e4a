"""Opens encrypted events: XSalsa20-Poly1305 under the channel's shared secret (NaCl's secretbox).

Stricter than libraries are: base64 without other characters, nonces of 24 bytes, boxes with a whole tag.

PyNaCl is imported when the first encrypted channel is subscribed. It takes 15 ms and a native library, which programs
without encrypted channels, and those frozen into one file without it, do not need.
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
    """Import PyNaCl. Raises UnsupportedFeature, with what to do, where that fails."""
    try:
        import nacl.secret  # noqa: F401 - it is imported here so that the first event does not wait for it
    except ImportError as error:
        raise UnsupportedFeature(
            f"encrypted channels need PyNaCl, which cannot be imported ({error}): install pynacl; in a program frozen "
            "by PyInstaller add --hidden-import _cffi_backend"
        ) from error


class MalformedBox(DecryptionError):
    """The data is not an encrypted box: no key opens it."""


class WrongKey(DecryptionError):
    """The box does not open under this key; it may under another."""


class Key:
    """The key of one channel, for as long as it is subscribed."""

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
        """Return the text in the box that is an event's data. `decode` makes text of bytes, UTF-8 by default.

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
            raise WrongKey("the data does not open under the channel's key") from None
        try:
            text = decode(opened) if decode is not None else opened.decode()
        except Exception as error:  # UnicodeDecodeError, or what the application's function raises
            raise MalformedBox(f"the decrypted bytes are no text: {type(error).__name__}") from None
        if not isinstance(text, str):
            raise MalformedBox(f"decrypted_text made {type(text).__name__} of the bytes")
        return text


def read_key(text: str | None) -> Key:
    """Return the key that an authorization carries in base64. Raises ValueError unless it is one of 32 bytes."""
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
    # Decoding is lenient. Extra characters, padding and bits show when the bytes are encoded again.
    return data if binascii.b2a_base64(data, newline=False).decode() == text else None


def _bytes_of(value: dict[str, Any], name: str) -> bytes:
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedBox(f"there is no {name} that is a string: {excerpt(text_of(text), 32)!r}")
    data = _decode(text)
    if data is None:
        raise MalformedBox(f"the {name} is not base64")
    return data
