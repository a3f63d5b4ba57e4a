"""WebSockets and channels that the server refuses, and answers that it holds back."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto.testing import Server, ServerLimits, ServerOptions

from .client import Client, World, request


@pytest.fixture
def world() -> World:
    return World()


def error(code: int | None, message: str, **more: Any) -> dict[str, Any]:
    return {"event": "pusher:error", "data": {"code": code, "message": message}, **more}


# ---- refuse


def test_upgrades_can_be_refused_by_a_status(world: World) -> None:
    world.do(
        world.server.refuse,
        status=503,
        retry_after=7,
        headers={"X-A": "b"},
        reason="later",
        times=1,
    )
    client = world.client()
    assert (client.rejected, client.wire.closed) == (503, None)
    assert b"Retry-After: 7\r\n" in client.wire.raw and b"X-A: b\r\n" in client.wire.raw
    assert client.wire.raw.endswith(b"\r\n\r\nlater")
    assert world.client().socket_id
    with pytest.raises(ValueError):
        world.do(world.server.refuse, status=1)
    with pytest.raises(ValueError, match="not both"):
        world.do(world.server.refuse, status=500, code=4001)


def test_websockets_can_be_refused_by_a_code(world: World) -> None:
    world.do(world.server.refuse, code=4100, reason="full")
    for _ in range(2):
        client = world.client()
        assert (client.take(), client.close) == ([error(4100, "full")], (4100, "full"))
        assert client.wire.closed == "end"
    world.do(world.server.refuse, code=4004, close_frame=False)
    client = world.client()
    assert (client.take(), client.close, client.wire.closed) == ([error(4004, "")], None, "end")
    world.do(world.server.allow)
    assert world.client().socket_id
    assert world.server.stats.refused == 3


def test_websockets_can_be_dropped_as_they_connect(world: World) -> None:
    world.do(world.server.refuse, times=1)
    client = world.client()
    assert (bytes(client.wire.raw), client.wire.closed) == (b"", "abort")
    assert world.client().socket_id
    assert world.http(request("GET", "/"))[0] == 200


def test_a_refusal_needs_a_handshake(world: World) -> None:
    world.do(world.server.refuse, code=4100)
    wire = world.wire()
    wire.send(b"GET /app/demo HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n\r\n")
    assert wire.raw.startswith(b"HTTP/1.1 400 ")


# ---- refuse a channel


def test_a_subscription_can_be_refused_in_each_servers_shape(world: World) -> None:
    client = world.client()
    server = world.server

    def answer(**options: Any) -> list[Any]:
        world.do(server.refuse_channel, "private-x", **options)
        return client.subscribe("private-x", auth="demo:abc")

    digest = (
        "Invalid signature: Expected HMAC SHA256 hex digest of "
        f"{client.socket_id}:private-x, but got abc"
    )
    assert answer(code=4009) == [error(4009, digest)]
    assert answer(message="No") == [error(None, "No")]
    assert answer(shape="error", code=4100, message="No") == [
        error(4100, "No", channel="private-x")
    ]
    assert answer(shape="soketi") == [
        {
            "event": "pusher:subscription_error",
            "channel": "private-x",
            "data": {
                "type": "AuthError",
                "error": "The connection is unauthorized.",
                "status": 401,
            },
        }
    ]
    assert answer(shape="soketi", code=4100, message="No")[0]["data"] == {
        "type": "AuthError",
        "error": "No",
        "status": 4100,
    }
    assert answer(shape="internal", code=1, message="No") == [
        {
            "event": "pusher_internal:subscription_error",
            "channel": "private-x",
            "data": '{"code":1,"message":"No"}',
        }
    ]
    assert answer(shape="silent") == []
    with pytest.raises(ValueError, match="a shape is one of pusher, error"):
        world.do(server.refuse_channel, "private-x", shape="round")


def test_a_refused_channel_is_allowed_again(world: World) -> None:
    client = world.client()
    world.do(world.server.refuse_channel, "a", times=1)
    world.do(world.server.refuse_channel, "b")
    events = [client.subscribe(name)[0]["event"] for name in ("a", "a", "b", "b")]
    assert events == [
        "pusher:error",
        "pusher_internal:subscription_succeeded",
        "pusher:error",
        "pusher:error",
    ]
    world.do(world.server.allow_channel, "b")
    world.do(world.server.allow_channel, "c")
    assert client.subscribe("b")[0]["event"] == "pusher_internal:subscription_succeeded"


# ---- delay


def test_a_held_subscription_takes_effect_when_it_is_answered(world: World) -> None:
    client = world.client()
    world.do(world.server.delay, 2, "subscribe")
    client.subscribe("room")
    client.say("pusher:unsubscribe", {"channel": "room"})
    client.say("pusher:ping")
    assert [frame["event"] for frame in client.take()] == ["pusher:error", "pusher:pong"]
    assert world.do(world.server.publish, "room", "e", "1") == 0
    world.pass_time(2)
    assert client.take()[0]["event"] == "pusher_internal:subscription_succeeded"
    assert world.server.channels() == ["room"]


def test_all_kinds_of_answers_can_be_held(world: World) -> None:
    client = world.client()
    world.do(world.server.delay, 1)
    client.say("pusher:ping")
    client.sign_in({"id": "u"})
    client.subscribe("room")
    late = Client(world.wire())
    assert (client.take(), late.take()) == ([], [])
    world.pass_time(1)
    assert [frame["event"] for frame in client.take()][:3] == [
        "pusher:pong",
        "pusher:signin_success",
        "pusher_internal:subscription_succeeded",
    ]
    assert len(late.take()) == 1
    world.do(world.server.delay, 5, "ping")
    world.do(world.server.delay, 0)
    client.say("pusher:ping")
    assert len(client.take()) == 1
    with pytest.raises(ValueError, match="a kind of answer is one of all, greeting"):
        world.do(world.server.delay, 1, "sometimes")


def test_what_was_held_for_a_client_that_has_gone_is_forgotten(world: World) -> None:
    world.do(world.server.delay, 100)
    client = Client(world.wire())
    other = world.wire()
    other.send(request("GET", "/"))
    assert world.server.next_deadline() == 100
    client.wire.hang_up()
    other.hang_up()
    assert world.server.next_deadline() is None


def test_only_so_many_answers_are_held() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(held_answers=2))))
    client = world.client()
    world.do(world.server.delay, 1)
    for _ in range(3):
        client.say("pusher:ping")
    assert client.close == (4100, "Too many answers are held back")
    world.pass_time(10)
    assert client.take() == []


def test_requests_behind_a_held_answer_are_bounded() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(head=100, body=100))))
    world.do(world.server.delay, 1)
    wire = world.wire()
    wire.send(request("GET", "/x") + b"x" * 200)
    assert wire.closed is None
    wire.send(b"x")
    assert wire.closed == "abort"
