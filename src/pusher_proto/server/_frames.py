"""The JSON texts that server and clients exchange."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["ClientMessage", "Json", "encode", "json_text", "parse_json", "parse_message"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_ENCODER = msgspec.json.Encoder()


class ClientMessage(msgspec.Struct, frozen=True):
    """A message of a client. `data` stays JSON text, because forwarded data must not change."""

    event: str
    channel: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def data_size(self) -> int:
        """The bytes of the data."""
        return 0 if self.data is msgspec.UNSET else len(memoryview(self.data))


class _Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    event: str
    channel: str | None = None
    data: object = msgspec.UNSET
    user_id: object = None


_MESSAGE = msgspec.json.Decoder(ClientMessage)


def json_text(data: object) -> str:
    """Return `data` as compact JSON. Raises TypeError when it cannot be JSON."""
    return _ENCODER.encode(data).decode()


def encode(
    event: str,
    *,
    channel: str | None = None,
    data: object = msgspec.UNSET,
    user_id: object = None,
) -> str:
    """Return the text of one event, without the fields that are not given."""
    return json_text(_Frame(event, channel, data, user_id))


def parse_message(text: str) -> ClientMessage | None:
    """Return the message of a client, or None when it is not an event."""
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
