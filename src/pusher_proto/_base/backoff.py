"""Computes the delay before the next attempt to connect, with jitter."""

from __future__ import annotations

import random
from typing import Protocol

__all__ = ["FreshRandom", "Rng", "delay_before"]


class Rng(Protocol):
    """A source of random numbers: a `random.Random`, or an object with the same two methods."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` bytes."""


class FreshRandom:
    """An `Rng` that makes a `random.Random` for each draw: to keep one takes 2.5 KB, and a connection draws twice."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""
        return random.Random().uniform(a, b)  # noqa: S311 - jitter, not cryptography

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` bytes."""
        # The system seeds each generator with more bytes than are drawn from it, so its output is unpredictable.
        return random.Random().randbytes(n)  # noqa: S311 - unpredictable, as RFC 6455, 5.3 requires


def delay_before(
    attempt: int,
    rng: Rng,
    *,
    base: float = 1.0,
    cap: float = 30.0,
    at_least: float = 0.0,
) -> float:
    """Return the seconds to wait before attempt number `attempt` (1 is the first after a loss).

    Full jitter: uniform between 0 and `base` doubled for each earlier attempt, at most `cap`; so a thousand clients
    that lose one server do not reconnect at once. `at_least` is a lower bound, even where `cap` is smaller. A delay
    below it becomes `at_least` and a random part of up to as much again, for the same reason.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 32))
    delay = rng.uniform(0.0, ceiling)
    if delay < at_least:
        return max(at_least, min(cap, at_least + rng.uniform(0.0, min(at_least, ceiling))))
    return delay
