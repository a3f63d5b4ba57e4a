"""The endpoints that sign for clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from pusher_proto.signing import sign_channel, sign_user
from pusher_proto.testing import DEMO_APP, App, Server, ServerOptions

from .client import World, form, request

SOCKET = "1234.1234"


def ask(world: World, channel: str, *, socket_id: str = SOCKET, **headers: str) -> tuple[int, Any]:
    fields = {"socket_id": socket_id, "channel_name": channel}
    return world.http(form("/pusher/auth", headers, **fields))


@pytest.mark.parametrize("path", ["/pusher/auth", "/broadcasting/auth", "/api/pusher/auth"])
def test_private_channels_are_signed(path: str) -> None:
    data = form(path, socket_id=SOCKET, channel_name="private-x")
    auth = sign_channel("demo", "demo-secret", SOCKET, "private-x")
    assert World().http(data) == (200, {"auth": auth})


def test_a_json_body_is_as_good_as_a_form() -> None:
    world = World()
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    body = {"socket_id": SOCKET, "channel_name": "private-x", "more": [1]}
    data = request("POST", "/pusher/auth", json.dumps(body).encode(), headers)
    assert world.http(data)[0] == 200
    assert world.server.auth_requests[0].fields["more"] == "[1]"
    for wrong in (b"[]", b"{", b"\xff"):
        assert world.http(request("POST", "/pusher/auth", wrong, headers))[0] == 400


def test_authorizations_of_encrypted_channels_have_the_shared_secret() -> None:
    world = World()
    status, authorization = ask(world, "private-encrypted-x")
    assert status == 200
    assert base64.b64decode(authorization["shared_secret"]) == DEMO_APP.shared_secret(
        "private-encrypted-x"
    )
    world.do(world.server.rotate_key, None)
    assert ask(world, "private-encrypted-x")[0] == 500


def test_presence_users_are_numbered_by_their_sockets() -> None:
    world = World()
    world.client()
    second = world.client()
    _, authorization = ask(world, "presence-x", socket_id=second.socket_id)
    assert authorization["channel_data"] == ('{"user_id":"user-2","user_info":{"name":"user-2"}}')
    second.say("pusher:subscribe", {"channel": "presence-x", **authorization})
    assert second.take()[0]["event"] == "pusher_internal:subscription_succeeded"
    assert json.loads(ask(world, "presence-x")[1]["channel_data"]) == {
        "user_id": "user-0",
        "user_info": {"name": "user-0"},
    }


def test_a_function_or_a_mapping_names_the_user() -> None:
    def by_cookie(headers: Mapping[str, str]) -> dict[str, Any] | None:
        name = headers.get("cookie")
        return {"user_id": name, "user_info": {"name": name}} if name else None

    world = World(Server(options=ServerOptions(auth_user=by_cookie)))
    assert ask(world, "presence-x")[0] == 403
    _, authorization = ask(world, "presence-x", Cookie="ann")
    assert json.loads(authorization["channel_data"]) == {
        "user_id": "ann",
        "user_info": {"name": "ann"},
    }
    world = World(
        Server(options=ServerOptions(auth_user={"Bearer ann": {"id": "ann", "watchlist": ["bob"]}}))
    )
    assert ask(world, "presence-x", Authorization="Bearer bob")[0] == 403
    _, authorization = ask(world, "presence-x", Authorization="Bearer ann")
    assert authorization["channel_data"] == '{"user_id":"ann"}'
    _, authorization = world.http(
        form("/pusher/user-auth", {"Authorization": "Bearer ann"}, socket_id=SOCKET)
    )
    assert json.loads(authorization["user_data"]) == {"id": "ann", "watchlist": ["bob"]}


@pytest.mark.parametrize("path", ["/pusher/user-auth", "/broadcasting/user-auth"])
def test_sign_ins_are_signed(path: str) -> None:
    user_data = '{"id":"user-0","user_info":{"name":"user-0"}}'
    auth = sign_user("demo", "demo-secret", SOCKET, user_data)
    assert World().http(form(path, socket_id=SOCKET)) == (
        200,
        {"auth": auth, "user_data": user_data},
    )


def test_a_token_can_be_demanded() -> None:
    world = World(Server(options=ServerOptions(auth_token="secret")))
    assert ask(world, "private-x")[0] == 403
    assert ask(world, "private-x", Authorization="Bearer wrong")[0] == 403
    assert ask(world, "private-x", Authorization="Bearer secret")[0] == 200


def test_the_app_is_the_one_of_the_socket() -> None:
    world = World(Server([DEMO_APP, App(id="2", key="two", secret="s")]))
    client = world.client("/app/two?protocol=7")
    assert ask(world, "private-x", socket_id=client.socket_id)[1]["auth"].startswith("two:")
    assert ask(world, "private-x")[1]["auth"].startswith("demo:")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("GET", "/pusher/auth"), 405),
        (form("/pusher/auth", socket_id=SOCKET), 400),
        (form("/pusher/auth", socket_id=SOCKET, channel_name="a b"), 400),
        (form("/pusher/auth", socket_id="1:2", channel_name="private-x"), 400),
        (form("/pusher/user-auth"), 400),
        (request("POST", "/pusher/auth", b"&".join([b"a=b"] * 201)), 400),
    ],
)
def test_what_cannot_be_signed_is_refused(data: bytes, status: int) -> None:
    given, answer = World().http(data)
    assert given == status
    assert list(answer) == ["error"]


def test_requests_are_kept_to_be_looked_at() -> None:
    world = World()
    ask(world, "private-x", Cookie="a=b")
    [seen] = world.server.auth_requests
    assert (seen.connection, seen.path) == (1, "/pusher/auth")
    assert seen.headers["cookie"] == "a=b"
    assert seen.fields == {"socket_id": SOCKET, "channel_name": "private-x"}


def test_repeated_headers_are_joined() -> None:
    world = World()
    world.http(b"POST /pusher/auth HTTP/1.1\r\nHost: t\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
    assert world.server.auth_requests[0].headers["x-a"] == "1, 2"


def test_the_endpoint_can_be_made_to_answer_anything() -> None:
    world = World()
    world.do(world.server.auth_answer, 500, "down", times=2, headers={"Retry-After": "1"})
    assert ask(world, "private-x") == (500, b"down")
    assert ask(world, "private-x") == (500, b"down")
    assert ask(world, "private-x")[0] == 200
    world.do(world.server.auth_answer, 200, {"auth": "nonsense"})
    assert ask(world, "private-x") == (200, {"auth": "nonsense"})
    world.do(world.server.auth_answer, 200, b"\xff")
    assert ask(world, "private-x") == (200, b"\xff")
    world.do(world.server.auth_answer, 204)
    assert ask(world, "private-x") == (204, b"")
    world.do(world.server.auth_answer)
    assert ask(world, "private-x")[0] == 200
    for status, headers in ((99, {}), (200, {"a b": "c"})):
        with pytest.raises(ValueError):
            world.do(world.server.auth_answer, status, headers=headers)


def test_answers_can_be_held_and_requests_behind_them_wait() -> None:
    world = World()
    world.do(world.server.delay, 2, "auth")
    wire = world.wire()
    wire.send(form("/pusher/auth", socket_id=SOCKET, channel_name="private-x"))
    wire.send(request("GET", "/"))
    assert wire.raw == b""
    world.pass_time(1.9)
    assert wire.raw == b""
    world.pass_time(0.1)
    assert wire.raw.count(b"200 OK") == 2


# ---- users of the request


@pytest.mark.parametrize(
    ("fields", "member"),
    [
        ({"user_id": "7"}, {"user_id": "7", "user_info": {"name": "7"}}),
        (
            {"user_id": "7", "user_info": '{"name": "Ada"}'},
            {"user_id": "7", "user_info": {"name": "Ada"}},
        ),
        ({"user_info": "Ada"}, {"user_id": "user-0", "user_info": "Ada"}),
    ],
)
def test_the_request_may_name_its_user(fields: dict[str, str], member: dict[str, Any]) -> None:
    named: dict[str, Any] = {"socket_id": SOCKET, "channel_name": "presence-x", **fields}
    _, authorization = World().http(form("/pusher/auth", **named))
    assert json.loads(authorization["channel_data"]) == member


@pytest.mark.parametrize("watchlist", ['["8", "9"]', "8, 9"])
def test_the_request_may_name_a_watchlist(watchlist: str) -> None:
    request = form("/pusher/user-auth", socket_id=SOCKET, user_id="7", watchlist=watchlist)
    _, authorization = World().http(request)
    assert json.loads(authorization["user_data"])["watchlist"] == ["8", "9"]


def test_two_connections_can_be_one_user() -> None:
    world = World()
    clients = [world.client(), world.client()]
    for client in clients:
        named: dict[str, Any] = {
            "socket_id": client.socket_id,
            "channel_name": "presence-x",
            "user_id": "7",
        }
        _, authorization = world.http(form("/pusher/auth", **named))
        client.say("pusher:subscribe", {"channel": "presence-x", **authorization})
    assert world.server.members("presence-x") == {"7": {"name": "7"}}


# ---- browsers


def cors(raw: bytes) -> dict[str, str]:
    head = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:])
    return {name: value for name, value in headers.items() if name.startswith(("Access", "Vary"))}


@pytest.mark.parametrize(
    "path",
    ["/pusher/auth", "/pusher/user-auth", "/broadcasting/auth", "/broadcasting/user-auth"],
)
def test_a_preflight_is_answered_and_is_not_a_request_for_an_authorization(path: str) -> None:
    world = World()
    wire = world.wire()
    wanted = {
        "Origin": "http://shop.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    wire.send(request("OPTIONS", path, headers=wanted))
    assert wire.raw.startswith(b"HTTP/1.1 204 ")
    assert b"Content-Length" not in wire.raw
    assert cors(bytes(wire.raw)) == {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Max-Age": "86400",
        "Access-Control-Allow-Headers": "authorization",
        "Access-Control-Allow-Origin": "http://shop.test",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    assert not world.server.auth_requests


@pytest.mark.parametrize("status", [200, 403])
def test_a_page_may_read_answers_and_failures(status: int) -> None:
    world = World()
    if status != 200:
        world.do(world.server.auth_answer, status)
    wire = world.wire()
    sent = form("/pusher/auth", {"Origin": "null"}, socket_id=SOCKET, channel_name="private-x")
    wire.send(sent)
    assert wire.raw.startswith(b"HTTP/1.1 %d " % status)
    assert cors(bytes(wire.raw)) == {
        "Access-Control-Allow-Origin": "null",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


@pytest.mark.parametrize("path", ["/apps/1/channels", "/nowhere"])
def test_no_page_may_read_the_http_api(path: str) -> None:
    wire = World().wire()
    wire.send(request("GET", path, headers={"Origin": "http://shop.test"}))
    assert cors(bytes(wire.raw)) == {}
