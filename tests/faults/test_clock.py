"""Clocks that jump, stop or run backwards. The core reads none: it gets the time, and only monotonic time counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pusher_proto
from faults.conversation import AT_ONCE, assert_kept, assert_returns, listening, lost, pings
from pusher_proto import CloseTransport

SRC = Path(pusher_proto.__file__).parents[1]


def test_K1b_a_laptop_sleeps_while_its_peer_goes_away() -> None:
    """If the clock stood still during the sleep, the loss is seen within the activity timeout and `pong_timeout`
    after waking; within `pong_timeout` if the program calls `client.ping()` on waking.
    """
    script = listening(activity=120).wait(60)
    # It sleeps here, and nothing of it can be seen.
    script.do(script.session.ping)
    assert pings(script) == 1
    script.wait(29.9)
    assert script.take() == []
    script.wait(0.2)
    assert CloseTransport(1, abort=True) in script.acts()
    assert lost(script, AT_ONCE).code == 1006
    assert_returns(script)


def test_K3_the_clock_jumps_an_hour_ahead() -> None:
    """One ping is sent, and the server has all of `pong_timeout` to answer it; then everything is as before."""
    script = listening(activity=120)
    script.now += 3600
    script.do(script.session.handle_timeout)
    assert pings(script) == 1
    assert script.take() == []
    assert script.session.next_deadline() == script.now + 30
    script.wait(29).send("pusher:pong").wait(119)
    assert script.acts() == []
    assert_kept(script)


def test_K3_the_clock_jumps_an_hour_ahead_with_data_waiting() -> None:
    """Waiting data is read before timers fire, so that not even a ping is needed."""
    script = listening(activity=120)
    script.now += 3600
    script.send("ev", "1", "room")
    script.do(script.session.handle_timeout)
    assert script.acts() == []
    assert_kept(script)


def test_K3_the_clock_jumps_ahead_while_an_attempt_waits() -> None:
    """One attempt is made, not one for each delay that has passed."""
    script = listening().eof()
    script.take()
    script.now += 3600
    script.do(script.session.handle_timeout)
    assert script.session.stats.attempts == 2
    assert_returns(script)


@pytest.mark.parametrize("back", [1, 86_400])
def test_K4_the_clock_jumps_back(back: float) -> None:
    """The time of day is not used; a monotonic clock that runs backwards stands still until it has caught up."""
    script = listening(activity=120)
    deadline = script.session.next_deadline()
    now, script.now = script.now, script.now - back
    script.do(script.session.handle_timeout)
    script.send("ev", "1", "room")
    assert script.session.next_deadline() == deadline
    assert script.acts() == []
    script.now = now
    assert_kept(script)


def test_K4_the_time_of_day_is_used_nowhere() -> None:
    """Only the server of the command line reads it, and `wall_clock` for `Gap.since`."""
    asked = re.compile(
        r"\b(?:time|datetime|date)\.(?:time|time_ns|now|utcnow|today|localtime|gmtime)\b"
    )
    found = [
        f"{path.relative_to(SRC)}: {match[0]}"
        for package in ("pusher_proto", "pusher_anyio", "pusher_sync")
        for path in (SRC / package).rglob("*.py")
        if "cli" not in path.parts  # publishers send timestamps
        for line in path.read_text(encoding="utf-8").splitlines()
        if "wall_clock: Callable" not in line  # the default of an argument of `open_pusher`
        for match in asked.finditer(line)
    ]
    assert found == []
