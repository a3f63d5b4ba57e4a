"""The controls of the server, and their effects on clients."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto.errors import LocalProtocolError
from pusher_proto.testing import Server, ServerLimits, ServerOptions

from .client import World, request
from .frames import event, frame


@pytest.fixture
def world() -> World:
    return World()


def error(code: int | None, message: str, **more: Any) -> dict[str, Any]:
    return {"event": "pusher:error", "data": {"code": code, "message": message}, **more}


# ---- drop


def test_drop_without_a_code_aborts_every_websocket(world: World) -> None:
    first, second, plain = world.client(), world.client(), world.wire()
    world.do(world.server.drop)
    assert [first.wire.closed, second.wire.closed, plain.closed] == ["abort", "abort", None]
    assert (first.close, world.server.connections) == (None, {})


def test_drop_with_a_code_sends_a_close_frame_and_waits_for_the_clients(world: World) -> None:
    client = world.client()
    client.answer_close = False
    client.subscribe("room")
    client.take()
    world.do(world.server.drop, 4200, "again")
    assert (client.close, client.wire.closed) == ((4200, "again"), None)
    assert world.do(world.server.publish, "room", "e", "1") == 0
    client.wire.send(event("pusher:ping") + frame(b"", opcode=9) + frame(b"", opcode=8))
    assert (client.take(), client.pongs, client.wire.closed) == ([], [], "end")
    assert world.server.next_deadline() is None


def test_a_client_that_does_not_answer_the_close_is_given_up(world: World) -> None:
    client = world.client()
    client.answer_close = False
    world.do(world.server.drop, 4200)
    world.do(world.server.drop, 4201, connection=client.wire.number)
    world.pass_time(4.9)
    assert client.wire.closed is None
    world.pass_time(0.1)
    assert client.wire.closed == "abort"


@pytest.mark.parametrize("broken", [frame(b"", masked=False), frame(b"x" * 200_000)])
def test_a_client_that_breaks_the_rules_while_closing_is_ended(world: World, broken: bytes) -> None:
    client = world.client()
    client.answer_close = False
    world.do(world.server.drop, 4200)
    client.wire.send(broken)
    assert client.wire.closed == "end"


def test_drop_can_send_an_error_first_and_leave_out_the_close_frame(world: World) -> None:
    first, second, third = (world.client() for _ in range(3))
    world.do(world.server.drop, 4201, "prune", 1, error_event=True, close_frame=False)
    world.do(world.server.drop, 4001, "no", 2, error_event=True)
    world.do(world.server.drop, error_event=True, connection=3)
    assert (first.take(), first.close, first.wire.closed) == ([error(4201, "prune")], None, "end")
    assert (second.take(), second.close) == ([error(4001, "no")], (4001, "no"))
    assert (third.take(), third.close, third.wire.closed) == ([error(None, "")], None, "end")


def test_clients_dropped_together_are_not_notified_of_each_other(world: World) -> None:
    clients = [world.client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.subscribe("presence-x", {"user_id": number})
    for client in clients:
        client.take()
    world.do(world.server.drop, 4200)
    assert [client.take() for client in clients] == [[], [], []]


def test_drop_ends_a_connection_that_is_not_a_websocket(world: World) -> None:
    wire = world.wire()
    world.do(world.server.drop, 4200, connection=wire.number)
    assert wire.closed == "end"
    with pytest.raises(LocalProtocolError, match="no connection 1"):
        world.do(world.server.drop, connection=wire.number)


@pytest.mark.parametrize(("code", "reason"), [(999, ""), (5000, ""), (4000, "x" * 124)])
def test_what_no_close_frame_can_say_is_refused(world: World, code: int, reason: str) -> None:
    client = world.client()
    with pytest.raises(ValueError):
        world.do(world.server.drop, code, reason)
    with pytest.raises(ValueError):
        world.do(world.server.refuse, code=code, reason=reason)
    assert client.wire.closed is None


# ---- mute


def test_a_muted_server_reads_and_says_nothing(world: World) -> None:
    client, other = world.client(), world.client()
    for each in (client, other):
        each.subscribe("room")
    client.take()
    world.do(world.server.mute, client.wire.number)
    client.say("pusher:ping")
    client.wire.send(frame(b"", opcode=9) + frame(b"nonsense"))
    world.do(world.server.publish, "room", "e", "1")
    assert (client.take(), client.pongs, len(other.take())) == ([], [], 1)
    assert [message.event for message in world.server.received][-1] == "pusher:ping"
    world.do(world.server.unmute, client.wire.number)
    client.say("pusher:ping")
    assert client.take() == [{"event": "pusher:pong", "data": "{}"}]


def test_muting_all_includes_later_clients(world: World) -> None:
    world.do(world.server.mute)
    late = world.client()
    wire = world.wire()
    wire.send(request("GET", "/"))
    wire.send(request("GET", "/"))
    odd = world.wire()
    odd.send(b"\x16\x03\x01")
    odd.send(b"more")
    assert (bytes(late.wire.raw), bytes(wire.raw), bytes(odd.raw)) == (b"", b"", b"")
    world.do(world.server.unmute)
    assert world.client().socket_id
    assert world.server.stats.requests == 3


def test_a_muted_websocket_that_closes_or_breaks_is_forgotten_silently(world: World) -> None:
    first, second = world.client(), world.client()
    world.do(world.server.mute)
    first.wire.send(frame(b"", opcode=8) + b"more")
    second.wire.send(frame(b"", masked=False))
    assert world.server.connections == {}
    assert (first.close, first.wire.closed, second.close) == (None, None, None)
    assert world.server.next_deadline() is None


def test_a_muted_websocket_can_still_be_dropped_and_written_to(world: World) -> None:
    client = world.client()
    world.do(world.server.mute)
    world.do(world.server.send_raw, client.wire.number, '{"event":"x"}')
    world.do(world.server.drop, 4200, "", error_event=True)
    assert client.take() == [{"event": "x"}, error(4200, "")]
    assert (client.close, client.wire.closed) == ((4200, ""), "end")


def test_an_answer_that_was_held_is_lost_on_a_muted_connection(world: World) -> None:
    client = world.client()
    world.do(world.server.delay, 1)
    client.say("pusher:ping")
    world.do(world.server.mute)
    world.pass_time(1)
    world.do(world.server.unmute)
    world.pass_time(9)
    assert client.take() == []


# ---- the rest


def test_raw_text_and_bytes_are_sent_as_they_are(world: World) -> None:
    client, plain = world.client(), world.wire()
    world.do(world.server.send_raw, None, '["no event"]')
    world.do(world.server.send_raw, client.wire.number, frame(b"{}", masked=False))
    world.do(world.server.send_raw, plain.number, b"HTTP")
    assert client.take() == [["no event"], {}]
    assert bytes(plain.raw) == b"HTTP"


def test_a_changed_secret_voids_authorizations(world: World) -> None:
    client = world.client()
    world.do(world.server.rotate_secret, "new")
    assert client.subscribe("private-x")[0]["event"] == "pusher:error"


def test_what_clients_sent_is_kept_to_be_looked_at() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(log=3))))
    client = world.client()
    client.say("pusher:ping")
    client.subscribe("room")
    client.say("client-e", [1], "room")
    client.say("pusher:signin", {"channel": 1})
    assert list(world.server.received) == [
        (1, "pusher:subscribe", "room", {"channel": "room"}),
        (1, "client-e", "room", [1]),
        (1, "pusher:signin", None, {"channel": 1}),
    ]
    assert world.server.stats.messages == 4


def test_a_client_that_does_not_read_is_aborted_in_the_end() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(unsent=2000))))
    watcher, slow = world.client(), world.client()
    watcher.subscribe("presence-x", {"user_id": "w"})
    slow.subscribe("presence-x", {"user_id": "s"})
    watcher.take()
    for _ in range(20):
        world.server.receive_data(slow.wire.number, event("pusher:ping") * 4, now=0)
    world.carry()
    assert slow.wire.closed == "abort"
    assert [frame["event"] for frame in watcher.take()] == ["pusher_internal:member_removed"]


def test_an_abort_may_follow_from_an_abort() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(unsent=2000))))
    watcher, slow = world.client(), world.client()
    watcher.subscribe("presence-x", {"user_id": "w"})
    slow.subscribe("presence-x", {"user_id": "s" * 190})
    # No effect is pulled, until the watcher has no room left for the message about the other's end.
    pings = (2000 - watcher.wire.world.server._connections[1].unsent) // 38
    world.server.receive_data(1, event("pusher:ping") * (pings - 2), now=0)
    world.server.receive_data(2, event("pusher:ping") * 100, now=0)
    world.carry()
    assert [watcher.wire.closed, slow.wire.closed] == ["abort", "abort"]


def test_an_answer_that_is_too_much_and_the_last_ends_once() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(unsent=10))))
    wire = world.wire()
    wire.send(request("GET", "/", headers={"Connection": "close"}))
    assert wire.closed == "abort"


# ---- silence of the client


def test_a_silent_client_is_pinged_and_closed_when_it_does_not_answer() -> None:
    world = World(Server(options=ServerOptions(ping_after=120)))
    client = world.client()
    world.pass_time(60)
    client.say("pusher:pong")
    world.pass_time(119)
    assert client.take() == []
    world.pass_time(1)
    assert client.take() == [{"event": "pusher:ping", "data": "{}"}]
    client.say("pusher:pong")
    world.pass_time(119)
    assert client.take() == []
    world.pass_time(1)
    assert len(client.take()) == 1
    world.pass_time(30)
    assert client.close == (4201, "Pong reply not received")
    assert world.server.next_deadline() is None


def test_a_muted_connection_is_neither_pinged_nor_closed() -> None:
    world = World(Server(options=ServerOptions(ping_after=10)))
    client = world.client()
    world.pass_time(10)
    world.do(world.server.mute)
    world.pass_time(1000)
    assert (len(client.take()), client.close) == (1, None)
    world.do(world.server.unmute)
    world.pass_time(20)
    assert len(client.take()) == 1


def test_time_that_goes_back_stands_still() -> None:
    world = World(Server())
    client = world.client()
    world.do(world.server.delay, 5)
    world.server.handle_timeout(now=100)
    world.now = 3
    client.say("pusher:ping")
    assert world.server.next_deadline() == 105
