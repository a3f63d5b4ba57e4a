"""Faults of the network that only real sockets show: resets, refusals, restarts, names that are not found."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from drivers.runners import Clock, Driver, Lookup, poll, until
from pusher_anyio.testing import RunningServer
from pusher_proto import ConnectionLost, ConnectionState

from .rows import QUICK, on_every_driver, options_for
from .server import FaultServer, Peer, hold, relay, said


def resets(cut: bytes) -> Callable[[Peer], None]:
    """Return the script of a server that sends an event and `cut`, and resets its first connection."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.accept_channel("room")
        if peer.number == 1:
            peer.say("n", 1, "room")
            peer.send(cut)
            peer.arrive()
            peer.reset()
        else:
            peer.say("n", 2, "room")
            peer.hold()

    return script


@pytest.mark.parametrize("cut", [b"", said("n", 0, "room")[:9]], ids=["idle", "mid_frame"])
@on_every_driver
async def test_N2_the_connection_is_reset(
    driver: Driver, server: RunningServer, cut: bytes
) -> None:
    """Complete messages are delivered, an incomplete one is not, and the client reconnects."""
    with FaultServer(resets(cut)) as broken:
        async with driver(options_for(broken.port)) as client:
            lost = client.events(ConnectionLost)
            numbers = client.subscribe("room").events("n")
            assert [(await anext(numbers)).data for _ in range(2)] == [1, 2]
            event = await anext(lost)
            assert (event.code, event.will_retry) == (1006, True)
            assert "reset by peer" in event.reason
            assert len(broken.peers) == 2


@on_every_driver
async def test_N2_the_connection_is_reset_before_anything_was_read(
    driver: Driver, server: RunningServer
) -> None:
    """Data in the buffers of the operating system is delivered first."""
    with FaultServer(resets(b"")) as broken:
        async with driver(options_for(broken.port)) as client:
            lost = client.events(ConnectionLost)
            room = client.subscribe("room")
            numbers = room.events("n")
            await until(lambda: broken.peers and broken.peers[0].count("pusher:subscribe"))
            with client._guard:  # and without a turn of the event loop
                assert poll(lambda: broken.peers[0].ended)
            assert [(await anext(numbers)).data for _ in range(2)] == [1, 2]
            assert (await anext(lost)).code == 1006


@on_every_driver
async def test_N8_the_server_is_not_there_yet(driver: Driver, server: RunningServer) -> None:
    """It is tried again until the server is there; connecting raises nothing before that."""
    with FaultServer(relay(server.port), listening=False) as late:
        async with driver(options_for(late.port)) as client:
            lost = client.events(ConnectionLost)
            for _ in range(3):
                event = await anext(lost)
                assert "refused" in event.reason.lower()
                assert event.will_retry
            assert client.state is ConnectionState.CONNECTING
            late.listen()
            assert await client.wait_connected(10) == client.socket_id


