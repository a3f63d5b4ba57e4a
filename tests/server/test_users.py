"""Signing in, events for users, watchlists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pusher_proto.testing import App, Server, ServerLimits, ServerOptions

from .client import Client, World


def refused(code: int | None, message: str) -> list[Any]:
    return [{"event": "pusher:error", "data": {"code": code, "message": message}}]


def watched(client: Client) -> list[Any]:
    return [
        json.loads(frame["data"])["events"]
        for frame in client.take()
        if frame["event"] == "pusher_internal:watchlist_events"
    ]


def app(**options: Any) -> App:
    return App(id="1", key="demo", secret="demo-secret", **options)


def test_signing_in_is_answered_with_the_user_data() -> None:
    world = World()
    client = world.client()
    assert client.sign_in({"id": "u"}) == [
        {"event": "pusher:signin_success", "data": {"user_data": '{"id": "u"}'}}
    ]
    assert world.server.users() == {"u": {client.socket_id}}


def test_signing_in_again_is_answered_and_changes_nothing() -> None:
    world = World()
    client = world.client()
    client.sign_in({"id": 1})
    assert client.sign_in({"id": "1"})[0]["event"] == "pusher:signin_success"
    assert client.sign_in({"id": "2"}) == refused(
        4009, "The connection is signed in as another user"
    )
    assert list(world.server.users()) == ["1"]


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ([], "Invalid user_data to sign in with"),
        ({}, "Invalid user_data to sign in with"),
        ({"id": ""}, "Invalid id in user_data to sign in with"),
        ({"id": "a b"}, "Invalid id in user_data to sign in with"),
    ],
)
def test_users_without_an_id_cannot_sign_in(user: Any, message: str) -> None:
    world = World()
    assert world.client().sign_in(user) == refused(4009, message)
    assert world.server.users() == {}


def test_a_wrong_signature_does_not_sign_in_and_the_connection_stays() -> None:
    world = World()
    client = world.client()
    client.say("pusher:signin", {"auth": "demo:0", "user_data": "{}"})
    assert client.take() == refused(
        4009,
        "Invalid signature: Expected HMAC SHA256 hex digest of "
        f"{client.socket_id}::user::{{}}, but got 0",
    )
    client.say("pusher:signin", {"auth": "demo", "user_data": "{}"})
    client.say("pusher:signin", {"auth": "x:0", "user_data": "{}"})
    assert client.take() == [
        *refused(4009, "Auth value for signin is invalid: should be of format 'key:signature'"),
        *refused(4009, "Invalid key in signin auth data: 'x'"),
    ]
    assert client.wire.closed is None


def test_an_app_may_not_allow_signing_in() -> None:
    world = World(Server([app(user_authentication=False)]))
    assert world.client().sign_in({"id": "u"}) == refused(
        None, "User authentication is not enabled for this app"
    )


def test_a_users_channel_is_for_that_user() -> None:
    world = World()
    client = world.client()
    message = "Not signed in as the user of channel #server-to-user-u"
    assert client.subscribe("#server-to-user-u") == refused(4009, message)
    client.sign_in({"id": "v"})
    assert client.subscribe("#server-to-user-u") == refused(4009, message)
    assert client.subscribe("#server-to-user-v") == [
        {
            "event": "pusher_internal:subscription_succeeded",
            "channel": "#server-to-user-v",
            "data": "{}",
        }
    ]
    assert world.do(world.server.send_to_user, "v", "e", {"n": 1}) == 1
    assert client.take() == [{"event": "e", "channel": "#server-to-user-v", "data": '{"n":1}'}]


def test_terminating_a_user_ends_all_their_connections() -> None:
    world = World()
    first, second, other = (world.client() for _ in range(3))
    first.sign_in({"id": "u"})
    second.sign_in({"id": "u"})
    other.sign_in({"id": "v"})
    world.do(world.server.terminate_user, "u")
    world.do(world.server.terminate_user, "nobody")
    reason = "You got disconnected by the app."
    assert [first.close, second.close, other.close] == [(4009, reason), (4009, reason), None]
    assert list(world.server.users()) == ["v"]


def test_presence_without_channel_data_is_for_the_signed_in() -> None:
    world = World()
    client = world.client()
    assert client.subscribe("presence-x") == refused(
        None, "Subscription to presence-x needs channel_data or a sign-in"
    )
    client.sign_in({"id": "u", "user_info": {"n": 1}})
    assert client.subscribe("presence-x")[0]["event"].endswith("subscription_succeeded")
    assert world.server.members("presence-x") == {"u": {"n": 1}}


def test_watchers_are_notified_of_users_that_are_online_come_and_go() -> None:
    world = World()
    watcher, first, second = (world.client() for _ in range(3))
    first.sign_in({"id": "a"})
    signed_in = watcher.sign_in({"id": "w", "watchlist": ["a", "b", "a"]})
    assert signed_in == [
        {
            "event": "pusher:signin_success",
            "data": {"user_data": '{"id": "w", "watchlist": ["a", "b", "a"]}'},
        },
        {
            "event": "pusher_internal:watchlist_events",
            "data": '{"events":[{"name":"online","user_ids":["a"]},'
            '{"name":"offline","user_ids":["b"]}]}',
        },
    ]
    second.sign_in({"id": "b"})
    world.client().sign_in({"id": "c"})
    assert watched(watcher) == [[{"name": "online", "user_ids": ["b"]}]]
    also_first = world.client()
    also_first.sign_in({"id": "a"})
    first.wire.hang_up()
    assert watched(watcher) == []
    also_first.wire.hang_up()
    assert watched(watcher) == [[{"name": "offline", "user_ids": ["a"]}]]
    watcher.wire.hang_up()
    second.wire.hang_up()
    assert world.server._realms["demo"].users._watchers == {}


def test_two_may_watch_one_and_one_may_watch_themselves() -> None:
    world = World()
    one, two, three = (world.client() for _ in range(3))
    one.sign_in({"id": "w", "watchlist": ["w", "x"]})
    two.sign_in({"id": "v", "watchlist": ["x"]})
    for client in (one, two):
        client.take()
    two.wire.hang_up()
    three.sign_in({"id": "x"})
    assert watched(one) == [[{"name": "online", "user_ids": ["x"]}]]


def test_a_watchlist_is_cut_at_its_limit() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(watchlist=2))))
    frames = world.client().sign_in({"id": "w", "watchlist": ["a", "b", "c"]})
    assert [frame["event"] for frame in frames] == [
        "pusher:signin_success",
        "pusher:error",
        "pusher_internal:watchlist_events",
    ]
    assert frames[1]["data"]["code"] == 4302
    assert json.loads(frames[2]["data"]) == {
        "events": [{"name": "offline", "user_ids": ["a", "b"]}]
    }


def test_an_app_may_have_no_watchlists() -> None:
    world = World(Server([app(watchlist=False)]))
    watcher = world.client()
    assert len(watcher.sign_in({"id": "w", "watchlist": ["a"]})) == 1
    world.client().sign_in({"id": "a"})
    assert watched(watcher) == []
