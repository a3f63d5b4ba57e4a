"""Signing in on Soketi: the user's events, being sent away, and a server that has the feature switched off."""

from __future__ import annotations

import anyio
import pytest

from drivers.runners import Driver
from pusher_proto import (
    ChannelEvent,
    ConnectionFailed,
    ConnectionState,
    LocalProtocolError,
    OwnKey,
    SignedIn,
    SignInError,
    SignInFailed,
    SubscriptionError,
    UserState,
)
from soketi.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said, take
from soketi.harness import PLAIN_APP, USERS_APP, Soketi

pytestmark = pytest.mark.anyio


def key_of(user: str, secret: str = USERS_APP.secret) -> OwnKey:
    return OwnKey(USERS_APP.key, secret, user={"id": user, "user_info": {"name": "Zoë"}})


async def test_a_user_signs_in_and_has_its_own_events(driver: Driver, soketi: Soketi) -> None:
    user, publisher = fresh("user"), Publisher(soketi, USERS_APP)
    async with driver(options_for(soketi, USERS_APP, auth=key_of(user))) as client:
        signed_in = client.events(SignedIn)
        client.signin()
        assert await client.wait_signed_in(TIMEOUT) == user
        data = {"id": user, "user_info": {"name": "Zoë"}}
        assert await first(signed_in) == SignedIn(user, data)
        assert (client.user.id, client.user.data) == (user, data)
        # Answered after the user's own channel, of which nobody tells.
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


async def test_events_of_a_user_reach_all_its_connections(driver: Driver, soketi: Soketi) -> None:
    user = fresh("user")
    options = options_for(soketi, USERS_APP, auth=key_of(user))
    async with driver(options) as desk, driver(options) as phone:
        for client in (desk, phone):
            client.signin()
            await client.wait_signed_in(TIMEOUT)
            await client.subscribe("news").wait_subscribed(TIMEOUT)
        Publisher(soketi, USERS_APP).send_to_user(user, "note", 1)
        for client in (desk, phone):
            event = await client.user.wait_for("note", timeout=TIMEOUT)
            assert said(event) == ("note", 1)


async def test_presence_as_the_signed_in_user_is_refused_by_a_server_that_wants_a_member(
    driver: Driver, soketi: Soketi
) -> None:
    async with driver(options_for(soketi, USERS_APP, auth=key_of(fresh("user")))) as client:
        client.signin()
        name = fresh("presence-room")
        with pytest.raises(SubscriptionError) as caught:
            await client.subscribe(name).wait_subscribed(TIMEOUT)
        assert (caught.value.channel, caught.value.code) == (name, 4302)
        assert (
            client.user.id is not None
        )  # which the authorization without a member was kept back for


async def test_a_sign_in_that_the_server_ignores_fails_in_time(
    driver: Driver, soketi: Soketi
) -> None:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, user={"id": "1"})
    options = options_for(soketi, PLAIN_APP, auth=auth, signin_timeout=0.2)
    async with driver(options) as client:
        failures = client.events(SignInFailed)
        client.signin()
        with pytest.raises(SignInError, match=r"did not answer the sign-in within 0\.2 s"):
            await client.wait_signed_in(TIMEOUT)
        assert isinstance((await first(failures)).error, SignInError)
        assert client.user.state is UserState.FAILED
        name = fresh("private-orders")
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        Publisher(soketi, PLAIN_APP).trigger(name, "still", "here")
        assert said(await next_of(channel)) == ("still", "here")


async def test_channels_do_not_wait_for_a_sign_in_that_is_ignored(
    driver: Driver, soketi: Soketi
) -> None:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, user={"id": "1"}, member={"user_id": "1"})
    async with driver(options_for(soketi, PLAIN_APP, auth=auth)) as client:
        client.signin()
        for prefix in ("news", "private-orders", "presence-room"):
            await client.subscribe(fresh(prefix)).wait_subscribed(TIMEOUT)
        assert client.user.state is UserState.SIGNING_IN


async def test_a_wrong_signature_to_sign_in_with_ends_it(driver: Driver, soketi: Soketi) -> None:
    """Soketi sends an error and closes with 4009, which is terminal; it says so of the connection alone."""
    options = options_for(soketi, USERS_APP, auth=key_of("1", "wrong"))
    async with driver(options) as client:
        client.signin()
        with pytest.raises(ConnectionFailed):
            await client.wait_signed_in(TIMEOUT)
        with pytest.raises(ConnectionFailed) as caught:
            await client.run()
        assert caught.value.code == 4009
        assert client.state is ConnectionState.FAILED


async def test_terminating_a_user_ends_all_its_connections_and_no_others(
    driver: Driver, soketi: Soketi
) -> None:
    gone, stays = fresh("user"), fresh("user")
    gone_options = options_for(soketi, USERS_APP, auth=key_of(gone))
    stays_options = options_for(soketi, USERS_APP, auth=key_of(stays))
    publisher = Publisher(soketi, USERS_APP)
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
            with pytest.raises(ConnectionFailed, match="terminated") as caught:
                with anyio.fail_after(TIMEOUT):
                    await client.run()
            assert caught.value.code == 4009
            assert (client.state, client.user.id) == (ConnectionState.FAILED, None)
            with pytest.raises(ConnectionFailed):
                await client.wait_signed_in(TIMEOUT)
        publisher.send_to_user(stays, "note", "still here")
        event = await other.user.wait_for("note", timeout=TIMEOUT)
        assert said(event) == ("note", "still here")


async def test_a_user_who_was_sent_away_may_come_back(driver: Driver, soketi: Soketi) -> None:
    user = fresh("user")
    async with driver(options_for(soketi, USERS_APP, auth=key_of(user))) as client:
        client.signin()
        await client.wait_signed_in(TIMEOUT)
        Publisher(soketi, USERS_APP).terminate(user)
        with pytest.raises(ConnectionFailed):
            await client.run()
        client.connect()
        assert await client.wait_signed_in(TIMEOUT) == user


async def test_waiting_for_a_sign_in_that_nobody_wanted_is_an_error(
    driver: Driver, soketi: Soketi
) -> None:
    async with driver(options_for(soketi, USERS_APP)) as client:
        with pytest.raises(LocalProtocolError, match=r"call signin\(\) first"):
            await client.wait_signed_in(TIMEOUT)
