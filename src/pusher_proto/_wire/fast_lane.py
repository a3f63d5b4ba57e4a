"""The fast lane of WebSocket frames: whole text frames, taken straight out of what was received."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

__all__ = ["LONG", "NO_READER", "Reader", "Run", "take_text_frames"]

LONG = 1024
"""From how many bytes on a view of text is cheaper than a copy of it, and orjson than msgspec."""

# The first two bytes of a frame, and the length in sixteen bits that may follow them.
_head = Struct(">HH").unpack_from


class Run(NamedTuple):
    """What a reader gave for texts that follow each other."""

    events: list[Any]
    alike: bool
    """Whether all are of one channel and have one name, as nearly always: then they go the same way."""

    def followed_by(self, other: Run) -> Run:
        """Return both as one; the list of this one is used up."""
        alike = self.alike and other.alike and self.is_like(other.events[0])
        self.events.extend(other.events)
        return Run(self.events, alike)

    def is_like(self, event: Any) -> bool:
        """Return whether the first of these is of the same channel as `event` and has the same name."""
        first = self.events[0]
        return bool(first.channel == event.channel and first.name == event.name)


class Reader(NamedTuple):
    """Gives an event in place of a text, or raises ValueError or RecursionError where it has none to give.

    Only of text that is UTF-8: where a reader gives something nobody looks whether it is.
    """

    short: Callable[[bytes], Any]
    """For less than `LONG` bytes."""
    long: Callable[[memoryview], Any]


def _gives_nothing(_: object) -> object:
    raise ValueError


NO_READER = Reader(_gives_nothing, _gives_nothing)
"""Leaves all text as it is."""


def take_text_frames(data: bytes, at: int, items: list[Any], *, limit: int, reader: Reader) -> int:
    """Take whole, final, unmasked text frames from `at` on, of at most `limit` bytes; return where they end.

    Appends texts to `items`, or runs of what `reader` gives for them. A text is read, and what it gives is compared, as
    soon as it is cut out: later it would have left the cache. Written for speed: what is left is for wsproto to judge.
    """
    # Four bytes hold either of the short headers; what is smaller is left to the other lane.
    last = len(data) - 4
    size = len(data)
    events: list[Any] = []
    alike, channel, name = True, None, None
    read, read_long = reader
    view = memoryview(data)
    while at <= last:
        # In the order of what comes most: a step here is paid for by every event.
        head, length = _head(data, at)
        if head == 0x817E:
            start = at + 4
            if length < 126:
                break  # not minimal (RFC 6455, 5.2)
        elif 0x8100 <= head < 0x817E:
            start = at + 2
            length = head & 0x7F
        elif head == 0x817F:
            start = at + 10
            length = int.from_bytes(data[at + 2 : start], "big")
            if length < 65536:
                break  # not minimal, or the header is cut off
        else:
            break
        end = start + length
        if end > size or length > limit:
            break
        try:
            event = read(data[start:end]) if length < LONG else read_long(view[start:end])
        except (ValueError, RecursionError):
            text = data[start:end]
            if not _is_utf8(text):
                break
            if events:
                items.append(Run(events, alike))
                events, alike = [], True
            items.append(text)
        else:
            if alike and (event.channel != channel or event.name != name):
                alike = not events
                channel, name = event.channel, event.name
            events.append(event)
        at = end
    if events:
        items.append(Run(events, alike))
    return at


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
