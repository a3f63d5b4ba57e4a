"""Faults of the application: handlers that raise, block or command, and ends that come in any phase."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import pytest

from drivers.runners import Clock, Driver, leaves_nothing, poll, until
from drivers.scenarios import logged
from pusher_anyio import Client
from pusher_anyio.testing import RunningServer, serve_in_thread
from pusher_proto import (
    ChannelEvent,
    ConnectionState,
    Event,
    LocalProtocolError,
    Options,
    PusherTimeout,
    StateChanged,
)
from pusher_sync import Client as BlockingClient
from pusher_sync import open_pusher

from .rows import QUICK, on_every_driver, options_for
from .server import FaultServer, Peer, hold

HAMMER = float(os.environ.get("PUSHER_PROTO_HAMMER", "1.5"))
"""Seconds for which two threads do everything at once."""


@on_every_driver
async def test_P6_the_server_pings_while_a_callback_is_slow(
    driver: Driver, server: RunningServer
) -> None:
    """The pong is sent at once; the callback in the test waits for it."""
    ponged = threading.Event()
    finished: list[bool] = []

    def script(peer: Peer) -> None:
        peer.greet()
        peer.accept_channel("room")
        peer.say("n", 1, "room")
        began.wait(10)
        peer.say("pusher:ping")
        peer.expect("pusher:pong")
        ponged.set()
        peer.hold()

    began = threading.Event()

    def blocks(event: ChannelEvent) -> None:
        began.set()
        finished.append(ponged.wait(10))

    async def waits(event: ChannelEvent) -> None:
        began.set()
        await until(ponged.is_set)
        finished.append(True)

    with FaultServer(script) as pinging:
        async with driver(options_for(pinging.port)) as client, anyio.create_task_group() as group:
            client.subscribe("room").bind("n", blocks if driver.is_blocking else waits)
            group.start_soon(client.run)
            await until(lambda: finished)
            assert finished == [True]
            await client.close()


class Odd(BaseException):
    """An exception that no library expects."""


@on_every_driver
async def test_A1_a_callback_raises(driver: Driver, server: RunningServer) -> None:
    """It is logged with its traceback; the next event and the other callbacks are not affected."""
    seen: list[object] = []
    others: list[object] = []

    def clumsy(event: ChannelEvent) -> None:
        seen.append(event.data)
        raise LookupError("clumsy")

    def clumsy_about_states(event: Event) -> None:
        raise LookupError("of a state")

    with logged("pusher_proto.client") as records:
        async with driver(server.options(**QUICK)) as client, anyio.create_task_group() as group:
            client.bind(StateChanged, clumsy_about_states)
            room = client.subscribe("room")
            room.bind("price", clumsy)
            room.bind("price", lambda event: others.append(event.data))
            await room.wait_subscribed(10)
            group.start_soon(client.run)
            server.publish("room", "price", 1)
            server.publish("room", "price", 2)
            await until(lambda: seen == others == [1, 2])
            await client.close()
    reported = [each.getMessage().partition("<locals>.")[2] for each in records if each.exc_info]
    assert reported.count("clumsy raised for price on room") == 2
    assert "clumsy_about_states raised for StateChanged on the client" in reported


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), Odd()], ids=repr)
@on_every_driver
async def test_A1_a_callback_ends_the_program(
    driver: Driver, server: RunningServer, raised: BaseException
) -> None:
    """A BaseException that is not an Exception leaves the block as it was raised, and the client ends."""

    def ends(event: ChannelEvent) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        async with driver(server.options(**QUICK)) as client:
            room = client.subscribe("room")
            room.bind("price", ends)
            await room.wait_subscribed(10)
            server.publish("room", "price", 1)
            await client.run()
    assert caught.value is raised
    assert client.state is ConnectionState.DISCONNECTED


@on_every_driver
async def test_A4_a_callback_gives_commands(driver: Driver, server: RunningServer) -> None:
    """A callback may subscribe, unsubscribe, bind, unbind, disconnect and connect; none of these blocks."""
    seen: list[object] = []
    async with driver(server.options(**QUICK)) as client, anyio.create_task_group() as group:
        room, second = client.subscribe("room"), client.channel("second")

        def once(event: ChannelEvent) -> None:
            seen.append(event.data)
            binding.cancel()
            client.subscribe("second")
            room.unsubscribe()
            second.bind("price", disconnects)

        def disconnects(event: ChannelEvent) -> None:
            seen.append(event.data)
            client.disconnect()
            client.connect()

        binding = room.bind("price", once)
        await room.wait_subscribed(10)
        server.publish("room", "price", 1)
        server.publish("room", "price", 2)
        await until(lambda: len(binding.queue) == 2 or seen)
        first = client.socket_id
        group.start_soon(client.run)
        await until(lambda: "second" in client.channels and "room" not in client.channels)
        await second.wait_subscribed(10)
        server.publish("second", "price", 3)
        await until(lambda: client.socket_id not in (None, first))
        await second.wait_subscribed(10)
        assert seen == [1, 3]
        await client.close()


@dataclass
class Phase:
    """How to bring a client into a phase of connecting, and how to see that it is there."""

    options: Options
    there: Callable[[Client], object]
    enter: Callable[[Client], object] = lambda client: None
    attempts: Callable[[], int] = lambda: 0
    """How many connections there have been."""
    leave: Callable[[], object] = field(default=lambda: None)
    """Lets go of what blocks, so that nothing is left."""


def hangs_in_the_lookup(
    stack: ExitStack, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> Phase:
    answers, asked = threading.Event(), list[object]()
    really = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **more: Any) -> Any:
        flags = more.get("flags") or (args[4] if len(args) > 4 else 0)
        if host not in ("name.test", b"name.test") or flags & socket.AI_NUMERICHOST:
            return really(host, *args, **more)
        asked.append(host)
        assert answers.wait(30)
        return really("127.0.0.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    options = server.options(host="name.test", **QUICK)
    return Phase(options, lambda _: asked, attempts=lambda: len(asked), leave=answers.set)


def hangs_in_tcp(stack: ExitStack, server: RunningServer, _: object) -> Phase:
    full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    port = full.getsockname()[1]
    for _ in range(4):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    return Phase(options_for(port), lambda client: client.stats.attempts)


def hangs_in_tls(stack: ExitStack, server: RunningServer, _: object) -> Phase:
    deaf = stack.enter_context(FaultServer(hold))
    return Phase(
        options_for(deaf.port, tls=True),
        lambda _: deaf.peers and deaf.last.bytes_received,
        attempts=lambda: len(deaf.peers),
    )


def hangs_in_the_upgrade(stack: ExitStack, server: RunningServer, _: object) -> Phase:
    deaf = stack.enter_context(FaultServer(hold))
    return Phase(
        options_for(deaf.port),
        lambda _: deaf.peers and deaf.last.bytes_received,
        attempts=lambda: len(deaf.peers),
    )


def hangs_before_the_greeting(stack: ExitStack, server: RunningServer, _: object) -> Phase:
    def upgrades(peer: Peer) -> None:
        peer.upgrade()
        peer.hold()

    sullen = stack.enter_context(FaultServer(upgrades))
    return Phase(
        options_for(sullen.port),
        lambda client: client.stats.bytes_received,
        attempts=lambda: len(sullen.peers),
    )


def waits_to_try_again(stack: ExitStack, server: RunningServer, _: object) -> Phase:
    absent = stack.enter_context(FaultServer(hold, listening=False))
    options = options_for(absent.port, retry_base=0.15, retry_cap=0.15)
    return Phase(
        options,
        lambda client: client._session.retry_at,
        leave=absent.listen,
        attempts=lambda: len(absent.peers),
    )


def waits_for_an_authorization(stack: ExitStack, server: RunningServer, _: object) -> Phase:
    server.delay(60, "auth")
    return Phase(
        server.options(auth_endpoint=True, **QUICK),
        lambda _: server.server.stats.requests >= 2,
        enter=lambda client: client.subscribe("private-room"),
        attempts=lambda: server.server.stats.connections,
    )


@pytest.mark.parametrize(
    "phase",
    [
        hangs_in_the_lookup,
        hangs_in_tcp,
        hangs_in_tls,
        hangs_in_the_upgrade,
        hangs_before_the_greeting,
        waits_to_try_again,
        waits_for_an_authorization,
    ],
    ids=lambda phase: phase.__name__,
)
@on_every_driver
async def test_A5_disconnecting_in_every_phase(
    driver: Driver, server: RunningServer, phase: Callable[..., Phase], monkeypatch: Any
) -> None:
    """The call returns at once; nothing is connected and no event follows."""
    heard: list[Event] = []
    with ExitStack() as stack:
        stack.callback((way := phase(stack, server, monkeypatch)).leave)
        async with driver(way.options) as client, anyio.create_task_group() as group:
            client.bind(None, heard.append)
            group.start_soon(client.run)
            way.enter(client)
            await until(lambda: way.there(client))
            with Clock() as clock:
                client.disconnect()
            assert clock.seconds < 5  # no step of it waits: the phases last for longer
            assert client.state is ConnectionState.DISCONNECTED
            await until(lambda: not client._driver.wires)
            await until(lambda: any(map(reports_the_end, heard)))
            attempts, count = way.attempts(), len(heard)
            way.leave()
            await anyio.sleep(0.2)  # longer than any delay before an attempt
            assert client.state is ConnectionState.DISCONNECTED
            assert (way.attempts(), len(heard)) == (attempts, count)
            await client.close()


def reports_the_end(event: Event) -> bool:
    return isinstance(event, StateChanged) and event.current is ConnectionState.DISCONNECTED


def test_A6_two_threads_do_everything_at_once() -> None:
    """Nothing is raised, and in the end the server has the subscriptions of the last calls."""
    wanted: list[set[str]] = [set(), set()]
    problems: list[BaseException] = []
    end = time.monotonic() + HAMMER

    def hammer(number: int, client: BlockingClient) -> None:
        mine, count = wanted[number], 0
        try:
            while time.monotonic() < end:
                count += 1
                name = f"private-{number}-{count % 7}"
                channel = client.subscribe(name)
                mine.add(name)
                try:
                    channel.trigger("client-hello", {"count": count})
                    channel.wait_subscribed(timeout=0.001)
                except (PusherTimeout, LocalProtocolError):
                    pass
                if count % 3 == 0:
                    client.unsubscribe(name)
                    mine.discard(name)
        except BaseException as error:
            problems.append(error)

    with (
        leaves_nothing(),
        serve_in_thread() as server,
        open_pusher(server.options(**QUICK)) as client,
    ):
        client.wait_connected(10)
        threads = [threading.Thread(target=hammer, args=(n, client)) for n in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert problems == []
        model = wanted[0] | wanted[1]
        assert set(client.channels) == model
        assert poll(lambda: set(server.channels()) == model), (server.channels(), model)
        assert client.stats.connections == 1
