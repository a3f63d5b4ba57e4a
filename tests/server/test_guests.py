"""Users and senders without a client behind them, as the clients on a channel see them."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto.errors import LocalProtocolError
from pusher_proto.testing import DEMO_APP, App, Server

from .client import World

ROOM = "presence-room"


@pytest.fixture
def world() -> World:
    return World()


def test_a_user_who_is_let_in_is_announced_and_leaves_again(world: World) -> None:
    client = world.client()
    client.subscribe(ROOM, {"user_id": "1"})
    client.take()
    world.do(world.server.join, ROOM, "7", {"name": "Ada"})
    world.do(world.server.join, ROOM, "8")
    assert world.server.members(ROOM) == {"1": None, "7": {"name": "Ada"}, "8": None}
    assert [(each["event"], each["data"]) for each in client.take()] == [
        ("pusher_internal:member_added", '{"user_id":"7","user_info":{"name":"Ada"}}'),
        ("pusher_internal:member_added", '{"user_id":"8"}'),
    ]
    world.do(world.server.leave, ROOM, "7")
    assert [(each["event"], each["data"]) for each in client.take()] == [
        ("pusher_internal:member_removed", '{"user_id":"7"}')
    ]
    assert sorted(world.server.members(ROOM)) == ["1", "8"]


def test_who_was_there_first_is_in_the_roster(world: World) -> None:
    world.do(world.server.join, ROOM, "7", {"name": "Ada"})
    client = world.client()
    (success,) = client.subscribe(ROOM, {"user_id": "1"})
    assert '"ids":["7","1"]' in success["data"]
    assert world.server.connections == {client.wire.number: client.socket_id}


def test_a_guest_survives_that_all_clients_are_dropped(world: World) -> None:
    world.do(world.server.join, ROOM, "7")
    world.client()
    world.do(world.server.drop)
    assert world.server.members(ROOM) == {"7": None}


def test_a_guest_sends_client_events_under_its_id(world: World) -> None:
    client = world.client()
    client.subscribe(ROOM, {"user_id": "1"})
    world.do(world.server.join, ROOM, "7")
    client.take()
    assert world.do(world.server.client_event, ROOM, "client-x", {"a": 1}, "7") == 1
    assert client.take() == [
        {"event": "client-x", "channel": ROOM, "data": {"a": 1}, "user_id": "7"}
    ]


def test_a_client_event_on_a_private_channel_has_no_user_id(world: World) -> None:
    assert world.do(world.server.client_event, "private-room", "client-x", "text") == 0
    client = world.client()
    client.subscribe("private-room")
    client.take()
    assert world.do(world.server.client_event, "private-room", "client-x", "text") == 1
    assert client.take() == [{"event": "client-x", "channel": "private-room", "data": "text"}]


def test_each_app_has_its_own_guests() -> None:
    other = App(id="2", key="other", secret="other-secret")
    world = World(Server([DEMO_APP, other]))
    world.do(world.server.join, ROOM, "7", app="other")
    world.do(world.server.join, ROOM, "7")
    world.do(world.server.leave, ROOM, "7")
    assert (world.server.members(ROOM), world.server.members(ROOM, app="other")) == (
        {},
        {"7": None},
    )


@pytest.mark.parametrize(
    ("control", "args", "error"),
    [
        ("join", ("private-room", "7"), ValueError),
        ("join", (ROOM, "known"), LocalProtocolError),
        ("join", (ROOM, "8", object()), TypeError),
        ("leave", (ROOM, "7"), LocalProtocolError),
        ("client_event", ("private-room", "x", 1), ValueError),
        ("client_event", (ROOM, "client-x", 1), LocalProtocolError),
        ("client_event", (ROOM, "client-x", 1, "7"), LocalProtocolError),
        ("client_event", ("private-room", "client-x", object()), TypeError),
    ],
)
def test_a_wrong_use_raises_and_changes_nothing(
    world: World, control: str, args: tuple[Any, ...], error: type[Exception]
) -> None:
    world.do(world.server.join, ROOM, "known")
    client = world.client()
    client.subscribe(ROOM, {"user_id": "1"})
    client.take()
    with pytest.raises(error):
        world.do(getattr(world.server, control), *args)
    assert (client.take(), sorted(world.server.members(ROOM))) == ([], ["1", "known"])
