"""Makes inputs from inputs at random, with the standard library only."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["minimised", "mutated"]

Input = TypeVar("Input", bytes, list[Any])

_LONGEST = 4096
_TELLING = (0, 1, 2, 16, 32, 34, 64, 91, 123, 125, 126, 127, 128, 129, 136, 137, 192, 254, 255)
"""Bytes with a meaning in a frame, in UTF-8 or in JSON."""


def mutated(corpus: Sequence[bytes], rng: random.Random) -> bytes:
    """Return one of the corpus after a few small changes."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randint(0, len(data))
        size = min(rng.choice((1, 1, 2, 4, 16)), len(data) - at)
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 1] = bytes([rng.choice(_TELLING)])
            case 2:
                data[at:at] = rng.randbytes(size)
            case 3:
                del data[at : at + size]
            case 4:  # the same again
                data[at:at] = data[at : at + 8 * size]
            case 5:  # a piece of another
                other = rng.choice(corpus)
                begin = rng.randint(0, len(other))
                data[at:at] = other[begin : begin + 8 * max(size, 1)]
            case 6:  # the beginning of this and the end of another
                data[at:] = rng.choice(corpus)[at:]
            case _:
                data[at : at + 1] = rng.randbytes(1)
    return bytes(data[:_LONGEST])


def minimised(data: Input, fails: Callable[[Input], bool]) -> Input:
    """Return the shortest failing input that was found; `data` itself must fail."""
    size = max(1, len(data) // 2)
    while True:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        if size == 1:
            return data
        size //= 2
