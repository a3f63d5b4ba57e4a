"""Scenarios for every driver, written once: each is played on asyncio, on trio, and by the blocking client."""

from __future__ import annotations

import logging
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
import trustme
from anyio.streams.tls import TLSStream

from pusher_anyio import Client
from pusher_anyio.testing import RunningServer, ServerInThread, serve, serve_in_thread
from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ClientClosed,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    DataError,
    Gap,
    LocalProtocolError,
    Message,
    NotConnected,
    NotSubscribed,
    Options,
    OwnKey,
    Progress,
    ProgressState,
    ProtocolMessage,
    PusherTimeout,
    SubscriptionError,
    UnsupportedFeature,
    UserEvent,
)
from pusher_proto.server._frames import encode
from pusher_proto.testing import DEMO_APP

from .runners import Clock, Driver, free_port, poll, silent_server, transports_of, until

SCENARIOS: list[Callable[..., Any]] = []
QUICK: dict[str, Any] = {"close_timeout": 0.5, "retry_base": 0.01, "retry_cap": 0.05}
"""Options that let a test be fast."""
CLOSED_IN = QUICK["close_timeout"] + 0.75
"""Seconds that leaving a block may take, on a machine that is busy."""


ABOUT_STREAMS = {
    # `connect=` is for byte streams alone.
    "connect_replaces_how_a_stream_is_opened",
    "W11_whatever_connect_raises_is_an_attempt_that_failed",
    # A connection for whole messages does TLS, the upgrade and the close itself.
    "leaving_while_the_server_says_nothing",
    "leaving_while_the_handshake_of_tls_stalls",
    "leaving_while_the_server_does_not_answer_the_close",
    "tls_to_a_port_without_it_says_what_to_do",
    "a_stream_that_ends_during_the_TLS_handshake_is_reported",
    "a_server_with_a_bad_certificate_gets_an_alert",
    # The connection in memory leads to one server alone.
    "a_merged_stream_survives_the_loss_of_either_server",
}
"""Scenarios that do not apply to whole messages; tests/drivers/test_messages.py has others instead."""


def scenario(function: Callable[..., Any]) -> Callable[..., Any]:
    SCENARIOS.append(function)
    return function


def quick(server: RunningServer | ServerInThread, **more: Any) -> Options:
    return server.options(**(QUICK | more))


def lost_port(**more: Any) -> Options:
    """Return options for a server that is not there."""
    return Options.from_host("127.0.0.1", port=free_port(), tls=False, key="demo", **(QUICK | more))


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def logged(name: str) -> Iterator[list[logging.LogRecord]]:
    """Collect what is logged under `name`."""
    records: list[logging.LogRecord] = []
    handler = _Collector(records)
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def own_key(**more: Any) -> OwnKey:
    return OwnKey(DEMO_APP.key, DEMO_APP.secret, **more)


# Connecting


@scenario
async def connecting_gives_the_socket_id_that_the_server_gave(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server)) as client:
        socket_id = await client.wait_connected(timeout=5)
        assert list(server.connections.values()) == [socket_id] == [client.socket_id]
        assert client.state is ConnectionState.CONNECTED
        assert await client.wait_connected() == socket_id
    state: ConnectionState = client.state
    assert state is ConnectionState.DISCONNECTED
    assert client.socket_id is None
    await until(lambda: not server.connections)


@scenario
async def the_steps_of_connecting_are_reported(driver: Driver, server: RunningServer) -> None:
    steps: list[Progress] = []
    async with driver(quick(server), on_progress=steps.append) as client:
        socket_id = await client.wait_connected(5)
    began = [each.step for each in steps if each.state is ProgressState.BEGAN]
    ended = {each.step: each.detail for each in steps if each.state is ProgressState.ENDED}
    assert began == ["name lookup", "TCP", "upgrade", "greeting"]
    where = {"TCP": f"127.0.0.1 port {server.port}", "upgrade": ""}
    expected = {"name lookup": "127.0.0.1", **where, "greeting": f"socket id {socket_id}"}
    if driver.runner.endswith(("-connect", "-messages")):  # then the lookup is not seen
        del expected["name lookup"]
    if driver.runner.endswith("-messages"):
        expected["TCP"] = ""
    assert ended == expected
    assert all(each.seconds >= 0 for each in steps)


@scenario
async def disconnecting_keeps_the_subscriptions_and_connecting_renews_them(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        client.disconnect()
        await until(lambda: not server.connections)
        assert client.state is ConnectionState.DISCONNECTED
        client.connect()
        await room.wait_subscribed(5)
        before = client.socket_id
        client.reconnect()
        await room.wait_subscribed(5)
        assert client.socket_id != before


@scenario
async def commands_after_the_end_say_that_the_client_is_closed(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server)) as client:
        await client.wait_connected(5)
        await client.close()
        await client.close()
        for command in (client.connect, client.ping, lambda: client.subscribe("room")):
            with pytest.raises(ClientClosed):
                command()
        with pytest.raises(ClientClosed):
            await client.wait_connected()


