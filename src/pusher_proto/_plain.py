"""Plain messages of channels: the text is decoded to the event itself. The path of nearly every message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ._messages import Envelope
from .events import ChannelEvent

__all__ = ["decode_plain", "envelope_of", "event_of"]

_decode = msgspec.json.Decoder(ChannelEvent).decode


def decode_plain(texts: Iterator[Any], into: list[ChannelEvent]) -> None:
    """Decode the plain messages of channels that come next; the first thing that is none is taken and left out.

    Written for speed: what it leaves out is for `_messages.decode` to judge, from the start.
    """
    try:
        into.extend(map(_decode, texts))
    except (TypeError, ValueError, RecursionError):  # no bytes, and all that msgspec raises
        return


def event_of(channel: str, envelope: Envelope) -> ChannelEvent:
    """Return a message that was read in another way as what `decode_plain` gives."""
    user_id = None if envelope.user_id is None else str(envelope.user_id)
    return ChannelEvent(channel, envelope.event, envelope.data, user_id, envelope.extra)


def envelope_of(event: ChannelEvent) -> Envelope:
    """Return the envelope of a message that turned out not to be for the application, or not yet."""
    return Envelope(event.name, event.channel, event.wire_data, event.user_id, event.extra)
