"""How long to wait before the next attempt."""

from __future__ import annotations

import random

__all__ = ["delay_before"]


def delay_before(
    attempt: int,
    rng: random.Random,
    *,
    base: float = 1.0,
    cap: float = 30.0,
    at_least: float = 0.0,
) -> float:
    """Return the seconds to wait before attempt number `attempt` (1 is the first after a loss).

    Full jitter: uniform between 0 and `base` doubled for each attempt before this one, at most `cap`; so a
    thousand clients that lose one server do not come back together. `at_least` bounds the result from below
    and is spread by up to as much again, for the same reason.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 32))
    delay = rng.uniform(0.0, ceiling)
    if delay < at_least:
        return min(cap, at_least + rng.uniform(0.0, min(at_least, ceiling)))
    return delay