@scenario
async def connect_replaces_how_a_stream_is_opened(driver: Driver, server: RunningServer) -> None:
    asked: list[tuple[str, int]] = []
    options = Options.from_host("far.example", port=4711, tls=False, key=DEMO_APP.key, **QUICK)
    connect = driver.connector(server.host, server.port, asked)
    async with driver(options, connect=connect) as client:
        await client.wait_connected(5)
    assert asked == [("far.example", 4711)]


@scenario
async def W11_whatever_connect_raises_is_an_attempt_that_failed(
    driver: Driver, server: RunningServer
) -> None:
    connect = driver.failing_connector(EOFError("of the proxy"))
    async with driver(quick(server, max_attempts=2), connect=connect) as client:
        with pytest.raises(ConnectionFailed, match="of the proxy"):
            await client.run()
        assert client.stats.attempts == 2


@scenario
async def an_error_of_the_network_is_tried_again(driver: Driver, server: RunningServer) -> None:
    async with driver(lost_port(max_attempts=2)) as client:
        with pytest.raises(ConnectionFailed, match=r"[Rr]efused"):
            await client.wait_connected(5)
        assert client.stats.attempts == 2


@scenario
async def a_recording_is_written(driver: Driver, server: RunningServer, tmp_path: Any) -> None:
    file = tmp_path / "recording"
    async with driver(quick(server), record=file) as client:
        await client.wait_connected(5)
    assert '"input":"transport_opened"' in file.read_text()


# Channels and authorizations


@scenario
async def a_public_channel_brings_its_messages(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        assert (await room.wait_subscribed(5)).name == "room"
        server.publish("room", "price", {"n": 1})
        server.publish("room", "price", {"n": 2})
        got: list[ChannelEvent] = []
        async for event in room:
            got.append(event)
            if len(got) == 2:
                break
        assert [(each.channel, each.name, each.data) for each in got] == [
            ("room", "price", {"n": 1}),
            ("room", "price", {"n": 2}),
        ]


async def _a_private_channel_opens(client: Client, server: RunningServer) -> None:
    room = client.subscribe("private-room")
    await room.wait_subscribed(5)
    assert server.subscriptions("private-room") == {client.socket_id}


@scenario
async def an_authorization_is_signed_with_an_own_key(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server, auth=own_key())) as client:
        await _a_private_channel_opens(client, server)


@scenario
async def an_authorization_is_asked_from_the_endpoint(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server, auth_endpoint=True)) as client:
        await _a_private_channel_opens(client, server)
        second = client.subscribe("private-second")
        await second.wait_subscribed(5)
    asked = [each.fields["channel_name"] for each in server.auth_requests]
    assert asked == ["private-room", "private-second"]


@scenario
async def an_authorization_is_asked_from_the_application(
    driver: Driver, server: RunningServer
) -> None:
    asked: list[AuthRequest] = []

    def authorizer(request: AuthRequest) -> AuthResponse:
        asked.append(request)
        return own_key().authorization(request)

    async with driver(quick(server, auth=None), authorizer=authorizer) as client:
        await _a_private_channel_opens(client, server)
        assert asked == [AuthRequest(client.socket_id or "", "private-room")]


@scenario
async def an_authorization_is_asked_from_an_asynchronous_application(
    driver: Driver, server: RunningServer
) -> None:
    if driver.is_blocking:
        return

    async def authorizer(request: AuthRequest) -> AuthResponse:
        await anyio.lowlevel.checkpoint()
        return own_key().authorization(request)

    async with driver(quick(server, auth=None), authorizer=authorizer) as client:
        await _a_private_channel_opens(client, server)
    async with driver(quick(server, auth=None), authorizer=lambda r: authorizer(r)) as client:
        await _a_private_channel_opens(client, server)


@scenario
async def an_authorizer_that_raises_refuses_its_channel_only(
    driver: Driver, server: RunningServer
) -> None:
    def authorizer(request: AuthRequest) -> AuthResponse:
        if request.channel == "private-bad":
            raise LookupError("who is that")
        return own_key().authorization(request)

    async with driver(quick(server, auth=None), authorizer=authorizer) as client:
        bad = client.subscribe("private-bad")
        with pytest.raises(AuthorizationError, match="LookupError: who is that"):
            await bad.wait_subscribed(5)
        await _a_private_channel_opens(client, server)


