"""Peculiarities of Reverb: each failure that a real one has shown, by its number."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from drivers.runners import Driver, until
from pusher_proto import (
    CacheMiss,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    Event,
    LocalProtocolError,
    Options,
    OwnKey,
    ServerError,
    Subscribed,
    SubscriptionError,
    SubscriptionFailed,
)
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
from real_servers.process import PLAIN_APP, App, RealServer, StartServer
from reverb.harness import command, environment

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync


def app(**more: Any) -> App:
    return App(id="1003", key="special-key", secret="special-secret", more=more)


def options_of(server: RealServer, user: str = "1", **more: Any) -> Options:
    special = server.apps[0]
    auth = OwnKey(special.key, special.secret, member={"user_id": user}, master_key=MASTER_KEY)
    return options_for(server, special, auth=auth, **more)


async def test_F1_a_member_without_info_disturbs_no_other(
    driver: Driver, server: RealServer
) -> None:
    room = fresh("presence-room")
    async with driver(options_of(server, "ann")) as ann, driver(options_of(server, "bob")) as bob:
        hers = await ann.subscribe(room).wait_subscribed(TIMEOUT)
        his = await bob.subscribe(room).wait_subscribed(TIMEOUT)
        await until(lambda: sorted(hers.members) == sorted(his.members) == ["ann", "bob"])


async def test_F2_channels_that_are_refused_at_once_are_known_by_the_order_of_the_answers(
    driver: Driver, server: RealServer
) -> None:
    forger = OwnKey(PLAIN_APP.key, "wrong", member={"user_id": "1"})
    async with driver(options_of(server)) as client:
        failures = client.events(SubscriptionFailed)
        await client.wait_connected(TIMEOUT)
        bad, good = [], []
        for kind in ("private-bad", "presence-bad", "private-bad"):
            bad.append(client.subscribe(fresh(kind), auth=forger).name)
            good += [client.subscribe(fresh(kind)) for kind in ("news", "private-good")]
        # Far below `subscribe_timeout`: by order, not by time.
        with anyio.fail_after(TIMEOUT / 2):
            refused = [await first(failures) for _ in bad]
            for channel in good:
                await channel.wait_subscribed(TIMEOUT)
        codes = [each.error.code for each in refused]
        assert (sorted(each.channel for each in refused), codes) == (sorted(bad), [4009] * 3)


async def test_F3_an_encrypted_channel_has_no_last_event(
    driver: Driver, server: RealServer
) -> None:
    name, publisher = fresh("private-encrypted-cache-x"), Publisher(server, PLAIN_APP, MASTER_KEY)
    async with driver(options_of(server)) as first_of_all, driver(options_of(server)) as client:
        await first_of_all.subscribe(name).wait_subscribed(TIMEOUT)
        publisher.trigger(name, "price", 1)
        channel = client.channel(name)
        async with channel.events(CacheMiss) as misses:
            await client.subscribe(name).wait_subscribed(TIMEOUT)
            publisher.trigger(name, "price", 2)
            event = await next_of(channel)
            assert (said(event), event.cached) == (("price", 2), False)
            misses.close()
            assert [miss async for miss in misses] == []


async def test_F3_a_client_event_is_kept_as_the_last_event(
    driver: Driver, server: RealServer
) -> None:
    name, publisher = fresh("private-cache-chat"), Publisher(server, PLAIN_APP)
    async with driver(options_of(server)) as sender, driver(options_of(server)) as client:
        (await sender.subscribe(name).wait_subscribed(TIMEOUT)).trigger("client-hello", [1])
        # Sent after the client event.
        await sender.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        channel = client.subscribe(name)
        kept = await next_of(channel)
        publisher.trigger(name, "price", 2)
        live = await next_of(channel)
        assert [(said(each), each.cached) for each in (kept, live)] == [
            (("client-hello", [1]), True),
            (("price", 2), False),
        ]


async def test_F4_who_leaves_and_returns_is_on_the_list_of_a_channel_with_a_last_event(
    driver: Driver, server: RealServer
) -> None:
    room, publisher = fresh("presence-cache-room"), Publisher(server, PLAIN_APP)
    async with driver(options_of(server, "ann")) as ann, driver(options_of(server, "bob")) as bob:
        hers = await ann.subscribe(room).wait_subscribed(TIMEOUT)
        his = await bob.subscribe(room).wait_subscribed(TIMEOUT)
        his.unsubscribe()
        await until(lambda: list(hers.members) == ["ann"])
        await bob.subscribe(room).wait_subscribed(TIMEOUT)
        publisher.trigger(room, "live", 1)
        event = await next_of(his)
        assert (said(event), event.cached) == (("live", 1), False)
        assert (sorted(his.members), his.me and his.me.id) == (["ann", "bob"], "bob")


async def test_F5_an_event_that_is_too_large_is_refused_here_and_the_connection_stays(
    driver: Driver, server: RealServer
) -> None:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member={"user_id": "1", "user_info": '"' * 5000})
    async with driver(options_of(server)) as client:
        channel = await client.subscribe(fresh("private-chat")).wait_subscribed(TIMEOUT)
        socket_id = client.socket_id
        with pytest.raises(LocalProtocolError, match="10004 bytes"):
            channel.trigger("client-hello", ["x" * 10_000])
        huge = client.subscribe(fresh("presence-room"), auth=auth)
        with pytest.raises(SubscriptionError, match="10000"):
            await huge.wait_subscribed(TIMEOUT)
        # The longest that is taken here is taken there.
        data = ["x" * (9500 - 4)]
        channel.trigger("client-hello", data)
        await client.subscribe(fresh("private-chat")).wait_subscribed(TIMEOUT)
        assert client.socket_id == socket_id


async def test_F6_a_full_app_is_tried_again_by_a_client_that_was_connected(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server, [app(max_connections=1)])
    options = options_of(server, slow_retry=(0.3,))
    async with driver(options) as client:
        await client.subscribe("news").wait_subscribed(TIMEOUT)
        client.disconnect()
        await until(lambda: server.get(server.apps[0], "/connections") == {"connections": 0})
        async with driver(options_of(server)) as other:
            await other.subscribe("news").wait_subscribed(TIMEOUT)
            async with client.events(ConnectionLost) as losses:
                client.connect()
                loss = await first(losses)
            assert (loss.code, loss.will_retry) == (4004, True)
        await client.channel("news").wait_subscribed(TIMEOUT)


async def test_F8_a_failure_behind_the_upgrade_is_named(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server, [app(max_message_size="ten")])
    async with driver(options_of(server)) as client:
        loss = await first(client.events(ConnectionLost))
        assert "HTTP instead of frames" in loss.reason
        assert loss.will_retry


async def test_F11_an_origin_that_is_not_allowed_is_named_with_what_to_set(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server, [app(allowed_origins=["example.com"])])
    async with driver(options_of(server)) as client:
        with pytest.raises(ConnectionFailed, match="origin"):
            await client.wait_connected(TIMEOUT)
    async with driver(options_of(server, origin="https://example.com:8443")) as client:
        await client.wait_connected(TIMEOUT)


async def test_F12_a_client_event_that_cannot_be_read_is_attributed_to_its_channel(
    driver: Driver, server: RealServer
) -> None:
    async with driver(options_of(server)) as client:
        channel = await client.subscribe(fresh("private-chat")).wait_subscribed(TIMEOUT)
        errors = channel.events(ServerError)
        channel.trigger("client-hello", 5)
        error = await first(errors)
        assert (error.code, error.channel) == (4200, channel.name)


async def test_the_command_that_restarts_the_server_is_a_loss_like_any_other(
    driver: Driver, start_server: StartServer, tmp_path: Path
) -> None:
    """Within five seconds the process ends with status 0, and its supervisor starts another."""
    settings: dict[str, Any] = {"cache.default": "file", "cache.stores.file.path": str(tmp_path)}
    server = await aside(partial(start_server, **settings))
    async with driver(options_of(server)) as client:
        channel = await client.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        async with client.events((ConnectionLost, ConnectionEstablished, Subscribed)) as heard:
            restart = partial(subprocess.run, command("reverb:restart"), env=environment(settings))
            assert (await aside(restart)).returncode == 0
            with anyio.fail_after(TIMEOUT):
                events: list[Event] = [await anext(heard)]
            while not isinstance(events[-1], ConnectionLost):
                events.append(await first(heard))
            assert (events[-1].code, events[-1].will_retry) == (1006, True)
            await until(lambda: server.returncode == 0)
            server.stop()
            await aside(partial(start_server, port=server.port))
            while not isinstance(events[-1], Subscribed):
                events.append(await first(heard))
            assert events[-1].offline_for is not None
        Publisher(server, PLAIN_APP).trigger(channel.name, "still", "here")
        assert said(await next_of(channel)) == ("still", "here")
