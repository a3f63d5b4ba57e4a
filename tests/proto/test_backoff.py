"""Delays before an attempt: bounded, growing, and spread."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._base.backoff import delay_before

attempts = st.integers(1, 10_000)
seeds = st.integers(0, 2**32).map(random.Random)
seconds = st.floats(0, 1000)


class Fixed(random.Random):
    """Every draw lies at the same place of its range."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = place

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.place


@tried
@given(attempts, seeds, seconds, seconds)
def test_a_delay_lies_between_zero_and_the_base_doubled_for_each_attempt_and_the_cap(
    attempt: int, rng: random.Random, base: float, cap: float
) -> None:
    delay = delay_before(attempt, rng, base=base, cap=cap)
    assert 0 <= delay <= min(cap, base * 2.0 ** min(attempt - 1, 60))


@tried
@given(attempts, seeds, seconds, seconds, seconds)
def test_W12_no_delay_is_below_its_least_nor_above_the_cap_unless_that_is_smaller(
    attempt: int, rng: random.Random, base: float, cap: float, least: float
) -> None:
    delay = delay_before(attempt, rng, base=base, cap=cap, at_least=least)
    assert least <= delay <= max(least, cap)


@tried
@given(attempts, st.integers(0, 2**32), seconds)
def test_the_same_generator_gives_the_same_delay(attempt: int, seed: int, least: float) -> None:
    one, two = (delay_before(attempt, random.Random(seed), at_least=least) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("place", "delays"),
    [
        (0.0, [0, 0, 0, 0, 0, 0, 0]),
        (0.5, [0.5, 1, 2, 4, 8, 15, 15]),
        (1.0, [1, 2, 4, 8, 16, 30, 30]),
    ],
)
def test_delays_double_up_to_half_a_minute(place: float, delays: list[float]) -> None:
    assert [delay_before(attempt, Fixed(place)) for attempt in range(1, 8)] == delays


@pytest.mark.parametrize(
    ("place", "delays"), [(0.0, [1, 1, 1]), (0.5, [1.5, 1, 2]), (1.0, [1, 2, 4])]
)
def test_a_least_delay_is_spread_by_up_to_as_much_again(place: float, delays: list[float]) -> None:
    got = [delay_before(attempt, Fixed(place), at_least=1.0) for attempt in range(1, 4)]
    assert got == delays


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_a_thousand_clients_that_lose_one_server_do_not_reconnect_together(least: float) -> None:
    rng = random.Random(7)
    delays = [delay_before(1, rng, at_least=least) for _ in range(1000)]
    assert all(least <= delay <= least + 1 for delay in delays)
    buckets = Counter(int(delay * 10) for delay in delays)
    assert max(buckets.values()) < 200
