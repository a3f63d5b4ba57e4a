"""Plain messages of channels: the text is decoded to the event itself. The path of nearly every message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ._messages import Envelope
from .events import ChannelEvent

__all__ = ["LONG", "decode_plain", "envelope_of", "event_of"]

_loads: Callable[[bytes], Any] | None
try:  # The extra `fast`: with it or without, the same text gives the same event.
    from orjson import loads as _loads
except ImportError:
    _loads = None

LONG = 1024
"""From how many bytes on, as a mean, it pays to have messages decoded by orjson, where it is installed.

The data stands in a message as a string, with a backslash before each of its quotes. To take these out costs msgspec
twice what it costs orjson (12 and 6.5 µs of 10 KB); an event that is not made by msgspec costs 0.3 µs more.
"""

_decode = msgspec.json.Decoder(ChannelEvent).decode


def decode_plain(texts: Iterator[Any], into: list[ChannelEvent], *, size: float = 0) -> None:
    """Decode the plain messages of channels that come next; the first thing that is none is taken and left out.

    `size` is how many bytes they have on average. Written for speed: what it leaves out is for `_messages.decode` to
    judge, from the start.
    """
    try:
        into.extend(map(_decode if size < LONG else _decode_long, texts))
    except (TypeError, ValueError, RecursionError):  # no bytes, and all that msgspec raises
        return


def _decode_long(text: bytes) -> ChannelEvent:
    """Do what `_decode` does; by orjson when there are the three keys of nearly all messages, and strings in them."""
    if _loads is not None:
        try:
            message = _loads(text)
            channel, name, data = message["channel"], message["event"], message["data"]
            if len(message) == 3 and type(channel) is type(name) is type(data) is str:
                return ChannelEvent(channel, name, data)
        except (KeyError, TypeError, ValueError):  # whatever it is, msgspec says so
            pass
    return _decode(text)


def event_of(channel: str, envelope: Envelope) -> ChannelEvent:
    """Return a message that was read in another way as what `decode_plain` gives."""
    user_id = None if envelope.user_id is None else str(envelope.user_id)
    return ChannelEvent(channel, envelope.event, envelope.data, user_id, envelope.extra)


def envelope_of(event: ChannelEvent) -> Envelope:
    """Return the envelope of a message that turned out not to be for the application, or not yet."""
    return Envelope(event.name, event.channel, event.wire_data, event.user_id, event.extra)
