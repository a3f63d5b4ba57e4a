"""Members of a presence channel, and the subscribers that are notified."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_proto.testing import Server, ServerLimits, ServerOptions

from .client import Client, World

CHANNEL = "presence-x"


def member(user_id: Any, **info: Any) -> dict[str, Any]:
    return {"user_id": user_id, "user_info": info}


def test_the_roster_and_the_changes_have_pushers_shape() -> None:
    world = World()
    first, second = world.client(), world.client()
    assert first.subscribe(CHANNEL, member(1, name="A")) == [
        {
            "event": "pusher_internal:subscription_succeeded",
            "channel": CHANNEL,
            "data": '{"presence":{"ids":["1"],"hash":{"1":{"name": "A"}},"count":1}}',
        }
    ]
    roster = second.subscribe(CHANNEL, {"user_id": "b"})[0]["data"]
    assert json.loads(roster) == {
        "presence": {"ids": ["1", "b"], "hash": {"1": {"name": "A"}, "b": None}, "count": 2}
    }
    assert first.take() == [
        {
            "event": "pusher_internal:member_added",
            "channel": CHANNEL,
            "data": '{"user_id":"b"}',
        }
    ]
    second.say("pusher:unsubscribe", {"channel": CHANNEL})
    assert first.take() == [
        {
            "event": "pusher_internal:member_removed",
            "channel": CHANNEL,
            "data": '{"user_id":"b"}',
        }
    ]
    third = world.client()
    third.subscribe(CHANNEL, member("c", name="C"))
    [added] = first.take()
    assert json.loads(added["data"]) == {"user_id": "c", "user_info": {"name": "C"}}
    assert world.server.members(CHANNEL) == {"1": {"name": "A"}, "c": {"name": "C"}}
    assert world.server.members("presence-void") == {}


def test_only_the_first_and_last_connection_of_a_user_count() -> None:
    world = World()
    watcher, first, second = (world.client() for _ in range(3))
    watcher.subscribe(CHANNEL, member("w"))
    first.subscribe(CHANNEL, member("u", device=1))
    second.subscribe(CHANNEL, member("u", device=2))
    assert [frame["event"] for frame in watcher.take()] == ["pusher_internal:member_added"]
    first.wire.hang_up()
    assert watcher.take() == []
    assert world.server.members(CHANNEL)["u"] == {"device": 1}
    second.wire.hang_up()
    assert [frame["event"] for frame in watcher.take()] == ["pusher_internal:member_removed"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "Invalid channel_data for channel presence-x"),
        ({"user_info": {}}, "Invalid channel_data for channel presence-x"),
        ({"user_id": None}, "Invalid channel_data for channel presence-x"),
        ({"user_id": ""}, "Invalid user_id in channel_data for channel presence-x"),
        (
            {"user_id": "a", "user_info": "x" * 1024},
            "Too large channel_data for channel presence-x",
        ),
    ],
)
def test_members_that_are_none_are_refused(data: Any, message: str) -> None:
    world = World()
    assert world.client().subscribe(CHANNEL, data) == [
        {"event": "pusher:error", "data": {"code": None, "message": message}}
    ]
    assert world.server.channels() == []


def test_a_channel_has_only_so_many_users() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(members=1))))
    first, again, other = (world.client() for _ in range(3))
    first.subscribe(CHANNEL, member("u"))
    assert again.subscribe(CHANNEL, member("u"))[0]["event"].endswith("subscription_succeeded")
    assert other.subscribe(CHANNEL, member("v"))[0]["data"]["code"] == 4100


USERS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(USERS, st.sampled_from(["leave", "hang up", "drop"]))),
    max_size=40,
)


class View:
    """The members as one client knows them, from the roster and the changes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.believed: list[str] | None = None

    def read(self) -> None:
        for frame in self.client.take():
            data = json.loads(frame["data"])
            match frame["event"].removeprefix("pusher_internal:"):
                case "subscription_succeeded":
                    self.believed = data["presence"]["ids"]
                    assert data["presence"]["count"] == len(data["presence"]["ids"])
                case "member_added":
                    assert self.believed is not None and data["user_id"] not in self.believed
                    self.believed.append(data["user_id"])
                case "member_removed":
                    assert self.believed is not None
                    self.believed.remove(data["user_id"])
                case other:
                    raise AssertionError(other)


@given(STEPS)
def test_every_subscriber_knows_who_is_there(steps: list[tuple[int, str]]) -> None:
    world = World()
    views = [View(world.client()) for _ in range(4)]
    present: dict[int, str] = {}
    for place, step in steps:
        view = views[place]
        if step in ("hang up", "drop"):
            if step == "drop":
                world.do(world.server.drop, connection=view.client.wire.number)
            else:
                view.client.wire.hang_up()
            present.pop(place, None)
            views[place] = View(world.client())
        elif step == "leave":
            if present.pop(place, None):
                view.client.say("pusher:unsubscribe", {"channel": CHANNEL})
                view.believed = None
        elif place not in present:
            frames = view.client.subscribe(CHANNEL, {"user_id": step})
            view.client.frames = frames
            present[place] = step
        for each in views:
            each.read()
        assert set(world.server.members(CHANNEL)) == set(present.values())
        for number, each in enumerate(views):
            if number in present:
                assert sorted(each.believed or ()) == sorted(set(present.values()))
