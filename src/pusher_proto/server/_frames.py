"""The JSON texts that server and client exchange: built for the one, read from the other."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["ClientMessage", "Json", "encode", "error", "json_text", "parse_json", "parse_message"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_ENCODER = msgspec.json.Encoder()


class ClientMessage(msgspec.Struct, frozen=True):
    """What a client sent. `data` is kept as text, for what is passed on must not change."""

    event: str
    channel: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    event: str
    channel: str | None = None
    data: object = msgspec.UNSET
    user_id: str | None = None


_MESSAGE = msgspec.json.Decoder(ClientMessage)


def json_text(data: object) -> str:
    """Return `data` as compact JSON. Raises TypeError when it is nothing that JSON can hold."""
    return _ENCODER.encode(data).decode()


def encode(
    event: str,
    *,
    channel: str | None = None,
    data: object = msgspec.UNSET,
    user_id: str | None = None,
) -> str:
    """Return the text of one event; what is not given is left out."""
    return json_text(_Frame(event, channel, data, user_id))


def error(code: int | None, message: str, *, channel: str | None = None) -> str:
    """Return a `pusher:error`, with an object as its data as Pusher sends it."""
    return encode("pusher:error", channel=channel, data={"code": code, "message": message})


def parse_message(text: str) -> ClientMessage | None:
    """Return what a client sent, or None when it is not an event."""
    try:
        return _MESSAGE.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def parse_json(text: str | bytes | msgspec.Raw) -> Json | msgspec.UnsetType:
    """Return the value that a JSON text stands for, or UNSET when it is not JSON."""
    try:
        value: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return msgspec.UNSET
    return value
