"""Attempts, delays and states: what follows the end of a connection, and what each command does in each state."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import mean
from typing import Any

import pytest
from hypothesis import given

from proto.inputs import Sequence, sequences, tried
from proto.play import Play
from proto.scripted import Script, connected, connecting, forgetful, upgraded, upgrading
from proto.websocket_peer import answer
from pusher_proto import (
    Closed,
    CloseTransport,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    ConnectionUnsafe,
    Event,
    Metadata,
    OpenTransport,
    Options,
    RetryScheduled,
    StateChanged,
)
from simulation import Device, World

INITIALIZED, CONNECTING = ConnectionState.INITIALIZED, ConnectionState.CONNECTING
CONNECTED, UNAVAILABLE = ConnectionState.CONNECTED, ConnectionState.UNAVAILABLE
DISCONNECTED, FAILED = ConnectionState.DISCONNECTED, ConnectionState.FAILED

SEEDS = range(100)


def opening_of(transport: int) -> OpenTransport:
    return OpenTransport(transport, "ws.test", 80, False)


# Commands in every state.


def idle(**more: Any) -> Script:
    return Script(**more)


def waiting(**more: Any) -> Script:
    return forgetful(connecting(**more).fail())


def unavailable(**more: Any) -> Script:
    return forgetful(connecting(**more).wait(10).fail())


def disconnected(**more: Any) -> Script:
    return forgetful(connected(**more).disconnect().close(1000))


def failed(**more: Any) -> Script:
    return forgetful(upgraded(**more).error(4001))


def closing(**more: Any) -> Script:
    return forgetful(connected(**more).end())


def closed(**more: Any) -> Script:
    return forgetful(connected(**more).end().close(1000))


STATES: dict[Callable[..., Script], ConnectionState] = {
    idle: INITIALIZED,
    connecting: CONNECTING,
    upgrading: CONNECTING,
    upgraded: CONNECTING,
    connected: CONNECTED,
    waiting: CONNECTING,
    unavailable: UNAVAILABLE,
    disconnected: DISCONNECTED,
    failed: FAILED,
    closing: DISCONNECTED,
    closed: DISCONNECTED,
}

TERMINATED = "You got disconnected by the app."
ABORTED = [CloseTransport(1, abort=True)]
ENDED = [CloseTransport(1)]
FRAME = [("close", 1000, "")]
BEGUN = "connecting"
DISCONNECT, CLOSE = "disconnect() was called", "close() was called"

EFFECTS: list[tuple[Callable[..., Script], str, list[Any], list[Event]]] = [
    (idle, "connect", [opening_of(1)], [StateChanged(INITIALIZED, CONNECTING, BEGUN)]),
    (idle, "disconnect", [], []),
    (idle, "close", [], [StateChanged(INITIALIZED, DISCONNECTED, CLOSE), Closed()]),
    (connecting, "connect", [], []),
    (connecting, "disconnect", ABORTED, [StateChanged(CONNECTING, DISCONNECTED, DISCONNECT)]),
    (connecting, "close", ABORTED, [StateChanged(CONNECTING, DISCONNECTED, CLOSE), Closed()]),
    (upgrading, "connect", [], []),
    (upgrading, "disconnect", ENDED, [StateChanged(CONNECTING, DISCONNECTED, DISCONNECT)]),
    (upgrading, "close", ENDED, [StateChanged(CONNECTING, DISCONNECTED, CLOSE), Closed()]),
    (upgraded, "connect", [], []),
    (upgraded, "disconnect", FRAME, [StateChanged(CONNECTING, DISCONNECTED, DISCONNECT)]),
    (upgraded, "close", FRAME, [StateChanged(CONNECTING, DISCONNECTED, CLOSE)]),
    (connected, "connect", [], []),
    (connected, "disconnect", FRAME, [StateChanged(CONNECTED, DISCONNECTED, DISCONNECT)]),
    (connected, "close", FRAME, [StateChanged(CONNECTED, DISCONNECTED, CLOSE)]),
    (waiting, "connect", [opening_of(2)], []),
    (waiting, "disconnect", [], [StateChanged(CONNECTING, DISCONNECTED, DISCONNECT)]),
    (waiting, "close", [], [StateChanged(CONNECTING, DISCONNECTED, CLOSE), Closed()]),
    (unavailable, "connect", [opening_of(2)], []),
    (unavailable, "disconnect", [], [StateChanged(UNAVAILABLE, DISCONNECTED, DISCONNECT)]),
    (unavailable, "close", [], [StateChanged(UNAVAILABLE, DISCONNECTED, CLOSE), Closed()]),
    (disconnected, "connect", [opening_of(2)], [StateChanged(DISCONNECTED, CONNECTING, BEGUN)]),
    (disconnected, "disconnect", [], []),
    (disconnected, "close", [], [Closed()]),
    (failed, "connect", [opening_of(2)], [StateChanged(FAILED, CONNECTING, BEGUN)]),
    (failed, "disconnect", [], [StateChanged(FAILED, DISCONNECTED, DISCONNECT)]),
    (failed, "close", [], [StateChanged(FAILED, DISCONNECTED, CLOSE), Closed()]),
    (closing, "connect", [], []),
    (closing, "disconnect", [], []),
    (closing, "close", [], []),
    (closed, "connect", [], []),
    (closed, "disconnect", [], []),
    (closed, "close", [], []),
]


def test_the_table_of_commands_is_whole() -> None:
    commands = ("connect", "disconnect", "close")
    assert [(make, name) for make, name, *_ in EFFECTS] == [
        (make, name) for make in STATES for name in commands
    ]
    for make, state in STATES.items():
        script = make()
        assert (make, script.session.state) == (make, state)


@pytest.mark.parametrize(("make", "command", "acts", "events"), EFFECTS)
def test_each_command_in_each_state_does_exactly_this(
    make: Callable[..., Script], command: str, acts: list[Any], events: list[Event]
) -> None:
    script = make()
    script.do(getattr(script.session, command))
    assert (script.acts(), script.take()) == (acts, events)
    reported = [event.current for event in events if isinstance(event, StateChanged)]
    assert script.session.state is (reported[-1] if reported else STATES[make])
    assert (script.session.failure is not None) == (script.session.state is FAILED)


@pytest.mark.parametrize("make", STATES)
def test_after_disconnect_nothing_happens_until_connect(make: Callable[..., Script]) -> None:
    script = forgetful(make().disconnect().wait(2))
    assert script.session.next_deadline() is None
    assert (script.wait(3600).acts(), script.take()) == ([], [])
    assert script.session.retry_at is None


@pytest.mark.parametrize("make", [connecting, upgrading, upgraded, connected, waiting, failed])
def test_connecting_again_after_disconnect_works(make: Callable[..., Script]) -> None:
    script = make().disconnect()
    before = script.transport
    script.acts()
    assert script.connect().acts() == [opening_of(before + 1)]
    script.greet({"socket_id": "2.2", "activity_timeout": 120})
    assert script.session.socket_id == "2.2"


def test_reconnecting_leaves_the_old_connection_to_its_end() -> None:
    """Later inputs for the old connection do not affect the new one."""
    script = connected()
    script.disconnect().connect().greet({"socket_id": "2.2", "activity_timeout": 1})
    script.take()
    script.transport = 1
    script.error(4001).close(4001)
    assert (script.take(), script.session.socket_id) == ([], "2.2")


def test_bytes_of_the_old_connection_do_not_keep_the_new_one_alive() -> None:
    script = connected().disconnect().connect()
    script.greet({"socket_id": "2.2", "activity_timeout": 1}).wait(1)
    due = script.session.next_deadline()
    script.transport = 1
    script.ping()
    assert script.session.next_deadline() == due


# Closing is over within close_timeout, whatever the driver and the server do.


@pytest.mark.parametrize("make", STATES)
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("close_timeout", [2.0, 0.5, 0.0])
def test_closing_is_over_within_close_timeout(
    make: Callable[..., Script], answers: bool, close_timeout: float
) -> None:
    script = make(answers=answers, close_timeout=close_timeout)
    script.end().wait(close_timeout)
    script.do(script.session.handle_timeout)
    if make is not closed:
        assert script.take()[-1:] == [Closed()]
    assert script.session.closed
    assert script.session.next_deadline() is None


def test_a_server_that_does_not_answer_the_close_frame_is_left_after_close_timeout() -> None:
    script = connected(answers=False).end()
    assert script.acts() == [("close", 1000, "")]
    assert script.wait(1.9).acts() == []
    assert script.wait(0.1).acts() == [CloseTransport(1, abort=True)]
    assert script.take(Closed) == [Closed()]


def test_a_driver_that_does_not_end_the_stream_is_asked_again_and_no_longer_waited_for() -> None:
    script = connected(answers=False).end().close(1000)
    assert script.acts() == [("close", 1000, ""), CloseTransport(1)]
    assert script.wait(2).acts() == [CloseTransport(1, abort=True)]
    assert script.take(Closed) == [Closed()]
    assert script.eof().take() == []


def test_disconnecting_and_then_closing_takes_one_close_timeout() -> None:
    script = connected(answers=False).disconnect().wait(1.5).end()
    assert script.take(Closed) == []
    assert script.wait(0.5).take(Closed) == [Closed()]


def test_a_transport_that_opens_after_it_was_given_up_is_not_used() -> None:
    script = connecting(answers=False).disconnect()
    script.acts()
    assert script.open().acts() == []
    assert script.eof().take()[1:] == []


# Delays.


def attempts(script: Script, count: int, fail: Callable[[Script], Any]) -> list[float]:
    """Let `count` attempts or connections fail one after the other; return the delays after them."""
    delays = []
    for _ in range(count):
        fail(script)
        delay = script.delay()
        assert delay is not None
        delays.append(delay)
        script.wait(delay)
    return delays


def refused(script: Script) -> None:
    script.fail()


def test_delays_after_refused_attempts_are_drawn_from_a_range_that_doubles_up_to_the_cap() -> None:
    rows = [attempts(connecting(seed=seed), 8, refused) for seed in SEEDS]
    for number, column in enumerate(zip(*rows, strict=True)):
        ceiling = min(30.0, 2.0**number)
        assert all(0 <= delay <= ceiling for delay in column)
        # Uniform: some in each fifth of the range.
        assert {min(4, int(5 * delay / ceiling)) for delay in column} == {0, 1, 2, 3, 4}
    assert len({row[0] for row in rows}) == len(SEEDS)


def test_the_range_of_delays_is_an_option() -> None:
    rows = [
        attempts(connecting(seed=seed, retry_base=0.1, retry_cap=0.5), 6, refused) for seed in SEEDS
    ]
    ceilings = [max(column) for column in zip(*rows, strict=True)]
    bounds = [0.1, 0.2, 0.4, 0.5, 0.5, 0.5]
    assert all(
        0.8 * bound < ceiling <= bound for ceiling, bound in zip(ceilings, bounds, strict=True)
    )


@pytest.mark.parametrize(
    "fail",
    [
        lambda script: script.greet().close(4100),
        lambda script: script.greet().close(4199),
        lambda script: script.greet().close(4300),
        lambda script: script.open().receive(answer("503 Service Unavailable")),
        lambda script: script.open().upgrade().send("price"),
    ],
)
def test_these_ends_are_followed_by_at_least_a_second_that_is_spread(
    fail: Callable[[Script], Any],
) -> None:
    rows = [attempts(connecting(seed=seed), 4, fail) for seed in SEEDS]
    for number, column in enumerate(zip(*rows, strict=True)):
        assert 1.0 <= min(column) <= 1.2
        assert max(column) <= max(2.0, 2.0**number)
        assert len(set(column)) == len(SEEDS)


def unstable(script: Script) -> None:
    script.greet().wait(5).eof("reset")


def test_a_connection_that_was_lost_soon_is_followed_by_at_least_a_second_from_the_second_on() -> (
    None
):
    for seed in SEEDS:
        first, *others = attempts(connecting(seed=seed), 4, unstable)
        assert 0 <= first <= 1
        assert all(delay >= 1 for delay in others)


@pytest.mark.parametrize("code", [4200, 4201, 4299])
def test_reconnecting_at_once_is_done_once(code: int) -> None:
    script = connecting()
    first, *others = attempts(script, 4, lambda script: script.greet().wait(29).close(code))
    assert first == 0
    assert all(delay >= 1 for delay in others)


def test_reconnecting_at_once_is_done_again_after_a_stable_connection() -> None:
    script = connecting()
    assert attempts(script, 4, lambda script: script.greet().wait(30).close(4200)) == [0, 0, 0, 0]


def test_an_unanswered_ping_is_followed_by_an_attempt_at_once() -> None:
    script = connected().wait(149.9)
    assert [frame["event"] for frame in script.frames()] == ["pusher:ping"]
    script.wait(0.1)
    assert script.take() == [
        StateChanged(CONNECTED, CONNECTING, "the server did not answer a ping"),
        ConnectionLost(1006, "the server did not answer a ping", True),
        RetryScheduled(1, 0.0),
    ]
    assert script.acts() == [CloseTransport(1, abort=True), opening_of(2)]


@pytest.mark.parametrize(("seconds", "attempt"), [(29.9, 3), (30.0, 1)])
def test_the_count_of_attempts_goes_back_only_after_thirty_seconds(
    seconds: float, attempt: int
) -> None:
    script = connecting()
    attempts(script, 2, refused)
    script.greet().wait(seconds).eof()
    (plan,) = script.take(RetryScheduled)
    assert isinstance(plan, RetryScheduled)
    assert plan.attempt == attempt


def test_W12_connecting_while_waiting_skips_the_delay_and_keeps_the_count() -> None:
    script = connecting()
    attempts(script, 5, refused)
    script.fail()
    script.acts()
    assert script.connect().acts() == [opening_of(7)]
    script.fail()
    plans = script.take(RetryScheduled)
    assert [plan.attempt for plan in plans if isinstance(plan, RetryScheduled)] == [6, 7]


def test_the_next_attempt_begins_when_the_delay_is_over_and_not_before() -> None:
    script = connecting().fail()
    at = script.session.retry_at
    assert at is not None
    assert at == script.session.next_deadline()
    script.wait(at - script.now - 1e-6)
    assert script.acts() == []
    script.wait(1e-6)
    assert (script.acts(), script.session.retry_at) == ([opening_of(2)], None)


def flap(device: Device, world: World, up: float) -> list[float]:
    """Reset every connection `up` seconds after it was established; return when they were within 20 s."""
    times: list[float] = []
    end = world.now + 20
    while True:
        world.run_until(lambda: device.session.socket_id)
        if world.now > end:
            return times
        times.append(world.now)
        world.run(up)
        world.reset(device)


def test_flapping_does_not_become_a_storm() -> None:
    """Fault N5: a reset 50 ms after every greeting, for 20 s. Delays are random: one seed in 300 has 9 connections."""
    gaps_of: list[list[float]] = []
    for seed in range(1, 51):
        world = World(seed)
        times = flap(world.device(), world, 0.05)
        assert 4 <= len(times) <= 8
        gaps = [after - before for before, after in pairwise(times)]
        assert all(gap >= 1 for gap in gaps[1:])
        gaps_of.append(gaps)
    assert len({tuple(gaps) for gaps in gaps_of}) == 50
    means = [mean([gaps[number] for gaps in gaps_of]) for number in range(3)]
    assert means == sorted(means)


def test_flapping_that_stays_up_for_seconds_still_backs_off() -> None:
    """Fault N5b: five seconds of connection do not reset the delays."""
    rows = []
    for seed in range(20):
        world = World(seed)
        device = world.device()
        for _ in range(6):
            world.run_until(partial(getattr, device.session, "socket_id"))
            world.run(5)
            world.reset(device)
        plans = device.of(RetryScheduled)
        assert [plan.attempt for plan in plans] == [1, 2, 3, 4, 5, 6]
        rows.append([plan.delay for plan in plans])
    means = [mean(column) for column in zip(*rows, strict=True)]
    assert means == sorted(means)
    assert means[-1] > 8


def test_a_thousand_clients_that_lose_one_server_do_not_reconnect_together() -> None:
    """Fault N5c."""
    delays = [connected(seed=seed).eof().delay() or 0.0 for seed in range(1000)]
    buckets = [0] * 10
    for delay in delays:
        buckets[int(delay * 10)] += 1
    assert max(buckets) < 200
    assert min(buckets) > 50


# The deadline of an attempt.


@pytest.mark.parametrize(
    ("make", "phase", "abort"),
    [
        (connecting, "name lookup, TCP or TLS", True),
        (upgrading, "the upgrade", True),
        (upgraded, "the greeting", True),
    ],
)
def test_an_attempt_ends_after_fifteen_seconds_in_whatever_phase(
    make: Callable[..., Script], phase: str, abort: bool
) -> None:
    """Faults N6, N7, N13."""
    script = make().wait(14.99)
    script.take()
    assert script.acts() == []
    script.wait(0.01)
    assert script.acts() == [CloseTransport(1, abort=abort)]
    reason = f"no connection within 15 s: {phase} did not end"
    assert script.session.last_loss == reason
    assert script.lost() == (None, reason, True)
    script.wait(1)
    assert script.acts() == [opening_of(2)]


def test_the_fifteen_seconds_are_for_all_phases_together() -> None:
    script = connecting().wait(5).open().wait(5).upgrade().wait(4.99)
    assert script.session.state is UNAVAILABLE
    script.acts()
    assert script.wait(0.01).acts() == [CloseTransport(1, abort=True)]


def test_bytes_without_a_greeting_do_not_prolong_the_attempt() -> None:
    script = upgraded()
    for _ in range(14):
        script.wait(1).ping().text(b"rubbish")
    script.acts()
    assert script.wait(1).acts() == [CloseTransport(1, abort=True)]


def test_the_deadline_is_an_option() -> None:
    script = connecting(connect_timeout=3.0).wait(3)
    assert script.lost() == (
        None,
        "no connection within 3 s: name lookup, TCP or TLS did not end",
        True,
    )


def test_a_driver_that_does_not_give_up_does_not_hold_up_the_next_attempt() -> None:
    script = connecting(answers=False).wait(15)
    assert script.acts() == [CloseTransport(1, abort=True)]
    script.wait(2)
    assert script.acts() == [opening_of(2), CloseTransport(1, abort=True)]
    script.open().upgrade().greet()
    assert script.session.state is CONNECTED


def test_once_connected_the_deadline_is_gone() -> None:
    script = connected().wait(15)
    assert (script.acts(), script.take()) == ([], [])


# The name UNAVAILABLE.


def test_trying_for_ten_seconds_is_called_unavailable_once() -> None:
    script = connecting()
    for _ in range(12):
        script.fail().retry()
    changes = script.take(StateChanged)
    assert changes == [StateChanged(CONNECTING, UNAVAILABLE, "no connection for 10 s")]
    script.greet()
    assert script.take(StateChanged) == [StateChanged(UNAVAILABLE, CONNECTED, "")]


def test_a_connection_that_is_back_soon_was_never_unavailable() -> None:
    script = connected().eof("reset")
    delay = script.delay()
    assert delay is not None
    script.wait(delay).greet().wait(3600)
    names = [event.current for event in script.take() if isinstance(event, StateChanged)]
    assert UNAVAILABLE not in names[:1]
    assert names[0] is CONNECTED


def test_unavailable_is_counted_from_the_loss() -> None:
    script = connected().wait(20).eof("reset")
    script.wait(9.99)
    assert script.session.state is CONNECTING
    script.wait(0.01)
    assert script.session.state is UNAVAILABLE


def test_after_a_refusal_or_a_disconnect_the_name_starts_again() -> None:
    script = unavailable().disconnect().connect()
    assert script.session.state is CONNECTING
    script = forgetful(unavailable().connect().greet().close(4009, TERMINATED).connect())
    assert script.session.state is CONNECTING
    assert script.wait(10).take(StateChanged) == [
        StateChanged(CONNECTING, UNAVAILABLE, "no connection for 10 s")
    ]


def test_each_change_of_state_is_reported_once_with_its_reason() -> None:
    script = Script().connect().fail("no route").retry().greet().close(1001, "restart").retry()
    script.greet().close(4009, "disconnected by the app").connect().disconnect().end()
    assert script.take(StateChanged) == [
        StateChanged(INITIALIZED, CONNECTING, "connecting"),
        StateChanged(CONNECTING, CONNECTED, ""),
        StateChanged(CONNECTED, CONNECTING, "restart"),
        StateChanged(CONNECTING, CONNECTED, ""),
        StateChanged(CONNECTED, FAILED, "disconnected by the app"),
        StateChanged(FAILED, CONNECTING, "connecting"),
        StateChanged(CONNECTING, DISCONNECTED, "disconnect() was called"),
    ]


@tried
@given(sequences)
def test_the_states_reported_make_a_chain_that_ends_in_the_state_of_the_session(
    sequence: Sequence,
) -> None:
    play = Play(sequence, stalls=False)
    play.run()
    play.finish()
    changes = [event for event in play.events if isinstance(event, StateChanged)]
    assert all(change.previous is not change.current for change in changes)
    states = [INITIALIZED, *(change.current for change in changes)]
    assert [change.previous for change in changes] == states[:-1]
    assert states[-1] is play.session.state


# Giving up.


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_max_attempts_is_how_often_a_connection_is_tried_in_a_row(limit: int) -> None:
    script = connecting(max_attempts=limit, unavailable_after=600.0)
    attempts(script, limit - 1, refused)
    script.fail("no route")
    assert script.take() == [
        StateChanged(CONNECTING, FAILED, "no route"),
        ConnectionLost(None, "no route", False),
    ]
    assert script.session.stats.attempts == limit
    assert script.wait(3600).session.state is FAILED
    assert isinstance(script.session.failure, ConnectionFailed)


@pytest.mark.parametrize("limit", [1, 3])
def test_a_stable_connection_makes_max_attempts_start_again(limit: int) -> None:
    script = connecting(max_attempts=limit, unavailable_after=600.0)
    script.greet().wait(30).eof()
    assert script.delay() is not None
    script.wait(1)
    attempts(script, limit - 1, refused)
    script.fail()
    assert script.session.state is FAILED
    assert script.session.stats.attempts == 1 + limit


def test_an_unstable_connection_counts_as_an_attempt() -> None:
    script = connecting(max_attempts=2)
    script.greet().eof()
    delay = script.delay()
    assert delay is not None
    script.wait(delay).greet().eof()
    assert script.session.state is FAILED


def test_connect_after_giving_up_has_all_attempts_again() -> None:
    script = connecting(max_attempts=2)
    for _ in range(3):
        attempts(script, 1, refused)
        script.fail()
        assert script.session.state is FAILED
        script.take()
        script.wait(1).connect()


@pytest.mark.parametrize(
    ("fail", "code", "reason"),
    [
        (lambda: connecting(reconnect=False).fail("refused"), None, "refused"),
        (lambda: connected(reconnect=False).eof("reset"), 1006, "reset"),
        (lambda: connected(reconnect=False).close(4200, "bye"), 4200, "bye"),
        (
            lambda: connected(reconnect=False).wait(150),
            1006,
            "the server did not answer a ping",
        ),
    ],
)
def test_without_reconnect_any_end_is_final(
    fail: Callable[[], Script], code: int | None, reason: str
) -> None:
    script = fail()
    assert script.session.state is FAILED
    assert script.session.failure is not None
    assert (script.session.failure.code, script.session.failure.reason) == (code, reason)
    assert script.lost() == (code, reason, False)
    script.acts()
    assert script.wait(3600).acts() == []


def test_a_bad_certificate_is_final() -> None:
    script = connecting().fail(ConnectionUnsafe("it is for other.test"))
    assert script.take() == [
        StateChanged(CONNECTING, FAILED, "it is for other.test"),
        ConnectionLost(None, "it is for other.test", False),
    ]


@pytest.mark.parametrize("failing", [lambda: failed(), lambda: connecting(reconnect=False).fail()])
def test_a_failure_is_gone_when_the_state_is_no_longer_failed(
    failing: Callable[[], Script],
) -> None:
    script = failing()
    assert script.session.failure is not None
    assert script.disconnect().session.failure is None
    script = failing()
    assert script.connect().session.failure is None
    script = failing()
    assert script.end().session.failure is None


# resolve_url.


def resolving(resolve: Callable[[Metadata], Any], **more: Any) -> Options:
    return Options(resolve_url=resolve, **more)


def test_the_url_is_requested_before_each_attempt() -> None:
    asked: list[Metadata] = []

    def resolve(metadata: Metadata) -> str:
        asked.append(metadata)
        return f"wss://node{len(asked)}.test/app/{metadata.key}?protocol={metadata.protocol}"

    script = Script(resolving(resolve, key="k")).connect()
    attempts(script, 2, refused)
    assert script.acts() == [
        OpenTransport(1, "node1.test", 443, True),
        OpenTransport(2, "node2.test", 443, True),
        OpenTransport(3, "node3.test", 443, True),
    ]
    assert script.open().acts() == ["GET /app/k?protocol=7 HTTP/1.1"]


def raises(_: Metadata) -> str:
    raise LookupError("no node is up")


@pytest.mark.parametrize(
    ("resolve", "reason"),
    [
        (raises, "LookupError: no node is up"),
        (lambda _: None, None),
        (lambda _: 5, None),
        (lambda _: b"wss://ws.test/app/k", None),
        (lambda _: ["wss://ws.test/app/k"], None),
        (lambda _: "", None),
        (lambda _: "ws.test", None),
        (lambda _: "ftp://ws.test/app/k", None),
        (lambda _: "wss://", None),
        (lambda _: "wss://[::1/app/k", None),
        (lambda _: "wss://ws.test:99999/app/k", None),
        (lambda _: "wss://ws .test/app/k", None),
        (lambda _: "wss://\ud800.test/app/k", None),
    ],
)
def test_a_url_that_cannot_be_had_is_a_failed_attempt(
    resolve: Callable[[Metadata], Any], reason: str | None
) -> None:
    script = Script(resolving(resolve)).connect()
    assert script.acts() == []
    first, lost, plan = script.take()
    assert first == StateChanged(INITIALIZED, CONNECTING, "connecting")
    assert isinstance(lost, ConnectionLost)
    assert (lost.code, lost.will_retry) == (None, True)
    assert lost.reason.startswith("no URL to connect to: ")
    assert reason is None or lost.reason.endswith(reason)
    assert isinstance(plan, RetryScheduled)
    assert 1 <= plan.delay < 2
    script.wait(3600)
    assert script.session.stats.attempts > 60
    assert [type(event) for event in script.take()[:2]] == [ConnectionLost, RetryScheduled]


def test_a_url_that_can_be_had_again_is_used() -> None:
    urls = iter([None, None, "ws://ws.test:6001/app/k"])
    script = Script(resolving(lambda _: next(urls))).connect().wait(10)
    assert script.acts() == [OpenTransport(1, "ws.test", 6001, False)]


@pytest.mark.parametrize("zero", [{"retry_base": 0.0}, {"retry_cap": 0.0}])
def test_without_any_delay_a_url_that_is_not_available_is_requested_once_a_second(
    zero: dict[str, float],
) -> None:
    script = Script(resolving(raises, **zero)).connect().wait(10)
    assert 9 <= script.session.stats.attempts <= 11


def test_without_reconnect_a_url_that_cannot_be_had_is_final() -> None:
    script = Script(resolving(raises, reconnect=False)).connect()
    assert script.session.state is FAILED
    assert script.session.next_deadline() is None


# Events and logs.


def test_how_long_it_was_offline_is_reported() -> None:
    script = connecting().wait(3).greet().wait(100).eof("reset").wait(1).fail().wait(5)
    script.wait(2).greet()
    established = script.take(ConnectionEstablished)
    assert established == [ConnectionEstablished("1.1", None), ConnectionEstablished("1.1", 108.0)]


def test_a_disconnect_counts_as_offline_too() -> None:
    script = connected().disconnect().wait(60).connect().greet()
    assert script.take(ConnectionEstablished) == [ConnectionEstablished("1.1", 60.0)]


def test_reasons_and_socket_ids_are_cut_to_a_line_in_events_and_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "pusher_proto")
    script = upgraded().greet({"socket_id": "1\n" * 5000, "activity_timeout": 120})
    script.eof("reset\nby\r\npeer " + "x" * 1000)
    assert len(script.session.last_loss) <= 256
    assert "\n" not in script.session.last_loss
    messages = [record.getMessage() for record in caplog.records]
    assert sum("1 1 1" in message or "xxx" in message for message in messages) >= 2
    assert all(len(message) < 400 and message.isprintable() for message in messages)


def test_an_error_without_text_has_the_name_of_its_class() -> None:
    assert connecting().fail(TimeoutError()).lost() == (
        None,
        "could not reach ws.test:80: timed out",
        True,
    )
    assert connecting().fail(KeyError()).lost() == (
        None,
        "could not reach ws.test:80: KeyError",
        True,
    )


def test_the_log_says_why_there_is_no_connection_and_when_the_next_attempt_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connecting().fail(OSError("no route"))
    connected().close(4200)
    messages = [re.sub(r"[0-9.]+ s$", "N s", record.getMessage()) for record in caplog.records]
    assert messages == [
        "no connection (could not reach ws.test:80: no route); next attempt in N s",
        "no connection (code 4200); next attempt in N s",
    ]
