"""Bytes as a source of decisions, and ways to split bytes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = ["Source", "splits"]

T = TypeVar("T")

_BYTEWISE = 400
"""The longest input that is fed byte by byte; longer ones are fed in this many pieces."""


class Source:
    """Hands out the bytes of an input; after its end zeros and empty bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        """Return a number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def one_of(self, choices: Sequence[T]) -> T:
        """Return one of `choices`."""
        return choices[self.number() % len(choices)]

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, or what is left."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def blob(self) -> bytes:
        """Return as many bytes as the next byte says; 255 means all remaining bytes."""
        size = self.number()
        return self.rest() if size == 255 else self.take(size)

    def rest(self) -> bytes:
        """Return the remaining bytes."""
        return self.take(len(self._data))


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` in pieces: byte by byte as far as that is cheap, and cut at places that the data decides."""
    pick = random.Random(zlib.crc32(data))
    size = max(1, len(data) // _BYTEWISE)
    yield [data[at : at + size] for at in range(0, len(data), size)]
    for count in (1, 5):
        cuts = sorted({0, len(data), *(pick.randint(0, len(data)) for _ in range(count))})
        yield [data[start:end] for start, end in pairwise(cuts)]