@on_every_driver
async def test_N9_the_server_restarts_under_load(driver: Driver, server: RunningServer) -> None:
    """Every channel is subscribed again exactly once, with a new authorization; nothing is delivered twice."""
    channels = ["room", "private-one", "private-two"]
    numbers: dict[str, list[int]] = {name: [] for name in channels}

    async def publish() -> None:
        n = 0
        while True:
            n += 1
            server.publish(channels, "n", n)
            await anyio.sleep(0.02)

    async def read(stream: Any, seen: list[int]) -> None:
        async for event in stream:
            seen.append(event.data)  # noqa: PERF401 - another task reads it

    def asked() -> dict[tuple[int, str], str | None]:
        found = {}
        for each in server.received:
            if each.event == "pusher:subscribe":
                data: Any = each.data
                asked_for = (each.connection, data["channel"])
                assert asked_for not in found, "subscribed twice on one connection"
                found[asked_for] = data.get("auth")
        return found

    with FaultServer(relay(server.port)) as between:
        options = server.options(port=between.port, auth_endpoint=True, **QUICK)
        async with driver(options) as client, anyio.create_task_group() as group:
            streams = [client.subscribe(name).events("n") for name in channels]
            for name, stream in zip(channels, streams, strict=True):
                await client.channel(name).wait_subscribed(10)
                group.start_soon(read, stream, numbers[name])
            group.start_soon(publish)
            await until(lambda: all(len(seen) > 5 for seen in numbers.values()))
            lost = client.events(ConnectionLost)
            between.refuse()
            between.end_all(reset=True)
            for _ in range(3):
                assert (await anext(lost)).will_retry
            before = {name: len(seen) for name, seen in numbers.items()}
            between.listen()
            await until(lambda: all(len(seen) > before[name] for name, seen in numbers.items()))
            authorizations = asked()
            first, second = sorted({connection for connection, _ in authorizations})
            assert set(authorizations) == {
                (each, name) for each in (first, second) for name in channels
            }
            for name in channels:
                fresh = authorizations[second, name]
                assert (fresh is None) == (name == "room")
                assert name == "room" or fresh != authorizations[first, name]
                assert numbers[name] == sorted(set(numbers[name]))
            for stream in streams:
                stream.close()
            group.cancel_scope.cancel()


@on_every_driver
async def test_N13_the_TLS_handshake_stalls(driver: Driver, server: RunningServer) -> None:
    """The attempt ends after `connect_timeout`, and the next one follows."""
    limit, context = 0.4, ssl.create_default_context()
    with FaultServer(hold) as deaf:
        options = options_for(deaf.port, tls=True, connect_timeout=limit)
        with Clock() as clock:
            async with driver(options, ssl_context=context) as client:
                lost = client.events(ConnectionLost)
                event = await anext(lost)
                assert (event.code, event.will_retry) == (None, True)
                assert "no connection within 0.4 s: name lookup, TCP or TLS" in event.reason
                await anext(lost)
                await until(lambda: len(deaf.live) <= 1)
        assert clock.seconds >= 2 * limit
        assert any(peer.bytes_received for peer in deaf.peers)
        await until(lambda: not deaf.live)


@on_every_driver
async def test_N17_the_name_is_not_found_for_a_while(
    driver: Driver, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt fails and another follows; each attempt looks the address up again."""
    lookup = Lookup(monkeypatch)
    lookup.failures = 3
    async with driver(server.options(host="name.test", **QUICK)) as client:
        await client.wait_connected(10)
        assert (lookup.asked, client.stats.attempts) == (4, 4)
        assert "name not found" in client._session.last_loss
        lost = client.events(ConnectionLost)
        server.drop(4200)
        await anext(lost)
        await client.wait_connected(10)
        assert lookup.asked == 5


@on_every_driver
async def test_N18_the_name_lookup_hangs(
    driver: Driver, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time counts towards `connect_timeout`, and neither the event loop nor `close` waits for it."""
    lookup = Lookup(monkeypatch)
    lookup.answers.clear()
    try:
        options = server.options(host="name.test", **(QUICK | {"connect_timeout": 0.2}))
        async with driver(options) as client:
            lost = client.events(ConnectionLost)
            for _ in range(2):
                assert "name lookup, TCP or TLS did not end" in (await anext(lost)).reason
            await until(lambda: lookup.asked >= 3)
            await client.close()  # while it hangs
    finally:
        lookup.answers.set()
    async with driver(server.options(host="name.test", **QUICK)) as client:
        await client.wait_connected(10)


def test_the_fault_server_is_what_it_says() -> None:
    with FaultServer(resets(b""), listening=False) as server:
        address = ("127.0.0.1", server.port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        server.listen()
        with socket.create_connection(address) as one:
            one.sendall(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n")
            assert poll(lambda: b"connection_established" in one.recv(65536, socket.MSG_PEEK))
            server.end_all(reset=True)
            assert poll(lambda: server.peers[0].ended)
            with pytest.raises(ConnectionResetError):
                drain(one)
        server.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


def drain(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass
