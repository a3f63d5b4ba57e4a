"""JSON text to envelope and back: the one place that decodes and encodes.

msgspec fails in three ways (`DecodeError`, `UnicodeDecodeError`, and `RecursionError` at a depth that moves
with the interpreter); all come out of here as `BadMessage`. Nesting has a limit of its own, so that the same
text means the same on every interpreter. Of duplicate keys the last counts; NaN and infinities are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from .errors import LocalProtocolError, excerpt

__all__ = [
    "MAX_DEPTH",
    "BadMessage",
    "Envelope",
    "decode",
    "decode_plain",
    "encode",
    "loads",
    "text_of",
    "value_of",
]

MAX_DEPTH = 512
"""Levels of nesting that are decoded; CPython 3.11 itself gives up below a thousand, its stack included."""


class BadMessage(ValueError):
    """Text that is not a message of the protocol; says why."""


class Envelope(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One message as it stands on the wire."""

    event: str
    channel: str | None = None
    data: Any = None
    """Mostly a string that holds JSON (double encoding), see `value_of`."""
    user_id: str | int | None = None
    extra: dict[str, Any] | None = field(default=None, name=" ")  # a key that no server sends
    """All the other keys; unknown ones are told from a slower path, so this is None nearly always."""


class _Outgoing(Struct, frozen=True, omit_defaults=True):
    event: str
    channel: str | UnsetType = UNSET
    data: Any = UNSET


_decode = msgspec.json.Decoder(Envelope).decode
_encode = msgspec.json.Encoder().encode
_loads = msgspec.json.Decoder().decode


def decode(text: bytes) -> Envelope:
    """Return the envelope of one message. Raises `BadMessage` for anything else than one.

    Nearly every message is read by the first lines; those below tell odd from bad ones.
    """
    try:
        envelope = _decode(text)
    except msgspec.ValidationError:
        return _decode_odd(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
        raise BadMessage(_why(error)) from None
    if envelope.extra is not None:
        return _decode_odd(text)
    data = envelope.data
    if type(data) is not str and _too_deep(data, text, MAX_DEPTH - 1):
        raise BadMessage(f"nested more than {MAX_DEPTH} levels deep")
    return envelope


def decode_plain(items: Sequence[object], at: int, into: list[Envelope]) -> int:
    """Decode the texts from `at` on that are plain messages of channels; return where something else stands.

    The path of nearly every message, and so written for speed: what it leaves is for `decode` to judge, from the start.
    """
    append, decode = into.append, _decode
    try:
        for at in range(at, len(items)):  # noqa: B020 - to know where it ended
            text = items[at]
            if type(text) is not bytes:
                return at
            envelope = decode(text)
            if (
                envelope.channel is None
                or envelope.extra is not None
                or (type(envelope.data) is not str and len(text) > MAX_DEPTH)
            ):
                return at
            append(envelope)
    except (ValueError, RecursionError):
        return at
    return len(items)


def _decode_odd(text: bytes) -> Envelope:
    """Decode a message that has unknown keys, or known ones of another type."""
    value = loads(text)
    if not isinstance(value, dict):
        raise BadMessage(f"a JSON object was expected, not {type(value).__name__}")
    event, channel = value.pop("event", None), value.pop("channel", None)
    if not isinstance(event, str):
        raise BadMessage("there is no `event` that is a string")
    if channel is not None and not isinstance(channel, str):
        raise BadMessage("its `channel` is not a string")
    data, user_id = value.pop("data", None), value.pop("user_id", None)
    if isinstance(user_id, bool) or not isinstance(user_id, str | int | None):
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
            _check_finite(value)
    elif isinstance(data, list | tuple | set | frozenset):
        for value in data:
            _check_finite(value)
    elif not isinstance(data, str | int | None):  # a Struct, a dataclass and the like
        _check_finite(msgspec.to_builtins(data, enc_hook=_nothing))


def _nothing(_: object) -> None:
    """Stand for what has no numbers of its own; whether it can be written is seen when it is."""


def loads(text: str | bytes) -> Any:
    """Return the JSON value of `text`. Raises `BadMessage` when it is none, or nested too deep."""
    try:
        value = _loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage(_why(error)) from None
    if _too_deep(value, text, MAX_DEPTH):
        raise BadMessage(f"nested more than {MAX_DEPTH} levels deep")
    return value


def value_of(data: Any) -> Any:
    """Return the value of an envelope's data: decoded when it is a string of JSON, else as it is."""
    if type(data) is not str:
        return data
    try:
        value = _loads(data)
    except (ValueError, RecursionError):
        return data
    return data if len(data) > 2 * MAX_DEPTH and _too_deep(value, data, MAX_DEPTH) else value


def text_of(data: Any) -> str:
    """Return the text of an envelope's data: the string itself, other values as JSON, nothing as empty text."""
    if isinstance(data, str):
        return data
    return "" if data is None else _encode(data).decode()


def _too_deep(value: Any, text: str | bytes, most: int) -> bool:
    """Return whether `value`, decoded from `text`, has more than `most` levels. Looks only where it can have."""
    if len(text) <= 2 * most or (type(value) is not dict and type(value) is not list):
        return False
    # To find is ten times quicker than to count, and most texts have hardly any list.
    if isinstance(text, str):
        several = text.find("[", text.find("[") + 1) > 0
        brackets = text.count("{") + (text.count("[") if several else 1)
    else:
        several = text.find(b"[", text.find(b"[") + 1) > 0
        brackets = text.count(b"{") + (text.count(b"[") if several else 1)
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


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested more than {MAX_DEPTH} levels deep"
    return excerpt(str(error))
