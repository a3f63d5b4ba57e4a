"""Signing in: on each connection before the channels, in every shape of answer; the user's events, the watchlist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelState,
    ConnectionLost,
    ConnectionState,
    Event,
    Member,
    OwnKey,
    ProtocolViolation,
    ServerError,
    SignedIn,
    SignInError,
    SignInFailed,
    Subscribed,
    SubscriptionCount,
    SubscriptionFailed,
    UserEvent,
    WatchlistOffline,
    WatchlistOnline,
)
from pusher_proto._channels.user import UserSnapshot
from pusher_proto.states import USER, USER_IGNORED, UserInput, UserState
from pusher_proto.testing import DEMO_APP
from simulation import Device, World

ADA = {"id": "ada", "user_info": {"name": "Ada"}}


def device_of(world: World, user: dict[str, Any] | None = None, **options: Any) -> Device:
    """Return a connected device that can sign in as `user`."""
    return world.connected(world.options(auth=world.own_key(user=user or ADA), **options))


def signed_in(world: World, user: dict[str, Any] | None = None, **options: Any) -> Device:
    device = device_of(world, user, **options)
    device.do(device.session.signin)
    world.run(1)
    device.take()
    world.heard()
    return device


def mute(world: World) -> Device:
    """Return a device that has signed in with a server that says nothing by itself."""
    device = device_of(world)
    world.server.mute(now=world.now)
    device.do(device.session.signin)
    world.run(0.1)
    assert world.heard() == [("pusher:signin", None)]
    return device


def failure(device: Device) -> str:
    """Return why the sign-in failed, which is the only event."""
    (failed,) = device.take()
    assert isinstance(failed, SignInFailed)
    assert isinstance(failed.error, SignInError)
    user = device.session.user
    assert user == UserSnapshot(UserState.FAILED, last_error=failed.error, retry_at=user.retry_at)
    return str(failed.error)


def test_every_pair_of_state_and_input_is_decided_once() -> None:
    assert set(USER) | USER_IGNORED == set(product(UserState, UserInput))
    assert set(USER) & USER_IGNORED == set()


# Signing in.


def test_the_user_is_signed_in_and_their_channel_subscribed() -> None:
    world = World()
    device = device_of(world)
    device.do(device.session.signin)
    world.run(1)
    assert device.take() == [SignedIn("ada", ADA)]
    assert device.session.user == UserSnapshot(UserState.SIGNED_IN, "ada", ADA)
    assert world.server.users() == {"ada": {device.session.socket_id}}
    assert world.heard() == [
        ("pusher:signin", None),
        ("pusher:subscribe", "#server-to-user-ada"),
    ]


def test_no_user_signs_in_without_a_request() -> None:
    world = World()
    device = device_of(world)
    world.run(1)
    assert device.session.user == UserSnapshot(UserState.SIGNED_OUT)
    assert (device.session.wants_user, world.heard()) == (False, [])


def test_signing_in_twice_is_signing_in_once() -> None:
    world = World()
    device = device_of(world)
    device.do(device.session.signin)
    device.do(device.session.signin)
    world.run(1)
    device.do(device.session.signin)
    world.run(1)
    assert [event for event, _ in world.heard()] == ["pusher:signin", "pusher:subscribe"]
    assert device.take() == [SignedIn("ada", ADA)]


def test_the_sign_in_is_sent_before_the_channels_on_each_connection() -> None:
    world = World()
    device = world.device(
        world.options(auth=world.own_key(user=ADA, member={"user_id": "x"})), connect=False
    )
    device.subscribe("room", "private-room", "presence-room")
    device.do(device.session.signin)
    device.connect()
    world.run(1)
    order = [
        ("pusher:signin", None),
        ("pusher:subscribe", "room"),
        ("pusher:subscribe", "private-room"),
        ("pusher:subscribe", "presence-room"),
        ("pusher:subscribe", "#server-to-user-ada"),
    ]
    assert world.heard() == order
    world.act(world.server.drop, 4200)
    world.run(1)
    assert world.heard() == order
    assert device.of(SignedIn) == [SignedIn("ada", ADA)] * 2
    assert world.server.users() == {"ada": {device.session.socket_id}}


def test_without_a_connection_no_user_is_signed_in() -> None:
    world = World()
    device = signed_in(world)
    world.network.refuse = True
    world.reset(device)
    assert device.session.user == UserSnapshot(UserState.SIGNED_OUT)
    assert device.session.wants_user


def test_an_authorization_for_a_lost_connection_signs_no_user_in() -> None:
    world = World()
    device = world.connected(world.options(auth=None))
    device.do(device.session.signin)
    number, request = device.asked[-1]
    world.act(world.server.drop, 4200)
    world.run(1)
    stale = world.authorization(request, user=ADA)
    device.do(device.session.authorized, number, stale)
    world.run(1)
    assert world.heard() == []
    fresh_number, fresh = device.asked[-1]
    assert (fresh_number > number, fresh) == (True, AuthRequest(str(device.session.socket_id)))
    device.do(device.session.authorized, fresh_number, world.authorization(fresh, user=ADA))
    world.run(1)
    assert device.of(SignedIn) == [SignedIn("ada", ADA)]


# The server's answer.


@pytest.mark.parametrize(
    ("data", "user_id", "user"),
    [
        ({"user_data": '{"id":"ada"}'}, "ada", {"id": "ada"}),
        ('{"user_data":"{\\"id\\":\\"ada\\"}"}', "ada", {"id": "ada"}),
        ({"auth": "key:x", "user_data": '{"id":"ada"}'}, "ada", {"id": "ada"}),
        ({"user_data": {"id": "ada", "x": 1}}, "ada", {"id": "ada", "x": 1}),
        ({"user_data": '{"id":7}'}, "7", {"id": 7}),
    ],
)
def test_a_success_is_read_in_every_shape(data: Any, user_id: str, user: dict[str, Any]) -> None:
    world = World()
    device = mute(world)
    world.say("pusher:signin_success", data)
    assert device.take() == [SignedIn(user_id, user)]
    assert device.session.user == UserSnapshot(UserState.SIGNED_IN, user_id, user)
    assert world.heard() == [("pusher:subscribe", f"#server-to-user-{user_id}")]


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        "no JSON",
        [],
        {"user_data": None},
        {"user_data": "no JSON"},
        {"user_data": "{}"},
        {"user_data": '{"id":""}'},
        {"user_data": '{"id":null}'},
        {"user_data": '{"id":true}'},
        {"user_data": '{"id":["ada"]}'},
        {"user_data": "[1]"},
    ],
)
def test_a_success_that_names_no_user_is_a_failure(data: Any) -> None:
    world = World()
    device = mute(world)
    world.say("pusher:signin_success", data)
    violation, *_ = device.take()
    assert isinstance(violation, ProtocolViolation)
    assert violation.reason == "a signin_success without a user"
    assert device.session.user.state is UserState.FAILED
    assert (
        str(device.session.user.last_error) == "the server's answer to the sign-in has no user id"
    )
    world.run(60)
    assert world.heard() == []  # until the next connection


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "Invalid signature: Expected HMAC SHA256 hex digest of 1.2::user::{}, but got x"),
        (4009, "Connection not authorized"),
        (4200, "Invalid message format"),
        (None, "User authentication is not enabled for this app"),
    ],
)
def test_an_error_while_signing_in_is_its_refusal(code: int | None, message: str) -> None:
    world = World()
    device = mute(world)
    world.say("pusher:error", {"code": code, "message": message})
    world.say("pusher:pong")
    reported = message.replace("::{}", "::***")  # no message says who it is
    assert failure(device) == f"the server refused the sign-in: {reported}"
    assert device.session.state is ConnectionState.CONNECTED


@pytest.mark.parametrize(
    ("code", "message", "channel"),
    [
        (4302, "The watchlist has more than 100 users", None),
        (None, "Existing subscription to channel room", "room"),
    ],
)
def test_an_error_about_something_else_is_not(
    code: int | None, message: str, channel: str | None
) -> None:
    world = World()
    device = mute(world)
    world.say("pusher:error", {"code": code, "message": message})
    assert device.take() == [ServerError(code, message, channel)]
    assert device.session.user.state is UserState.SIGNING_IN


def test_a_wrong_signature_is_refused_by_the_server() -> None:
    world = World()
    device = world.connected(
        world.options(auth=OwnKey(world.app.key, "another secret", user={"id": "ada"}))
    )
    device.do(device.session.signin)
    world.run(1)
    assert failure(device).startswith("the server refused the sign-in: Invalid signature")


def test_soketi_s_refusal_ends_the_connection_permanently() -> None:
    world = World()
    device = mute(world)
    reason = "Connection not authorized within timeout."
    world.act(world.server.drop, 4009, reason, error_event=True)
    world.run(1)
    reported = device.take()
    assert [event for event in reported if isinstance(event, SignInFailed)] == []
    assert [event for event in reported if isinstance(event, ConnectionLost)] == [
        ConnectionLost(4009, reason, will_retry=False)
    ]
    assert device.session.state is ConnectionState.FAILED
    assert not device.session.user.id


def test_a_user_that_the_app_terminates_is_not_connected_again() -> None:
    world = World()
    device = signed_in(world)
    world.act(world.server.terminate_user, "ada")
    world.run(100)
    assert device.of(ConnectionLost) == [
        ConnectionLost(4009, "You got disconnected by the app.", will_retry=False)
    ]
    assert device.session.user == UserSnapshot(UserState.SIGNED_OUT)


def test_silence_is_a_failure_after_signin_timeout() -> None:
    world = World()
    device = device_of(world, signin_timeout=10.0)
    world.server.mute(now=world.now)
    began = world.now
    device.do(device.session.signin)
    world.run_until(lambda: device.events)
    assert world.now - began == pytest.approx(10.0)
    assert failure(device) == (
        "the server did not answer the sign-in within 10 s: "
        "check that it supports user authentication, and that the feature is enabled"
    )
    world.say("pusher:signin_success", {"user_data": '{"id":"ada"}'})  # late, and it counts
    assert device.take() == [SignedIn("ada", {"id": "ada"})]
    assert device.session.user.state is UserState.SIGNED_IN


def test_a_sign_in_that_was_answered_or_lost_does_not_time_out() -> None:
    world = World()
    device = device_of(world, signin_timeout=10.0)
    device.do(device.session.signin)
    world.run(30)
    assert device.take() == [SignedIn("ada", ADA)]
    world = World()
    device = mute(world)
    world.network.refuse = True
    world.reset(device)
    world.run(30)
    assert device.of(SignInFailed) == []


def test_D7_a_connection_that_ends_during_the_sign_in_is_not_a_failure_and_the_next_signs_in() -> (
    None
):
    world = World()
    device = mute(world)
    world.server.unmute(now=world.now)
    world.reset(device)
    world.run(10)
    assert device.of(SignInFailed) == []
    assert device.of(SignedIn) == [SignedIn("ada", ADA)]
    assert device.session.user.last_error is None


def test_after_a_refusal_another_request_tries_again() -> None:
    world = World()
    device = mute(world)
    world.say("pusher:error", {"code": 4009, "message": "no"})
    world.say("pusher:pong")
    assert isinstance(device.take()[0], SignInFailed)
    world.server.unmute(now=world.now)
    device.do(device.session.signin)
    world.run(1)
    assert device.take() == [SignedIn("ada", ADA)]
    assert device.session.user == UserSnapshot(UserState.SIGNED_IN, "ada", ADA)


def test_a_success_that_was_not_requested_is_ignored() -> None:
    world = World()
    device = device_of(world)
    world.say("pusher:signin_success", {"user_data": '{"id":"eve"}'})
    assert (device.take(), world.heard()) == ([], [])
    assert device.session.user.state is UserState.SIGNED_OUT


def test_a_second_success_is_ignored() -> None:
    world = World()
    device = signed_in(world)
    world.say("pusher:signin_success", {"user_data": '{"id":"eve"}'})
    assert (device.take(), world.heard()) == ([], [])
    assert device.session.user.id == "ada"


# The authorization.


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (PermissionError("not you"), "the authorizer raised: PermissionError: not you"),
        (AuthorizationError("expired", channel=None, status=401), "expired"),
        (AuthResponse("key:x"), "the authorization has no user_data with an id"),
        (
            AuthResponse("key:x", user_data="no JSON"),
            "the authorization has no user_data with an id",
        ),
        (
            AuthResponse("key:x", user_data='{"id":""}'),
            "the authorization has no user_data with an id",
        ),
        (AuthResponse("", user_data='{"id":"a"}'), "the authorization has no `auth`"),
        (
            {"auth": "key:x"},
            "an authorizer returns an AuthResponse, not dict: write AuthResponse(answer['auth'])",
        ),
    ],
)
def test_without_a_good_authorization_nothing_is_sent(answer: Any, why: str) -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=lambda request: answer)
    device.do(device.session.signin)
    world.run(1)
    assert failure(device) == f"no authorization to sign in: {why}"
    assert isinstance(device.session.user.last_error, SignInError)
    assert isinstance(device.session.user.last_error.__cause__, AuthorizationError)
    assert world.heard() == []


def test_an_own_key_without_a_user_signs_no_user_in() -> None:
    world = World()
    device = world.connected()
    device.subscribe("room")
    world.run(1)
    device.take()
    device.do(device.session.signin)
    assert failure(device) == "no authorization to sign in: OwnKey has no `user` to sign in: set it"


def test_an_answer_for_a_sign_in_that_has_timed_out_is_dropped() -> None:
    world = World()
    device = world.connected(world.options(auth=None, auth_timeout=1.0))
    device.do(device.session.signin)
    world.run_until(lambda: device.events)
    number, request = device.asked[-1]
    assert "did not answer within 1 s" in failure(device)
    device.do(device.session.authorized, number, world.authorization(request, user=ADA))
    assert (device.take(), world.heard()) == ([], [])


# Presence as the user who is signed in.


def without_channel_data(world: World) -> Callable[[AuthRequest], AuthResponse]:
    """Return an application that vouches for the user, and on presence channels leaves out who it is."""
    return lambda request: world.authorization(request, user=None if request.channel else ADA)


def test_a_presence_authorization_without_channel_data_waits_for_the_sign_in() -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=without_channel_data(world))
    world.act(world.server.delay, 2.0, "signin")
    device.do(device.session.signin)
    device.subscribe("presence-room")
    world.run(1)
    assert world.heard() == [("pusher:signin", None)]
    assert device.session.channel("presence-room").state is ChannelState.AUTHORIZING
    world.run(2)
    assert device.take() == [SignedIn("ada", ADA), Subscribed("presence-room")]
    assert device.session.channel("presence-room").me == Member("ada", {"name": "Ada"})
    data = [m.data for m in world.server.received if m.channel == "presence-room"]
    assert [sorted(d) for d in data if isinstance(d, dict)] == [["auth", "channel"]]


def test_it_is_subscribed_again_as_the_user_after_each_reconnect() -> None:
    world = World()
    device = world.device(world.options(auth=None), authorizer=without_channel_data(world))
    device.subscribe("presence-room")
    device.do(device.session.signin)
    for _ in range(3):
        world.run(2)
        assert device.session.channel("presence-room").me == Member("ada", {"name": "Ada"})
        assert device.of(SubscriptionFailed) == []
        world.act(world.server.drop, 4200)


def test_it_is_refused_when_no_user_signs_in() -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=without_channel_data(world))
    device.subscribe("presence-room")
    world.run(1)
    (failed,) = device.take()
    assert isinstance(failed, SubscriptionFailed)
    why = "the authorization for 'presence-room' has no channel_data, and no user is signed in"
    assert (str(failed.error), failed.retry_in) == (why, None)
    assert world.heard() == []


def test_it_is_refused_when_the_sign_in_is() -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=without_channel_data(world))
    world.server.mute(now=world.now)
    device.do(device.session.signin)
    world.run(0.1)
    device.subscribe("presence-room")
    world.run(0.1)
    world.say("pusher:error", {"code": 4009, "message": "no"})
    world.say("pusher:pong")
    assert [type(event) for event in device.take()] == [SignInFailed, SubscriptionFailed]
    assert device.session.channel("presence-room").state is ChannelState.FAILED


def test_waits_for_the_sign_in_are_forgotten_at_sign_out_or_a_lost_connection() -> None:
    world = World()
    device = world.connected(world.options(auth=None), authorizer=without_channel_data(world))
    world.act(world.server.delay, 2.0, "signin")
    device.do(device.session.signin)
    device.subscribe("presence-left", "presence-kept")
    world.run(1)
    device.unsubscribe("presence-left")
    world.act(world.server.drop, 4200)
    world.run(3)
    assert [heard for heard in world.heard() if heard[0] == "pusher:subscribe"] == [
        ("pusher:subscribe", "#server-to-user-ada"),
        ("pusher:subscribe", "presence-kept"),
    ]
    assert device.of(SubscriptionFailed) == []


def test_an_authorization_that_waited_for_a_sign_in_is_not_used_on_the_next_connection() -> None:
    world = World()
    vouch = without_channel_data(world)
    device = world.connected(world.options(auth=None))

    def answer(which: int) -> None:
        number, request = device.asked[which]
        device.do(device.session.authorized, number, vouch(request))

    world.act(world.server.delay, 2.0, "signin")
    device.do(device.session.signin)
    answer(0)
    device.subscribe("presence-room")
    answer(1)
    world.run(1)
    world.act(world.server.drop, 4200)
    world.run(1)
    answer(2)  # the sign-in alone
    world.run(4)
    assert [heard for heard in world.heard() if heard[1] == "presence-room"] == []
    answer(3)
    world.run(1)
    assert device.of(Subscribed) == [Subscribed("presence-room")]


def test_channel_data_of_the_authorization_counts_more_than_the_sign_in() -> None:
    world = World()
    auth = world.own_key(user=ADA, member={"user_id": "somebody-else"})
    device = world.connected(world.options(auth=auth))
    world.server.mute(now=world.now)
    device.do(device.session.signin)
    device.subscribe("presence-room")
    world.run(1)
    assert world.heard() == [("pusher:signin", None), ("pusher:subscribe", "presence-room")]


# Messages for the user.


def test_messages_for_the_user_are_reported_as_such() -> None:
    world = World()
    device = signed_in(world)
    world.act(world.server.send_to_user, "ada", "notice", {"n": 1})
    world.run(1)
    (event,) = device.take()
    assert event == UserEvent("#server-to-user-ada", "notice", '{"n":1}')
    assert isinstance(event, UserEvent)
    assert event.data == {"n": 1}


def test_messages_for_another_user_are_dropped() -> None:
    world = World()
    device = signed_in(world)
    world.say("notice", {}, "#server-to-user-eve")
    assert device.take() == []


def test_control_messages_of_the_user_s_channel_are_not_for_the_application() -> None:
    world = World()
    device = signed_in(world)
    for name in ("subscription_succeeded", "subscription_count", "whatever"):
        world.say(f"pusher_internal:{name}", {}, "#server-to-user-ada")
    world.say("pusher:cache_miss", None, "#server-to-user-ada")
    assert device.take() == []


@pytest.mark.parametrize(
    "event", ["pusher:subscription_error", "pusher_internal:subscription_error"]
)
def test_a_refusal_of_the_user_s_channel_is_reported(event: str) -> None:
    world = World()
    device = signed_in(world)
    world.say(event, {"error": "no", "status": 401}, "#server-to-user-ada")
    assert device.take() == [ServerError(401, "no", "#server-to-user-ada")]


# The watchlist.


def test_the_watchlist_reports_users_that_come_and_go() -> None:
    world = World()
    eve = signed_in(world, {"id": "eve"})
    ada = device_of(world, {"id": "ada", "watchlist": ["bob", "eve"]})
    ada.do(ada.session.signin)
    world.run(1)
    user = {"id": "ada", "watchlist": ["bob", "eve"]}
    assert ada.take() == [
        SignedIn("ada", user),
        WatchlistOnline(("eve",)),
        WatchlistOffline(("bob",)),
    ]
    assert ada.session.user.online == {"eve"}
    signed_in(world, {"id": "bob"})
    eve.close()
    world.run(1)
    assert ada.take() == [WatchlistOnline(("bob",)), WatchlistOffline(("eve",))]
    assert ada.session.user.online == {"bob"}


def test_no_user_is_known_to_be_online_without_a_connection() -> None:
    world = World()
    signed_in(world, {"id": "eve"})
    ada = signed_in(world, {"id": "ada", "watchlist": ["eve"]})
    assert ada.session.user.online == {"eve"}
    world.network.refuse = True
    world.reset(ada)
    assert ada.session.user.online == frozenset()


@pytest.mark.parametrize("channel", [None, "#server-to-user-ada"])
def test_pusher_s_shape_of_the_watchlist(channel: str | None) -> None:
    world = World()
    device = signed_in(world)
    events = [
        {"name": "online", "user_ids": ["a", 2]},
        {"name": "offline", "user_ids": ["c"]},
        {"name": "online", "user_ids": []},
    ]
    world.say("pusher_internal:watchlist_events", {"events": events}, channel)
    assert device.take() == [
        WatchlistOnline(("a", "2")),
        WatchlistOffline(("c",)),
        WatchlistOnline(()),
    ]
    assert device.session.user.online == {"a", "2"}


def test_sockudo_s_shape_of_the_watchlist() -> None:
    world = World()
    device = signed_in(world)
    world.say("online", {"user_ids": ["a", "b", True, None]})
    world.say("offline", '{"user_ids":["a"]}')
    assert device.take() == [WatchlistOnline(("a", "b")), WatchlistOffline(("a",))]
    assert device.session.user.online == {"b"}


def test_an_event_called_online_is_nothing_special_unless_signed_in_and_without_a_channel() -> None:
    world = World()
    device = device_of(world)
    device.subscribe("room")
    world.run(1)
    device.take()
    world.say("online", {"user_ids": ["a"]})
    assert device.take() == []
    world.say("online", {"user_ids": ["a"]}, "room")
    (event,) = device.take()
    assert (event.name, event.channel) == ("online", "room")  # type: ignore[attr-defined]  # of the class that the test brings about
    assert device.session.user.online == frozenset()


@pytest.mark.parametrize(
    ("event", "data", "reported"),
    [
        ("pusher_internal:watchlist_events", None, "watchlist_events without events"),
        ("pusher_internal:watchlist_events", {"events": {}}, "watchlist_events without events"),
        ("pusher_internal:watchlist_events", {"events": ["x"]}, "a watchlist event without users"),
        (
            "pusher_internal:watchlist_events",
            {"events": [{"name": "away", "user_ids": []}]},
            "a watchlist event without users",
        ),
        (
            "pusher_internal:watchlist_events",
            {"events": [{"name": ["online"], "user_ids": "x"}]},
            "a watchlist event without users",
        ),
        ("online", {"user_ids": "a"}, "a watchlist event without users"),
        ("offline", "x", "a watchlist event without users"),
    ],
)
def test_a_watchlist_that_is_invalid_is_reported(event: str, data: Any, reported: str) -> None:
    world = World()
    device = signed_in(world)
    world.say(event, data)
    reports: list[Event] = device.take()
    assert [e.reason for e in reports if isinstance(e, ProtocolViolation)] == [reported]
    assert len(reports) == 1


def online(*user_ids: str) -> dict[str, Any]:
    return {"name": "online", "user_ids": list(user_ids)}


def test_exactly_max_members_of_the_watchlist_may_be_online() -> None:
    world = World()
    device = signed_in(world, max_members=3)
    world.say("pusher_internal:watchlist_events", {"events": [online("a", "b"), online("b", "c")]})
    assert device.take() == [WatchlistOnline(("a", "b")), WatchlistOnline(("b", "c"))]
    world.say("pusher_internal:watchlist_events", {"events": [online("c", "d"), online("c")]})
    fits, refused = device.take()
    assert fits == WatchlistOnline(("c",))
    assert isinstance(refused, ProtocolViolation)
    assert refused.reason == "more than 3 users are online (Options.max_members)"
    assert device.session.user.online == {"a", "b", "c"}


def test_a_message_with_many_wrong_changes_is_reported_once() -> None:
    world = World()
    device = signed_in(world)
    events = [online("a"), *[{}] * 50_000, online("b")]
    world.say("pusher_internal:watchlist_events", {"events": events})
    one, two, wrong = device.take()
    assert (one, two) == (WatchlistOnline(("a",)), WatchlistOnline(("b",)))
    assert isinstance(wrong, ProtocolViolation)


def test_a_watchlist_that_is_cut_refuses_neither_the_sign_in_nor_a_channel() -> None:
    world = World()
    user = {"id": "ada", "watchlist": [str(n) for n in range(101)]}
    device = device_of(world, user)
    world.act(world.server.delay, 1.0, "subscribe")
    device.do(device.session.signin)
    device.subscribe("room")
    world.run(0.5)
    reported = device.take()
    assert [event for event in reported if isinstance(event, SignedIn | ServerError)] == [
        SignedIn("ada", user),
        ServerError(
            4302, "The watchlist has more than 100 users; the others are not watched", None
        ),
    ]
    world.run(2)
    assert device.session.channel("room").state is ChannelState.SUBSCRIBED


def test_a_server_without_the_feature_refuses_or_is_silent_and_the_channels_live() -> None:
    world = World(apps=(replace(DEMO_APP, user_authentication=False),))
    device = device_of(world)
    device.do(device.session.signin)
    device.subscribe("room")
    world.run(1)
    assert [type(event) for event in device.take()] == [SignInFailed, Subscribed, SubscriptionCount]
