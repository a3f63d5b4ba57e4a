"""A sign-in that fails: when it is tried again, waiting channels, and answers that are early, late or wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.scripted import Script, connected, forgetful
from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelState,
    ConnectionEstablished,
    Options,
    OwnKey,
    ProtocolViolation,
    ServerError,
    SignedIn,
    SignInFailed,
    Subscribed,
    SubscriptionFailed,
    WatchlistOffline,
    WatchlistOnline,
)
from pusher_proto.states import UserState
from simulation import Device, World

ADA: dict[str, Any] = {"id": "ada"}
SUCCESS = {"user_data": '{"id":"ada"}'}


class Endpoint:
    """An application that signs, while it is there."""

    def __init__(self, world: World, *, without_member: bool = False) -> None:
        self.world = world
        self.away = self.silent = False
        self.member = None if without_member else {"user_id": "ada"}

    def __call__(self, request: AuthRequest) -> AuthResponse | BaseException | None:
        if self.silent:
            return None
        if self.away:
            return AuthorizationError("503", channel=request.channel, temporary=True)
        return self.world.authorization(request, user=ADA, member=self.member)


def signing_in(world: World, **more: Any) -> tuple[Device, Endpoint]:
    """Return a device that is signed in by an application, and the application."""
    endpoint = Endpoint(world, **more)
    device = world.connected(world.options(auth=None), authorizer=endpoint)
    device.do(device.session.signin)
    device.subscribe("presence-room")
    world.run(1)
    assert device.session.user.state is UserState.SIGNED_IN
    device.take()
    return device, endpoint


def scripted(*channels: str) -> Script:
    """Return a script whose client has sent its sign-in and its subscribes."""
    auth = {"user": ADA, "member": {"user_id": "ada"}}
    script = forgetful(connected(options(**auth)))
    script.do(script.session.signin).subscribe(*channels)
    return forgetful(script)


def options(**key: Any) -> Options:
    return Options.from_host("ws.test", key="key", tls=False, auth=OwnKey("key", "secret", **key))


# Tried again.


@pytest.mark.parametrize("seed", range(20))
def test_D2_an_endpoint_that_is_away_for_12_s_at_a_reconnect_is_asked_until_it_answers(
    seed: int,
) -> None:
    world = World(seed)
    device, endpoint = signing_in(world)
    endpoint.away = True
    world.reset(device)
    world.run_until(lambda: device.of(ConnectionEstablished))
    greeted = world.now
    world.run(12)
    endpoint.away = False
    world.run_until(lambda: device.session.user.state is UserState.SIGNED_IN)
    assert world.now - greeted <= 12 + 10
    failures = device.of(SignInFailed)
    assert failures
    assert all(0 < failed.retry_in <= 8 for failed in failures)
    assert "503" in str(failures[0].error)


def test_D2_a_sign_in_that_was_good_is_never_final_and_its_delays_grow() -> None:
    world = World()
    device, endpoint = signing_in(world)
    endpoint.away = True
    world.reset(device)
    world.run(4 * 3600)
    delays = [failed.retry_in for failed in device.of(SignInFailed)]
    assert 8 < max(delays) <= 30
    assert len(delays) < 1_000
    endpoint.away = False
    world.run_until(lambda: device.session.user.state is UserState.SIGNED_IN, limit=1000)


@pytest.mark.parametrize("how", ["refused", "unanswered"])
def test_D2_a_failure_by_the_server_is_tried_again_only_after_a_success(how: str) -> None:
    def fail(script: Script) -> SignInFailed:
        if how == "refused":
            script.send("pusher:error", {"code": 4009, "message": "no sign-in"})
        else:
            script.wait(10)
        (failed,) = (event for event in script.take() if isinstance(event, SignInFailed))
        return failed

    script = scripted()
    assert fail(script).retry_in is None
    script.do(script.session.signin).send("pusher:signin_success", SUCCESS)
    script.take()
    script.eof("reset").retry()
    script.open().upgrade().greet()
    failed = fail(script)
    assert failed.retry_in is not None
    forgetful(script).wait(failed.retry_in)
    assert [act["event"] for act in script.frames()] == ["pusher:signin"]


def test_D2_signin_does_not_wait_for_the_delay() -> None:
    world = World()
    device, endpoint = signing_in(world)
    endpoint.away = True
    world.reset(device)
    world.run_until(lambda: device.of(SignInFailed))
    endpoint.away = False
    device.do(device.session.signin)
    world.run(0.1)
    assert device.session.user.state is UserState.SIGNED_IN
    world.run(20)
    assert len(device.of(SignedIn)) == 1


def test_D7_a_planned_retry_is_a_warning_with_its_delay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pusher_proto.session")
    world = World()
    device, endpoint = signing_in(world)
    endpoint.away = True
    world.reset(device)
    world.run_until(lambda: device.of(SignInFailed))
    (record,) = (r for r in caplog.records if "signed in" in r.message)
    assert record.levelno == logging.WARNING
    assert "next try in" in record.message


# Channels that wait for it.


def test_D3_only_presence_channels_without_channel_data_wait_for_a_silent_endpoint() -> None:
    world = World()
    device, endpoint = signing_in(world, without_member=True)
    device.subscribe("room")
    world.run(1)
    device.take()
    endpoint.silent = True
    world.reset(device)
    world.run_until(lambda: device.of(ConnectionEstablished))
    world.run(4 * world.network.latency)
    assert [event.channel for event in device.of(Subscribed)] == ["room"]
    assert device.session.channel("presence-room").state is ChannelState.AUTHORIZING


def test_D3_a_presence_channel_that_failed_without_a_user_follows_a_later_sign_in() -> None:
    world = World()
    device, endpoint = signing_in(world, without_member=True)
    endpoint.away = True
    world.reset(device)
    world.run_until(lambda: device.of(SignInFailed))
    # The endpoint signs the channel before the user.
    device.authorizer = lambda request: (
        endpoint(request) if request.channel is None else world.authorization(request)
    )
    world.run_until(lambda: device.of(SubscriptionFailed))
    world.run(10)
    why = "has no channel_data, and no user is signed in"
    assert why in str(device.of(SubscriptionFailed)[-1].error)
    endpoint.away = False
    world.run(10)
    assert device.session.channel("presence-room").state is ChannelState.SUBSCRIBED


def test_a_presence_channel_without_a_user_waits_for_a_sign_in_that_succeeds_at_last() -> None:
    script = forgetful(connected(auth=None))
    script.do(script.session.signin).subscribe("presence-room")
    script.do(script.session.authorized, 2, AuthResponse("key:room"))
    script.do(script.session.authorization_failed, 1, PermissionError("no"))
    assert [type(event) for event in script.take()] == [SignInFailed, SubscriptionFailed]
    script.do(script.session.signin)
    script.do(script.session.authorization_failed, 3, PermissionError("still not"))
    assert [type(event) for event in script.take()] == [SignInFailed]
    script.do(script.session.signin)
    script.do(script.session.authorized, 4, AuthResponse("key:u", user_data='{"id":"ada"}'))
    forgetful(script).send("pusher:signin_success", SUCCESS)
    assert [type(act).__name__ for act in script.acts()] == ["dict", "Authorize"]


# Answers.


def test_K5_a_success_counts_after_an_error_that_was_attributed_to_the_sign_in() -> None:
    script = scripted()
    script.send("pusher:error", {"code": 4300, "message": "Channel error: Missing user_id"})
    script.send("pusher:pong")
    assert [type(event) for event in script.take()] == [SignInFailed]
    script.send("pusher:signin_success", SUCCESS)
    assert script.take() == [SignedIn("ada", ADA)]


def test_K5_a_late_success_ends_a_pending_retry() -> None:
    world = World()
    device, endpoint = signing_in(world)
    endpoint.away = True
    world.reset(device)
    world.run_until(lambda: device.of(SignInFailed))
    endpoint.away, endpoint.silent = False, True
    world.run(9)
    assert device.session.user.state is UserState.AUTHORIZING
    world.say("pusher:signin_success", SUCCESS)
    number, request = device.asked[-1]
    device.do(device.session.authorized, number, world.authorization(request, user=ADA))
    world.run(60)
    assert device.of(SignedIn) == [SignedIn("ada", ADA)]


def test_an_error_about_signing_in_is_an_error_of_the_server_when_no_sign_in_is_in_progress() -> (
    None
):
    script = forgetful(connected())
    script.send("pusher:error", {"code": 4009, "message": "Not authorized for sign-in"})
    assert script.take() == [ServerError(4009, "Not authorized for sign-in")]


def test_a_success_without_a_user_does_not_end_a_request_for_an_authorization() -> None:
    script = forgetful(connected(auth=None))
    script.do(script.session.signin).send("pusher:signin_success", {})
    assert [type(event) for event in script.take()] == [ProtocolViolation]
    assert script.session.user.state is UserState.AUTHORIZING


# The watchlist.


def test_K6_users_who_are_online_already_are_reported_after_the_success() -> None:
    script = scripted()
    script.send("online", {"user_ids": ["ada"]})
    script.send("online", {"user_ids": ["bob"]})
    script.send("offline", {"user_ids": ["eve"]})
    assert script.take() == []
    script.send("pusher:signin_success", {"user_data": '{"id":"ada","watchlist":["bob","eve"]}'})
    user = {"id": "ada", "watchlist": ["bob", "eve"]}
    assert script.take() == [
        SignedIn("ada", user),
        WatchlistOnline(("bob",)),
        WatchlistOffline(("eve",)),
    ]
    assert script.session.user.online == {"bob"}


def test_K6_the_users_own_id_is_reported_if_it_is_on_the_watchlist() -> None:
    script = scripted().send("online", {"user_ids": ["ada", 7]})
    script.send("pusher:signin_success", {"user_data": '{"id":"ada","watchlist":["ada",7]}'})
    assert script.take()[1:] == [WatchlistOnline(("ada", "7"))]


def test_K6_what_was_held_ends_with_its_connection_and_is_bounded() -> None:
    script = scripted()
    for n in range(1_500):
        script.send("online", {"user_ids": [f"user-{n}"]})
    script.send("pusher:signin_success", SUCCESS)
    assert len(script.take()) == 1 + 1_000
    script = scripted().send("online", {"user_ids": ["bob"]})
    script.eof("reset").retry()
    script.open().upgrade().greet().send("pusher:signin_success", SUCCESS)
    assert [event for event in script.take() if isinstance(event, WatchlistOnline)] == []


def test_K6_without_a_sign_in_watchlist_messages_are_dropped() -> None:
    script = forgetful(connected())
    script.send("pusher_internal:watchlist_events", {"events": [{"name": "online"}]})
    assert script.take() == []


Moment = tuple[str, Any]
MOMENTS: st.SearchStrategy[list[Moment]] = st.lists(
    st.one_of(
        st.just(("success", None)),
        st.just(("error", None)),
        st.just(("lose", None)),
        st.just(("signin", None)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 11.0, 40.0])),
    ),
    max_size=12,
)


@given(MOMENTS)
def test_K5_after_a_success_on_this_connection_the_user_is_signed_in(moments: list[Moment]) -> None:
    """Whatever came before it: refusals, silence, losses."""
    script = scripted()
    for moment, seconds in [*moments, ("success", None)]:
        asked = script.session.user.state is not UserState.SIGNED_OUT
        match moment:
            case "success":
                script.send("pusher:signin_success", SUCCESS)
                assert (script.session.user.id == "ada") is asked
            case "error":
                script.send("pusher:error", {"code": 4300, "message": "no"})
            case "signin":
                script.do(script.session.signin)
            case "lose":
                script.eof("reset").retry()
                script.open().upgrade().greet()
            case _:
                script.wait(seconds)
        assert (script.session.user.id is None) is (
            script.session.user.state is not UserState.SIGNED_IN
        )
    unplaced = [event for event in script.take() if isinstance(event, ServerError)]
    assert all(event.code == 4300 for event in unplaced)


def test_F5_a_sign_in_larger_than_the_server_takes_fails_and_is_not_sent() -> None:
    auth = OwnKey("key", "secret", user={"id": "ada", "name": "x" * 300})
    script = connected(auth=auth, max_frame=200)
    script.do(script.session.signin)
    (failed,) = script.take()
    assert isinstance(failed, SignInFailed)
    assert "the limit is 200 (Options.max_frame)" in str(failed.error)
    assert script.frames() == []
