"""Cache channels of all four kinds on real servers: they begin with their last event or a cache miss."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.runners import Driver
from pusher_proto import CacheMiss, Options, OwnKey, Subscribed
from real_servers.clients import (
    MASTER_KEY,
    TIMEOUT,
    Publisher,
    first,
    fresh,
    next_of,
    options_for,
    said,
)
from real_servers.process import PLAIN_APP, RealServer

pytestmark = pytest.mark.anyio

KINDS = ("cache-last", "private-cache-last", "presence-cache-last", "private-encrypted-cache-last")


@pytest.fixture(params=KINDS)
def prefix(request: pytest.FixtureRequest, server: RealServer) -> str:
    """The beginning of a name. Where the server cannot do one kind, another takes its place."""
    prefix: str = request.param
    if prefix.startswith("presence-") and not server.habits.presence_caches:
        return "cache-presence"
    if prefix.startswith("private-encrypted-") and not server.habits.encrypted_caches:
        return "cache-encrypted"
    return prefix


def options_of(server: RealServer) -> Options:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member={"user_id": "1"}, master_key=MASTER_KEY)
    return options_for(server, PLAIN_APP, auth=auth)


@asynccontextmanager
async def occupied(driver: Driver, server: RealServer, name: str) -> AsyncIterator[None]:
    """Keep a subscriber on a channel where its last event is lost with the last of them."""
    if server.habits.cache_outlives_subscribers:
        yield
        return
    async with driver(options_of(server)) as client:
        await client.subscribe(name).wait_subscribed(TIMEOUT)
        yield


async def test_an_empty_cache_is_missed_and_then_filled(
    driver: Driver, server: RealServer, prefix: str
) -> None:
    name, publisher = fresh(prefix), Publisher(server, PLAIN_APP, MASTER_KEY)
    async with occupied(driver, server, name), driver(options_of(server)) as client:
        channel = client.channel(name)
        misses = channel.events(CacheMiss)
        await client.subscribe(name).wait_subscribed(TIMEOUT)
        assert await first(misses) == CacheMiss(name)
        publisher.trigger(name, "price", {"eur": 1})
        event = await next_of(channel)
        assert (said(event), event.cached) == (("price", {"eur": 1}), False)
        channel.unsubscribe()
        await client.subscribe(name).wait_subscribed(TIMEOUT)
        event = await next_of(channel)
        assert (said(event), event.cached) == (("price", {"eur": 1}), True)


async def test_the_last_event_is_delivered_first_and_again_after_a_reconnect(
    driver: Driver, server: RealServer, prefix: str
) -> None:
    name, publisher = fresh(prefix), Publisher(server, PLAIN_APP, MASTER_KEY)
    async with occupied(driver, server, name), driver(options_of(server)) as client:
        publisher.trigger(name, "price", {"eur": 1})
        publisher.trigger(name, "price", {"eur": 2})
        channel = client.channel(name)
        successes, misses = channel.events(Subscribed), channel.events(CacheMiss)
        client.subscribe(name)
        heard = [await next_of(channel)]
        publisher.trigger(name, "price", {"eur": 3})
        heard.append(await next_of(channel))
        await first(successes)
        client.reconnect()
        await first(successes)
        heard.append(await next_of(channel))
        publisher.trigger(name, "price", {"eur": 4})
        heard.append(await next_of(channel))
        assert [(each.data["eur"], each.cached) for each in heard] == [
            (2, True),
            (3, False),
            (3, True),
            (4, False),
        ]
        misses.close()
