"""Plain messages of channels: the text is decoded to the event itself. The path of nearly every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .._wire.envelope import Envelope
from .._wire.fast_lane import LONG, Reader
from ..events import ChannelEvent

__all__ = ["PLAIN", "event_of", "read_plain"]

_loads: Callable[[bytes | memoryview], Any] | None
try:  # The extra `fast`: with it or without, the same text gives the same event.
    from orjson import loads as _loads
except ImportError:
    _loads = None

_decode = msgspec.json.Decoder(ChannelEvent).decode


def _decode_long(text: bytes | memoryview) -> ChannelEvent:
    """Do what `_decode` does; by orjson when there are the three keys of nearly all messages, and strings in them.

    A message holds its data as a string, with a backslash before each of its quotes. To take these out costs
    msgspec twice what it costs orjson (12 and 6.5 µs of 10 KB); an event that is not made by msgspec costs 0.3 µs more.
    """
    if _loads is not None:
        try:
            message = _loads(text)
            channel, name, data = message["channel"], message["event"], message["data"]
            if len(message) == 3 and type(channel) is type(name) is type(data) is str:
                return ChannelEvent(channel, name, data)
        except (KeyError, TypeError, ValueError):  # whatever it is, msgspec says so
            pass
    return _decode(text)


PLAIN = Reader(_decode, _decode_long)
"""Reads the plain messages of channels; texts that it rejects are decoded by `envelope.decode`, from the start."""


def read_plain(text: bytes) -> ChannelEvent | None:
    """Return what `PLAIN` gives for one text, or None."""
    try:
        return _decode(text) if len(text) < LONG else _decode_long(text)
    except (ValueError, RecursionError):
        return None


def event_of(channel: str, envelope: Envelope) -> ChannelEvent:
    """Return a message that was read in another way as what `PLAIN` gives."""
    user_id = None if envelope.user_id is None else str(envelope.user_id)
    return ChannelEvent(channel, envelope.event, envelope.data, user_id, envelope.extra)
