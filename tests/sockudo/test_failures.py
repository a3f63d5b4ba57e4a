"""Peculiarities of Sockudo: each failure that a real one has shown, by its number."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import anyio
import anyio.to_thread
import pytest

from drivers.runners import Driver, until
from pusher_anyio import Channel
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ConnectionLost,
    ConnectionState,
    Event,
    OwnKey,
    ServerError,
    SignedIn,
    Subscribed,
    SubscriptionError,
    SubscriptionFailed,
    WatchlistOnline,
)
from pusher_proto.signing import sign_channel, sign_user
from real_servers.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said
from real_servers.process import DEFAULT_APPS, PLAIN_APP, USERS_APP, App, StartServer

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync

DISABLED_APP = App(id="1005", key="disabled-key", secret="disabled-secret", enabled=False)
FULL_APP = App(id="1006", key="full-key", secret="full-secret", max_connections=1)


def own_key(app: App, member: object) -> OwnKey:
    return OwnKey(app.key, app.secret, member={"user_id": member})


def signing(app: App, user: str, channel_data: str | None) -> Callable[[AuthRequest], AuthResponse]:
    """Return an authorizer that signs `channel_data`, whatever it is, for every presence channel."""

    def authorize(request: AuthRequest) -> AuthResponse:
        if request.channel is None:
            data = json.dumps({"id": user})
            return AuthResponse(
                sign_user(app.key, app.secret, request.socket_id, data), user_data=data
            )
        said = channel_data if request.channel.startswith("presence-") else None
        auth = sign_channel(app.key, app.secret, request.socket_id, request.channel, said)
        return AuthResponse(auth, said)

    return authorize


async def test_K1_a_kill_after_refusals_is_a_loss_like_any_other(
    driver: Driver, start_server: StartServer
) -> None:
    """Nothing is published: any message in between would hide it."""
    server = await aside(start_server)
    forger = OwnKey(PLAIN_APP.key, "wrong")
    async with driver(options_for(server, PLAIN_APP)) as client:
        good = await client.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        for _ in range(2):  # the second time all three are requested on the new connection
            for name in ("private-a", "private-b"):
                refused = client.subscribe(name, auth=forger)
                with pytest.raises(SubscriptionError):
                    await refused.wait_subscribed(TIMEOUT)
            async with client.events(ConnectionLost) as losses:
                await aside(server.kill)
                loss = await first(losses)
            assert (loss.code, loss.will_retry) == (1006, True)
            server = await aside(partial(start_server, port=server.port))
            await client.wait_connected(TIMEOUT)
            await good.wait_subscribed(TIMEOUT)
        assert client.state is ConnectionState.CONNECTED


@pytest.mark.parametrize("which", ["unknown", "disabled", "full"])
async def test_K2_an_end_before_the_greeting_names_the_possible_reasons(
    driver: Driver, start_server: StartServer, which: str
) -> None:
    server = await aside(start_server, [*DEFAULT_APPS, DISABLED_APP, FULL_APP])
    unknown = App(id="1", key="nobody", secret="s")
    app = {"unknown": unknown, "disabled": DISABLED_APP, "full": FULL_APP}[which]
    async with AsyncExitStack() as others:
        if which == "full":
            other = await others.enter_async_context(Driver("asyncio")(options_for(server, app)))
            await other.wait_connected(TIMEOUT)
        async with driver(options_for(server, app)) as client:
            losses = client.events(ConnectionLost)
            for _ in range(2):
                loss = await first(losses)
                assert (loss.code, loss.will_retry) == (1006, True)
                assert "check the key" in loss.reason
                assert "max_connections" in loss.reason
            if which == "full":
                await others.aclose()
                await client.wait_connected(TIMEOUT)


async def test_K3a_a_presence_channel_without_channel_data_costs_the_others_nothing(
    driver: Driver, start_server: StartServer
) -> None:
    """Sockudo 5.2.0 ends the connection for it, without a close frame."""
    server = await aside(start_server)
    options = options_for(server, USERS_APP, auth=None)
    authorizer = signing(USERS_APP, fresh("user"), None)
    async with driver(options, authorizer=authorizer) as client:
        client.signin()
        await client.wait_signed_in(TIMEOUT)
        good = [client.subscribe(fresh(kind)) for kind in ("news", "private-orders")]
        for channel in good:
            await channel.wait_subscribed(TIMEOUT)
        bad = client.subscribe(fresh("presence-room"))
        failure = await bad.wait_for(SubscriptionFailed, timeout=TIMEOUT)
        assert failure.retry_in is not None
        assert failure.retry_in >= 30
        assert "channel_data" in str(failure.error)
        for channel in good:
            await channel.wait_subscribed(TIMEOUT)
        await client.wait_signed_in(TIMEOUT)
        socket_id = client.socket_id
        publisher = Publisher(server, USERS_APP)
        for channel in good:
            publisher.trigger(channel.name, "still", "here")
            assert said(await next_of(channel)) == ("still", "here")
        assert client.socket_id == socket_id


async def test_K3b_a_cached_event_above_our_limit_costs_the_others_nothing(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server)
    publisher = Publisher(server, PLAIN_APP)
    poisonous = fresh("cache-huge")
    publisher.trigger(poisonous, "huge", "x" * 9_000)
    async with driver(options_for(server, PLAIN_APP, max_message_size=4_000)) as client:
        good = await client.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        failure = await client.subscribe(poisonous).wait_for(SubscriptionFailed, timeout=TIMEOUT)
        assert failure.retry_in is not None
        await good.wait_subscribed(TIMEOUT)
        socket_id = client.socket_id
        publisher.trigger(good.name, "still", "here")
        assert said(await next_of(good)) == ("still", "here")
        assert client.socket_id == socket_id


async def test_K4_each_of_many_refusals_is_that_of_its_channel(
    driver: Driver, start_server: StartServer
) -> None:
    limits = {"max_presence_member_size_in_kb": 1, "max_channel_name_length": 40}
    app = App(id="1007", key="limits-key", secret="limits-secret", more=limits)
    server = await aside(start_server, [app])
    large = OwnKey(app.key, app.secret, member={"user_id": "1", "user_info": "x" * 4000})
    forger = OwnKey(app.key, "wrong", member={"user_id": "1"})
    wrong: dict[str, tuple[OwnKey | None, int]] = {
        "private-forged-1": (forger, 4009),
        "presence-large": (large, 4300),
        "n" * 60: (None, 4300),
        "not allowed": (None, 4300),
        "presence-cache-x": (own_key(app, "1"), 4000),
        "private-forged-2": (forger, 4009),
    }
    async with driver(options_for(server, app)) as client:
        failures = client.events(SubscriptionFailed)
        await client.wait_connected(TIMEOUT)
        good = []
        for name, (auth, _) in wrong.items():
            client.subscribe(name, auth=auth)
            good.append(client.subscribe(fresh("news")))
            good.append(client.subscribe(fresh("private-orders")))
        with anyio.fail_after(TIMEOUT / 2):  # far below `subscribe_timeout`: by order, not by time
            reported = {}
            for _ in wrong:
                failure = await first(failures)
                assert isinstance(failure.error, SubscriptionError)
                reported[failure.channel] = failure.error.code
            for channel in good:
                await channel.wait_subscribed(TIMEOUT)
        assert reported == {name: code for name, (_, code) in wrong.items()}


async def test_K5_a_refused_channel_beside_a_sign_in_is_not_the_refusal_of_the_sign_in(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server)
    user = fresh("user")
    options = options_for(server, USERS_APP, auth=None)
    authorizer = signing(USERS_APP, user, '{"user_id":7}')
    async with driver(options, authorizer=authorizer) as client:
        client.signin()
        bad = client.subscribe(fresh("presence-room"))
        with pytest.raises(SubscriptionError, match="user_id as a string only"):
            await bad.wait_subscribed(TIMEOUT)
        assert await client.wait_signed_in(TIMEOUT) == user
        # Answered after the user's own channel.
        await client.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        Publisher(server, USERS_APP).send_to_user(user, "note", 1)
        assert said(await client.user.wait_for("note", timeout=TIMEOUT)) == ("note", 1)


async def test_K6_users_of_the_watchlist_who_are_online_already_are_reported(
    driver: Driver, start_server: StartServer
) -> None:
    app = App(
        id="1008",
        key="watch-key",
        secret="watch-secret",
        user_authentication=True,
        more={"enable_watchlist_events": True},
    )
    server = await aside(start_server, [app])

    def key(user: str, *watched: str) -> OwnKey:
        return OwnKey(app.key, app.secret, user={"id": user, "watchlist": list(watched)})

    with_bob = options_for(server, app, auth=key("bob", "ann"))
    with_ann = options_for(server, app, auth=key("ann", "bob", "eve"))
    async with Driver("asyncio")(with_bob) as bob, driver(with_ann) as ann:
        bob.signin()
        await bob.wait_signed_in(TIMEOUT)
        online = ann.events(WatchlistOnline)
        ann.signin()
        assert (await first(online)).user_ids == ("bob",)
        assert ann.watchlist.online == {"bob"}
        ann.reconnect()
        assert (await first(online)).user_ids == ("bob",)


async def test_K7_a_full_presence_channel_is_joined_when_there_is_room(
    driver: Driver, start_server: StartServer
) -> None:
    app = App(
        id="1009",
        key="room-key",
        secret="room-secret",
        more={"max_presence_members_per_channel": 1},
    )
    server = await aside(start_server, [app])
    room = fresh("presence-room")
    others = options_for(server, app, auth=own_key(app, "other"))
    ours = options_for(server, app, auth=own_key(app, "me"), capacity_retry=(0.3,))
    async with Driver("asyncio")(others) as other, driver(ours) as client:
        await other.subscribe(room).wait_subscribed(TIMEOUT)
        channel = client.subscribe(room)
        failure = await channel.wait_for(SubscriptionFailed, timeout=TIMEOUT)
        assert isinstance(failure.error, SubscriptionError)
        assert failure.error.code == 4100
        assert failure.retry_in is not None
        other.unsubscribe(room)
        await channel.wait_subscribed(TIMEOUT)
        assert list(channel.members) == ["me"]


async def test_K9_an_authentication_deadline_of_a_good_connection_is_not_final(
    driver: Driver, start_server: StartServer
) -> None:
    """The deadline of the server is later than the ten seconds within which 4009 says that it never was good."""
    server = await aside(partial(start_server, user_authentication_timeout=11))
    async with driver(options_for(server, USERS_APP, slow_retry=(0.5,))) as client:
        await client.subscribe("news").wait_subscribed(TIMEOUT)
        async with client.events(ConnectionLost) as losses:
            with anyio.fail_after(3 * TIMEOUT):
                loss = await anext(losses)
        assert (loss.code, loss.will_retry) == (4009, True)
        assert "sign-in" in loss.hint
        await client.wait_connected(TIMEOUT)
        await client.channel("news").wait_subscribed(TIMEOUT)


@pytest.mark.smoke
async def test_K11_a_members_number_is_signed_as_text(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server)
    options = options_for(server, PLAIN_APP, auth=own_key(PLAIN_APP, 7))
    async with driver(options) as client:
        channel = await client.subscribe(fresh("presence-room")).wait_subscribed(TIMEOUT)
        assert list(channel.members) == ["7"]


async def test_C2_members_who_join_at_once_are_on_every_roster(
    driver: Driver, start_server: StartServer
) -> None:
    """The server sends others' joins before the success, whose list does not have them.

    Now and then it sends one to no client: then the list of `refresh_members()` has it.
    """
    server = await aside(start_server)
    room, count = fresh("presence-room"), 12
    everybody = {f"u{number}" for number in range(count)}

    def is_complete(channel: Channel) -> bool:
        return set(channel.members) == everybody

    async with AsyncExitStack() as clients:
        options = [options_for(server, PLAIN_APP, auth=own_key(PLAIN_APP, u)) for u in everybody]
        opened = [await clients.enter_async_context(driver(each)) for each in options]
        for client in opened:
            await client.wait_connected(TIMEOUT)
        channels = [client.subscribe(room) for client in opened]
        for channel in channels:
            await channel.wait_subscribed(TIMEOUT)
        for channel in channels:
            with anyio.move_on_after(1):
                await until(partial(is_complete, channel))
            if not is_complete(channel):
                channel.refresh_members()
                await until(partial(is_complete, channel))


@pytest.mark.smoke
async def test_a_client_event_of_a_channel_with_a_cache_is_refused(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server)
    name = fresh("private-cache-chat")
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        errors = channel.events(ServerError)
        channel.trigger("client-hello", {})
        error = await first(errors)
        assert (error.code, error.channel) == (4301, name)


async def test_events_of_the_server_are_not_lost_while_it_drains(
    driver: Driver, start_server: StartServer
) -> None:
    """SIGTERM: 4200, then 503 for the grace period; the client is back at the first attempt that is taken."""
    server = await aside(partial(start_server, shutdown_grace_period=1))
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = await client.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        async with client.events(ConnectionLost) as losses:
            await aside(server.terminate)
            loss = await first(losses)
        assert (loss.code, loss.will_retry) == (4200, True)
        server = await aside(partial(start_server, port=server.port))
        async with channel.events((Subscribed, ChannelEvent)) as heard:
            events: list[Event] = []
            while not events or not isinstance(events[-1], Subscribed):
                events.append(await first(heard))
                if isinstance(events[-1], Subscribed) and events[-1].offline_for is None:
                    events.pop()
        Publisher(server, PLAIN_APP).trigger(channel.name, "still", "here")
        assert said(await next_of(channel)) == ("still", "here")


async def test_a_signed_in_user_is_signed_in_again_after_each_reconnect(
    driver: Driver, start_server: StartServer
) -> None:
    server = await aside(start_server)
    user = fresh("user")
    async with driver(
        options_for(
            server, USERS_APP, auth=OwnKey(USERS_APP.key, USERS_APP.secret, user={"id": user})
        )
    ) as client:
        signed_in = client.events(SignedIn)
        client.signin()
        for _ in range(3):
            assert (await first(signed_in)).user_id == user
            client.reconnect()
        assert (await first(signed_in)).user_id == user
