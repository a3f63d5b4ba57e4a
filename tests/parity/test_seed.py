"""One test or more for each row of `rows.py`, on asyncio, trio and with the blocking client."""

from __future__ import annotations

import json
import queue
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import trustme

import pusher_anyio
import pusher_sync
from drivers.runners import RUNNERS, Driver, _Blocking, free_port, play, until
from pusher_anyio.testing import RunningServer, serve
from pusher_proto import (
    AuthEndpoint,
    AuthRequest,
    ChannelEvent,
    ChannelState,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    EndpointResponse,
    LocalProtocolError,
    MemberAdded,
    Message,
    Options,
    OwnKey,
    PusherTimeout,
    RateLimited,
    TypedEvent,
    proxy_from_env,
)
from pusher_proto.laravel import Echo
from pusher_proto.testing import DEMO_APP, App, Server, ServerOptions

DOCS = Path(__file__).parents[2] / "docs"
QUICK: dict[str, Any] = {"close_timeout": 0.5, "retry_base": 0.01, "retry_cap": 0.05}
USER = {"id": "7", "user_info": {"name": "Ann"}}

on_each = pytest.mark.parametrize("runner", RUNNERS)
Scenario = Callable[[Driver, RunningServer], Awaitable[None]]


def quick(server: RunningServer, **more: Any) -> Options:
    return server.options(**(QUICK | more))


def named(client: Any) -> Any:
    """Return the client itself, instead of the adapter of the blocking one."""
    return getattr(client, "_inner", client)


async def handled(client: Any, look: Callable[[], object]) -> None:
    """Wait until handlers have done something; the blocking client calls them in `run`."""
    client = named(client)

    def called() -> object:
        if isinstance(client, pusher_sync.Client):
            client.run(timeout=0)
        return look()

    await until(called)


# Rows of the reference client


