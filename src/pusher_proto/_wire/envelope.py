"""Decodes and encodes the JSON of messages. No other module of the core parses JSON.

msgspec fails in three ways (`DecodeError`, `UnicodeDecodeError`, and `RecursionError` at a depth that depends on the
interpreter); this module raises `BadMessage` for all of them. Nesting has its own limit, so that every interpreter
decodes the same texts. The last of duplicate keys wins; NaN and infinities are rejected.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .._base.checks import is_int
from ..errors import LocalProtocolError, excerpt

__all__ = [
    "MAX_DEPTH",
    "BadMessage",
    "Envelope",
    "NotSent",
    "Shallow",
    "decode",
    "encode",
    "loads",
    "loads_shallow",
    "text_of",
    "value_of",
]

MAX_DEPTH = 512
"""The most levels of nesting that are decoded. CPython 3.11 has room for less than a thousand, stack included."""


class BadMessage(ValueError):
    """The text is not a message of the protocol; the exception says why."""


class NotSent:
    """A type for msgspec that no value matches: for a field that only this module sets."""


_Flat = str | int | float | bool | None
_One = _Flat | list[_Flat] | dict[str, _Flat]
_Two = _Flat | list[_One] | dict[str, _One]
_Three = _Flat | list[_Two] | dict[str, _Two]
_Four = _Flat | list[_Three] | dict[str, _Three]
_Five = _Flat | list[_Four] | dict[str, _Four]
Shallow = _Flat | list[_Five] | dict[str, _Five]
"""A msgspec type of values with at most six levels. To check it costs nothing; to count levels does."""


class Envelope(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One message as it is on the wire."""

    event: str
    channel: str | None = None
    data: Any = None
    """Usually a string that contains JSON (double encoding), see `value_of`."""
    user_id: str | int | None = None
    if TYPE_CHECKING:
        extra: dict[str, Any] | None = None
        """All other keys."""
    else:
        extra: NotSent = None


class _Outgoing(Struct, frozen=True, omit_defaults=True):
    event: str
    channel: str | UnsetType = UNSET
    data: Any = UNSET


_decode = msgspec.json.Decoder(Envelope).decode
_encode = msgspec.json.Encoder().encode
_loads = msgspec.json.Decoder().decode
loads_shallow = msgspec.json.Decoder(Shallow).decode
"""Decodes text of at most six levels, which is nearly all. Where it raises, decode the text by `loads`."""


def decode(text: bytes) -> Envelope:
    """Return the envelope of one message. Raises `BadMessage`."""
    try:
        envelope = _decode(text)
    except msgspec.ValidationError:
        return _decode_odd(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
        raise BadMessage(_reason(error)) from None
    data = envelope.data
    if type(data) is not str and _too_deep(data, text, MAX_DEPTH - 1):
        raise BadMessage(f"nested more than {MAX_DEPTH} levels deep")
    return envelope


def _decode_odd(text: bytes) -> Envelope:
    """Decode a message with unknown keys, or whose known keys have values of unexpected types."""
    value = loads(text)
    if not isinstance(value, dict):
        raise BadMessage(f"a message is a JSON object, not {type(value).__name__}")
    event, channel = value.pop("event", None), value.pop("channel", None)
    if not isinstance(event, str):
        raise BadMessage("its `event` is missing or not a string")
    if channel is not None and not isinstance(channel, str):
        raise BadMessage("its `channel` is not a string")
    data, user_id = value.pop("data", None), value.pop("user_id", None)
    if not isinstance(user_id, str) and not is_int(user_id):
        user_id = None
    return Envelope(event, channel, data, user_id, value or None)


def encode(event: str, data: Any = UNSET, channel: str | None = None) -> bytes:
    """Return the text of one message for the server.

    Raises `LocalProtocolError` when `data` cannot be written as JSON.
    """
    try:
        _check_finite(data)
        return _encode(_Outgoing(event, UNSET if channel is None else channel, data))
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(
            f"this data cannot be written as JSON: {excerpt(str(error))}"
        ) from error


def _check_finite(data: Any) -> None:
    """Refuse NaN and infinities, which msgspec would silently write as null."""
    if isinstance(data, float):
        if not math.isfinite(data):
            raise ValueError(f"{data} is not JSON")
    elif isinstance(data, dict):
        for value in data.values():
            if type(value) is not str:  # nearly all that the client sends by itself are
                _check_finite(value)
    elif isinstance(data, list | tuple | set | frozenset):
        for value in data:
            _check_finite(value)
    elif not isinstance(data, str | int | None):  # a Struct, a dataclass and the like
        _check_finite(msgspec.to_builtins(data, enc_hook=_no_numbers))


def _no_numbers(_: object) -> None:
    """Replace an object that msgspec does not know by None; the encoder raises for it if it cannot write it."""


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises `BadMessage` for invalid JSON, and for more than `MAX_DEPTH` levels."""
    try:
        value = _loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage(_reason(error)) from None
    if _too_deep(value, text, MAX_DEPTH):
        raise BadMessage(f"nested more than {MAX_DEPTH} levels deep")
    return value


def value_of(data: Any) -> Any:
    """Return the value of an envelope's data: decoded when it is a string that contains JSON, otherwise unchanged."""
    if type(data) is not str:
        return data
    try:
        return loads_shallow(data)
    except msgspec.ValidationError:
        pass
    except (ValueError, RecursionError):
        return data
    try:
        return loads(data)
    except BadMessage:
        return data


def text_of(data: Any) -> str:
    """Return an envelope's data as text: a string unchanged, None as an empty string, other values as JSON."""
    if isinstance(data, str):
        return data
    return "" if data is None else _encode(data).decode()


def _too_deep(value: Any, text: str | bytes, most: int) -> bool:
    """Return whether `value`, decoded from `text`, has more than `most` levels of nesting."""
    if len(text) <= 2 * most or (type(value) is not dict and type(value) is not list):
        return False
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    # To remove brackets, `most + 1` at most, is twice as fast as to count them all.
    brackets = len(data) - len(data.replace(b"{", b"", most + 1))
    brackets += len(data) - len(data.replace(b"[", b"", most + 1))
    if brackets <= most:
        return False
    level = [value]
    for _ in range(most):
        level = [
            one
            for container in level
            for one in (container.values() if type(container) is dict else container)
            if type(one) is dict or type(one) is list
        ]
        if not level:
            return False
    return True


def _reason(error: Exception) -> str:
    """Return the reason of a `BadMessage` for an exception of msgspec."""
    if isinstance(error, RecursionError):
        return f"nested more than {MAX_DEPTH} levels deep"
    return excerpt(str(error))
