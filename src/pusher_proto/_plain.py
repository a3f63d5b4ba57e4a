"""Plain messages of channels: the text is decoded to the event itself. The path of nearly every message."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ._messages import MAX_DEPTH, Envelope
from .events import ChannelEvent

__all__ = ["decode_plain", "envelope_of", "event_of"]

_decode = msgspec.json.Decoder(ChannelEvent).decode


def decode_plain(items: Sequence[object], at: int, into: list[ChannelEvent]) -> int:
    """Decode the texts from `at` on that are plain messages of channels; return where something else stands.

    Written for speed: what it leaves is for `_messages.decode` to judge, from the start.
    """
    append, decode = into.append, _decode
    try:
        for at in range(at, len(items)):  # noqa: B020 - to know where it ended
            text = items[at]
            if type(text) is not bytes:
                return at
            event = decode(text)
            if type(event.wire_data) is not str and len(text) > MAX_DEPTH:
                return at
            append(event)
    except (ValueError, RecursionError):  # all that msgspec raises
        return at
    return len(items)


def event_of(channel: str, envelope: Envelope) -> ChannelEvent:
    """Return a message that was read in another way as what `decode_plain` gives."""
    user_id = None if envelope.user_id is None else str(envelope.user_id)
    return ChannelEvent(channel, envelope.event, envelope.data, user_id, envelope.extra)


def envelope_of(event: ChannelEvent) -> Envelope:
    """Return the envelope of a message that turned out not to be for the application, or not yet."""
    return Envelope(event.name, event.channel, event.wire_data, event.user_id, event.extra)
