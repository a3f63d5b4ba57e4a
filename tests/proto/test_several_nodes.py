"""A client at a cluster with its own habits: with `several_nodes` both sides agree again after a while."""

from __future__ import annotations

import random

import pytest

from cluster import Cluster, cluster_world
from pusher_proto import ChannelEvent, MemberRemoved, Options, OwnKey, Subscribed
from simulation import HOST, Device, World

ROOM = "presence-room"
USERS = 5


def options(world: World, user: str, **more: bool) -> Options:
    auth = OwnKey(world.app.key, world.app.secret, member={"user_id": user})
    return Options.for_sockudo(HOST, key=world.app.key, tls=False, auth=auth, **more)  # type: ignore[arg-type]  # mypy has no keywords of a TypedDict in **


def channels_of(number: int) -> tuple[str, ...]:
    """Return the channels of a device: two that are shared, and its own two."""
    return "news", ROOM, f"private-user-{number}", f"device-{number}"


def started(seed: int, **more: bool) -> tuple[World, Cluster, list[Device]]:
    world, server = cluster_world(seed)
    devices = [world.device(options(world, f"user-{n}", **more)) for n in range(USERS)]
    for number, device in enumerate(devices):
        device.subscribe(*channels_of(number))
    world.run(5)
    return world, server, devices


def disturb(world: World, server: Cluster, devices: list[Device], plan: random.Random) -> None:
    device = plan.choice(devices)
    match plan.choice(("reset", "reconnect", "reconnect", "restart", "close", "rejoin")):
        case "reset":
            world.reset(device)
        case "reconnect":
            device.do(device.session.reconnect)
        case "restart":
            world.act(server.drop, 4200)
        case "close":
            for connection in plan.sample(
                list(server.connections), min(1, len(server.connections))
            ):
                world.act(server.drop, None, connection=connection)
        case _:
            device.unsubscribe(ROOM)
            world.run(0.3)
            device.subscribe(ROOM)
    world.run(plan.choice((0.05, 0.3, 2.0, 10.0)))


def silent(world: World, server: Cluster, devices: list[Device]) -> list[str]:
    """Return the channels whose events do not reach their client."""
    found = []
    for number, device in enumerate(devices):
        for channel in channels_of(number):
            device.take()
            world.act(server.publish, channel, "check", {})
            world.run(1)
            if not device.of(ChannelEvent):
                found.append(channel)
    return found


def wrong_lists(server: Cluster, devices: list[Device]) -> list[str]:
    there = set(server.members(ROOM))
    return [
        str(number)
        for number, device in enumerate(devices)
        if set(device.session.channel(ROOM).members) != there
        and not device.session.stats.roster_drifts
    ]


@pytest.mark.parametrize("seed", range(25))
def test_C1_C2_C3_after_a_minute_of_calm_client_and_cluster_agree(seed: int) -> None:
    world, server, devices = started(seed, several_nodes=True)
    plan = random.Random(seed)
    for _ in range(25):
        disturb(world, server, devices, plan)
    world.run(60)
    assert silent(world, server, devices) == []
    assert wrong_lists(server, devices) == []
    assert set(server.members(ROOM)) == {f"user-{n}" for n in range(USERS)}


def test_C2_members_who_join_at_once_are_on_every_list() -> None:
    for seed in range(10):
        _, server, devices = started(seed)
        assert wrong_lists(server, devices) == []
        assert len(server.members(ROOM)) == USERS
        assert all(device.session.stats.roster_drifts == 0 for device in devices)


def test_C1_without_the_option_a_reconnect_leaves_a_channel_deaf() -> None:
    """The habit is there: what the option avoids is seen without it."""
    deaf = 0
    for seed in range(10):
        world, server, devices = started(seed)
        world.network.latency = 0.001
        for device in devices:
            device.do(device.session.reconnect)
            world.run(3)
        deaf += len(silent(world, server, devices))
    assert deaf > 0


def test_C3_without_the_option_a_member_is_removed_and_joins_again() -> None:
    for seed in range(5):
        world, server, devices = started(seed)
        devices[0].take()
        devices[0].do(devices[0].session.reconnect)
        world.run(10)
        assert server.realm.late_removals == 1
        mine = [event for event in devices[0].take() if isinstance(event, Subscribed)]
        assert [event.channel for event in mine].count(ROOM) == 2
        assert devices[0].of(MemberRemoved) == []
        assert wrong_lists(server, devices) == []
        assert "user-0" in devices[1].session.channel(ROOM).members
