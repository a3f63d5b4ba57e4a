"""Encrypted channels on real servers: what the official library encrypts, with keys that change."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from drivers.runners import Driver
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    DecryptionFailed,
    OwnKey,
    SubscriptionError,
    UnsupportedFeature,
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
    take,
)
from real_servers.process import PLAIN_APP, RealServer

pytestmark = pytest.mark.anyio

OTHER_KEY = bytes(reversed(range(32)))


class Rotating:
    """An authorizer whose master key changes, and that can be made to wait before it answers."""

    def __init__(self) -> None:
        self.master_key = MASTER_KEY
        self.asked: Counter[str | None] = Counter()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, request: AuthRequest) -> AuthResponse:
        self.asked[request.channel] += 1
        assert self.may_answer.wait(TIMEOUT)
        return OwnKey(PLAIN_APP.key, PLAIN_APP.secret, master_key=self.master_key).authorization(
            request
        )


async def test_what_the_library_encrypts_is_opened(driver: Driver, server: RealServer) -> None:
    name, publisher = fresh("private-encrypted-x"), Publisher(server, PLAIN_APP, MASTER_KEY)
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, master_key=MASTER_KEY)
    async with driver(options_for(server, PLAIN_APP, auth=auth)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        data: list[object] = [{"text": "Grüße"}, [1, 2], "no JSON", "x" * 5000]
        for each in data:
            publisher.trigger(name, "secret", each)
        async with channel.events(ChannelEvent) as stream:
            assert await take(stream, len(data)) == [("secret", each) for each in data]
        with pytest.raises(UnsupportedFeature):
            channel.trigger("client-hello", {})


async def test_a_rotated_key_is_requested_once_and_the_order_is_kept(
    driver: Driver, server: RealServer
) -> None:
    name, authorizer = fresh("private-encrypted-x"), Rotating()
    before = Publisher(server, PLAIN_APP, MASTER_KEY)
    after = Publisher(server, PLAIN_APP, OTHER_KEY)
    options = options_for(server, PLAIN_APP, auth=None)
    async with driver(options, authorizer=authorizer) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        witness = await client.subscribe(fresh("witness")).wait_subscribed(TIMEOUT)
        failures = client.events(DecryptionFailed)
        before.trigger(name, "secret", 1)
        assert said(await next_of(channel)) == ("secret", 1)
        assert authorizer.asked == {name: 1}

        authorizer.may_answer.clear()
        authorizer.master_key = OTHER_KEY
        for number in (2, 3, 4):
            after.trigger(name, "secret", number)
        # All have come when this has: they wait for the key, and the other channel does not.
        after.trigger(witness.name, "all", "there")
        assert said(await next_of(witness)) == ("all", "there")
        authorizer.may_answer.set()
        after.trigger(name, "secret", 5)
        heard = [said(await next_of(channel)) for _ in range(4)]
        assert heard == [("secret", number) for number in (2, 3, 4, 5)]
        assert authorizer.asked == {name: 2}
        failures.close()


async def test_a_message_that_no_key_opens_is_dropped_and_reported_and_the_channel_continues(
    driver: Driver, server: RealServer
) -> None:
    name, authorizer = fresh("private-encrypted-x"), Rotating()
    ours = Publisher(server, PLAIN_APP, MASTER_KEY)
    stranger = Publisher(server, PLAIN_APP, OTHER_KEY)
    options = options_for(server, PLAIN_APP, auth=None)
    async with driver(options, authorizer=authorizer) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        failures = channel.events(DecryptionFailed)
        for number in range(3):
            stranger.trigger(name, "rubbish", number)
        ours.trigger(name, "secret", "still here")
        assert said(await next_of(channel)) == ("secret", "still here")
        named = [(each.channel, each.name) for each in [await first(failures) for _ in range(3)]]
        assert named == [(name, "rubbish")] * 3
        assert authorizer.asked == {name: 2}  # one refresh for all of them


async def test_an_authorization_without_a_key_is_the_error_of_that_channel(
    driver: Driver, server: RealServer
) -> None:
    name = fresh("private-encrypted-x")
    async with driver(options_for(server, PLAIN_APP)) as client:  # signs, and has no master key
        with pytest.raises(SubscriptionError, match="master_key") as caught:
            await client.subscribe(name).wait_subscribed(TIMEOUT)
        assert caught.value.channel == name
        await client.subscribe(fresh("private-orders")).wait_subscribed(TIMEOUT)
