"""Liveness in virtual time: a ping after silence, a limit on the silence after it, and none while nothing is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._base.timers import Timer, Timers
from pusher_proto._connection.liveness import BACKLOG, DRAINING, Liveness

ACTIVITY = 120.0
PONG = 30.0

Reported = list[tuple[float, str]]


class Connection:
    """A connection under a clock: what Liveness decides is written down with its time."""

    def __init__(self, activity: float = ACTIVITY, pong: float = PONG, now: float = 0.0) -> None:
        self.timers = Timers()
        self.now = now
        self.life = Liveness(self.timers, activity=activity, pong=pong, now=now)
        self.reported: Reported = []
        self.dead = False

    def until(self, now: float) -> None:
        """Let time pass; each deadline fires when it is due."""
        while (at := self.timers.next()) is not None and at <= now:
            due = self.timers.pop_due(at)
            assert due is not None
            self.now = at
            if due[0] is Timer.PONG:
                self.reported.append((at, "dead"))
                self.life.stop()
                self.dead = True
            else:
                assert due == (Timer.ACTIVITY, None)
                if self.life.activity_due(at):
                    self.ping()
        self.now = now

    def ping(self) -> None:
        self.reported.append((self.now, "ping"))
        self.life.ping_sent(self.now)

    def receives(self, *times: float) -> None:
        for at in times:
            self.until(at)
            self.life.received(at)

    def reads(self, reads: bool, at: float) -> None:
        self.until(at)
        self.life.reading(reads, at)


def test_a_silent_server_is_asked_after_activity_timeout_and_given_up_after_pong_timeout() -> None:
    connection = Connection(now=5.0)
    connection.until(1000)
    assert connection.reported == [(125.0, "ping"), (155.0, "dead")]
    assert connection.timers.next() is None


def test_the_ping_is_sent_exactly_activity_timeout_after_the_last_byte() -> None:
    connection = Connection()
    connection.receives(1.0, 50.0, 119.9, 130.0)
    connection.until(250.0 - 1e-6)
    assert connection.reported == []
    connection.until(250.0)
    assert connection.reported == [(250.0, "ping")]


def test_hearing_moves_no_timer_until_it_is_due() -> None:
    connection = Connection()
    assert connection.timers.at(Timer.ACTIVITY) == 120.0
    connection.receives(*range(100))
    assert connection.timers.at(Timer.ACTIVITY) == 120.0
    connection.until(120.0)
    assert connection.timers.at(Timer.ACTIVITY) == 99.0 + 120.0


def test_any_byte_in_time_is_an_answer() -> None:
    connection = Connection()
    connection.receives(149.9)
    assert connection.timers.next() == 269.9
    connection.until(269.8)
    assert connection.reported == [(120.0, "ping")]
    connection.until(500)
    assert connection.reported == [(120.0, "ping"), (269.9, "ping"), (299.9, "dead")]


def test_pings_of_the_application_do_not_put_the_deadline_off() -> None:
    connection = Connection()
    for at in (10.0, 20.0, 30.0, 39.9):
        connection.until(at)
        connection.ping()
    connection.until(1000)
    assert connection.reported == [
        *((at, "ping") for at in (10.0, 20.0, 30.0, 39.9)),
        (40.0, "dead"),
    ]


def test_a_ping_of_the_application_is_enough_while_it_is_unanswered() -> None:
    connection = Connection()
    connection.until(100.0)
    connection.ping()
    connection.until(1000)
    assert connection.reported == [(100.0, "ping"), (130.0, "dead")]


def test_the_round_trip_is_from_a_ping_to_its_pong() -> None:
    connection = Connection()
    life = connection.life
    assert life.round_trip is None
    life.pong(1.0)  # to nothing
    assert life.round_trip is None
    connection.until(120.0)
    connection.receives(120.25)
    life.pong(120.25)
    assert life.round_trip == 0.25
    life.pong(121.0)  # a second one
    assert life.round_trip == 0.25


def test_of_pings_in_a_row_the_first_is_answered_first() -> None:
    connection = Connection()
    for at in (10.0, 11.0):
        connection.until(at)
        connection.ping()
    connection.receives(12.0)
    connection.life.pong(12.0)
    assert connection.life.round_trip == 2.0


# While nothing is read.


def test_while_nothing_is_read_pings_are_sent_and_no_answer_is_missed() -> None:
    connection = Connection()
    connection.reads(False, 10.0)
    connection.until(500)
    assert connection.reported == [
        (120.0, "ping"),
        (240.0, "ping"),
        (360.0, "ping"),
        (480.0, "ping"),
    ]


def test_stopping_to_read_suspends_the_wait_for_a_pong() -> None:
    connection = Connection()
    connection.until(120.0)
    connection.reads(False, 149.0)
    assert not connection.timers.is_set(Timer.PONG)
    connection.until(300)
    assert connection.reported == [(120.0, "ping"), (269.0, "ping")]


def test_a_pause_does_not_bring_the_ping_forward() -> None:
    connection = Connection()
    connection.receives(119.0)
    connection.reads(False, 119.5)
    connection.until(300)
    assert connection.reported == [(239.0, "ping")]


def test_after_a_pause_silence_is_counted_from_its_end() -> None:
    connection = Connection()
    connection.reads(False, 10.0)
    connection.reads(True, 200.0)
    connection.until(1000)
    assert connection.reported == [(120.0, "ping"), (320.0, "ping"), (350.0, "dead")]


def test_saying_again_that_it_is_read_changes_little() -> None:
    connection = Connection()
    connection.reads(True, 10.0)
    connection.reads(False, 20.0)
    connection.reads(False, 30.0)
    connection.until(131.0)
    assert connection.reported == [(130.0, "ping")]


def test_an_answer_is_missing_once_all_was_read_for_as_long_as_it_may_take() -> None:
    life = Connection().life
    assert life.missing_at(10, 50.0) <= 50.0
    life.reading(False, 60.0)
    assert life.missing_at(10, 65.0) == 75.0
    assert life.missing_at(10, 75.0) == 85.0
    life.reading(True, 80.0)
    # Nothing reports when reading really begins: it has by now.
    assert life.missing_at(10, 85.0) == 95.0
    assert life.missing_at(10, 90.0) == 95.0
    assert life.missing_at(10, 95.0) <= 95.0


def test_when_the_connection_is_gone_nothing_is_due() -> None:
    for silent in (0.0, 130.0):
        connection = Connection()
        connection.until(silent)
        connection.life.stop()
        assert connection.timers.next() is None
        connection.life.received(200.0)
        assert connection.timers.next() is None


def test_a_message_that_began_has_its_own_limit() -> None:
    assert Connection(activity=1.0, pong=30.0).life.message_limit == 32.0


@pytest.mark.parametrize("late", [0.0, 5.0, 1000.0])
def test_a_ping_that_is_sent_late_leaves_the_server_its_whole_time(late: float) -> None:
    # The event loop was blocked by the application: faults K3 and K5.
    connection = Connection()
    now = 120.0 + late
    assert connection.timers.pop_due(now) == (Timer.ACTIVITY, None)
    assert connection.life.activity_due(now)
    connection.now = now
    connection.ping()
    assert connection.timers.pop_due(now) is None
    assert connection.timers.next() == now + 30.0


# Against a model.

moves = st.lists(
    st.tuples(st.floats(0.01, 9), st.sampled_from(["hear", "hear", "ping", "stop", "go"])),
    max_size=30,
)


def foreseen(moves: list[tuple[float, str]], activity: float, pong: float, end: float) -> Reported:
    """Return what is to be reported: all that counts is when silence began, and whether an answer is awaited."""
    reported: Reported = []
    silent, asked, reads = 0.0, None, True
    at = 0.0
    for pause, move in [*moves, (end, "end")]:
        at += pause
        while True:
            if asked is not None:
                if asked + pong > at:
                    break
                return [*reported, (asked + pong, "dead")]
            if silent + activity > at:
                break
            silent += activity
            reported.append((silent, "ping"))
            asked = silent if reads else None
        match move:
            case "hear":
                silent, asked = at, None
            case "ping":
                reported.append((at, "ping"))
                if asked is None:
                    silent, asked = at, at if reads else None
            case "stop":
                if asked is not None:
                    silent, asked = at, None
                reads = False
            case "go":
                if not reads:
                    silent = at
                reads = True
    return reported


@tried
@given(moves, st.floats(0.5, 20), st.floats(0.5, 20))
def test_every_ping_and_the_end_happen_at_the_planned_times(
    moves: list[tuple[float, str]], activity: float, pong: float
) -> None:
    connection = Connection(activity, pong)
    at = 0.0
    for pause, move in moves:
        at += pause
        connection.until(at)
        if connection.dead:
            break
        match move:
            case "hear":
                connection.receives(at)
            case "ping":
                connection.ping()
            case "stop":
                connection.reads(False, at)
            case "go":
                if not connection.life._reading:
                    connection.reads(True, at)
    else:
        connection.until(at + 50.0)
    assert connection.reported == foreseen(moves, activity, pong, 50.0)


# The way to the server alone.


def answered(pong: float = PONG) -> tuple[Timers, Liveness]:
    """Return a connection whose server answered a ping at 1."""
    timers = Timers()
    life = Liveness(timers, activity=ACTIVITY, pong=pong, now=0.0)
    life.ping_sent(0.0)
    life.received(1.0)
    life.pong(1.0)
    return timers, life


def test_a_missing_pong_is_looked_for_twice_its_time_after_the_first_unanswered_ping() -> None:
    timers, life = answered()
    assert timers.at(Timer.ONE_WAY) is None
    life.ping_sent(10.0)
    assert timers.at(Timer.ONE_WAY) == 70.0
    life.received(11.0, 10)
    life.ping_sent(20.0)  # the way is not tried again
    assert timers.at(Timer.ONE_WAY) == 70.0
    life.received(21.0, 10)
    assert timers.pop_due(70.0) == (Timer.ONE_WAY, None)
    assert life.one_way_due(70.0)


def test_a_ping_after_an_answered_one_is_looked_for_from_its_own_time() -> None:
    timers, life = answered()
    life.ping_sent(10.0)
    life.received(11.0)
    life.pong(11.0)
    assert timers.at(Timer.ONE_WAY) is None
    life.ping_sent(30.0)
    assert timers.at(Timer.ONE_WAY) == 90.0


def test_a_pong_may_wait_behind_a_whole_buffer_of_bytes_and_not_behind_one_less() -> None:
    for size, lost in ((BACKLOG - 1, True), (BACKLOG, False)):
        timers, life = answered()
        life.ping_sent(10.0)
        life.received(10.0, 5)  # it was in transit before the ping
        life.received(12.0, size)
        assert timers.pop_due(70.0) == (Timer.ONE_WAY, None)
        assert life.one_way_due(70.0) is lost
        assert timers.at(Timer.ONE_WAY) == (None if lost else 130.0)


def test_no_way_is_looked_at_while_nothing_is_read() -> None:
    timers, life = answered()
    life.ping_sent(10.0)
    life.reading(False, 20.0)
    assert timers.at(Timer.ONE_WAY) is None
    life.reading(True, 100.0)
    assert timers.at(Timer.ONE_WAY) == 160.0
    life.pong(101.0)
    life.reading(False, 110.0)
    life.reading(True, 120.0)
    assert timers.at(Timer.ONE_WAY) is None


@pytest.mark.parametrize(("demanded", "limited"), [(True, True), (False, False)])
def test_a_ping_within_a_read_does_not_start_the_wait_for_a_pong(
    demanded: bool, limited: bool
) -> None:
    timers = Timers()
    life = Liveness(timers, activity=ACTIVITY, pong=PONG, now=0.0)
    life.received(5.0)
    life.ping_sent(5.0, demanded=demanded)
    assert timers.is_set(Timer.PONG) is limited


def test_pings_in_an_interval_are_sent_that_long_after_the_last_ping() -> None:
    timers = Timers()
    life = Liveness(timers, activity=ACTIVITY, pong=PONG, now=0.0, interval=50.0)
    life.received(40.0)
    assert timers.at(Timer.ACTIVITY) == 50.0
    assert not life.activity_due(49.0)
    assert timers.at(Timer.ACTIVITY) == 50.0
    assert life.activity_due(50.0)


def test_an_end_takes_every_deadline_with_it() -> None:
    timers, life = answered()
    life.ping_sent(10.0)
    assert timers.at(Timer.ONE_WAY) is not None
    life.stop()
    assert timers.next() is None


def test_a_ping_is_demanded_unless_it_says_otherwise() -> None:
    timers = Timers()
    life = Liveness(timers, activity=ACTIVITY, pong=PONG, now=0.0)
    life.received(5.0)
    life.ping_sent(5.0)
    assert timers.is_set(Timer.PONG)


def test_the_first_ping_after_a_pause_in_reading_starts_the_one_way_check_again() -> None:
    timers, life = answered()
    life.reading(False, 5.0)
    life.ping_sent(6.0)
    assert timers.at(Timer.ONE_WAY) is None  # nothing is read: no answer can be missed
    life.reading(True, 7.0)
    timers.stop(Timer.ONE_WAY)
    life.ping_sent(8.0)
    assert timers.at(Timer.ONE_WAY) == 68.0


def test_what_is_read_at_once_after_a_pause_may_be_old() -> None:
    _, life = answered()
    life.received(4.0)
    life.reading(False, 5.0)
    life.reading(True, 50.0)
    life.received(50.5)
    assert life.fresh_at == 4.0
    life.reading(False, 50.7)
    life.reading(True, 80.0)
    assert life.fresh_at == 4.0
    life.received(80.0 + DRAINING)
    assert life.fresh_at == 80.0 + DRAINING
