"""Two real nodes of Sockudo over one Redis, and clients that know it (`several_nodes`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from drivers.runners import Driver, until
from pusher_anyio import Client
from pusher_proto import ChannelEvent, Metadata, Options, OwnKey
from real_servers import redis
from real_servers.clients import TIMEOUT, Publisher, first, fresh, options_for
from real_servers.fixtures import require
from real_servers.process import HOST, PLAIN_APP, RealServer, ServerError
from sockudo.harness import INSTALL, Sockudo

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync

HEALTH = {
    "enabled": True,
    "heartbeat_interval_ms": 500,
    "node_timeout_ms": 1500,
    "cleanup_interval_ms": 500,
}
"""How soon a node notices that the other one is gone: half a minute by default."""
_FORGOTTEN = 3.0
"""Seconds within which a node has done that."""
_REPEATED = 1.5
"""Seconds behind a success within which a subscription that gets nothing is woken."""


class Nodes:
    """The nodes, of which new connections get the first that runs."""

    def __init__(self, servers: list[RealServer]) -> None:
        self.servers = servers

    def options(self, user: str, node: int | None = None, **more: Any) -> Options:
        """Return options for a user on one node, or on the first that runs."""
        auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member={"user_id": user})
        more |= {"retry_cap": 1.0}
        options = options_for(
            self.servers[node or 0], PLAIN_APP, auth=auth, several_nodes=True, **more
        )
        return (
            options
            if node is not None
            else replace(options, host="", port=None, resolve_url=self.url)
        )

    def url(self, meta: Metadata) -> str:
        """Return the URL of the first node that runs, as a load balancer would choose it."""
        port = next(each.port for each in self.servers if each.returncode is None)
        return f"ws://{HOST}:{port}/app/{meta.key}?protocol={meta.protocol}"


@pytest.fixture(scope="module")
def database(server_class: type[RealServer]) -> Iterator[redis.Redis]:
    """A Redis; without one the test is skipped, or fails if PUSHER_PROTO_REQUIRE_REDIS=1."""
    require("Redis", redis.prepare())
    with redis.Redis() as database:
        yield database


@contextmanager
def started(database: redis.Redis) -> Iterator[Nodes]:
    """Start two nodes; skip or fail where Sockudo was built without Redis."""
    settings: dict[str, Any] = {
        # A prefix of each test: nodes that ended are remembered for a while.
        "adapter": {
            "driver": "redis",
            "redis": {"prefix": fresh("nodes")},
            "cluster_health": HEALTH,
        },
        "cache": {"driver": "redis"},
        "database": {"redis": {"host": HOST, "port": database.port}},
    }
    servers: list[RealServer] = []
    try:
        servers += [Sockudo.start(**settings) for _ in range(2)]
        yield Nodes(servers)
    except ServerError as error:
        if "feature is not enabled" not in str(error):
            raise
        require("Redis", f"this Sockudo was built without it; get it by: {INSTALL}")
    finally:
        for server in servers:
            server.kill()  # an orderly end takes three seconds


@pytest.fixture(scope="module")
def nodes(database: redis.Redis) -> Iterator[Nodes]:
    """Two nodes that the tests leave running."""
    with started(database) as nodes:
        yield nodes


@pytest.fixture
def own_nodes(database: redis.Redis) -> Iterator[Nodes]:
    """Two nodes for one test."""
    with started(database) as nodes:
        yield nodes


async def opened(stack: AsyncExitStack, driver: Driver, options: Options) -> Client:
    client: Client = await stack.enter_async_context(driver(options))
    return client


async def test_C2_members_who_join_two_nodes_at_once_are_on_every_list(
    driver: Driver, nodes: Nodes
) -> None:
    users = [f"user-{n}" for n in range(8)]
    async with AsyncExitStack() as stack:
        clients = [
            await opened(stack, driver, nodes.options(user, n % 2)) for n, user in enumerate(users)
        ]
        for client in clients:
            await client.wait_connected(TIMEOUT)
        room = fresh("presence-room")
        rooms = [client.subscribe(room) for client in clients]
        await until(lambda: all(sorted(each.members) == users for each in rooms))
        for server in nodes.servers:
            assert await aside(Publisher(server, PLAIN_APP).members, room) == users


async def test_C1_a_client_that_is_alone_on_its_channels_is_not_deaf_after_a_reconnect(
    driver: Driver, nodes: Nodes
) -> None:
    """Without the option a third of them are: on each kind of channel, and for ever."""
    publisher = Publisher(nodes.servers[0], PLAIN_APP)
    async with AsyncExitStack() as stack:
        clients = [
            await opened(stack, driver, nodes.options(f"user-{n}", n % 2)) for n in range(12)
        ]
        kinds = ("device", "private-device", "presence-device")
        channels = [client.subscribe(fresh(kind)) for client in clients for kind in kinds]
        for channel in channels:
            await channel.wait_subscribed(TIMEOUT)
        for number, client in enumerate(clients):
            if number % 3 == 0:
                client.reconnect()
            else:  # the channels are not left first
                client.disconnect()
                client.connect()
        for channel in channels:
            await channel.wait_subscribed(TIMEOUT)
        await anyio.sleep(_REPEATED)
        for channel in channels:
            await channel.wait_subscribed(TIMEOUT)
            async with channel.events(ChannelEvent) as stream:
                await aside(publisher.trigger, channel.name, "count", {})
                assert (await first(stream)).name == "count"


async def test_C3_C5_members_whose_node_is_killed_move_to_the_other_and_stay_on_every_list(
    driver: Driver, own_nodes: Nodes
) -> None:
    nodes = own_nodes
    ahead, behind = nodes.servers
    publisher = Publisher(behind, PLAIN_APP)
    async with AsyncExitStack() as stack:
        watchers = [await opened(stack, driver, nodes.options(f"watcher-{n}", 1)) for n in range(2)]
        movers = [await opened(stack, driver, nodes.options(f"mover-{n}")) for n in range(4)]
        rooms = [client.subscribe("presence-room") for client in (*watchers, *movers)]
        users = sorted([*(f"watcher-{n}" for n in range(2)), *(f"mover-{n}" for n in range(4))])
        await until(lambda: all(sorted(room.members) == users for room in rooms))
        async with AsyncExitStack() as streams:
            heard = [await streams.enter_async_context(room.events("count")) for room in rooms]
            await aside(ahead.kill)
            # The node that is left forgets the other one, and its connections.
            await anyio.sleep(_FORGOTTEN)
            await until(lambda: all(sorted(room.members) == users for room in rooms))
            assert await aside(publisher.members, "presence-room") == users
            await aside(publisher.trigger, "presence-room", "count", {"n": 1})
            for stream in heard:
                assert (await first(stream)).data == {"n": 1}
