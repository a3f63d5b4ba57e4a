"""The control API, and the pages about the server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pusher_proto.testing import DEMO_APP, Server, ServerOptions

from .client import Wire, World, form, request


class Controlled(World):
    def __init__(self, control: bool | str = True) -> None:
        super().__init__(Server(options=ServerOptions(control=control)))

    def post(self, name: str, **body: Any) -> tuple[int, Any]:
        return self.http(request("POST", f"/control/{name}", json.dumps(body).encode()))

    def get(self, name: str) -> tuple[int, Any]:
        return self.http(request("GET", f"/control/{name}"))


def lines(wire: Wire) -> list[dict[str, Any]]:
    """Return the JSON lines of a stream so far."""
    _, _, body = bytes(wire.raw).partition(b"\r\n\r\n")
    found = []
    while body:
        size, _, body = body.partition(b"\r\n")
        found.append(json.loads(body[: int(size, 16)]))
        body = body[int(size, 16) + 2 :]
    return found


def test_it_is_off_by_default() -> None:
    assert World().http(request("GET", "/control/connections"))[0] == 404


def test_commands_do_what_the_controls_do() -> None:
    world = Controlled()
    client = world.client()
    client.subscribe("private-x")
    assert world.post("publish", channels="private-x", event="e", data={"a": 1}) == (
        200,
        {"sockets": 1},
    )
    assert world.post("client_event", channel="private-x", event="client-y", data=2) == (
        200,
        {"sockets": 1},
    )
    assert client.take() == [
        {"event": "e", "channel": "private-x", "data": '{"a":1}'},
        {"event": "client-y", "channel": "private-x", "data": 2},
    ]
    assert world.post("delay", seconds=1.0, what="ping") == (200, {})
    client.say("pusher:ping")
    assert client.take() == []
    assert world.post("drop", code=4200, reason="again") == (200, {})
    assert client.close == (4200, "again")
    assert world.post("refuse", status=503, times=1) == (200, {})
    assert world.client().rejected == 503


def test_what_happened_can_be_read() -> None:
    world = Controlled()
    client = world.client()
    client.subscribe("presence-x", {"user_id": "7", "user_info": {"n": 1}})
    client.sign_in({"id": "7"})
    world.post("publish", channels=["presence-x"], event="e", data="1")
    world.http(form("/pusher/auth", socket_id=client.socket_id, channel_name="private-x"))
    assert world.get("connections")[1] == [{"connection": 1, "socket_id": client.socket_id}]
    assert world.get("channels")[1] == {
        "presence-x": {"subscriptions": [client.socket_id], "members": {"7": {"n": 1}}}
    }
    assert world.get("users?app=demo")[1] == {"7": [client.socket_id]}
    assert world.get("received")[1][0]["event"] == "pusher:subscribe"
    assert world.get("published")[1] == [
        {
            "app": DEMO_APP.key,
            "event": "e",
            "channel": "presence-x",
            "data": "1",
            "exclude_socket_id": None,
        }
    ]
    assert world.get("auth_requests")[1][0]["fields"]["channel_name"] == "private-x"
    assert world.get("webhooks")[1] == []


def test_one_call_starts_again() -> None:
    world = Controlled()
    client = world.client()
    client.subscribe("presence-x", {"user_id": "7"})
    world.post("join", channel="presence-x", user_id="8")
    world.post("mute")
    world.post("refuse", status=503)
    world.post("delay", seconds=5)
    assert world.post("reset") == (200, {})
    assert world.server.members("presence-x") == {"7": None}
    assert world.get("received")[1] == []
    assert world.client().socket_id
    client.take()
    client.say("pusher:ping")
    assert client.take() == [{"event": "pusher:pong", "data": "{}"}]
    assert world.post("reset", drop=True) == (200, {})
    assert client.close == (4200, "reset")


@pytest.mark.parametrize(
    ("name", "body", "status", "sentence"),
    [
        ("fly", b"{}", 404, "No command 'fly': there are publish, "),
        ("drop", b"{", 400, "The body of drop is invalid: "),
        ("drop", b'{"kode": 1}', 400, "unknown field `kode`"),
        ("drop", b'{"code": "x"}', 400, "Expected `int | null`"),
        ("drop", b'{"code": 7}', 400, "a close code is between 1000 and 4999, not 7"),
        ("drop", b'{"connection": 7}', 400, "there is no connection 7"),
        ("publish", b'{"channels": "x", "event": "e", "app": "y"}', 400, "no app has the key 'y'"),
        ("client_event", b'{"channel": "x", "event": "e"}', 400, "begins with client-"),
    ],
)
def test_a_wrong_command_gets_one_sentence_and_changes_nothing(
    name: str, body: bytes, status: int, sentence: str
) -> None:
    world = Controlled()
    client = world.client()
    got, answer = world.http(request("POST", f"/control/{name}", body))
    assert got == status
    assert sentence in answer["error"]
    assert (client.take(), client.close, client.wire.closed) == ([], None, None)


def test_other_requests_get_one_sentence() -> None:
    world = Controlled()
    assert world.http(request("PUT", "/control/drop"))[0] == 405
    assert world.get("nothing") == (
        404,
        {
            "error": "Nothing to read at 'nothing': there are received, published, auth_requests, "
            "webhooks, connections, channels, users, events"
        },
    )
    assert world.get("channels?app=x") == (400, {"error": "no app has the key 'x'"})


def test_without_a_token_it_is_for_this_machine_and_not_for_pages() -> None:
    world = Controlled()
    call = request("GET", "/control/connections", headers={"Origin": "http://shop.test"})
    assert world.http(call)[0] == 403
    for number, (peer, status) in enumerate(
        [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403), ("x", 403)]
    ):
        wire = Wire(world, 100 + number)
        world.wires[wire.number] = wire
        world.server.connection_opened(wire.number, peer=peer, now=world.now)
        wire.send(request("GET", "/control/connections"))
        assert wire.raw.startswith(b"HTTP/1.1 %d " % status), peer


def test_with_a_token_it_is_for_all_that_have_it() -> None:
    world = Controlled("let-me-in")
    assert world.get("connections")[0] == 401
    call = request("GET", "/control/connections", headers={"Authorization": "Bearer let-me-in"})
    assert world.http(call) == (200, [])


def test_events_are_streamed_as_json_lines_until_the_client_goes() -> None:
    world = Controlled()
    wire = world.wire()
    wire.send(request("GET", "/control/events"))
    client = world.client()
    client.subscribe("private-x")
    client.say("client-e", 1, "private-x")
    world.do(world.server.publish, "private-x", "e", "1")
    client.say("pusher:unsubscribe", {"channel": "private-x"})
    wire.send(b"ignored")
    kinds = [line["kind"] for line in lines(wire)]
    assert [kind for kind in kinds if kind != "received"] == [
        "connected",
        "subscribed",
        "client event",
        "published",
        "unsubscribed",
    ]
    assert lines(wire)[-1]["channel"] == "private-x"
    assert len(world.server.observers) == 1
    wire.hang_up()
    client.subscribe("room")
    assert world.server.observers == []


# ---- pages


@pytest.mark.parametrize("path", ["/up", "/ready", "/health"])
def test_health_checks_are_answered_until_the_server_shuts_down(path: str) -> None:
    world = World()
    assert world.http(request("GET", path)) == (200, {"status": "ok"})
    world.do(world.server.shut_down)
    assert world.http(request("GET", path)) == (503, {"status": "shutting down"})
    world.do(world.server.allow)
    assert world.http(request("GET", path)) == (200, {"status": "ok"})
    assert world.http(request("POST", path))[0] == 405


def test_the_numbers_can_be_read() -> None:
    world = World()
    world.client().subscribe("room")
    status, numbers = world.http(request("GET", "/stats"))
    assert status == 200
    assert numbers == {
        "open": 1,
        "channels": 1,
        "connections": 2,
        "websockets": 1,
        "refused": 0,
        "requests": 2,
        "messages": 1,
        "published": 0,
    }


def test_a_page_may_ask_whether_the_server_is_up() -> None:
    wire = World().wire()
    wire.send(request("GET", "/", headers={"Origin": "http://shop.test"}))
    assert b"Access-Control-Allow-Origin: http://shop.test" in wire.raw
