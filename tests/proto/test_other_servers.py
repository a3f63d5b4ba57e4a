"""Servers that are known from their documentation: laravel-websockets, Slanger and Garufa, as scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proto.scripted import Script, connected, connecting, forgetful
from pusher_proto import (
    AuthRequest,
    ChannelEvent,
    ChannelState,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    Member,
    MemberAdded,
    MemberRemoved,
    Options,
    OwnKey,
    Subscribed,
)

UUID = "2a9c1b1e-7e4f-4c3e-9d59-3f1f0b6f8f6d"


def options(**more: Any) -> Options:
    auth = OwnKey("key", "secret", member={"user_id": "7", "user_info": {"name": "Ada"}})
    return Options.from_host("ws.test", key="key", tls=False, auth=auth, **more)


def succeed(script: Script, channel: str, data: Any = None, **more: Any) -> Script:
    return script.send("pusher_internal:subscription_succeeded", data or {}, channel, **more)


# laravel-websockets: a greeting with an activity_timeout of 30 s; it drops connections that only receive.


def laravel(**more: Any) -> Script:
    script = connecting(options(**more))
    return forgetful(script.greet({"socket_id": "563221793.77238118", "activity_timeout": 30}))


def test_W10_laravel_websockets_is_pinged_each_30_s_while_it_sends_events() -> None:
    script = forgetful(succeed(laravel(ping_interval=30).subscribe("room"), "room"))
    for _ in range(120):
        script.wait(1).send("price", "1", "room")
    pings = [act for act in script.frames() if act["event"] == "pusher:ping"]
    assert len(pings) == 4
    assert script.session.state is ConnectionState.CONNECTED


def test_W10_without_the_option_a_server_that_sends_events_is_not_pinged() -> None:
    script = forgetful(succeed(laravel().subscribe("room"), "room"))
    for _ in range(120):
        script.wait(1).send("price", "1", "room")
    assert script.frames() == []


def test_laravel_websockets_refuses_an_unknown_key_by_an_error_and_leaves_the_socket_open() -> None:
    script = connecting(options()).open().upgrade()
    data = {"message": "Could not find app key `key`.", "code": 4001}
    script.text(json.dumps({"event": "pusher:error", "data": data}).encode())
    assert script.lost() == (4001, "Could not find app key `key`.", False)
    assert isinstance(script.session.failure, ConnectionFailed)


def test_laravel_websockets_refuses_a_wrong_signature_by_an_error_without_a_channel() -> None:
    script = laravel().subscribe("private-room")
    script.send("pusher:error", {"message": "Invalid Signature", "code": 4009}).send("pusher:pong")
    assert script.session.channel("private-room").state is ChannelState.FAILED
    assert "Invalid Signature" in str(script.session.channel("private-room").last_error)


def test_laravel_websockets_repeats_a_member_for_each_connection_of_a_user() -> None:
    script = laravel().subscribe("presence-room")
    roster = {"presence": {"ids": ["7"], "hash": {"7": {"name": "Ada"}}, "count": 1}}
    forgetful(succeed(script, "presence-room", json.dumps(roster)))
    joined = json.dumps({"user_id": 8, "user_info": {"name": "Bob"}})
    for _ in range(2):
        script.send("pusher_internal:member_added", joined, "presence-room")
    script.send("pusher_internal:member_removed", json.dumps({"user_id": 8}), "presence-room")
    bob = Member("8", {"name": "Bob"})
    assert script.take() == [MemberAdded("presence-room", bob), MemberRemoved("presence-room", bob)]


# Slanger and Garufa: socket ids are UUIDs, data of the greeting is a text; Slanger answers a ping by a ping.


@pytest.mark.parametrize("socket_id", [UUID, UUID.replace("-", ""), "1.2", "a_b-c.d"])
def test_W26_own_key_signs_for_every_shape_of_socket_id(socket_id: str) -> None:
    authorization = OwnKey("key", "secret").authorization(AuthRequest(socket_id, "private-room"))
    assert authorization.auth.startswith("key:")


def slanger() -> Script:
    return forgetful(connecting(options()).greet({"socket_id": UUID, "activity_timeout": 120}))


def test_W26_slanger_private_and_presence_channels_and_client_events() -> None:
    script = slanger().subscribe("private-room", "presence-room")
    assert [act["data"]["auth"][:4] for act in script.frames()] == ["key:", "key:"]
    succeed(script, "private-room")
    roster = {"presence": {"count": 1, "ids": ["7"], "hash": {"7": {"name": "Ada"}}}}
    succeed(script, "presence-room", roster)
    assert script.take() == [Subscribed("private-room"), Subscribed("presence-room")]
    assert script.session.channel("presence-room").me == Member("7", {"name": "Ada"})
    script.do(script.session.trigger, "private-room", "client-x", {"a": 1})
    assert [act["event"] for act in script.frames()] == ["client-x"]
    script.send("client-y", {"b": 2}, "private-room")
    assert [event.data for event in script.take() if isinstance(event, ChannelEvent)] == [{"b": 2}]


def test_W26_slanger_answers_a_ping_by_a_ping_which_counts_as_activity() -> None:
    script = slanger().wait(120)
    assert [act["event"] for act in script.frames()] == ["pusher:ping"]
    script.send("pusher:ping").wait(100)
    assert [act["event"] for act in script.frames()] == ["pusher:pong"]
    assert script.session.state is ConnectionState.CONNECTED


def test_W26_slanger_names_an_unknown_key_and_ends_the_connection() -> None:
    script = connecting(options()).open().upgrade()
    data = {"code": "4001", "message": "Could not find app by key key"}
    script.text(json.dumps({"event": "pusher:error", "data": data}).encode())
    lost = [event for event in script.take() if isinstance(event, ConnectionLost)]
    assert lost == [ConnectionLost(4001, "Could not find app by key key", will_retry=False)]


def test_W26_a_presence_channel_without_channel_data_is_refused_by_an_error_without_a_code() -> (
    None
):
    script = slanger().subscribe("presence-room")
    text = "presence-channel is a presence channel and subscription must include channel_data"
    script.send("pusher:error", {"message": text}).send("pusher:pong")
    assert script.session.channel("presence-room").state is ChannelState.FAILED
    assert text in str(script.session.channel("presence-room").last_error)


def test_an_older_server_without_an_activity_timeout_is_pinged_after_our_own() -> None:
    script = forgetful(connecting(options(activity_timeout=60)).greet({"socket_id": "1.1"}))
    assert [act["event"] for act in script.wait(60).frames()] == ["pusher:ping"]
    assert connected(options()).session.state is ConnectionState.CONNECTED
