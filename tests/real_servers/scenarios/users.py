"""Signing in on real servers: the user's events, and connections that the server ends."""

from __future__ import annotations

import anyio
import pytest

from drivers.runners import Driver
from pusher_proto import (
    ChannelEvent,
    ConnectionFailed,
    ConnectionState,
    LocalProtocolError,
    Member,
    OwnKey,
    SignedIn,
)
from real_servers.clients import TIMEOUT, Publisher, first, fresh, options_for, said, take
from real_servers.process import USERS_APP, RealServer

pytestmark = pytest.mark.anyio


def key_of(user: str, secret: str = USERS_APP.secret) -> OwnKey:
    return OwnKey(USERS_APP.key, secret, user={"id": user, "user_info": {"name": "Zoë"}})


async def test_a_user_signs_in_and_has_its_own_events(driver: Driver, server: RealServer) -> None:
    user, publisher = fresh("user"), Publisher(server, USERS_APP)
    async with driver(options_for(server, USERS_APP, auth=key_of(user))) as client:
        signed_in = client.events(SignedIn)
        client.signin()
        assert await client.wait_signed_in(TIMEOUT) == user
        data = {"id": user, "user_info": {"name": "Zoë"}}
        assert await first(signed_in) == SignedIn(user, data)
        assert (client.user.id, client.user.data) == (user, data)
        # Answered after the user's own channel, which nothing reports.
        await client.subscribe("news").wait_subscribed(TIMEOUT)
        async with client.user.events(ChannelEvent) as stream:
            for number in range(3):
                publisher.send_to_user(user, "note", {"n": number})
            publisher.send_to_user(fresh("user"), "note", "for somebody else")
            publisher.send_to_user(user, "last", "x y")
            assert await take(stream, 4) == [
                *[("note", {"n": number}) for number in range(3)],
                ("last", "x y"),
            ]


async def test_events_of_a_user_reach_all_its_connections(
    driver: Driver, server: RealServer
) -> None:
    user = fresh("user")
    options = options_for(server, USERS_APP, auth=key_of(user))
    async with driver(options) as desk, driver(options) as phone:
        for client in (desk, phone):
            client.signin()
            await client.wait_signed_in(TIMEOUT)
            await client.subscribe("news").wait_subscribed(TIMEOUT)
        Publisher(server, USERS_APP).send_to_user(user, "note", 1)
        for client in (desk, phone):
            event = await client.user.wait_for("note", timeout=TIMEOUT)
            assert said(event) == ("note", 1)


async def test_a_signed_in_user_joins_a_presence_channel_without_a_member(
    driver: Driver, server: RealServer
) -> None:
    """`OwnKey` signs `channel_data` from the user, which every server takes."""
    user = fresh("user")
    async with driver(options_for(server, USERS_APP, auth=key_of(user))) as client:
        client.signin()
        channel = await client.subscribe(fresh("presence-room")).wait_subscribed(TIMEOUT)
        assert await client.wait_signed_in(TIMEOUT) == user
        assert dict(channel.members) == {user: Member(user, {"name": "Zoë"})}


async def test_terminating_a_user_ends_all_its_connections_and_no_others(
    driver: Driver, server: RealServer
) -> None:
    gone, stays = fresh("user"), fresh("user")
    gone_options = options_for(server, USERS_APP, auth=key_of(gone))
    stays_options = options_for(server, USERS_APP, auth=key_of(stays))
    publisher = Publisher(server, USERS_APP)
    async with (
        driver(gone_options) as desk,
        driver(gone_options) as phone,
        driver(stays_options) as other,
    ):
        for client in (desk, phone, other):
            client.signin()
            await client.wait_signed_in(TIMEOUT)
            await client.subscribe("news").wait_subscribed(TIMEOUT)
        publisher.terminate(gone)
        for client in (desk, phone):
            with pytest.raises(ConnectionFailed) as caught:
                with anyio.fail_after(TIMEOUT):
                    await client.run()
            assert caught.value.code == 4009
            assert (client.state, client.user.id) == (ConnectionState.FAILED, None)
            with pytest.raises(ConnectionFailed):
                await client.wait_signed_in(TIMEOUT)
        publisher.send_to_user(stays, "note", "still here")
        event = await other.user.wait_for("note", timeout=TIMEOUT)
        assert said(event) == ("note", "still here")


async def test_a_terminated_user_may_reconnect(driver: Driver, server: RealServer) -> None:
    user = fresh("user")
    async with driver(options_for(server, USERS_APP, auth=key_of(user))) as client:
        client.signin()
        await client.wait_signed_in(TIMEOUT)
        Publisher(server, USERS_APP).terminate(user)
        with pytest.raises(ConnectionFailed):
            await client.run()
        client.connect()
        assert await client.wait_signed_in(TIMEOUT) == user


async def test_waiting_for_a_sign_in_that_was_not_requested_is_an_error(
    driver: Driver, server: RealServer
) -> None:
    async with driver(options_for(server, USERS_APP)) as client:
        with pytest.raises(LocalProtocolError, match=r"call signin\(\) first"):
            await client.wait_signed_in(TIMEOUT)
