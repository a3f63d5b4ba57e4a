"""From the first byte to the greeting, and how it is refused."""

from __future__ import annotations

import random
import re

import pytest

from pusher_proto.errors import LocalProtocolError
from pusher_proto.testing import DEMO_APP, App, Server, ServerOptions, ServerSend

from .client import Client, World, parse_response, request
from .frames import UPGRADE, event


def test_the_greeting_is_pushers() -> None:
    world = World(Server(options=ServerOptions(activity_timeout=30), rng=random.Random(5)))
    client = Client(world.wire())
    [greeting] = client.frames
    assert re.fullmatch(
        r'\{"socket_id":"[0-9]+\.[0-9]+","activity_timeout":30\}', greeting.pop("data")
    )
    assert greeting == {"event": "pusher:connection_established"}
    assert list(world.server.connections) == [1]


def test_socket_ids_differ_and_are_repeatable() -> None:
    ids = []
    for _ in range(2):
        world = World(Server(rng=random.Random(7)))
        ids.append([world.client().socket_id for _ in range(20)])
    assert len(set(ids[0])) == 20
    assert ids[0] == ids[1]


def test_a_socket_id_in_use_is_not_given_again() -> None:
    class Repeating(random.Random):
        draws = iter([1, 2, 1, 2, 3, 4])

        def randrange(self, *args: object) -> int:
            return next(self.draws)

    world = World(Server(rng=Repeating()))
    assert [world.client().socket_id, world.client().socket_id] == ["1.2", "3.4"]


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("/app/nobody?protocol=7", 4001, "App key 'nobody' not in this cluster"),
        ("/app/demo", 4008, "No protocol version supplied"),
        ("/app/demo?protocol=4", 4007, "Unsupported protocol version"),
        ("/app/demo?protocol=x", 4007, "Unsupported protocol version"),
        ("/app/demo?protocol=7&version=new", 4006, "Invalid version string format"),
        ("/elsewhere?protocol=7", 4005, "Path not found"),
    ],
)
def test_a_wrong_address_is_refused_after_the_upgrade(target: str, code: int, reason: str) -> None:
    world = World()
    client = world.client(target)
    assert client.frames == [
        {"event": "pusher:error", "data": {"code": code, "message": reason}},
    ]
    assert (client.close, client.wire.closed) == ((code, reason), "end")
    assert world.server.connections == {}
    assert world.server.stats.refused == 1


@pytest.mark.parametrize(
    "target",
    [
        "/app/demo?protocol=5",
        "/app/demo?protocol=6&version=1.2.3-rc.1",
        "/some/where/app/demo/?protocol=7&client=x&version=8.6.0&flash=false",
        "/app/d%65mo?protocol=7",
    ],
)
def test_a_right_address_is_accepted(target: str) -> None:
    assert World().client(target).socket_id


def test_a_path_prefix_can_be_demanded() -> None:
    world = World(Server(options=ServerOptions(path_prefix="/ws")))
    assert world.client("/ws/app/demo?protocol=7").socket_id
    assert world.client("/app/demo?protocol=7").close == (4005, "Path not found")


def test_apps_live_apart() -> None:
    apps = [DEMO_APP, App(id="2", key="two", secret="s")]
    world = World(Server(apps))
    first, second = world.client(), world.client("/app/two?protocol=7")
    first.subscribe("room")
    second.subscribe("room")
    world.do(world.server.publish, "room", "e", "1", app="two")
    assert first.take() == []
    assert second.take() == [{"event": "e", "channel": "room", "data": "1"}]
    assert world.server.subscriptions("room") == {first.socket_id}
    assert world.server.subscriptions("room", app="two") == {second.socket_id}
    with pytest.raises(LocalProtocolError, match="no app"):
        world.server.channels(app="three")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        (("Connection: Upgrade", "Connection: keep-alive"), 400),
        (("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), 426),
        (("Sec-WebSocket-Version: 13\r\n", ""), 400),
        (("Connection: Upgrade", "Connection: \xe9, Upgrade"), 400),
        (("Host: test", "Host: xn--\xe9"), 400),
        (("HTTP/1.1\r\nHost: test", "HTTP/1.0"), 400),
    ],
)
def test_a_handshake_that_is_none_is_answered_in_http(change: tuple[str, str], status: int) -> None:
    world = World()
    wire = world.wire()
    wire.send(UPGRADE.decode().replace(*change).encode("latin-1"))
    assert parse_response(bytes(wire.raw))[0] == status
    assert (b"Sec-WebSocket-Version: 13" in wire.raw) == ("Version" in change[0])
    assert world.server.stats.websockets == 0


def test_after_a_refused_handshake_the_connection_can_be_used_on() -> None:
    world = World()
    wire = world.wire()
    wire.send(UPGRADE.replace(b"Version: 13", b"Version: 12") + UPGRADE)
    assert wire.raw.count(b"HTTP/1.1 ") == 2
    assert b"connection_established" in wire.raw


def test_frames_received_with_the_handshake_are_read() -> None:
    world = World()
    wire = world.wire()
    wire.send(UPGRADE + event("pusher:ping"))
    assert wire.raw.endswith(b'{"event":"pusher:pong","data":"{}"}')


def test_messages_before_the_greeting_are_refused() -> None:
    world = World()
    world.do(world.server.delay, 3, "greeting")
    client = world.client()
    client.say("pusher:ping")
    assert client.take() == [
        {
            "event": "pusher:error",
            "data": {"code": None, "message": "The connection is not established yet"},
        }
    ]
    world.pass_time(3)
    client.take_greeting()
    assert client.socket_id


def test_plain_requests_are_answered() -> None:
    world = World()
    assert world.http(request("GET", "/"))[0] == 200
    assert world.http(request("HEAD", "/")) == (200, b"")
    assert world.http(request("GET", "/nowhere")) == (
        404,
        {"error": "No such resource: GET /nowhere"},
    )
    assert world.http(request("GET", "/app/demo?protocol=7"))[0] == 426


def test_numbers_of_connections_are_the_callers_to_keep_apart() -> None:
    server = Server()
    server.connection_opened(1, now=0)
    with pytest.raises(LocalProtocolError, match="connection 1 is open already"):
        server.connection_opened(1, now=0)
    server.connection_closed(1, now=0)
    server.connection_opened(1, now=0)
    server.receive_data(9, b"x", now=0)
    server.connection_closed(9, now=0)
    assert server.next_effect() is None


def test_what_was_for_a_client_that_has_gone_is_not_sent() -> None:
    server = Server()
    for number in (1, 2):
        server.connection_opened(number, now=0)
        server.receive_data(number, UPGRADE, now=0)
    server.connection_closed(1, now=0)
    effects = []
    while (effect := server.next_effect()) is not None:
        effects.append(effect)
    assert {effect.connection for effect in effects} == {2}
    assert all(isinstance(effect, ServerSend) for effect in effects)


@pytest.mark.parametrize(
    "apps",
    [[], [DEMO_APP, DEMO_APP], [DEMO_APP, App(id="1", key="other", secret="s")]],
)
def test_apps_must_be_distinguished(apps: list[App]) -> None:
    with pytest.raises(ValueError):
        Server(apps)


def test_an_app_hides_its_secrets_and_checks_its_key() -> None:
    assert "demo-secret" not in repr(DEMO_APP)
    assert repr(DEMO_APP.encryption_master_key) not in repr(DEMO_APP)
    with pytest.raises(ValueError, match="32 bytes"):
        App(id="1", key="k", secret="s", encryption_master_key=b"short")
