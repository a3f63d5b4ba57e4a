"""Two real nodes of Reverb over one Redis: what crosses between them, and what each has for itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from drivers.runners import Driver, until
from pusher_proto import ChannelEvent, ConnectionLost, MemberAdded, Options, OwnKey
from real_servers import redis
from real_servers.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said, take
from real_servers.fixtures import require
from real_servers.process import HOST, PLAIN_APP, RealServer, StartServer

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync


@pytest.fixture
def database() -> Iterator[redis.Redis]:
    """A Redis; without one the test is skipped, or fails if PUSHER_PROTO_REQUIRE_REDIS=1."""
    require("Redis", redis.prepare())
    with redis.Redis() as database:
        yield database


@pytest.fixture
def nodes(start_server: StartServer, database: redis.Redis) -> list[RealServer]:
    """Two nodes for one test."""
    return [start_server(**settings(database)) for _ in range(2)]


def settings(database: redis.Redis, patience: int = 60) -> dict[str, Any]:
    """Return the settings of a node that waits `patience` seconds for a Redis that is gone."""
    server = {"host": HOST, "port": database.port, "timeout": patience}
    scaling = {"enabled": True, "channel": "reverb", "server": server}
    return {"reverb.servers.reverb.scaling": scaling}


def options(node: RealServer, user: str) -> Options:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member={"user_id": user})
    return options_for(node, PLAIN_APP, auth=auth)


async def test_events_reach_the_clients_of_all_nodes_and_members_only_clients_of_their_own_node(
    driver: Driver, nodes: list[RealServer]
) -> None:
    room, publisher = fresh("presence-room"), Publisher(nodes[0], PLAIN_APP)
    async with (
        driver(options(nodes[0], "ann")) as ann,
        driver(options(nodes[1], "bob")) as bob,
        ann.events(MemberAdded) as added,
    ):
        hers = await ann.subscribe(room).wait_subscribed(TIMEOUT)
        his = await bob.subscribe(room).wait_subscribed(TIMEOUT)
        publisher.trigger(room, "count", 1)
        # Up to 1.10.2 a node does not know the socket of another node.
        publisher.trigger(room, "count", 2, socket_id=bob.socket_id)
        publisher.trigger(room, "count", 3, socket_id=ann.socket_id)
        async with hers.events(ChannelEvent) as to_her, his.events(ChannelEvent) as to_him:
            assert [data for _, data in await take(to_him, 3)] == [1, 2, 3]
            hers.trigger("client-hello", {"n": 4})
            assert await take(to_him, 1) == [("client-hello", {"n": 4})]
            his.trigger("client-hello", {"n": 5})
            assert [data for _, data in await take(to_her, 3)] == [1, 2, {"n": 5}]
        assert [list(each.members) for each in (hers, his)] == [["ann"], ["bob"]]
        assert await aside(publisher.members, room) == ["ann", "bob"]
        added.close()
        assert [event async for event in added] == []


async def test_the_last_event_is_kept_by_nodes_with_a_subscriber(
    driver: Driver, nodes: list[RealServer]
) -> None:
    name, publisher = fresh("cache-news"), Publisher(nodes[0], PLAIN_APP)
    async with driver(options(nodes[0], "ann")) as ann, driver(options(nodes[1], "bob")) as bob:
        hers = await ann.subscribe(name).wait_subscribed(TIMEOUT)
        publisher.trigger(name, "price", 1)
        assert said(await next_of(hers)) == ("price", 1)
        his = await bob.subscribe(name).wait_subscribed(TIMEOUT)
        publisher.trigger(name, "price", 2)
        event = await next_of(his)
        assert (said(event), event.cached) == (("price", 2), False)


async def test_clients_stay_while_redis_is_gone_and_get_what_is_published_after_its_return(
    driver: Driver, nodes: list[RealServer], database: redis.Redis
) -> None:
    name, publisher = fresh("news"), Publisher(nodes[0], PLAIN_APP)
    async with driver(options(nodes[0], "ann")) as ann, ann.events(ConnectionLost) as losses:
        channel = await ann.subscribe(name).wait_subscribed(TIMEOUT)
        before = ann.stats.messages_received
        database.stop()
        await aside(partial(publisher.trigger, name, "count", 1))
        await anyio.sleep(0.5)
        assert ann.stats.messages_received == before
        with redis.Redis(database.port), anyio.fail_after(TIMEOUT):
            # The first ones may be lost: a node publishes before it has subscribed again.
            while ann.stats.messages_received == before:
                await aside(partial(publisher.trigger, name, "count", 2))
                await anyio.sleep(0.1)
        assert said(await next_of(channel)) in [("count", 1), ("count", 2)]
        losses.close()
        assert [loss async for loss in losses] == []


async def test_nodes_end_when_redis_does_not_return_in_time(
    driver: Driver, start_server: StartServer, database: redis.Redis
) -> None:
    """With status 0, and nothing in the log: a supervisor must start them again nevertheless."""
    node = await aside(partial(start_server, **settings(database, patience=2)))
    async with driver(options(node, "ann")) as ann, ann.events(ConnectionLost) as losses:
        await ann.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        database.stop()
        assert (await first(losses)).code == 1006
        await until(lambda: node.returncode == 0)
