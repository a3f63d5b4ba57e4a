"""A real server ends in each of its ways, and our clients come back to another on its port."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import pytest

from drivers.runners import Driver, free_port
from pusher_proto import (
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    Options,
    OwnKey,
    SignedIn,
    Subscribed,
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
from real_servers.process import HOST, PLAIN_APP, USERS_APP, RealServer, StartServer

pytestmark = pytest.mark.anyio

PREFIXES = ("news", "private-orders", "presence-room", "private-encrypted-x", "cache-last")


async def test_the_user_and_every_channel_are_restored_after_each_kind_of_restart(
    driver: Driver, start_server: StartServer
) -> None:
    server = await anyio.to_thread.run_sync(start_server)
    names, user = [fresh(prefix) for prefix in PREFIXES], fresh("user")
    auth = OwnKey(
        USERS_APP.key,
        USERS_APP.secret,
        member={"user_id": user},
        user={"id": user},
        master_key=MASTER_KEY,
    )
    async with driver(options_for(server, USERS_APP, auth=auth)) as client:
        signs_in = server.habits.signs_in
        if signs_in:
            client.signin()
        channels = [client.subscribe(name) for name in names]
        for channel in channels:
            await channel.wait_subscribed(TIMEOUT)
        if signs_in:
            assert await client.wait_signed_in(TIMEOUT) == user
        first_id = client.socket_id
        back = client.events((ConnectionEstablished, SignedIn, Subscribed))
        # The first success of each channel was kept for the first listener.
        kept = [await first(back) for _ in names]
        assert sorted(each.channel for each in kept) == sorted(names)

        for end, code in (
            (RealServer.stop, server.habits.shutdown_code),
            (RealServer.kill, 1006),
            (RealServer.terminate, server.habits.shutdown_code),
        ):
            async with client.events(ConnectionLost) as lost:
                await anyio.to_thread.run_sync(end, server)
                loss = await first(lost)
            assert (loss.code, loss.will_retry) == (code, True)
            again = partial(start_server, port=server.port)
            server = await anyio.to_thread.run_sync(again)

            established = await first(back)
            assert established.socket_id == client.socket_id != first_id
            assert 0 < established.offline_for < TIMEOUT
            returned = [await first(back) for _ in range(len(names) + signs_in)]
            signed_in = [each for each in returned if isinstance(each, SignedIn)]
            assert signed_in == ([SignedIn(user, {"id": user})] if signs_in else [])
            subscribed = [each for each in returned if isinstance(each, Subscribed)]
            assert sorted(each.channel for each in subscribed) == sorted(names)
            assert all(each.offline_for is not None for each in subscribed)

            publisher = Publisher(server, USERS_APP, MASTER_KEY)
            for name, channel in zip(names, channels, strict=True):
                publisher.trigger(name, "again", {"on": name})
                assert said(await next_of(channel)) == ("again", {"on": name})
            assert list(channels[2].members) == [user]
            if not signs_in:
                continue
            # A channel asked for now is answered after the user's own, for which there is no event.
            await client.subscribe(fresh("later")).wait_subscribed(TIMEOUT)
            assert (await first(back)).channel.startswith("later")
            client.unsubscribe(list(client.channels)[-1])
            publisher.send_to_user(user, "welcome", {"back": True})
            event = await client.user.wait_for("welcome", timeout=TIMEOUT)
            assert said(event) == ("welcome", {"back": True})


async def test_a_server_that_is_not_there_yet_is_waited_for(
    driver: Driver, start_server: StartServer
) -> None:
    port = free_port()
    options = Options(
        host=HOST, port=port, key=PLAIN_APP.key, tls=False, retry_base=0.05, retry_cap=0.2
    )
    async with driver(options) as client:
        loss = await first(client.events(ConnectionLost))
        assert (loss.code, loss.will_retry) == (None, True)
        assert client.state is ConnectionState.CONNECTING
        await anyio.to_thread.run_sync(partial(start_server, port=port))
        assert await client.wait_connected(TIMEOUT) == client.socket_id
