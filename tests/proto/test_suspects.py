"""One channel that ends every connection costs the others nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proto.scripted import Script, connected
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    ChannelState,
    ConnectionLost,
    Options,
    OwnKey,
    Subscribed,
    SubscriptionError,
    SubscriptionFailed,
)
from pusher_proto._channels.suspects import Suspects
from pusher_proto.signing import sign_channel, sign_user
from pusher_proto.testing import DEMO_APP, MessageRate, Server, ServerOptions
from simulation import Device, Wire, World

C = ChannelState
SUBSCRIBE, SUCCEEDED = "pusher:subscribe", "pusher_internal:subscription_succeeded"


class Poisoned(World):
    """A world whose server silently ends a connection that subscribes to one of these channels."""

    def __init__(self, *poison: str, **options: Any) -> None:
        super().__init__(**options)
        self.poison = set(poison)
        self.asked: list[str] = []
        for name in poison:
            self.server.refuse_channel(name, shape="silent", now=self.now)

    def _to_server(self, wire: Wire, data: bytes) -> None:
        super()._to_server(wire, data)
        heard = list(self.server.received)
        self.server.received.clear()
        for message in heard:
            there = message.connection in self.server.connections
            if there and message.event == SUBSCRIBE and message.channel in self.poison:
                self.asked.append(message.channel)
                self.act(self.server.drop, None, connection=message.connection, close_frame=False)


def up(device: Device, names: list[str]) -> bool:
    return all(device.session.channel(name).state is C.SUBSCRIBED for name in names)


@pytest.mark.parametrize("poison", [["poison-a"], ["poison-a", "poison-b"]])
@pytest.mark.parametrize("at", [0, 20, 50])
def test_K3_a_poisonous_channel_among_fifty(poison: list[str], at: int) -> None:
    world = Poisoned(*poison, seed=at)
    device = world.connected()
    good = [f"good-{n}" for n in range(50)]
    device.subscribe(*good[:at], *poison, *good[at:])
    seconds = 0
    for _ in range(600):
        world.run(1)
        seconds += up(device, good)
    assert seconds >= 0.95 * 600
    for name in poison:
        failures = [one for one in device.of(SubscriptionFailed) if one.channel == name]
        assert failures
        for one in failures:
            assert str(one.error) == (
                f"the server ended the connection when {name!r} was subscribed: "
                "the connection ended without a close frame"
            )
        delays = [one.retry_in for one in failures]
        assert all(
            low <= d <= 1.2 * low for low, d in zip((60, 120, 240, 480), delays, strict=False)
        )
        assert device.session.channel(name).state is C.FAILED
    assert {one.channel for one in device.of(SubscriptionFailed)} == set(poison)


def test_K3_the_error_of_a_presence_channel_without_channel_data_says_what_to_sign() -> None:
    world = Poisoned("presence-room")
    device = world.device(
        Options.from_host("pusher.test", key="demo", tls=False), authorizer=without_data
    )
    device.do(device.session.signin)
    device.subscribe("presence-room")
    world.run(60)
    assert str(device.of(SubscriptionFailed)[0].error) == (
        "the server ended the connection when 'presence-room' was subscribed: the connection ended without a close "
        "frame (this server does not use the signed-in user as the member: sign channel_data)"
    )


def without_data(request: AuthRequest) -> AuthResponse:
    """Sign the user, and channels without a member."""
    key, secret = DEMO_APP.key, DEMO_APP.secret
    if request.channel is None:
        data = '{"id":"7"}'
        return AuthResponse(sign_user(key, secret, request.socket_id, data), user_data=data)
    return AuthResponse(sign_channel(key, secret, request.socket_id, request.channel))


def test_a_channel_that_was_poisonous_is_subscribed_once_it_is_good() -> None:
    world = Poisoned("poison")
    device = world.connected()
    device.subscribe("good", "poison")
    world.run(30)
    assert device.session.channel("poison").state is C.FAILED
    world.poison.clear()
    world.act(world.server.refuse_channel, "poison", times=0)
    world.act(world.server.allow)
    world.run(90)
    assert up(device, ["good", "poison"])
    losses = len(device.of(ConnectionLost))
    world.run(300)
    world.reset(device)  # and it is a channel like the others again
    world.run(10)
    assert up(device, ["good", "poison"])
    assert len(device.of(ConnectionLost)) == losses + 1


def test_a_poisonous_channel_that_was_unsubscribed_is_forgotten() -> None:
    world = Poisoned("poison")
    device = world.connected()
    device.subscribe("poison", "good")
    world.run(30)
    device.unsubscribe("poison")
    losses = len(device.of(ConnectionLost))
    world.run(600)
    assert (len(device.of(ConnectionLost)), device.session.channels()) == (losses, ("good",))


def test_it_waits_its_time_across_connections() -> None:
    world = Poisoned("poison")
    device = world.connected()
    device.subscribe("poison", "good")
    world.run_until(lambda: device.of(SubscriptionFailed))
    asked = len(world.asked)
    for _ in range(5):
        world.reset(device)
        world.run(8)
    assert device.session.channel("poison").state is C.FAILED
    assert len(world.asked) == asked
    world.run_until(lambda: len(world.asked) > asked, 60)


# The end by hand.


def reconnected(script: Script) -> Script:
    script.retry().greet()
    return script


def channels_asked(script: Script) -> list[Any]:
    return [act["data"].get("channel", "ping") for act in script.frames() if isinstance(act, dict)]


def member(size: int) -> Options:
    auth = OwnKey("key", "secret", member={"user_id": "1", "user_info": "x" * size})
    return Options.from_host("ws.test", key="key", tls=False, auth=auth)


def test_F5_a_1009_of_the_server_behind_a_single_subscribe_fails_it_at_once() -> None:
    script = connected(member(20_000)).subscribe("presence-large")
    script.close(1009, "Maximum message size exceeded")
    (failed,) = [one for one in script.take() if isinstance(one, SubscriptionFailed)]
    assert failed.channel == "presence-large"
    assert "Maximum message size exceeded" in str(failed.error)
    assert failed.retry_in == pytest.approx(60, rel=0.1)
    assert channels_asked(reconnected(script)) == ["presence-large"]  # of the first connection


def test_F5_a_subscribe_larger_than_the_server_takes_is_not_sent() -> None:
    auth = OwnKey("key", "secret", member={"user_id": "1", "user_info": "x" * 10_000})
    script = connected(Options.for_reverb("ws.test", key="key", tls=False, auth=auth))
    script.subscribe("presence-large")
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert isinstance(failed.error, SubscriptionError)
    assert "the limit is 10000 (Options.max_frame)" in str(failed.error)
    assert (failed.retry_in, script.frames()) == (None, [])
    script.subscribe("room").send(SUCCEEDED, "{}", "room")
    assert script.take() == [Subscribed("room")]


def test_K3b_a_cached_event_too_large_to_be_read_is_its_channel_s_after_three_connections() -> None:
    script = connected(max_message_size=1000)
    script.subscribe("cache-large", "room")
    for _ in range(2):
        script.send(SUCCEEDED, "{}", "cache-large").send("price", "x" * 2000, "cache-large")
        assert [one.code for one in script.take() if isinstance(one, ConnectionLost)] == [1009]
        script.retry().greet()
    channels_asked(script)
    script.send(SUCCEEDED, "{}", "room")
    assert channels_asked(script) == []
    script.wait(0)
    assert script.session.channel("cache-large").state is C.SUBSCRIBING


def test_ends_with_a_code_cause_no_suspicion_of_a_channel() -> None:
    script = connected().subscribe("a", "b")
    for _ in range(4):
        script.close(4200, "restarting")
        reconnected(script)
    script.acts()
    script.take()
    script.close(4200)
    assert sorted(channels_asked(reconnected(script))) == ["a", "b"]


def test_suspects_are_found_one_by_one() -> None:
    suspects = Suspects()
    assert suspects.ended(1006, ["a", "b"], None, None, 0) is None
    assert not suspects.suspected("a")
    assert suspects.ended(1006, ["a", "b"], "c", None, 0) is None
    assert [suspects.suspected(name) for name in "abcd"] == [True, True, True, False]
    assert suspects.ended(1006, [], None, "a", 0) is None  # it was lost after the answer
    assert suspects.ended(1006, ["b"], None, "b", 0) == "b"
    assert (suspects.convicted("b"), suspects.convicted("a")) == (True, False)
    for name in "abc":
        suspects.cleared(name)
    assert suspects.ended(1006, ["a", "d"], None, None, 0) is None
    assert suspects.ended(1006, [], None, None, 0) is None
    assert suspects.ended(1006, ["a", "d"], None, None, 0) is None  # the first of a row again
    assert not suspects.suspected("a")
    assert suspects.ended(1009, ["a"], None, None, 0) == "a"
    assert suspects.ended(4301, ["d"], None, None, 0) is None


def test_a_suspect_goes_first_where_a_limit_of_messages_may_be_the_reason() -> None:
    suspects = Suspects()
    for _ in range(2):
        assert suspects.ended(1006, ["a", "b"], None, None, 5) is None
    assert suspects.ended(1006, ["a"], None, "a", 5) is None
    assert [suspects.goes_first(name) for name in "ab"] == [True, False]
    assert [suspects.suspected(name) for name in "ab"] == [False, True]
    assert suspects.ended(4200, ["a"], None, None, 0) is None
    assert suspects.goes_first("a")
    # It ends its connection again: then it is the reason, and there is no limit.
    assert suspects.ended(1006, ["a", "c"], None, None, 0) == "a"
    assert suspects.ended(1006, ["b"], None, "b", 5) == "b"
    assert not suspects.limited


def test_a_suspect_that_goes_first_and_is_answered_shows_a_limit_of_messages() -> None:
    suspects = Suspects()
    for _ in range(2):
        assert suspects.ended(1006, ["a", "b"], None, None, 5) is None
    assert suspects.ended(1006, ["a"], None, "a", 5) is None
    suspects.answered("b")
    suspects.answered("a")
    for _ in range(6):
        assert suspects.ended(1006, ["b"], None, None, 5) is None
        assert suspects.limited
        assert not suspects.suspected("b")
    # The pace is at its slowest, so there is another reason.
    for _ in range(2):
        assert suspects.ended(1006, ["b"], None, None, 5) is None
        assert not suspects.limited
    assert suspects.suspected("b")


def test_a_suspect_that_is_left_does_not_go_first() -> None:
    suspects = Suspects()
    for _ in range(2):
        assert suspects.ended(1006, ["a", "b"], None, None, 5) is None
    assert suspects.ended(1006, ["a"], None, "a", 5) is None
    suspects.cleared("a")
    assert not suspects.goes_first("a")


def test_a_suspect_that_is_still_being_authorized_holds_the_next_one_back() -> None:
    script = connected(auth=None).subscribe("private-a", "private-b")

    def authorize() -> None:
        for asked in script.asked:
            answer = AuthResponse("key:signature")
            script.do(script.session.authorized, asked.request, answer)
        script.asked.clear()

    authorize()
    for _ in range(2):
        script.eof()
        reconnected(script)
        if len(script.asked) > 1:
            authorize()
    assert [one.details.channel for one in script.asked] == ["private-a"]
    script.send("pusher:pong")
    assert [one.details.channel for one in script.asked] == ["private-a"]
    channels_asked(script)
    authorize()
    assert channels_asked(script) == ["private-a", "ping"]
    script.send(SUCCEEDED, "{}", "private-a")
    assert script.asked == []
    script.send("pusher:pong")
    assert [one.details.channel for one in script.asked] == ["private-b"]


@pytest.mark.parametrize("kind", ["public", "private", "mixed"])
@pytest.mark.parametrize(
    ("rate", "channels", "within"),
    [
        (MessageRate(messages=10, seconds=1, ends=True), 25, 30),
        # The numbers that Reverb has by default.
        (MessageRate(messages=60, seconds=60, ends=True), 80, 300),
    ],
)
def test_F7_a_limit_of_messages_that_ends_connections_blames_no_channel(
    rate: MessageRate, channels: int, within: float, kind: str
) -> None:
    app = replace(DEMO_APP, message_rate=rate)
    world = World(server=Server([app], options=ServerOptions(dialect="reverb")))
    options = Options.for_reverb("pusher.test", key=DEMO_APP.key, tls=False)
    device = world.connected(options, authorizer=without_data)
    private = {"public": 0, "private": channels, "mixed": channels // 2}[kind]
    names = [f"channel-{n}" for n in range(private, channels)]
    names += [f"private-channel-{n}" for n in range(private)]
    device.subscribe(*names)
    world.run_until(lambda: up(device, names), within)
    assert device.of(SubscriptionFailed) == []
    losses = len(device.of(ConnectionLost))
    world.run(600)
    assert (up(device, names), len(device.of(ConnectionLost))) == (True, losses)
    world.reset(device)
    world.run_until(lambda: up(device, names), within)
    assert len(device.of(ConnectionLost)) == losses + 1


def test_the_others_wait_for_the_suspect_that_goes_first() -> None:
    script = connected(auth=None, auth_timeout=5.0)
    good = [f"good-{n}" for n in range(5)]
    script.subscribe(*good, "private-a", "private-b")

    def authorize() -> None:
        for asked in script.asked:
            script.do(script.session.authorized, asked.request, AuthResponse("key:signature"))
        script.asked.clear()

    for _ in range(3):
        for name in good:
            script.send(SUCCEEDED, "{}", name)
        authorize()
        channels_asked(script)
        script.eof()
        reconnected(script)
    # Nothing else is requested until the suspect is subscribed ...
    assert ([one.details.channel for one in script.asked], channels_asked(script)) == (
        ["private-a"],
        [],
    )
    authorize()
    assert channels_asked(script) == ["private-a", *good]
    script.eof()
    assert [one.channel for one in script.take() if isinstance(one, SubscriptionFailed)] == [
        "private-a"
    ]


def test_the_others_do_not_wait_for_ever() -> None:
    script = connected(auth=None, auth_timeout=5.0)
    good = [f"good-{n}" for n in range(5)]
    script.subscribe(*good, "private-a", "private-b")
    for _ in range(3):
        for name in good:
            script.send(SUCCEEDED, "{}", name)
        for asked in script.asked:
            script.do(script.session.authorized, asked.request, AuthResponse("key:signature"))
        script.asked.clear()
        channels_asked(script)
        script.eof()
        reconnected(script)
    script.do(script.session.unsubscribe, "private-a")
    assert channels_asked(script) == []
    script.wait(5)
    assert channels_asked(script) == good
