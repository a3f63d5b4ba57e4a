"""The fast lane of WebSocket frames: parses whole text frames directly from the received bytes."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

__all__ = ["LONG", "NO_READER", "Reader", "Run", "take_text_frames"]

LONG = 1024
"""From this size on, in bytes, orjson decodes a text from a view in less time than msgspec from a copy."""

# The first two bytes of a frame, and the 16-bit length that may follow them.
_head = Struct(">HH").unpack_from


class Run(NamedTuple):
    """The events that a reader returned for consecutive texts.

    `alike` is true when all have the same channel and name, as the events of one read nearly always do. The dispatch
    then checks only the first one, and `Delivery` finds the sinks of all with one look-up. For messages of 120 bytes
    this saves 17 % of the core's time with 64 of them in a read and 7 % with 8; a single one costs 3 % more.
    `take_text_frames` and `followed_by` set it. The `alike` of the event queue is the number of such events at its left
    end: only `EventQueue.add` increases it, and code that removes events from the left end reports that to
    `Session.took`.
    """

    events: list[Any]
    alike: bool

    def followed_by(self, other: Run) -> Run:
        """Return both runs as one. Reuses the list of this run."""
        alike = self.alike and other.alike and self.is_like(other.events[0])
        self.events.extend(other.events)
        return Run(self.events, alike)

    def is_like(self, event: Any) -> bool:
        """Return whether the first event has the same channel and name as `event`."""
        first = self.events[0]
        return bool(first.channel == event.channel and first.name == event.name)


class Reader(NamedTuple):
    """Two functions that return an event for a text, or raise ValueError or RecursionError to leave it unchanged.

    A reader must reject invalid UTF-8: text that it accepts is not validated again.
    """

    short: Callable[[bytes], Any]
    """Reads texts of less than `LONG` bytes."""
    long: Callable[[memoryview], Any]
    """Reads longer texts."""


def _leave(_: object) -> object:
    raise ValueError


NO_READER = Reader(_leave, _leave)
"""Leaves every text unchanged."""


def take_text_frames(data: bytes, at: int, items: list[Any], *, limit: int, reader: Reader) -> int:
    """Parse consecutive whole, final, unmasked text frames of at most `limit` bytes from `at` on; return their end.

    Appends to `items` runs of the events that `reader` returns for the texts, and the texts that it leaves. Reads each
    text, and compares its event, while it is still in the CPU's cache. Stops before the first other frame, which is for
    wsproto.
    """
    # The short headers have at most four bytes; a frame with fewer is left to wsproto.
    last = len(data) - 4
    size = len(data)
    events: list[Any] = []
    alike, channel, name = True, None, None
    read, read_long = reader
    view = memoryview(data)
    while at <= last:
        # The most frequent cases come first: every event takes these steps.
        head, length = _head(data, at)
        if head == 0x817E:
            start = at + 4
            if length < 126:
                break  # not the shortest length (RFC 6455, 5.2)
        elif 0x8100 <= head < 0x817E:
            start = at + 2
            length = head & 0x7F
        elif head == 0x817F:
            start = at + 10
            length = int.from_bytes(data[at + 2 : start], "big")
            if length < 65536:
                break  # not the shortest length, or the header is incomplete
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