class Spoken:
    """A connection that carries whole messages: it says what a server would say to one client."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self._messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        greeting = {"socket_id": "1.1", "activity_timeout": 120}
        self._answer("pusher:connection_established", greeting)

    def _answer(self, event: str, data: object, **more: str) -> None:
        self._messages.put(json.dumps({"event": event, "data": json.dumps(data), **more}))

    def send(self, text: str) -> None:
        message = json.loads(text)
        self._said.append(message["event"])
        if message["event"] == "pusher:subscribe":
            name = message["data"]["channel"]
            self._answer("pusher_internal:subscription_succeeded", {}, channel=name)
            self._answer("e", {"n": 1}, channel=name)

    def receive(self) -> str | None:
        return self._messages.get()

    def close(self, code: int, reason: str) -> None:
        self._messages.put(None)


class SpokenLater(Spoken):
    """The same for the asynchronous client."""

    async def send(self, text: str) -> None:  # type: ignore[override]  # awaited, unlike that of the blocking double
        super().send(text)

    async def receive(self) -> str | None:  # type: ignore[override]  # awaited, unlike that of the blocking double
        while self._messages.empty():  # noqa: ASYNC110 - it has no event to wait for
            await anyio.sleep(0.001)
        return super().receive()

    async def close(self, code: int, reason: str) -> None:  # type: ignore[override]  # awaited, unlike that of the blocking double
        super().close(code, reason)


@on_each
def test_row_1_13_a_connection_of_messages_takes_the_place_of_bytes(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        asked: list[tuple[object, ...]] = []
        said: list[str] = []

        async def connect(host: str, port: int, tls: bool, target: str) -> SpokenLater:
            asked.append((host, port, tls, target.partition("?")[0]))
            return SpokenLater(said)

        def connect_blocking(host: str, port: int, tls: bool, target: str) -> Spoken:
            asked.append((host, port, tls, target.partition("?")[0]))
            return Spoken(said)

        package: Any = pusher_sync if driver.is_blocking else pusher_anyio
        chosen = connect_blocking if driver.is_blocking else connect
        options = Options.from_host("elsewhere.test", key="k", **QUICK)
        opened = package.open_pusher(options, connect_messages=chosen)
        async with _Blocking(opened) if driver.is_blocking else opened as client:
            assert await client.wait_connected(5) == "1.1"
            room = client.subscribe("room")
            assert (await room.events("e").next(5)).data == {"n": 1}
            client.reconnect()
            await until(lambda: len(asked) == 2)
            await client.wait_connected(5)
        assert asked == [("elsewhere.test", 443, True, "/app/k")] * 2
        assert said.count("pusher:subscribe") >= 1

    play(scenario, runner)


@on_each
def test_row_3_3_a_closed_client_says_so_and_a_disconnect_can_be_waited_for(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server)) as client:
            await client.wait_connected(5)
            with pytest.raises(PusherTimeout):
                await client.wait_disconnected(timeout=0.01)
            client.disconnect()
            await client.wait_disconnected(timeout=5)
            await until(lambda: not server.connections)
            assert (client.state, client.closed) == ("disconnected", False)
            client.connect()
            await client.wait_connected(5)
        assert client.closed is True

    play(scenario, runner)


@on_each
def test_row_3_6_a_loss_has_its_exception_and_the_client_knows_the_last_and_the_next(
    runner: str,
) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        options = Options.from_host(
            "127.0.0.1",
            key="demo",
            port=free_port(),
            tls=False,
            max_attempts=2,
            auto_connect=False,
            **QUICK,
        )
        async with driver(options) as client:
            losses = client.events(ConnectionLost)
            client.connect()
            with pytest.raises(ConnectionFailed) as raised:
                await client.wait_connected(5)
            assert isinstance(raised.value.__cause__, ConnectionRefusedError)
            lost = await losses.next(5)
            assert isinstance(lost.error, ConnectionRefusedError)
            assert lost.error.__traceback__ is not None
            assert isinstance(client.last_error, ConnectionFailed)
            assert client.last_error.__cause__ is raised.value.__cause__
            assert client.retry_at is None
        async with driver(quick(server, retry_base=60, retry_floor=1, retry_cap=60)) as client:
            await client.wait_connected(5)
            losses = client.events(ConnectionLost)
            server.drop()
            assert (await losses.next(5)).will_retry
            assert client.retry_at is not None
            client.connect()  # what `refresh` is for
            await client.wait_connected(5)
            assert client.retry_at is None

    play(scenario, runner)


@on_each
def test_row_3_7_no_delay_is_shorter_than_the_floor(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        assert Options.from_host("h", key="k").retry_floor == 0.0
        async with driver(quick(server, retry_base=0.01, retry_floor=5.0, retry_cap=6.0)) as client:
            await client.wait_connected(5)
            losses = client.events(ConnectionLost)
            server.drop(4200)
            lost = await losses.next(5)
            assert lost.retry_in == 0
            await client.wait_connected(5)
            server.drop()
            lost = await losses.next(5)
            assert 5 <= (lost.retry_in or 0) <= 6

    play(scenario, runner)


@on_each
def test_row_4_6_a_channel_makes_its_own_text_of_bytes(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        calls: list[tuple[str, str]] = []

        def loud(data: bytes, channel: str, event: str) -> str:
            calls.append((channel, event))
            return data.decode().upper()

        key = OwnKey(DEMO_APP.key, DEMO_APP.secret, master_key=bytes(32))
        async with driver(quick(server, auth=key)) as client:
            one = client.subscribe("private-encrypted-a", decrypted_text=loud)
            other = client.subscribe(
                "private-encrypted-b", decrypted_text=lambda data: data.decode() + "!"
            )
            await client.wait_subscribed(timeout=5)
            first, second = one.events("e"), other.events("e")
            server.publish("private-encrypted-a", "e", "x")
            server.publish("private-encrypted-b", "e", "x")
            assert (await first.next(5)).data == "X"
            assert (await second.next(5)).data == "x!"
            assert calls == [("private-encrypted-a", "e")]

    play(scenario, runner, Server([_with_master_key()]))


def _with_master_key() -> App:
    app = DEMO_APP
    return App(id=app.id, key=app.key, secret=app.secret, encryption_master_key=bytes(32))


@on_each
def test_row_4_9_never_wanted_and_left_are_two_states(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auto_connect=False)) as client:
            room = client.channel("room")
            states = [room.state]
            room.subscribe()
            states.append(room.state)
            client.connect()
            await room.wait_subscribed(5)
            states.append(room.state)
            room.unsubscribe()
            states.append(room.state)
        assert states == [
            ChannelState.IDLE, ChannelState.PENDING, ChannelState.SUBSCRIBED, ChannelState.UNSUBSCRIBED,
        ]  # fmt: skip

    play(scenario, runner)


@on_each
def test_row_4_10_one_handle_serves_many_who_do_not_disturb_each_other(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server)) as client:
            room = client.subscribe("room")
            await room.wait_subscribed(5)
            assert named(client.subscribe("room")) is named(client.channel("room")) is named(room)
            one, other = room.events("e"), client.channel("room").events("e")
            server.publish("room", "e", 1)
            assert (await one.next(5)).data == 1
            one.close()
            server.publish("room", "e", 2)
            assert [(await other.next(5)).data for _ in range(2)] == [1, 2]

    play(scenario, runner)
    [line] = [
        line
        for page in DOCS.glob("*.md")
        for line in page.read_text().splitlines()
        if line.startswith("| `forceCreateNewInstance`")
    ]
    assert "nothing is lost" in line


@on_each
def test_row_4_12_a_handle_subscribes_again_and_keeps_what_it_was_given(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        asked: list[str | None] = []
        key = OwnKey(DEMO_APP.key, DEMO_APP.secret)

        def own(request: AuthRequest) -> Any:
            asked.append(request.channel)
            return key.authorization(request)

        async with driver(quick(server, auth=None)) as client:
            room = client.subscribe("private-room", auth=own)
            await room.wait_subscribed(5)
            room.unsubscribe()
            assert named(room.subscribe()) is named(room)
            await room.wait_subscribed(5)
            assert len(asked) == 2
            subscribes = len(server.sent("pusher:subscribe"))
            room.subscribe()  # it is subscribed: nothing to do
            await room.resubscribe().wait_subscribed(5)
            assert len(server.sent("pusher:subscribe")) == subscribes + 1
            assert asked == ["private-room"] * 3

    play(scenario, runner)


@on_each
def test_row_5_3_every_message_of_the_server_as_it_was_received(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auto_connect=False)) as client:
            stream = client.events(Message)
            handled_ones: list[Message] = []
            client.bind(Message, handled_ones.append)
            client.connect()
            await client.wait_connected(5)
            client.ping()
            server.send_raw(None, '{"event":"pusher:unknown","data":{"x":1},"more":2}')
            server.send_raw(
                None, '{"event":"client-x","channel":"presence-y","data":"1","user_id":"7"}'
            )
            got = [await stream.next(5) for _ in range(4)]
            by_name = {each.event: each for each in got}
            assert set(by_name) == {
                "pusher:connection_established", "pusher:pong", "pusher:unknown", "client-x",
            }  # fmt: skip
            unknown, other = by_name["pusher:unknown"], by_name["client-x"]
            assert (unknown.channel, unknown.data, unknown.extra) == (None, {"x": 1}, {"more": 2})
            assert unknown.raw == '{"event":"pusher:unknown","data":{"x":1},"more":2}'
            assert (other.channel, other.data, other.user_id) == ("presence-y", "1", "7")
            await handled(client, lambda: len(handled_ones) >= 4)

    play(scenario, runner)


@on_each
def test_row_5_5_unbind_by_handle_by_name_and_all(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server)) as client:
            room = client.subscribe("room")
            await room.wait_subscribed(5)
            seen: list[str] = []

            def one(event: ChannelEvent) -> None:
                seen.append(f"one {event.name}")

            @room.bind("a")
            @room.bind("b")
            def two(event: ChannelEvent) -> None:
                seen.append(f"two {event.name}")

            binding = room.bind("a", one)
            room.bind("b", one)
            room.bind("c", one)
            end = room.bind("end", lambda event: seen.append("end"))
            room.unbind("b", two)
            room.unbind("c")
            binding.cancel()
            for name in "abc":
                server.publish("room", name, 1)
            server.publish("room", "end", 1)
            await handled(client, lambda: "end" in seen)
            assert seen == ["two a", "one b", "end"]
            for each in (room, client, client.user):
                each.unbind()
            end.cancel()  # it is harmless
            last = client.bind("b", one)
            client.unbind(fn=one)
            assert named(last) is last
            stream = room.events("b")
            server.publish("room", "b", 1)
            await stream.next(5)
            await handled(client, lambda: True)
            assert seen == ["two a", "one b", "end"]

    play(scenario, runner)


@on_each
@pytest.mark.parametrize("takes", ["response", "bytes"])
def test_row_7_10_the_parser_gets_the_response(runner: str, takes: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        seen: list[Any] = []

        def parse(response: EndpointResponse) -> dict[str, Any]:
            seen.append(
                (response.status, response.headers["content-type"], json.loads(response.text))
            )
            assert response.body == response.text.encode()
            found: dict[str, Any] = response.json()
            return found

        def parse_bytes(body: bytes) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(body)
            seen.append((200, ["application/json"], found))
            return found

        endpoint = AuthEndpoint(
            server.auth_url, parse=parse if takes == "response" else parse_bytes
        )
        async with driver(quick(server, auth=endpoint)) as client:
            await client.subscribe("private-room").wait_subscribed(5)
        [(status, kinds, body)] = seen
        assert (status, kinds, set(body)) == (200, ["application/json"], {"auth"})

    play(scenario, runner)


def test_row_url_prints_what_the_examples_of_the_other_client_print() -> None:
    metadata = {"client": "dart", "version": "0.8.0", "protocol": "7"}
    cluster = Options.from_cluster(
        "mt1", key="a0173cd5499b34d93109", domain="pusher.com", port=443, query=metadata
    )
    shown = (
        "wss://ws-mt1.pusher.com:443/app/a0173cd5499b34d93109?client=dart&version=0.8.0&protocol=7"
    )
    assert cluster.url == shown
    host = Options.from_host("my.domain.com", key="my_key", port=443, query=metadata)
    assert host.url == "wss://my.domain.com:443/app/my_key?client=dart&version=0.8.0&protocol=7"
    custom = Options(resolve_url=lambda metadata: "wss://my.custom.domain/my/custom/path")
    assert custom.url == "wss://my.custom.domain/my/custom/path"
    plain = Options.from_host("custom.com", key="key", port=80, tls=False, metadata=False)
    assert plain.url == "ws://custom.com:80/app/key"
    swapped = Options.from_host("h", key="k", query=dict(reversed(metadata.items())))
    assert swapped.url == "wss://h/app/k?client=dart&version=0.8.0&protocol=7"


# Rows of the other clients


@on_each
def test_row_8_5_any_message_can_be_sent_within_limits(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, client_event_rate=2, max_client_event=20)) as client:
            await client.wait_connected(5)
            client.send_event("sockudo:history", {"n": 1}, "room")
            client.send_event("hello", "you")
            with pytest.raises(RateLimited):
                client.send_event("hello", "you")
            with pytest.raises(LocalProtocolError, match="the limit is 20"):
                client.send_event("hello", "x" * 30)
            with pytest.raises(LocalProtocolError, match=re.escape("use subscribe()")):
                client.send_event("pusher:subscribe", {})
            await until(lambda: len(server.received) >= 2)
            [one] = server.sent("sockudo:history")
            assert (one.channel, one.data) == ("room", {"n": 1})
            [other] = server.sent("hello")
            assert (other.channel, other.data) == (None, "you")

    play(scenario, runner)


@on_each
def test_row_5_9_handlers_are_bound_before_the_connection(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        assert Options.from_host("h", key="k").auto_connect is True
        async with driver(quick(server, auto_connect=False)) as client:
            seen: list[object] = []
            client.bind(ConnectionEstablished, lambda event: seen.append(event.socket_id))
            client.channel("room").bind("e", lambda event: seen.append(event.data))
            room = client.subscribe("room")
            await anyio.sleep(0.05)
            assert (client.state, server.connections) == ("initialized", {})
            client.connect()
            await room.wait_subscribed(5)
            server.publish("room", "e", 1)
            await handled(client, lambda: len(seen) == 2)
            assert seen == [client.socket_id, 1]

    play(scenario, runner)


@on_each
def test_row_1_19_other_options_keep_channels_and_streams(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with serve() as other, driver(quick(server)) as client:
            room = client.subscribe("room")
            await room.wait_subscribed(5)
            stream = room.events("e")
            server.publish("room", "e", "here")
            assert (await stream.next(5)).data == "here"
            client.reconnect(options=quick(other))
            await until(lambda: other.subscriptions("room"))
            other.publish("room", "e", "there")
            assert (await stream.next(5)).data == "there"
            await until(lambda: not server.connections)
            assert client.options.port == other.port

    play(scenario, runner)


@on_each
def test_row_1_9b_the_auth_endpoint_has_its_own_context(runner: str) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)

    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with serve(ssl_context=served) as endpoint:
            url = endpoint.auth_url
            assert url.startswith("https://127.0.0.1")
            options = quick(server, auth=AuthEndpoint(url, ssl_context=trusted))
            async with driver(options) as client:
                await client.subscribe("private-room").wait_subscribed(5)
            assert len(endpoint.auth_requests) == 1

    play(scenario, runner)


def test_row_w2_the_proxy_is_read_from_a_mapping() -> None:
    env = {"HTTPS_PROXY": "http://proxy.test:3128", "NO_PROXY": ".here.test,localhost"}
    assert proxy_from_env(env, "wss://ws-eu.pusher.com/app/key") == "http://proxy.test:3128"
    assert proxy_from_env(env, "wss://a.here.test/app/key") is None
    assert proxy_from_env(env, "ws://ws-eu.pusher.com/app/key") is None
    assert proxy_from_env({}, "wss://ws-eu.pusher.com/app/key") is None
    assert any("proxy_from_env(" in page.read_text() for page in DOCS.glob("*.md"))


@on_each
def test_row_w6_many_channels_in_one_call(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auth_endpoint=True)) as client:
            handles = client.subscribe_many(["a", "private-b", "presence-c"])
            assert list(handles) == ["a", "private-b", "presence-c"]
            await client.wait_subscribed(timeout=5)
            await client.wait_subscribed(["a", "private-b"], timeout=5)
            assert set(server.channels()) == set(handles)
            client.unsubscribe_all()
            await until(lambda: not server.channels())
            assert {each.state for each in handles.values()} == {ChannelState.UNSUBSCRIBED}

    play(scenario, runner)


@on_each
def test_row_8_20_signing_out_withdraws_the_sign_in(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auth_endpoint=True)) as client:
            room = client.subscribe("room")
            client.signin()
            assert await client.wait_signed_in(5) == "7"
            before = client.socket_id
            client.signout()
            await until(lambda: client.socket_id not in (None, before))
            await room.wait_subscribed(5)
            assert client.user.id is None
            assert server.users() == {}
            with pytest.raises(LocalProtocolError):
                await client.wait_signed_in(1)

    play(scenario, runner, Server(options=ServerOptions(auth_user=lambda _: USER)))


@on_each
def test_row_r3_a_pattern_is_a_selector(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server)) as client:
            room = client.subscribe("room")
            await room.wait_subscribed(5)
            orders, seen = re.compile(r"^order[.-]"), []
            stream = room.events(orders)
            client.bind(orders, lambda event: seen.append(event.name))
            for name in ("order.new", "other", "order-gone"):
                server.publish("room", name, 1)
            assert [(await stream.next(5)).name for _ in range(2)] == ["order.new", "order-gone"]
            await handled(client, lambda: len(seen) == 2)
            assert seen == ["order.new", "order-gone"]

    play(scenario, runner)


@on_each
def test_row_r5_a_flush_returns_when_the_server_has_everything(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server)) as client:
            room = client.subscribe("private-room")
            await room.wait_subscribed(5)
            for number in range(20):
                room.trigger("client-e", number)
            await client.flush(timeout=5)
            assert [each.data for each in server.sent("client-e")] == [*range(20)]
            server.mute()
            with pytest.raises(PusherTimeout):
                await client.flush(timeout=0.05)

    play(scenario, runner)


@on_each
@pytest.mark.parametrize("overflow", ["raise", "wait"])
def test_row_r7_client_events_are_paced(runner: str, overflow: Any) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        options = quick(server, client_event_rate=20, client_event_overflow=overflow)
        async with driver(options) as client:
            room = client.subscribe("private-room")
            await room.wait_subscribed(5)
            for number in range(20):
                room.trigger("client-e", number)
            if overflow == "raise":
                with pytest.raises(RateLimited) as raised:
                    room.trigger("client-e", 20)
                assert 0 < raised.value.retry_after <= 1
                await anyio.sleep(raised.value.retry_after + 0.01)
            room.trigger("client-e", 20)
            await client.flush(timeout=5)
            assert [each.data for each in server.sent("client-e")] == [*range(21)]

    play(scenario, runner)


@on_each
def test_row_r15_the_names_of_echo_on_one_handle(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auth_endpoint=True)) as client:
            echo, seen = Echo(named(client)), []

            def say(what: str) -> Callable[..., None]:
                return lambda *_: seen.append(what)

            room = echo.join("room").here(say("here")).joining(say("joining"))
            room.leaving(say("leaving")).listen("OrderShipped", say("shipped")).on(
                "raw", say("raw")
            )
            room.listen_to_all(say("any"))
            await handled(client, lambda: "here" in seen)
            assert (echo.connection_status, echo.socket_id) == ("connected", client.socket_id)
            server.join("presence-room", "8")
            server.leave("presence-room", "8")
            await handled(client, lambda: "leaving" in seen)
            server.publish("presence-room", "App\\Events\\OrderShipped", {})
            server.publish("presence-room", "raw", {})
            await handled(client, lambda: seen.count("any") == 2 and "raw" in seen)
            assert seen[:3] == ["here", "joining", "leaving"]
            assert sorted(seen[3:]) == ["any", "any", "raw", "shipped"]
            room.stop_listening("OrderShipped").stop_listening_to_all()
            echo.private("orders")
            echo.leave("room")
            assert set(client.channels) == {"private-orders"}
            echo.leave_all()
            assert client.channels == {}

    play(scenario, runner)


class Person(msgspec.Struct):
    name: str


class Snapshot(msgspec.Struct):
    prices: list[int]


class Diff(msgspec.Struct):
    price: int


@on_each
def test_row_5_14_members_and_events_have_types(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auth_endpoint=True)) as client:
            room = client.subscribe("presence-room")
            await room.wait_subscribed(5)
            assert room.members_as(Person) == {"7": Person("Ann")}
            typed = room.events(types={"snapshot": Snapshot, "diff": Diff})
            mixed = room.events(("diff", MemberAdded), type=Diff)
            server.publish("presence-room", "snapshot", {"prices": [1, 2]})
            server.publish("presence-room", "diff", {"price": 3})
            server.join("presence-room", "8", {"name": "Bob"})
            assert [(await typed.next(5)).data for _ in range(2)] == [Snapshot([1, 2]), Diff(3)]
            first, second = await mixed.next(5), await mixed.next(5)
            assert isinstance(first, TypedEvent)
            assert first.data == Diff(3)
            assert isinstance(second, MemberAdded)
            assert second.member.id == "8"

    play(scenario, runner, Server(options=ServerOptions(auth_user=lambda _: USER)))


@on_each
def test_row_step_a_step_of_a_stream_has_a_timeout(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server)) as client:
            room = client.subscribe("room")
            await room.wait_subscribed(5)
            stream = room.events("e")
            with pytest.raises(PusherTimeout):
                await stream.next(timeout=0.01)
            server.publish("room", "e", 1)
            assert (await stream.next(timeout=5)).data == 1

    play(scenario, runner)


@on_each
def test_row_typed_handlers_have_exported_types_and_may_be_called_once(runner: str) -> None:
    """Its types for type checkers are in `tests/typing`."""
    package = pusher_sync if runner == "blocking" else pusher_anyio

    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(quick(server, auth_endpoint=True)) as client:
            room = client.subscribe("presence-room")
            await room.wait_subscribed(5)
            seen: list[str] = []
            binding = room.bind(MemberAdded, lambda event: seen.append(event.member.id), once=True)
            assert isinstance(binding, package.Binding)
            assert isinstance(named(client.events()), package.Stream)
            for number in "12":
                server.join("presence-room", number)
            stream = room.events("end")
            server.publish("presence-room", "end", 1)
            await stream.next(5)
            await handled(client, lambda: seen)
            assert seen == ["1"]

    play(scenario, runner)


@on_each
def test_row_trace_connecting_reports_its_steps(runner: str) -> None:
    async def scenario(driver: Driver, server: RunningServer) -> None:
        package: Any = pusher_sync if driver.is_blocking else pusher_anyio
        seen: list[object] = []
        opened = package.open_pusher(quick(server), on_progress=seen.append)
        async with _Blocking(opened) if driver.is_blocking else opened as client:
            await client.wait_connected(5)
            assert len(seen) >= 6, seen

    play(scenario, runner)


def test_row_v2_what_is_not_spoken_is_on_the_page_of_servers() -> None:
    text = (DOCS / "servers.md").read_text()
    for word in ("history", "recovery", "delta", "MessagePack", "token"):
        assert word in text, word
