"""Retries of a failed channel on the same connection, by the table of failures, and the pace of subscribes."""

from __future__ import annotations

import pytest

from proto.scripted import Script, connected
from pusher_proto import (
    AuthorizationError,
    ChannelState,
    Options,
    Subscribed,
    SubscriptionFailed,
)
from pusher_proto._channels.pacing import Pace
from simulation import Device, World

C = ChannelState
SUCCEEDED = "pusher_internal:subscription_succeeded"
ERROR = "pusher:subscription_error"


def failure(script: Script) -> SubscriptionFailed:
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    return failed


def asked(script: Script) -> list[str]:
    acts = [act for act in script.frames() if isinstance(act, dict)]
    return [act["data"]["channel"] for act in acts if act["event"] == "pusher:subscribe"]


# W6: what may pass.


def test_W6_an_unanswered_subscribe_is_sent_again() -> None:
    script = connected(subscribe_timeout=30.0).subscribe("room")
    asked(script)
    script.wait(30)
    delay = failure(script).retry_in
    assert delay is not None
    assert 1 <= delay <= 2
    assert script.session.channel("room").state is C.TIMED_OUT
    script.wait(delay)
    assert asked(script) == ["room"]
    script.send(SUCCEEDED, "{}", "room")
    assert script.take() == [Subscribed("room")]


def test_W6_a_late_answer_ends_the_wait_for_another_try() -> None:
    script = connected(subscribe_timeout=30.0).subscribe("room").wait(30)
    script.send(SUCCEEDED, "{}", "room").acts()
    script.wait(100)
    assert asked(script) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (408, "timeout"),
        (429, "too many"),
        (500, "oh"),
        (503, "no"),
        (4301, "Rate limit exceeded"),
        (None, "Internal error"),
    ],
)
def test_W6_a_refusal_that_can_pass_is_followed_by_another_try(code: int | None, text: str) -> None:
    script = connected().subscribe("room")
    delays = []
    for _ in range(8):
        asked(script)
        script.send(ERROR, {"error": text, "status": code}, "room")
        delay = failure(script).retry_in
        assert delay is not None
        delays.append(delay)
        script.wait(delay)
        assert asked(script) == ["room"]
    assert min(delays) >= 1.0
    assert 8.0 < max(delays) <= 30.0


def test_F6_K7_a_full_channel_is_requested_again_after_a_minute_and_less_and_less_often() -> None:
    script = connected(
        Options.for_sockudo("ws.test", key="key", tls=False, activity_override=1000)
    ).subscribe("room")
    delays = []
    for _ in range(7):
        script.send("pusher:error", {"message": "Over capacity", "code": 4100})
        script.send("pusher:pong")
        delay = failure(script).retry_in
        assert delay is not None
        delays.append(delay)
        script.wait(delay / 2).send("pusher:pong").wait(delay / 2).send("pusher:pong")
    minutes = (60, 120, 240, 480, 900, 900, 900)
    assert all(low <= delay <= 1.1 * low for low, delay in zip(minutes, delays, strict=True))
    script.send(SUCCEEDED, "{}", "room")
    assert script.take() == [Subscribed("room")]


def test_a_refusal_from_the_start_is_final_until_the_next_connection() -> None:
    script = connected().subscribe("room")
    script.send(ERROR, {"error": "no such thing", "status": 4009}, "room")
    assert failure(script).retry_in is None
    asked(script)
    script.wait(25)
    assert asked(script) == []


# W5: what was good once.


def test_W5_a_channel_that_was_subscribed_is_tried_again_when_it_is_refused() -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=world.authorization)
    device.subscribe("private-a")
    world.run(1)
    device.take()
    device.authorizer = lambda request: AuthorizationError("403", channel=request.channel)
    world.reset(device)
    delays: list[float] = []
    for _ in range(5):
        world.run_until(lambda: len(device.of(SubscriptionFailed)) > len(delays), 4000)
        delay = device.of(SubscriptionFailed)[-1].retry_in
        assert delay is not None
        delays.append(delay)
    minutes = (60, 300, 900, 3600, 3600)
    assert all(low <= delay <= 1.1 * low for low, delay in zip(minutes, delays, strict=True))
    device.authorizer = world.authorization
    world.run_until(lambda: device.session.channel("private-a").state is C.SUBSCRIBED, 4000)


def test_W5_one_that_was_left_and_subscribed_again_is_new() -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=world.authorization)
    device.subscribe("private-a")
    world.run(1)
    device.unsubscribe("private-a")
    device.take()
    device.authorizer = lambda request: AuthorizationError("403", channel=request.channel)
    device.subscribe("private-a")
    world.run(1)
    assert [one.retry_in for one in device.of(SubscriptionFailed)] == [None]


# K10, F7: the pace.


def times_of(world: World, device: Device, names: list[str], seconds: int) -> list[int]:
    """Return how many channels are subscribed after each second."""
    device.subscribe(*names)
    counts = []
    for _ in range(seconds):
        world.run(1)
        states = [device.session.channel(name).state for name in names]
        counts.append(states.count(C.SUBSCRIBED))
    return counts


def test_K10_subscribes_keep_to_the_rate() -> None:
    world = World()
    device = world.connected(world.options(subscribe_rate=5))
    names = [f"room-{n}" for n in range(23)]
    counts = times_of(world, device, names, 5)
    assert counts == [9, 14, 19, 23, 23]  # five at once, and five in each second
    assert device.session.channels() == tuple(names)
    device.unsubscribe("room-0")
    world.reset(device)
    world.run_until(lambda: device.session.socket_id is not None)
    world.run(0.1)
    states = [device.session.channel(name).state for name in names]
    assert states.count(C.PENDING) == 17
    device.unsubscribe("room-22")
    world.run(5)
    assert len(world.server.channels()) == 21


def test_K10_a_close_with_4301_slows_subscribing_until_all_are_in() -> None:
    world = World()
    device = world.connected()
    names = [f"room-{n}" for n in range(25)]
    taken: dict[int, list[float]] = {}
    receive = world._to_server

    def limited(wire, data):  # type: ignore[no-untyped-def]  # as the method it stands for
        """Take ten messages in two seconds, and end the connection at one more."""
        receive(wire, data)
        if wire.ended or wire.connection not in world.server.connections:
            return
        recent = [at for at in taken.get(wire.connection, []) if at > world.now - 2.0]
        taken[wire.connection] = [*recent, world.now]
        if len(recent) >= 10:
            world.act(
                world.server.drop,
                4301,
                "Connection closed due to client event rate limit",
                connection=wire.connection,
                error_event=True,
            )

    world._to_server = limited  # type: ignore[method-assign]  # a server with a limit
    counts = times_of(world, device, names, 60)
    assert counts[-1] == 25
    assert device.of(SubscriptionFailed) == []


def test_a_pace_lets_those_of_a_second_go_at_once() -> None:
    pace = Pace(2.0)
    assert [pace.take(0.0) for _ in range(3)] == [True, True, False]
    assert pace.due() == 0.5
    assert pace.take(0.5)
    assert [pace.take(100.0) for _ in range(3)] == [True, True, False]
    assert Pace(None).due() == float("-inf")


def test_a_pace_slows_down_by_what_was_taken_and_never_stops() -> None:
    pace = Pace(None)
    pace.slow_down(10)
    assert [pace.take(0.0) for _ in range(2)] == [True, False]
    assert pace.due() == pytest.approx(0.2)
    for _ in range(10):
        pace.slow_down(0)
    assert pace.take(0.2)
    assert pace.due() == pytest.approx(2.2)
