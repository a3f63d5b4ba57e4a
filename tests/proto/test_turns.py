"""When a stream on an event loop lets other tasks run, and how the waits of a client are woken at its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proto.fake_client import connected
from pusher_proto.client import AT_ONCE, TURN
from simulation import World


def test_a_quick_consumer_looks_at_the_clock_seldom_and_a_slow_one_at_each_step() -> None:
    stream = connected(World()).events()
    assert not stream._turn_is_over(TURN / 2)
    assert stream._left == AT_ONCE + 1
    assert stream._turn_is_over(100 * TURN * AT_ONCE)
    assert stream._left == 1
    stream._turn_began = 1000.0
    looks = []
    while stream._left <= AT_ONCE:
        assert not stream._turn_is_over(1000.0)
        looks.append(stream._left)
    assert looks == [2, 4, 8, 16, 32, 64]


@given(st.lists(st.floats(0, 10), max_size=20))
def test_there_is_always_a_next_look(seconds: list[float]) -> None:
    stream = connected(World()).events()
    for took in seconds:
        assert stream._turn_is_over(took) is (took >= TURN)
        assert 1 <= stream._left <= AT_ONCE + 1


def test_at_the_end_all_waits_are_woken() -> None:
    client = connected(World())
    woken: list[str] = []
    stream = client.events()
    stream.signal.add(lambda: woken.append("stream"))
    client._lifecycle.add(lambda: woken.append("wait"))
    with client._guard:
        client._delivery.wake_all()
    assert woken == ["wait", "stream"]