@scenario
async def a_private_channel_needs_a_way_to_an_authorization(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server, auth=None)) as client:
        with pytest.raises(UnsupportedFeature):
            client.subscribe("private-room")
        with pytest.raises(UnsupportedFeature):
            client.signin()
        room = client.subscribe("private-room", auth=own_key().authorization)
        await room.wait_subscribed(5)


@scenario
async def the_user_signs_in_and_receives_messages_for_this_user(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server, auth=own_key(user={"id": "7"}))) as client:
        with pytest.raises(LocalProtocolError):
            await client.wait_signed_in(5)
        client.signin()
        assert await client.wait_signed_in(5) == "7" == client.user.id
        await until(lambda: server.send_to_user("7", "hello", {"n": 1}))
        async for event in client.user:
            assert isinstance(event, UserEvent)
            assert (event.name, event.data) == ("hello", {"n": 1})
            break


@scenario
async def a_client_event_goes_to_the_others(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as one, driver(quick(server)) as other:
        mine, yours = one.subscribe("private-room"), other.subscribe("private-room")
        await mine.wait_subscribed(5)
        await yours.wait_subscribed(5)
        mine.trigger("client-hello", {"from": "one"})
        event = await yours.wait_for("client-hello", timeout=5)
        assert event.data == {"from": "one"}


@scenario
async def a_great_deal_of_client_events_arrives_in_order(
    driver: Driver, server: RunningServer
) -> None:
    count, text = 500, "x" * 10_000  # more than the buffers of sockets hold
    options = quick(server, outbox_limit=2 * count * len(text))
    async with driver(options) as one, driver(options) as other:
        mine, yours = one.subscribe("private-room"), other.subscribe("private-room")
        await mine.wait_subscribed(5)
        await yours.wait_subscribed(5)
        for n in range(count):
            mine.trigger("client-n", {"n": n, "text": text})
        got: list[int] = []
        async for event in yours:
            got.append(event.data["n"])
            if len(got) == count:
                break
        assert got == list(range(count))


@scenario
async def unsubscribing_leaves_the_channel(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        room.unsubscribe()
        await until(lambda: not server.subscriptions("room"))
        with pytest.raises(NotSubscribed):
            await room.wait_subscribed(5)
        with pytest.raises(NotSubscribed):
            await room.wait_for("price", timeout=5)
        async with client.subscribe("room") as room:
            await room.wait_subscribed(5)
        await until(lambda: not server.subscriptions("room"))
        async with client.subscribe("room"):
            await client.close()


@scenario
async def a_refused_channel_leaves_the_others_alone(driver: Driver, server: RunningServer) -> None:
    server.auth_answer(403, "no")
    async with driver(quick(server, auth_endpoint=True)) as client:
        refused, good = client.subscribe("private-refused"), client.subscribe("good")
        with pytest.raises(AuthorizationError) as caught:
            await refused.wait_subscribed(5)
        assert (caught.value.channel, caught.value.status) == ("private-refused", 403)
        with pytest.raises(AuthorizationError):
            await refused.wait_for("price", timeout=5)
        await good.wait_subscribed(5)
        server.publish("good", "price", 1)
        assert (await good.wait_for("price", timeout=5)).data == 1


@scenario
async def a_channel_that_the_server_refuses_says_so(driver: Driver, server: RunningServer) -> None:
    server.refuse_channel("room", shape="soketi", code=4009, message="not for you")
    async with driver(quick(server)) as client:
        with pytest.raises(SubscriptionError, match="not for you"):
            await client.subscribe("room").wait_subscribed(5)


@scenario
async def a_wait_for_a_channel_that_is_tried_again_names_the_reason(
    driver: Driver, server: RunningServer
) -> None:
    server.refuse_channel("room", shape="soketi", code=4100, message="full")
    async with driver(quick(server)) as client:
        reason = "it failed and will be tried again: the server refused 'room': full"
        with pytest.raises(PusherTimeout, match=reason):
            await client.subscribe("room").wait_subscribed(0.3)


@scenario
async def messages_before_the_first_listener_are_kept(
    driver: Driver, server: RunningServer
) -> None:
    messages = [
        encode("pusher_internal:subscription_succeeded", channel="room", data="{}"),
        *(encode("price", channel="room", data=str(n)) for n in range(3)),
    ]
    server.refuse_channel("room", shape="silent")
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await server.wait_until(lambda it: any(m.channel == "room" for m in it.received))
        server.send_raw(None, b"".join(map(_frame, messages)))
        await room.wait_subscribed(5)
        got: list[object] = []
        async with room.events("price") as stream:
            async for event in stream:
                got.append(event.data)
                if len(got) == 3:
                    break
        assert got == [0, 1, 2]


def _frame(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 2**16
    return (
        b"\x81"
        + (bytes([len(data)]) if len(data) < 126 else struct.pack("!BH", 126, len(data)))
        + data
    )


# Losing the connection


async def _lives_through(driver: Driver, server: RunningServer, code: int | None) -> None:
    handled: list[Any] = []
    async with driver(quick(server)) as client, anyio.create_task_group() as group:
        room = client.subscribe("private-room")
        room.bind("price", handled.append)
        group.start_soon(client.run)
        first = await client.wait_connected(5)
        await room.wait_subscribed(5)
        stream = room.events("price")
        changes = client.events((ConnectionEstablished, ConnectionLost))
        server.drop(code)
        lost = await anext(changes)
        assert isinstance(lost, ConnectionLost)
        assert "Resource" not in lost.reason  # anyio's word for what it does not tell
        assert isinstance(await anext(changes), ConnectionEstablished)
        await room.wait_subscribed(5)
        assert client.socket_id != first
        assert server.subscriptions("private-room") == {client.socket_id}
        server.publish("private-room", "price", 1)
        assert (await anext(stream)).data == 1
        await until(lambda: [each.data for each in handled] == [1])
        await client.close()


@scenario
async def a_connection_that_breaks_is_replaced(driver: Driver, server: RunningServer) -> None:
    await _lives_through(driver, server, None)


@scenario
async def the_client_reconnects_to_a_server_that_restarts(
    driver: Driver, server: RunningServer
) -> None:
    await _lives_through(driver, server, 4200)


@scenario
async def messages_before_a_reset_are_delivered_first(
    driver: Driver, server: RunningServer
) -> None:
    if driver.runner not in ("trio", "blocking"):
        return  # asyncio's transports stop reading when a write fails
    with serve_in_thread() as other:
        async with driver(quick(other)) as client:
            room = client.subscribe("room")
            await room.wait_subscribed(5)
            stream, lost = room.events("n"), client.events(ConnectionLost)
            with client._guard:  # and without a turn of the event loop
                client.ping()  # it is written to a connection that is gone
                other.publish("room", "n", 1)
                peers = other._running._peers
                assert poll(lambda: not any(each.unsent for each in peers.values()))
                other.drop()
                assert poll(lambda: not other.connections)
            assert (await anext(stream)).data == 1
            assert (await anext(lost)).code == 1006


@scenario
async def a_server_that_falls_silent_is_left(driver: Driver, server: RunningServer) -> None:
    options = quick(server, activity_timeout=0.05, pong_timeout=0.05)
    async with driver(options) as client:
        changes = client.events(ConnectionLost)
        await client.wait_connected(5)
        server.mute()
        lost = await anext(changes)
        assert lost.code == 1006
        assert lost.reason == "the server did not answer a ping"


@scenario
async def a_final_refusal_is_raised_by_every_wait(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        stream = room.events(ChannelEvent)
        codes: list[int | None] = []

        async def waits(call: Callable[..., Any], *args: object) -> None:
            with pytest.raises(ConnectionFailed) as caught:
                await call(*args)
            codes.append(caught.value.code)

        async with anyio.create_task_group() as group:
            group.start_soon(waits, client.run)
            group.start_soon(waits, client.wait_for, "never")
            group.start_soon(waits, room.wait_for, "never")
            group.start_soon(waits, anext, stream)
            await until(lambda: len(client._lifecycle.waiters) == 1)  # the run
            server.drop(4009, "You got disconnected by the app.")
        await waits(client.wait_connected)
        await waits(room.wait_subscribed)
        await waits(anext, stream)
        await waits(client.run)
        assert codes == [4009] * 8
        assert (client.state, client.stats.attempts) == (ConnectionState.FAILED, 1)
        client.connect()
        await room.wait_subscribed(5)


# Leaving


@scenario
async def leaving_while_the_server_says_nothing(driver: Driver, server: RunningServer) -> None:
    async with silent_server() as port:
        with Clock() as clock:
            async with driver(Options.from_host("127.0.0.1", port=port, tls=False, key="demo")):
                await anyio.lowlevel.checkpoint()
        assert clock.seconds < CLOSED_IN
        with Clock() as clock:
            async with driver(
                Options.from_host("127.0.0.1", port=port, tls=False, key="demo")
            ) as client:
                await until(lambda: client.stats.bytes_sent)
        assert clock.seconds < CLOSED_IN


@scenario
async def leaving_while_the_handshake_of_tls_stalls(driver: Driver, server: RunningServer) -> None:
    async with silent_server() as port:
        with Clock() as clock:
            async with driver(Options.from_host("127.0.0.1", port=port, key="demo")) as client:
                with pytest.raises(PusherTimeout):
                    await client.wait_connected(0.1)
        assert clock.seconds < CLOSED_IN


@scenario
async def leaving_while_it_waits_to_try_again(driver: Driver, server: RunningServer) -> None:
    options = lost_port(retry_base=30.0, retry_cap=30.0)
    with Clock() as clock:
        async with driver(options) as client:
            await until(lambda: client._session.retry_at)
    assert clock.seconds < CLOSED_IN


@scenario
async def leaving_while_the_auth_endpoint_does_not_answer(
    driver: Driver, server: RunningServer
) -> None:
    server.delay(60, "auth")
    with Clock() as clock:
        async with driver(quick(server, auth_endpoint=True)) as client:
            client.subscribe("private-room")
            await server.wait_until(lambda it: it.stats.requests == 2)
    assert clock.seconds < CLOSED_IN


@scenario
async def leaving_while_the_server_does_not_answer_the_close(
    driver: Driver, server: RunningServer
) -> None:
    with Clock() as clock:
        async with driver(quick(server)) as client:
            await client.wait_connected(5)
            server.mute()
    assert QUICK["close_timeout"] <= clock.seconds + 0.01
    assert clock.seconds < CLOSED_IN


@scenario
async def leaving_while_an_authorizer_works(driver: Driver, server: RunningServer) -> None:
    began: list[AuthRequest] = []
    end: list[bool] = []

    def authorizer(request: AuthRequest) -> AuthResponse:
        began.append(request)
        assert poll(lambda: end)
        return own_key().authorization(request)

    with Clock() as clock:
        async with driver(quick(server, auth=None), authorizer=authorizer) as client:
            client.subscribe("private-room")
            await until(lambda: began)
    assert clock.seconds < CLOSED_IN
    end.append(True)


@scenario
async def an_exception_of_the_block_is_raised_unchanged(
    driver: Driver, server: RunningServer
) -> None:
    class MyOwn(Exception):
        pass

    raised = MyOwn("as it was")
    for connected in (False, True):
        with pytest.raises(MyOwn) as caught:
            async with driver(quick(server)) as client:
                client.subscribe("room")
                if connected:
                    await client.wait_connected(5)
                raise raised
        assert caught.value is raised
        assert caught.value.__cause__ is None
        await until(lambda: not server.connections)


@scenario
async def closing_ends_everything_that_waits(driver: Driver, server: RunningServer) -> None:
    server.refuse_channel("silent", shape="silent")
    async with driver(quick(server)) as client:
        room, silent = client.subscribe("room"), client.subscribe("silent")
        await room.wait_subscribed(5)
        ended: list[str] = []

        async def raises(call: Callable[..., Any], *args: object) -> None:
            with pytest.raises(ClientClosed):
                await call(*args)
            ended.append("raised")

        async def iterates() -> None:
            async for _ in room:
                pytest.fail("nothing was published")
            ended.append("iterated")

        async def runs() -> None:
            await client.run()
            ended.append("ran")

        async with anyio.create_task_group() as group:
            group.start_soon(raises, client.wait_for, "never")
            group.start_soon(raises, silent.wait_subscribed)
            group.start_soon(raises, room.wait_for, "never")
            group.start_soon(iterates)
            group.start_soon(runs)
            await until(lambda: len(client._lifecycle.waiters) == 2)
            await until(
                lambda: sum(len(each.signal.waiters) for each in client._delivery.router) == 3
            )
            await client.close()
        assert sorted(ended) == ["iterated", "raised", "raised", "raised", "ran"]


# Waiting


@scenario
async def waits_end_after_their_timeout(driver: Driver, server: RunningServer) -> None:
    async with silent_server() as port:
        options = Options.from_host("127.0.0.1", port=port, tls=False, key="demo")
        async with driver(options) as client:
            room = client.subscribe("room")
            with pytest.raises(TimeoutError, match=r"not connected within 0\.01 s"):
                await client.wait_connected(0.01)
            with pytest.raises(PusherTimeout, match=r"'room' was not subscribed within 0\.01 s"):
                await room.wait_subscribed(timeout=0.01)
            with pytest.raises(PusherTimeout, match="no 'price' was received within 0 s"):
                await room.wait_for("price", timeout=0)
            with pytest.raises(PusherTimeout):
                await client.wait_for("price", timeout=-1)


@scenario
async def a_timeout_reports_why_the_last_attempt_failed(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(lost_port()) as client:
        await until(lambda: client._session.last_loss)
        with pytest.raises(PusherTimeout, match=r"the last attempt: .*[Rr]efused"):
            await client.wait_connected(timeout=0)


@scenario
async def tls_to_a_port_without_it_says_what_to_do(driver: Driver, server: RunningServer) -> None:
    async with driver(replace(quick(server), tls=True)) as client:
        await until(lambda: client._session.last_loss)
        with pytest.raises(
            PusherTimeout,
            match="does not speak TLS on this port: to connect without it set tls=False",
        ):
            await client.wait_connected(timeout=0)


@scenario
async def one_event_is_waited_for(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client, anyio.create_task_group() as group:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        got: list[Any] = []

        async def wait() -> None:
            got.append(await room.wait_for("price", lambda event: event.data > 1, timeout=5))

        group.start_soon(wait)
        await until(lambda: any(client._delivery.router))
        for n in (1, 2, 3):
            server.publish("room", "price", n)
        await until(lambda: got)
        assert got[0].data == 2


@scenario
async def closing_a_stream_ends_its_iteration(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client, anyio.create_task_group() as group:
        stream = client.events()
        ended: list[bool] = []

        async def iterate() -> None:
            async with stream:
                async for _ in stream:
                    pass
            ended.append(True)

        await client.wait_connected(5)
        group.start_soon(iterate)
        await until(lambda: stream.signal.waiters)
        stream.close()
        await until(lambda: ended)


@scenario
async def data_is_decoded_to_the_type_that_was_requested(
    driver: Driver, server: RunningServer
) -> None:
    class Price(msgspec.Struct):
        n: int

    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        typed = room.events("price", type=Price)
        lenient = room.events("price", type=Price, invalid="skip")
        own = room.events("price", decoder=len)
        end = room.events("end")
        for data in ({"n": 1}, {"n": "two"}, {"n": 3}, {"n": 4}):
            server.publish("room", "price", data)
        server.publish("room", "end", None)
        await anext(end)  # so that all are there: the steps after the first are quick ones
        assert (await anext(typed)).data == Price(1)
        with pytest.raises(DataError):
            await anext(typed)
        assert [(await anext(typed)).data for _ in range(2)] == [Price(3), Price(4)]
        assert [(await anext(lenient)).data for _ in range(3)] == [Price(1), Price(3), Price(4)]
        assert lenient.skipped == 1
        assert (await anext(own)).data == len('{"n":1}')


# Handlers


@scenario
async def handlers_are_called_in_order(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client, anyio.create_task_group() as group:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        one: list[object] = []
        other: list[object] = []

        @room.bind("price")
        def handle(event: ChannelEvent) -> None:
            one.append(event.data)

        client.bind(ChannelEvent, lambda event: other.append(event.data))
        group.start_soon(client.run)
        for n in range(100):
            server.publish("room", "price", n)
        await until(lambda: len(one) == len(other) == 100)
        assert one == other == list(range(100))
        await client.close()


@scenario
async def a_handler_that_raises_ends_the_run_when_the_options_say_so(
    driver: Driver, server: RunningServer
) -> None:
    def clumsy(event: ChannelEvent) -> None:
        raise LookupError("clumsy")

    with pytest.raises(LookupError, match="clumsy"):
        async with driver(quick(server), on_handler_error="raise") as client:
            room = client.subscribe("room")
            room.bind("price", clumsy)
            await room.wait_subscribed(5)
            server.publish("room", "price", 1)
            await client.run()
            pytest.fail("the run ended without an error")


@scenario
async def a_handler_may_be_asynchronous(driver: Driver, server: RunningServer) -> None:
    if driver.is_blocking:
        return
    seen: list[object] = []

    async def handle(event: ChannelEvent) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(event.data)

    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        room.bind("price", handle)
        await room.wait_subscribed(5)
        server.publish("room", "price", 1)
        server.publish("room", "price", 2)
        await until(lambda: seen == [1, 2])


# Backpressure


@scenario
async def a_stream_that_is_not_read_stops_the_reading_and_loses_nothing(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server, receive_buffer=500)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        slow, other = room.events("n", buffer=4), room.events("n", buffer=2)
        number = next(iter(transports_of(client)))
        count = 0
        while client._session.wants_data(number):
            assert count < 1000
            server.publish("room", "n", count)
            count += 1
            await anyio.sleep(0.001)
        for _ in range(20):
            server.publish("room", "n", count)
            count += 1
        got: list[object] = []
        others: list[object] = []

        async def read() -> None:
            async for event in other:
                others.append(event.data)  # noqa: PERF401 - another task reads it

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            async for event in slow:
                got.append(event.data)
                if len(got) == count:
                    break
            await until(lambda: len(others) == count)
            other.close()
        assert got == others == list(range(count))
        assert (slow.dropped, other.dropped) == (0, 0)


@scenario
async def the_backlog_may_be_more_than_a_stream_holds(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        for n in range(4):
            server.publish("room", "n", n)
        server.publish("room", "last", None)
        await client.wait_for("last", timeout=5)
        stream = room.events("n", buffer=2)
        for n in range(4, 8):
            server.publish("room", "n", n)
        assert [(await anext(stream)).data for _ in range(8)] == list(range(8))


# TLS


class Authority:
    """A certificate authority, a server's certificate, and the authorities that a client trusts."""

    def __init__(self, name: str = "127.0.0.1") -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.pem: bytes = authority.cert_pem.bytes()


@scenario
async def a_stream_that_ends_during_the_TLS_handshake_is_reported(
    driver: Driver, server: RunningServer
) -> None:
    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, hang_up)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        options = Options.from_host("127.0.0.1", port=port, key="demo", reconnect=False, **QUICK)
        async with driver(options, ssl_context=Authority().client) as client:
            with pytest.raises(ConnectionFailed, match="EOF occurred in violation of protocol"):
                await client.wait_connected(5)
        group.cancel_scope.cancel()


@scenario
async def a_server_with_a_bad_certificate_gets_an_alert(
    driver: Driver, server: RunningServer
) -> None:
    heard: list[str] = []
    authority = Authority()

    async def meet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                await TLSStream.wrap(stream, server_side=True, ssl_context=authority.server)
            except ssl.SSLError as error:
                heard.append(error.reason)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, meet)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        options = Options.from_host("127.0.0.1", port=port, key="demo", **QUICK)
        async with driver(options) as client:
            with pytest.raises(ConnectionFailed, match=r"certificate of 127\.0\.0\.1 is invalid"):
                await client.wait_connected(5)
            await until(lambda: heard)
        assert heard == ["TLSV1_ALERT_UNKNOWN_CA"]
        group.cancel_scope.cancel()


# Handles of applications


@scenario
async def what_clients_say_of_their_connection(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server, auto_connect=False)) as client:
        assert client.state is ConnectionState.INITIALIZED
        handles = client.subscribe_many(["a", "b"])
        with pytest.raises(PusherTimeout, match="not all channels were subscribed"):
            await client.wait_subscribed(timeout=0.05)
        client.connect()
        await client.wait_subscribed(timeout=5)
        await client.wait_subscribed(["a"], 5)
        assert [each.state for each in handles.values()] == ["subscribed"] * 2
        client.unsubscribe_all()
        assert (handles["a"].state, client.channel("c").state) == ("unsubscribed", "idle")
        a = client.channel("a")
        await a.subscribe().wait_subscribed(5)
        await a.resubscribe().wait_subscribed(5)
        client.disconnect()
        await client.wait_disconnected(5)
        with pytest.raises(NotConnected):
            client.send_event("x", {})
        assert not client.closed
    assert client.closed


@scenario
async def a_flush_ends_when_the_server_has_everything(
    driver: Driver, server: RunningServer
) -> None:
    options = quick(server, client_event_rate=20, client_event_overflow="wait")
    async with driver(options) as client, driver(quick(server)) as other:
        room = client.subscribe("private-room")
        await room.wait_subscribed(5)
        there = other.subscribe("private-room")
        await there.wait_subscribed(5)
        stream = there.events("client-x")
        for n in range(25):
            room.trigger("client-x", n)
        await client.flush(5)
        assert [(await stream.next(5)).data for _ in range(25)] == [*range(25)]
        with pytest.raises(PusherTimeout, match="no event was received within"):
            await stream.next(0.01)
        client.disconnect()
        with pytest.raises(NotConnected):
            await client.flush(5)


@scenario
async def events_of_an_outbox_wait_for_the_connection(
    driver: Driver, server: RunningServer
) -> None:
    async with driver(quick(server)) as client, driver(quick(server)) as other:
        room = client.subscribe("private-room").outbox(max_age=30, keep="latest")
        await room.wait_subscribed(5)
        stream = other.subscribe("private-room").events("client-at")
        await other.wait_subscribed(timeout=5)
        client.disconnect()
        for n in range(5):
            room.trigger("client-at", n)
        with pytest.raises(NotSubscribed):
            room.trigger("client-at", 5, queue=False)
        assert (room.waiting_events, client.stats.client_events_replaced) == (1, 4)
        client.connect()
        await client.flush(5)
        assert (await stream.next(5)).data == 4
        room.outbox(max_age=0.01)
        client.disconnect()
        room.trigger("client-at", 6)
        with pytest.raises(PusherTimeout, match="1 waiting client events were dropped"):
            await client.flush(5)
        assert client.stats.client_events_dropped == 1


@scenario
async def a_merged_stream_survives_the_loss_of_either_server(
    driver: Driver, server: RunningServer
) -> None:
    async with serve() as other, driver(quick(server)) as here, driver(quick(other)) as there:
        servers, clients = (server, other), (here, there)
        channels = [client.subscribe("ticks") for client in clients]
        got: list[int] = []
        async with driver.merge(channels, key="n") as ticks:
            for n in range(40):
                if n % 20 == 0:
                    for channel in channels:
                        await channel.wait_subscribed(5)
                if n % 20 == 4:
                    servers[n // 20].drop()
                for each in servers:
                    each.publish("ticks", "tick", {"n": n})
                if n % 3 == 2:  # the stream is read a little later than the events come
                    got += [(await ticks.next(5)).data["n"] for _ in range(3)]
            got += [(await ticks.next(5)).data["n"] for _ in range(40 - len(got))]
            with pytest.raises(PusherTimeout, match="no event was received within"):
                await ticks.next(0.01)
            await here.close()
            await there.wait_subscribed(timeout=5)
            other.publish("ticks", "tick", {"n": 40})
            assert (await anext(ticks)).data == {"n": 40}
            await there.close()
            assert [each async for each in ticks] == []
            with pytest.raises(ClientClosed):
                await ticks.next(5)
        assert sorted(got) == [*range(40)]
        assert ticks.duplicates > 0
        with pytest.raises(TypeError, match="of this kind of client"):
            driver.merge([here], key="n")


@scenario
async def waits_in_a_row_lose_nothing_beside_others(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        seen: list[int] = []
        client.bind(ChannelEvent, lambda event: seen.append(event.data))
        once: list[int] = []
        room.bind("n", lambda event: once.append(event.data), once=True)
        stream = room.events("n")
        async with anyio.create_task_group() as group:

            async def publish() -> None:
                await until(lambda: client._delivery.waits)
                for n in range(5):
                    server.publish("room", "n", n)

            group.start_soon(publish)
            assert [(await room.wait_for("n", timeout=5)).data for _ in range(5)] == [*range(5)]
        assert [(await anext(stream)).data for _ in range(5)] == [*range(5)]
        with pytest.raises(PusherTimeout):
            await room.wait_for("n", timeout=0.01, fresh=True)
        with pytest.raises(TypeError, match="write timeout=2"):
            await room.wait_for("n", 2)  # type: ignore[call-overload]  # as in other clients
        client.unbind()
        room.unbind()


@scenario
async def every_message_can_be_had(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server, auto_connect=False)) as client:
        stream = client.events(Message)
        client.connect()
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        server.publish("room", "n", 1)
        names = [(await stream.next(5)).event for _ in range(4)]
        assert names[:2] == [
            "pusher:connection_established",
            "pusher_internal:subscription_succeeded",
        ]
        assert names[-1] == "n"


@scenario
async def messages_of_the_protocol_can_be_had_alone(driver: Driver, server: RunningServer) -> None:
    async with driver(quick(server)) as client:
        stream = client.events(ProtocolMessage)
        room = client.subscribe("room")
        await room.wait_subscribed(5)
        server.publish("room", "n", 1)
        server.send_raw(None, '{"event":"maintenance","data":"soon"}')
        names: list[str] = []
        while names[-1:] != ["maintenance"]:
            names.append((await stream.next(5)).event)
        assert "pusher_internal:subscription_succeeded" in names
        assert "n" not in names


@scenario
async def missed_events_are_fetched_and_delivered_before_live_ones(
    driver: Driver, server: RunningServer
) -> None:
    stored: list[int] = []
    gaps: list[Gap] = []

    def publish(number: int) -> None:
        stored.append(number)
        server.publish("orders", "order", {"id": number})

    def fetch(gap: Gap) -> list[tuple[str, Any]]:
        gaps.append(gap)
        if len(gaps) == 2:
            raise OSError("503")
        after = -1 if gap.last is None else gap.last.data["id"]
        return [("order", {"id": number}) for number in stored if number > after]

    stored.append(0)
    async with driver(quick(server)) as client:
        orders = client.subscribe("orders", catch_up=fetch, key="id")
        stream = orders.events("order")
        assert (await stream.next(5)).data == {"id": 0}
        publish(1)
        assert (await stream.next(5)).data == {"id": 1}
        stored.append(2)
        lost = client.events(ConnectionLost)
        server.drop()
        await lost.next(5)
        await orders.wait_subscribed(5)
        publish(3)
        found = [await stream.next(5) for _ in range(2)]
        assert [event.data for event in found] == [{"id": 2}, {"id": 3}]
        assert found[0].caught_up
        assert gaps[1].since is not None
        assert client.stats.gaps_closed == 2
