"""Timers: named deadlines, against a model that is a plain dict."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proto.strategies import tried
from proto.websocket_peer import EXAMPLES
from pusher_proto._base.timers import Deadlines, Timer, Timers

Name = tuple[Timer, Hashable]
OF = [None, 1, "room"]
SOME = [Timer.OPEN, Timer.AUTH, Timer.SUBSCRIBE]

of_whom = st.sampled_from(OF)
some_timers = st.sampled_from(SOME)
times = st.integers(0, 20).map(float)


class AgainstADict(RuleBasedStateMachine):
    """Every look agrees with a dict of name to (deadline, when it was set)."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.model: dict[Name, tuple[float, int]] = {}
        self.count = 0

    def due(self, now: float) -> list[Name]:
        found = [(at, order, name) for name, (at, order) in self.model.items() if at <= now]
        return [name for _, _, name in sorted(found, key=lambda one: one[:2])]

    @rule(timer=some_timers, at=times, of=of_whom)
    def set(self, timer: Timer, at: float, of: object) -> None:
        self.count += 1
        self.timers.set(timer, at, of)
        self.model[timer, of] = at, self.count
        # Replaced and stopped timers are not kept for ever.
        assert len(self.timers._heap) <= 16 + 4 * len(self.model)

    @rule(timer=some_timers, times=st.integers(1, 200), of=of_whom)
    def set_often(self, timer: Timer, times: int, of: object) -> None:
        for at in range(times):
            self.set(timer, float(at), of)

    @rule(timer=some_timers, of=of_whom)
    def stop(self, timer: Timer, of: object) -> None:
        self.timers.stop(timer, of)
        self.model.pop((timer, of), None)

    @rule()
    def clear(self) -> None:
        self.timers.clear()
        self.model.clear()

    @rule(now=times)
    def pop_all_that_are_due(self, now: float) -> None:
        expected, popped = self.due(now), []
        while (name := self.timers.pop_due(now)) is not None:
            popped.append(name)
            del self.model[name]
        assert popped == expected

    @rule(now=times)
    def pop_one_and_set_it_again_at_the_same_time(self, now: float) -> None:
        expected = self.due(now)
        name = self.timers.pop_due(now)
        assert name == (expected[0] if expected else None)
        if name is not None:
            timer, of = name
            self.set(timer, now, of)

    @invariant()
    def all_looks_agree(self) -> None:
        timers, model = self.timers, self.model
        assert timers.next() == min((at for at, _ in model.values()), default=None)
        for timer in SOME:
            for of in OF:
                found = model.get((timer, of))
                assert timers.is_set(timer, of) == (found is not None)
                assert timers.at(timer, of) == (found[0] if found else None)


AgainstADict.TestCase.settings = settings(tried, max_examples=max(1, EXAMPLES // 5))
TestAgainstADict = AgainstADict.TestCase


def test_deadlines_fire_in_order_and_equal_ones_in_the_order_of_setting() -> None:
    timers = Timers()
    timers.set(Timer.RETRY, 3.0)
    timers.set(Timer.AUTH, 2.0, 7)
    timers.set(Timer.SUBSCRIBE, 2.0, "room")
    timers.set(Timer.AUTH, 2.0, 6)
    timers.set(Timer.AUTH, 2.0, 7)  # replaced: after the others
    timers.set(Timer.PONG, 9.0)
    assert timers.next() == 2.0
    assert [timers.pop_due(3.0) for _ in range(5)] == [
        (Timer.SUBSCRIBE, "room"),
        (Timer.AUTH, 6),
        (Timer.AUTH, 7),
        (Timer.RETRY, None),
        None,
    ]
    assert timers.next() == 9.0


@pytest.mark.parametrize(("names", "most"), [(1, 20), (2, 24), (16, 80), (100, 416)])
def test_replaced_entries_are_kept_until_they_are_most_of_the_heap(names: int, most: int) -> None:
    timers, sizes = Timers(), []
    for n in range(most + 1):
        timers.set(Timer.AUTH, float(-n), n % names)  # each before all others: none is at the top
        sizes.append(len(timers._heap))
    assert sizes == [*range(1, most + 1), names]


def test_a_deadline_is_due_at_its_time_and_not_before() -> None:
    timers = Timers()
    timers.set(Timer.OPEN, 5.0)
    assert timers.pop_due(4.999) is None
    assert timers.pop_due(5.0) == (Timer.OPEN, None)
    assert timers.pop_due(5.0) is None


def test_setting_a_deadline_again_replaces_it_in_both_directions() -> None:
    timers = Timers()
    for at in (5.0, 9.0, 1.0):
        timers.set(Timer.OPEN, at)
        assert (timers.next(), timers.at(Timer.OPEN)) == (at, at)
    assert timers.pop_due(10.0) == (Timer.OPEN, None)
    assert (timers.pop_due(10.0), timers.next()) == (None, None)


def test_looking_changes_nothing() -> None:
    timers = Timers()
    timers.set(Timer.OPEN, 5.0)
    timers.set(Timer.PONG, 6.0)
    timers.stop(Timer.OPEN)
    assert [timers.next(), timers.next(), timers.is_set(Timer.OPEN), timers.at(Timer.OPEN)] == [
        6.0,
        6.0,
        False,
        None,
    ]


def test_dropping_a_deadline_that_is_not_set_does_nothing() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.drop("a")
    assert deadlines.next() is None
    deadlines.put("b", 1.0)
    deadlines.drop("a")
    assert deadlines.next() == 1.0
