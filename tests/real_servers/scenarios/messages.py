"""Our clients on a real server: messages of the official library, client events, and what is refused."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import anyio.to_thread
import pytest
import trustme

from drivers.runners import Driver, until
from pusher_proto import (
    ChannelEvent,
    ChannelState,
    ConnectionFailed,
    NotSubscribed,
    Options,
    OwnKey,
    ServerError,
    SubscriptionError,
    SubscriptionFailed,
)
from real_servers.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said, take
from real_servers.process import DEFAULT_APPS, HOST, PLAIN_APP, App, RealServer, Tls

pytestmark = pytest.mark.anyio

QUIET_APP = App(id="1003", key="quiet-key", secret="quiet-secret", client_messages=False)
SLOW_APP = App(id="1004", key="slow-key", secret="slow-secret", max_client_events_per_second=1)


@pytest.fixture(scope="module")
def server(server_class: type[RealServer]) -> Iterator[RealServer]:
    with server_class.start([*DEFAULT_APPS, QUIET_APP, SLOW_APP]) as server:
        yield server
        assert server.returncode is None, server.log


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def secure_server(
    server_class: type[RealServer], authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealServer]:
    there, certificate = tmp_path_factory.mktemp("tls"), authority.issue_cert(HOST)
    tls = Tls(there / "cert.pem", there / "key.pem", there / "ca.pem")
    authority.cert_pem.write_to_path(tls.ca)
    certificate.cert_chain_pems[0].write_to_path(tls.cert)
    certificate.private_key_pem.write_to_path(tls.key)
    with server_class.start(tls=tls) as server:
        yield server


@pytest.mark.parametrize("prefix", ["news", "private-news"])
async def test_what_the_library_publishes_arrives_in_order(
    driver: Driver, server: RealServer, prefix: str
) -> None:
    name, publisher = fresh(prefix), Publisher(server, PLAIN_APP)
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        data: list[object] = [{"text": "Grüße"}, [1, 2.5, None], "x" * 20_000, 7, "0"]
        for each in data:
            publisher.trigger(name, "headline", each)
        async with channel.events(ChannelEvent) as stream:
            assert await take(stream, len(data)) == [
                *[("headline", each) for each in data[:-1]],
                ("headline", 0),
            ]


async def test_many_events_at_once_arrive_in_order(driver: Driver, server: RealServer) -> None:
    name, publisher = fresh("news"), Publisher(server, PLAIN_APP)
    async with driver(options_for(server, PLAIN_APP, receive_buffer=500)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        async with channel.events(ChannelEvent, buffer=10) as stream:
            for ten in range(0, 300, 10):
                publisher.batch(name, "tick", range(ten, ten + 10))
            assert await take(stream, 300) == [("tick", number) for number in range(300)]


async def test_K8_a_consumer_that_does_not_read_for_seconds_loses_nothing(
    driver: Driver, server: RealServer
) -> None:
    """Soketi and Sockudo drop events, and do not report it, for a connection that is not read."""
    name, publisher, count = fresh("news"), Publisher(server, PLAIN_APP), 1500
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        async with channel.events(ChannelEvent) as stream:

            def publish() -> None:
                for first_of_ten in range(0, count, 10):
                    numbers = range(first_of_ten, first_of_ten + 10)
                    publisher.batch(name, "tick", [f"{n:05}" + "x" * 9_000 for n in numbers])

            await anyio.to_thread.run_sync(publish)
            heard = [int((await first(stream)).data[:5]) for _ in range(count)]
        assert heard == list(range(count))
        assert client.stats.dropped == 0


async def test_a_quiet_connection_is_kept_alive_by_pings(
    driver: Driver, server: RealServer
) -> None:
    name = fresh("news")
    async with driver(options_for(server, PLAIN_APP, activity_timeout=0.05)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        socket_id, received = client.socket_id, client.stats.bytes_received
        # The server sends nothing unprompted in this time: these are answers.
        await until(
            lambda: client.stats.bytes_received > received + 3 * len('{"event":"pusher:pong"}')
        )
        assert client.stats.round_trip is not None
        assert client.socket_id == socket_id
        Publisher(server, PLAIN_APP).trigger(name, "still", "here")
        assert said(await next_of(channel)) == ("still", "here")


async def test_tls_carries_the_same_messages(
    driver: Driver, secure_server: RealServer, trust: ssl.SSLContext
) -> None:
    name, publisher = fresh("private-orders"), Publisher(secure_server, PLAIN_APP)
    options = options_for(secure_server, PLAIN_APP, tls=True)
    async with driver(options, ssl_context=trust) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        for number in range(3):
            publisher.trigger(name, "order", "x" * (1 + 10_000 * number))
        heard = [await next_of(channel) for _ in range(3)]
        assert [len(event.raw_data) for event in heard] == [1, 10_001, 20_001]
    async with driver(options) as stranger:  # who does not know the authority
        with pytest.raises(ConnectionFailed, match="certificate"):
            await stranger.wait_connected(TIMEOUT)


async def test_one_event_for_many_channels_arrives_on_each(
    driver: Driver, server: RealServer
) -> None:
    names = [fresh("room"), fresh("private-room"), fresh("presence-room")]
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member={"user_id": "me"})
    async with driver(options_for(server, PLAIN_APP, auth=auth)) as client:
        channels = [client.subscribe(name) for name in names]
        for channel in channels:
            await channel.wait_subscribed(TIMEOUT)
        Publisher(server, PLAIN_APP).trigger(names, "tick", {"n": 1})
        assert [said(await next_of(channel)) for channel in channels] == [("tick", {"n": 1})] * 3


async def test_an_unsubscribed_channel_is_silent_and_can_be_subscribed_again(
    driver: Driver, server: RealServer
) -> None:
    left, kept = fresh("left"), fresh("kept")
    publisher = Publisher(server, PLAIN_APP)
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = client.subscribe(left)
        witness = client.subscribe(kept)
        await witness.wait_subscribed(TIMEOUT)
        channel.unsubscribe()
        client.subscribe(left).unsubscribe()  # before and after the server has answered
        await client.subscribe(fresh("after")).wait_subscribed(TIMEOUT)
        publisher.trigger([left, kept], "missed", 1)
        assert said(await next_of(witness)) == ("missed", 1)
        await client.subscribe(left).wait_subscribed(TIMEOUT)
        publisher.trigger(left, "heard", 2)
        assert said(await next_of(channel)) == ("heard", 2)


async def test_an_excluded_socket_does_not_receive_the_event(
    driver: Driver, server: RealServer
) -> None:
    name, publisher = fresh("private-room"), Publisher(server, PLAIN_APP)
    options = options_for(server, PLAIN_APP)
    async with driver(options) as author, driver(options) as reader:
        rooms = [await each.subscribe(name).wait_subscribed(TIMEOUT) for each in (author, reader)]
        publisher.trigger(name, "order", 1, socket_id=author.socket_id)
        publisher.trigger(name, "order", 2)
        assert said(await next_of(rooms[0])) == ("order", 2)
        assert [said(await next_of(rooms[1])) for _ in range(2)] == [("order", 1), ("order", 2)]


@pytest.mark.parametrize("prefix", ["private-chat", "presence-chat"])
async def test_client_events_go_both_ways_between_two_clients(
    driver: Driver, server: RealServer, prefix: str
) -> None:
    """The one is asynchronous; the other is asynchronous too, and blocking in its turn."""
    name = fresh(prefix)

    def options(user: str) -> Options:
        auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member={"user_id": user})
        return options_for(server, PLAIN_APP, auth=auth)

    async with Driver("asyncio")(options("ann")) as ann, driver(options("bob")) as bob:
        hers = await ann.subscribe(name).wait_subscribed(TIMEOUT)
        his = await bob.subscribe(name).wait_subscribed(TIMEOUT)
        hers.trigger("client-hello", {"text": "hé"})
        heard = await next_of(his)
        his.trigger("client-answer", [1, 2])
        answer = await next_of(hers)
        assert [said(heard), said(answer)] == [
            ("client-hello", {"text": "hé"}),
            ("client-answer", [1, 2]),
        ]
        named = prefix.startswith("presence-") and server.habits.names_senders
        assert [heard.user_id, answer.user_id] == (["ann", "bob"] if named else [None, None])


@pytest.mark.parametrize("prefix", ["private-orders", "presence-room", "private-encrypted-x"])
async def test_a_bad_signature_is_the_error_of_that_channel_alone(
    driver: Driver, server: RealServer, prefix: str
) -> None:
    forger = OwnKey(PLAIN_APP.key, "wrong", member={"user_id": "1"}, master_key=bytes(32))
    good, bad = fresh("private-orders"), fresh(prefix)
    async with driver(options_for(server, PLAIN_APP)) as client:
        failures = client.events(SubscriptionFailed)
        refused = client.subscribe(bad, auth=forger)
        orders = client.subscribe(good)
        with pytest.raises(SubscriptionError) as caught:
            await refused.wait_subscribed(TIMEOUT)
        assert (caught.value.channel, caught.value.code) == (bad, server.habits.bad_signature)
        with pytest.raises(SubscriptionError):
            await refused.wait_for("order", timeout=TIMEOUT)
        failure = await first(failures)
        assert (failure.channel, failure.retry_in) == (bad, None)
        assert refused.state is ChannelState.FAILED
        await orders.wait_subscribed(TIMEOUT)
        publisher = Publisher(server, PLAIN_APP, bytes(32))
        publisher.trigger(bad, "order", 0)
        publisher.trigger(good, "order", 1)
        assert said(await next_of(orders)) == ("order", 1)


async def test_a_channel_refused_for_its_signature_is_subscribed_with_a_good_one(
    driver: Driver, server: RealServer
) -> None:
    name = fresh("private-orders")
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = client.subscribe(name, auth=OwnKey(PLAIN_APP.key, "wrong"))
        with pytest.raises(SubscriptionError):
            await channel.wait_subscribed(TIMEOUT)
        client.subscribe(name, auth=OwnKey(PLAIN_APP.key, PLAIN_APP.secret))
        await channel.wait_subscribed(TIMEOUT)
        assert channel.last_error is None


@pytest.mark.parametrize("name", ["not allowed", "n" * 201], ids=["character", "length"])
async def test_a_name_that_the_server_refuses_is_the_error_of_that_channel_alone(
    driver: Driver, server: RealServer, name: str
) -> None:
    if server.habits.bad_name is None:
        pytest.skip("this server takes every name")
    async with driver(options_for(server, PLAIN_APP, strict_names=False)) as client:
        refused, news = client.subscribe(name), client.subscribe(fresh("news"))
        with pytest.raises(SubscriptionError) as caught:
            await refused.wait_subscribed(TIMEOUT)
        assert (caught.value.channel, caught.value.code) == (name, server.habits.bad_name)
        await news.wait_subscribed(TIMEOUT)


async def test_client_events_that_the_app_does_not_allow_are_answered_with_4301(
    driver: Driver, server: RealServer
) -> None:
    name = fresh("private-chat")
    async with driver(options_for(server, QUIET_APP)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        errors = channel.events(ServerError)
        channel.trigger("client-hello", {})
        error = await first(errors)
        assert (error.code, error.channel) == (4301, name)
        Publisher(server, QUIET_APP).trigger(name, "still", "here")
        assert said(await next_of(channel)) == ("still", "here")


async def test_too_many_client_events_are_answered_with_4301(
    driver: Driver, server: RealServer
) -> None:
    if not server.habits.limits_client_events:
        pytest.skip("this server counts messages of all kinds")
    name = fresh("private-chat")
    async with driver(options_for(server, SLOW_APP)) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        errors = channel.events("pusher:error")
        for number in range(3):
            channel.trigger("client-hello", number)
        error = await first(errors)
        assert (error.code, error.channel) == (4301, name)
        assert channel.state is ChannelState.SUBSCRIBED


@pytest.mark.parametrize(
    ("event", "data"),
    [("client-" + "x" * 200, {}), ("client-hello", "x" * 101 * 1024)],
    ids=["name", "data"],
)
async def test_too_large_client_events_are_answered_with_an_error(
    driver: Driver, server: RealServer, event: str, data: object
) -> None:
    if not server.habits.limits_client_events:
        pytest.skip("this server ends the connection of a message that is too large")
    name = fresh("private-chat")
    options = options_for(server, PLAIN_APP, strict_names=False, max_client_event=10**6)
    async with driver(options) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        errors = channel.events(ServerError)
        channel.trigger(event, data)
        error = await first(errors)
        code = 4301 if event == "client-hello" else server.habits.long_event_name
        assert (error.code, error.channel) == (code, name)


async def test_waiting_for_a_channel_that_is_unsubscribed_is_an_error(
    driver: Driver, server: RealServer
) -> None:
    async with driver(options_for(server, PLAIN_APP)) as client:
        channel = await client.subscribe(fresh("news")).wait_subscribed(TIMEOUT)
        channel.unsubscribe()
        with pytest.raises(NotSubscribed):
            await channel.wait_for("headline", timeout=TIMEOUT)
