"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from typing import Protocol

__all__ = ["FreshRandom", "Rng", "delay_before"]


class Rng(Protocol):
    """What is drawn from: a `random.Random`, or what does the same for the two draws that there are."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` bytes."""


class FreshRandom:
    """An `Rng` that keeps no state: 2.5 KB, which a client would hold all its life for a draw in a connection."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""
        return random.Random().uniform(a, b)  # noqa: S311 - jitter, not cryptography

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` bytes."""
        # The system seeds each generator with more than all that it is asked for: nobody can tell what it gives next.
        return random.Random().randbytes(n)  # noqa: S311 - as RFC 6455, 5.3 wants it


def delay_before(
    attempt: int,
    rng: Rng,
    *,
    base: float = 1.0,
    cap: float = 30.0,
    at_least: float = 0.0,
) -> float:
    """Return the seconds to wait before attempt number `attempt` (1 is the first after a loss).

    Full jitter: uniform between 0 and `base` doubled for each attempt before this one, at most `cap`; so a
    thousand clients that lose one server do not come back together. `at_least` bounds the result from below, also
    where `cap` is smaller, and is spread by up to as much again, for the same reason.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 32))
    delay = rng.uniform(0.0, ceiling)
    if delay < at_least:
        return max(at_least, min(cap, at_least + rng.uniform(0.0, min(at_least, ceiling))))
    return delay
