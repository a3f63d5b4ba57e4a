"""Leaks after many reconnects, and memory with a consumer that never reads."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import anyio
import pytest

from drivers.checkpoints import tasks
from drivers.runners import Clock, Driver, open_files, transports_of, until
from pusher_anyio.testing import RunningServer
from pusher_proto import (
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    ReadingPaused,
)
from pusher_proto._base.timers import Timer
from pusher_proto.client import Overflow

from .rows import QUICK, on_every_driver, options_for
from .server import FaultServer, Peer, said

RECONNECTS = 300


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest"])
@on_every_driver
async def test_R6_the_consumer_never_reads(
    driver: Driver, server: RunningServer, overflow: Overflow
) -> None:
    """Reading stops, or the oldest events are dropped and counted; pings continue, and closing works."""
    options = server.options(receive_buffer=500, activity_override=0.05, pong_timeout=10.0, **QUICK)
    async with driver(options) as client:
        room = client.subscribe("room")
        await room.wait_subscribed(10)
        stream = room.events("n", buffer=4, overflow=overflow)
        number = next(iter(transports_of(client)))
        for n in range(100):
            server.publish("room", "n", n)
        if overflow == "wait":
            await until(lambda: not client._session.wants_data(number))
            assert client.stats.reading_paused >= 1
        else:
            await until(lambda: stream.dropped == 96)
        before = pings(server)
        await until(lambda: pings(server) >= before + 3)
        assert (client.state, client.stats.attempts) == (ConnectionState.CONNECTED, 1)
        with Clock() as clock:
            await client.close()
        assert clock.seconds < 5
        expected = range(100) if overflow == "wait" else range(96, 100)
        assert [event.data async for event in stream][:4] == [*expected][:4]


class Dropping:
    """A server that drops what is not taken for a second and a half, as Soketi and Sockudo do, and says nothing."""

    messages = 2000

    def __init__(self) -> None:
        self.dropped: list[int] = []

    def __call__(self, peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        peer.greet()
        peer.accept_channel("room")
        rest, patience = b"", 1.5
        for n in range(self.messages):
            rest = self.write(peer, rest, patience)
            if rest:
                patience = 0.0
                self.dropped.append(n)
            else:
                patience = 1.5
                rest = said("n", {"n": n, "more": "x" * 10_000}, "room")
        while rest:
            rest = self.write(peer, rest, 1.5)
        peer.say("last", None, "room")
        peer.hold()

    @staticmethod
    def write(peer: Peer, rest: bytes, patience: float) -> bytes:
        """Write what the client takes; return what it does not take within `patience` seconds."""
        while rest and select.select([], [peer.sock], [], patience)[1]:
            rest = rest[peer.sock.send(rest, socket.MSG_DONTWAIT) :]
        return rest


@pytest.mark.parametrize("receive_buffer", [64 * 1024 * 1024, 200_000])
@on_every_driver
async def test_R5_the_server_drops_what_is_not_read(
    driver: Driver, server: RunningServer, receive_buffer: int
) -> None:
    """Reading continues while the consumer is busy, so the server drops nothing; beyond `receive_buffer` the pause is
    reported."""
    script = Dropping()
    with FaultServer(script) as dropping:
        options = options_for(dropping.port, receive_buffer=receive_buffer)
        async with driver(options) as client:
            room = client.subscribe("room")
            stream, reports = room.events(("n", "last")), client.events(ReadingPaused)
            if receive_buffer > 1_000_000:
                await until(lambda: client.stats.messages_received > script.messages)
            else:
                await until(lambda: len(script.dropped) > 0)
            got = []
            async for event in stream:
                if event.name == "last":
                    break
                got.append(event.data["n"])
            expected = set(range(script.messages)) - set(script.dropped)
            assert got == sorted(expected)
            assert client.stats.connections == 1
            if receive_buffer > 1_000_000:
                assert (script.dropped, client.stats.reading_paused) == ([], 0)
            else:
                assert client.stats.reading_paused >= 1
                async for report in reports:
                    assert report.seconds > 1
                    break


def pings(server: RunningServer) -> int:
    return sum(each.event == "pusher:ping" for each in server.received)


@partial(on_every_driver, patience=50.0)
async def test_R7_hundreds_of_reconnects(driver: Driver, server: RunningServer) -> None:
    """Afterwards there are as many tasks, threads and files as before."""

    def there() -> tuple[int, int, int]:
        return len(tasks()), threading.active_count(), len(open_files())

    async with driver(server.options(stable_after=0.001, **QUICK)) as client:
        room = client.subscribe("private-room")
        await room.wait_subscribed(10)
        established = client.events(ConnectionEstablished)
        lasting: list[tuple[int, int, int]] = []
        for n in range(RECONNECTS):
            await until(lambda: not client._session._timers.is_set(Timer.STABLE))
            await until(lambda: len(server.connections) == 1)
            if n == 3:  # by now there are all workers that the event loop keeps
                lasting.append(await settled(there))
            match n % 3:
                case 0:
                    server.drop(4200)
                case 1:
                    server.drop()
                case _:
                    client.reconnect()
            await anext(established)
            await room.wait_subscribed(10)
        (before,) = lasting
        await until(lambda: all(now <= then for now, then in zip(there(), before, strict=True)))
        assert client.stats.connections == RECONNECTS + 1


async def settled(look: Callable[[], tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return what is there once nothing of earlier connections goes any more."""
    least = look()
    for _ in range(20):
        await anyio.sleep(0.01)
        least = min(least, look())
    return least


@on_every_driver
async def test_K5_the_application_blocks_for_long(driver: Driver, server: RunningServer) -> None:
    """One ping is sent late (in time by the blocking client), and the server has the whole pong timeout for its
    answer.
    """
    activity, pong, blocked = 0.2, 0.6, 1.0
    answering = threading.Event()
    answering.set()

    def script(peer: Peer) -> None:
        peer.greet()
        while True:
            peer.expect("pusher:ping")
            if answering.is_set():
                peer.say("pusher:pong")

    with FaultServer(script) as pinged:
        options = options_for(pinged.port, activity_override=activity, pong_timeout=pong)
        async with driver(options) as client:
            lost = client.events(ConnectionLost)
            await client.wait_connected(10)
            before = None
            while before is None:
                await until(lambda: not awaits_pong(client))
                with client._guard:
                    if not awaits_pong(client):
                        answering.clear()
                        before = pinged.last.count("pusher:ping")
            began = time.monotonic()
            if not driver.is_blocking:
                time.sleep(blocked)  # noqa: ASYNC251 - that is the fault
            free = time.monotonic()
            event = await anext(lost)
            took = time.monotonic() - (began if driver.is_blocking else free)
            assert event.reason == "the server did not answer a ping"
            assert took >= pong
            await until(lambda: pinged.peers[0].ended)
            assert pinged.peers[0].count("pusher:ping") == before + 1


def awaits_pong(client: object) -> bool:
    is_set: bool = client._session._timers.is_set(Timer.PONG)  # type: ignore[attr-defined]  # of a client
    return is_set
