"""Attribution of errors at servers that name no channel in their errors, or answer out of order."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.scripted import Script, connected
from pusher_proto import (
    ChannelState,
    ConnectionState,
    Options,
    OwnKey,
    ServerError,
    SignedIn,
    SignInFailed,
    SubscriptionFailed,
    UserState,
)
from pusher_proto.testing import DEMO_APP
from simulation import World

C = ChannelState
SUCCEEDED = "pusher_internal:subscription_succeeded"


@pytest.mark.parametrize("dialect", ["reverb", "sockudo"])
@pytest.mark.parametrize("known", [True, False])
def test_F2_K4_wrong_signatures_beside_good_channels_are_refused_within_a_round_trip(
    dialect: str, known: bool
) -> None:
    world = World(dialect=dialect)
    wrong = OwnKey(world.app.key, "another secret")
    device = world.connected(world.options(answers_in_order=known))
    device.subscribe("room")
    for name in ("private-a", "private-b"):
        device.subscribe(name, auth=wrong)
    device.subscribe("news", "private-good")
    world.run(4 * world.network.latency + 0.001)
    states = {name: device.session.channel(name).state for name in device.session.channels()}
    assert states == {
        "room": C.SUBSCRIBED,
        "private-a": C.FAILED,
        "private-b": C.FAILED,
        "news": C.SUBSCRIBED,
        "private-good": C.SUBSCRIBED,
    }
    for one in device.of(SubscriptionFailed):
        assert "the server refused" in str(one.error)
    if known:
        assert device.of(ServerError) == []


@pytest.mark.parametrize("dialect", ["reverb", "sockudo"])
def test_F12_a_client_event_that_is_refused_names_its_channel(dialect: str) -> None:
    world = World(dialect=dialect, apps=(replace(DEMO_APP, client_events=False),))
    device = world.connected(world.options(answers_in_order=True))
    device.subscribe("private-a", "private-b")
    world.run(1)
    device.trigger("private-a", "client-x", 1)
    world.run(1)
    (reported,) = device.of(ServerError)
    assert reported.channel == "private-a"


# A session and a server of any habit, by hand.


def options(in_order: bool) -> Options:
    auth = OwnKey("key", "secret", user={"id": "ada"})
    return Options.from_host("ws.test", key="key", tls=False, auth=auth, answers_in_order=in_order)


def answered(script: Script, rng: random.Random, bad: set[str], order: str) -> None:
    """Answer everything that was asked, in the order of asking or in any, until nothing more is asked."""
    asked: list[Any] = []
    for _ in range(200):
        asked += [act for act in script.frames() if isinstance(act, dict)]
        if not asked:
            return
        act = asked.pop(0 if order == "in order" else rng.randrange(len(asked)))
        script.now += 0.001
        name = act["data"].get("channel", "")
        match act["event"]:
            case "pusher:ping":
                script.send("pusher:pong")
            case "pusher:signin" if "sign-in" in bad:
                script.error(4009, "no sign-in" if order == "named" else "no")
            case "pusher:signin":
                script.send("pusher:signin_success", {"user_data": '{"id":"ada"}'})
            case "pusher:subscribe" if name in bad and order == "named":
                script.send("pusher:subscription_error", {"error": "no", "status": 4009}, name)
            case "pusher:subscribe" if name in bad:
                script.error(4009, "no")
            case "pusher:subscribe":
                script.send(SUCCEEDED, "{}", name)


@pytest.mark.parametrize("order", ["in order", "named", "any order"])
@pytest.mark.parametrize("known", [True, False])
@given(
    st.sets(st.sampled_from([*"abcdef", "sign-in"])),
    st.integers(0, 2**32),
    st.lists(st.integers(0, 1), min_size=7, max_size=7),
)
def test_nothing_good_is_refused_and_everything_bad_is(
    order: str, known: bool, bad: set[str], seed: int, turns: list[int]
) -> None:
    script = connected(options(known and order != "any order"))
    rng = random.Random(seed)
    for name, turn in zip([*"abc", "sign-in", *"def"], turns, strict=True):
        if name == "sign-in":
            script.do(script.session.signin)
        else:
            script.subscribe(name)
        if turn:
            answered(script, rng, bad, order)
    answered(script, rng, bad, order)
    reported = script.take()
    failed = [one.channel for one in reported if isinstance(one, SubscriptionFailed)]
    assert sorted(failed) == sorted(bad - {"sign-in"})
    for name in "abcdef":
        state = C.FAILED if name in bad else C.SUBSCRIBED
        assert script.session.channel(name).state is state
    signed = [type(one) for one in reported if isinstance(one, SignedIn | SignInFailed)]
    assert signed == [SignInFailed if "sign-in" in bad else SignedIn]
    user = UserState.FAILED if "sign-in" in bad else UserState.SIGNED_IN
    assert script.session.user.state is user


def test_F7_a_ping_that_a_rate_limit_refuses_is_not_a_lost_connection() -> None:
    reverb = Options.for_reverb("ws.test", key="key", tls=False, pong_timeout=5.0)
    script = connected(reverb)
    script.do(script.session.ping).send("pusher:pong")
    for _ in range(20):
        script.do(script.session.ping).error(4301, "Rate limit exceeded").wait(2)
    assert script.session.state is ConnectionState.CONNECTED
    script.do(script.session.ping)
    for _ in range(8):
        script.send("news", "1", "room").wait(2)
    assert script.session.state is not ConnectionState.CONNECTED
