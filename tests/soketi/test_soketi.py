"""Peculiarities of Soketi: its own refusals, and the sign-in that it ignores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers.runners import Driver
from pusher_proto import (
    ConnectionFailed,
    ConnectionState,
    OwnKey,
    SignInError,
    SignInFailed,
    UserState,
)
from real_servers.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said
from real_servers.process import DEFAULT_APPS, PLAIN_APP, USERS_APP, App, RealServer
from real_servers.scenarios.users import key_of

pytestmark = pytest.mark.anyio

DISABLED_APP = App(id="1005", key="disabled-key", secret="disabled-secret", enabled=False)


@pytest.fixture(scope="module")
def server(server_class: type[RealServer]) -> Iterator[RealServer]:
    with server_class.start([*DEFAULT_APPS, DISABLED_APP]) as server:
        yield server


async def test_a_wrong_key_ends_it_from_the_wait_and_from_the_iteration(
    driver: Driver, server: RealServer
) -> None:
    options = options_for(server, replace(PLAIN_APP, key="nobody"))
    async with driver(options) as client:
        with pytest.raises(ConnectionFailed, match="check the key") as waited:
            await client.wait_connected(TIMEOUT)
        with pytest.raises(ConnectionFailed) as iterated:
            async for _ in client.subscribe("news"):
                pass
        with pytest.raises(ConnectionFailed) as ran:
            await client.run()
        reason = "App key nobody does not exist."
        for caught in (waited, iterated, ran):
            assert (caught.value.code, caught.value.reason) == (4001, reason)
        assert client.state is ConnectionState.FAILED


async def test_a_disabled_app_ends_it(driver: Driver, server: RealServer) -> None:
    async with driver(options_for(server, DISABLED_APP)) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.wait_connected(TIMEOUT)
        assert caught.value.code == 4003


async def test_a_sign_in_that_the_server_ignores_fails_in_time(
    driver: Driver, server: RealServer
) -> None:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, user={"id": "1"})
    options = options_for(server, PLAIN_APP, auth=auth, signin_timeout=0.2)
    async with driver(options) as client:
        failures = client.events(SignInFailed)
        client.signin()
        with pytest.raises(SignInError, match=r"did not answer the sign-in within 0\.2 s"):
            await client.wait_signed_in(TIMEOUT)
        assert isinstance((await first(failures)).error, SignInError)
        assert client.user.state is UserState.FAILED
        name = fresh("private-orders")
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        Publisher(server, PLAIN_APP).trigger(name, "still", "here")
        assert said(await next_of(channel)) == ("still", "here")


async def test_channels_do_not_wait_for_a_sign_in_that_is_ignored(
    driver: Driver, server: RealServer
) -> None:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, user={"id": "1"}, member={"user_id": "1"})
    async with driver(options_for(server, PLAIN_APP, auth=auth)) as client:
        client.signin()
        for prefix in ("news", "private-orders", "presence-room"):
            await client.subscribe(fresh(prefix)).wait_subscribed(TIMEOUT)
        assert client.user.state is UserState.SIGNING_IN


async def test_a_wrong_signature_to_sign_in_with_ends_it(
    driver: Driver, server: RealServer
) -> None:
    """Soketi closes with 4009, which is final."""
    options = options_for(server, USERS_APP, auth=key_of("1", "wrong"))
    async with driver(options) as client:
        client.signin()
        with pytest.raises(ConnectionFailed, match="signed with its secret"):
            await client.wait_signed_in(TIMEOUT)
        with pytest.raises(ConnectionFailed) as caught:
            await client.run()
        assert caught.value.code == 4009
        assert client.state is ConnectionState.FAILED
