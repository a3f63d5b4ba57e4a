"""A reader of texts in the fast lane, for the tests and the fuzzer of WebSockets: it takes some, as a reader may."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pusher_proto._wire.fast_lane import Reader, Run

__all__ = ["READER", "Read", "flat"]


class Read(NamedTuple):
    """A text that was read: its channel and its name are the start of it."""

    text: str

    @property
    def channel(self) -> str:
        """The first character."""
        return self.text[:1]

    @property
    def name(self) -> str:
        """The second character."""
        return self.text[1:2]


def _read(text: bytes | memoryview) -> Read:
    found = str(text, "utf-8")
    if len(found) % 3 == 0:
        raise ValueError
    return Read(found)


READER = Reader(_read, _read)
"""Reads two texts of three: only what is UTF-8."""


def flat(items: Iterable[object]) -> list[object]:
    """Return what a lane said that has this reader, as if it had none; and see that it knows what is alike."""
    found: list[object] = []
    for item in items:
        if isinstance(item, Run):
            kinds = {(each.channel, each.name) for each in item.events}
            assert item.alike == (len(kinds) == 1), "what is alike is not known"
            found += [each.text.encode() for each in item.events]
        else:
            found.append(item)
    return found
