"""Decodes plain messages of channels directly to events. Nearly every message takes this path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .._wire.envelope import Envelope
from .._wire.fast_lane import LONG, NO_READER, Reader
from ..events import ChannelEvent, Message, ProtocolMessage

__all__ = ["FIRST", "LAST", "PLAIN", "READERS", "event_of", "read_plain"]

_loads: Callable[[bytes | memoryview], Any] | None
try:  # The extra `fast`: with it or without, the same text gives the same event.
    from orjson import loads as _loads
except ImportError:
    _loads = None

FIRST, LAST = "pusher:", "pusher_internal;"
"""The names of the protocol, and few others, are between these. A comparison takes a quarter of the time of a call."""

_decode = msgspec.json.Decoder(ChannelEvent).decode


def _decode_long(text: bytes | memoryview) -> ChannelEvent:
    """Decode a long message: by orjson when it has just the three usual keys with strings, otherwise by msgspec.

    The data of a message is a string in which each quote is escaped. To unescape 10 KB takes msgspec 12 µs and orjson
    6.5 µs; to construct the event in Python takes 0.3 µs more than in msgspec.
    """
    if _loads is not None:
        try:
            message = _loads(text)
            channel, name, data = message["channel"], message["event"], message["data"]
            if len(message) == 3 and type(channel) is type(name) is type(data) is str:
                return ChannelEvent(channel, name, data)
        except (
            KeyError,
            TypeError,
            ValueError,
        ):  # not the usual shape: msgspec decodes or rejects it
            pass
    return _decode(text)


PLAIN = Reader(_decode, _decode_long)
"""Decodes plain messages of channels. A text that it rejects has to be decoded by `envelope.decode`."""


def _decode_event(text: bytes) -> ChannelEvent:
    """Decode a message. Raises ValueError for one of the protocol."""
    event = _decode(text)
    if FIRST <= event.name < LAST:
        raise ValueError
    return event


def _decode_long_event(text: memoryview) -> ChannelEvent:
    """Do the same for a long message."""
    event = _decode_long(text)
    if FIRST <= event.name < LAST:
        raise ValueError
    return event


_EVENTS = Reader(_decode_event, _decode_long_event)
"""Decodes as `PLAIN` does, but leaves the messages of the protocol, and few others."""

READERS: dict[type[Message] | None, Reader] = {
    None: PLAIN,
    ProtocolMessage: _EVENTS,
    Message: NO_READER,
}
"""The reader that leaves the texts of the messages of a class, or none."""


def read_plain(text: bytes) -> ChannelEvent | None:
    """Return the event for one text as `PLAIN` decodes it, or None when `PLAIN` rejects it."""
    try:
        return _decode(text) if len(text) < LONG else _decode_long(text)
    except (ValueError, RecursionError):
        return None


def event_of(channel: str, envelope: Envelope) -> ChannelEvent:
    """Return the event for an envelope: the same that `PLAIN` returns for such a message."""
    user_id = None if envelope.user_id is None else str(envelope.user_id)
    return ChannelEvent(channel, envelope.event, envelope.data, user_id, envelope.extra)
