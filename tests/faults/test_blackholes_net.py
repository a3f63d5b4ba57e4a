"""Networks that silently swallow packets, between two hosts in network namespaces."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.runners import Clock, Driver, until
from pusher_anyio.testing import RunningServer
from pusher_proto import ConnectionLost

from .namespaces import SERVER, SERVER_6, Cable, why_not
from .rows import on_every_driver, options_for
from .server import FaultServer, Peer

LATE = 8.0
"""Seconds that are late even on a busy machine; what the system does by itself takes minutes."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Cable]:
    """Two hosts; else the test is skipped, or fails if PUSHER_PROTO_REQUIRE_NAMESPACES=1."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("PUSHER_PROTO_REQUIRE_NAMESPACES") == "1":
            pytest.fail(f"network namespaces are required here: {reason}", pytrace=False)
        pytest.skip(f"no network namespaces: {reason}")
    with Cable() as cable:
        yield cable


@pytest.fixture
def cable(hosts: Cable) -> Iterator[Cable]:
    """The cable between the hosts, whole at first. The test is on the host of the client."""
    hosts.restore()
    with hosts.at_the_client():
        yield hosts


class Lively:
    """The script of a server that answers pings, and knows when it last did."""

    answered = 0.0

    def __call__(self, peer: Peer) -> None:
        peer.greet()
        while True:
            match peer.event():
                case {"event": "pusher:ping"}:
                    self.answered = time.monotonic()
                    peer.say("pusher:pong")
                case {"event": "pusher:subscribe", "data": {"channel": channel}}:
                    peer.say("pusher_internal:subscription_succeeded", {}, channel)


@on_every_driver
async def test_N1b_the_network_swallows_everything(
    driver: Driver, server: RunningServer, cable: Cable
) -> None:
    """The silence is noticed after the activity and pong timeouts, and closing does not wait for the operating
    system.
    """
    activity, pong, close = 0.4, 0.6, 0.5
    script = Lively()
    with FaultServer(script, listener=cable.listener()) as far:
        options = options_for(
            far.port,
            SERVER,
            activity_override=activity,
            pong_timeout=pong,
            close_timeout=close,
            connect_timeout=1.0,
        )
        async with driver(options) as client:
            lost = client.events(ConnectionLost)
            room = client.subscribe("room")
            await room.wait_subscribed(10)
            await until(lambda: script.answered)
            cable.cut()
            event = await anext(lost)
            silence = time.monotonic() - script.answered
            assert (event.code, event.reason) == (1006, "the server did not answer a ping")
            assert activity + pong <= silence < LATE
            cable.restore()
            await room.wait_subscribed(10)
            cable.cut()
            with Clock() as clock:
                await client.close()
            assert close <= clock.seconds < LATE
        cable.restore()  # what the server still had to say is answered with a reset


@on_every_driver
async def test_N1c_the_server_has_forgotten_the_connection(
    driver: Driver, server: RunningServer, cable: Cable
) -> None:
    """The next write is answered by a reset, which is a loss like any other: the client reconnects."""
    with FaultServer(Lively(), listener=cable.listener()) as far:
        async with driver(options_for(far.port, SERVER)) as client:
            lost = client.events(ConnectionLost)
            room = client.subscribe("room")
            await room.wait_subscribed(10)
            far.last.arrive()  # else what the client's system confirms later would be answered
            cable.cut_from_server()
            far.end_all(reset=True)  # neither side gets the reset
            await until(lambda: not far.live)
            cable.restore()
            assert client.socket_id == "1.1"
            client.ping()
            event = await anext(lost)
            assert event.code == 1006
            assert "reset" in event.reason.lower()
            await room.wait_subscribed(10)
            assert client.socket_id == "2.1"


@on_every_driver
async def test_N19_IPv6_leads_nowhere(
    driver: Driver, server: RunningServer, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a quarter of a second IPv4 is tried as well, and used (RFC 8305)."""
    really = socket.getaddrinfo

    def both(host: Any, port: Any, *args: Any, **more: Any) -> list[Any]:
        if host not in ("name.test", b"name.test"):
            return really(host, port, *args, **more)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (SERVER_6, port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (SERVER, port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    cable.cut_tcp_over_ipv6()
    with FaultServer(Lively(), listener=cable.listener()) as far:
        with Clock() as clock:
            async with driver(options_for(far.port, "name.test")) as client:
                await client.wait_connected(10)
        assert 0.25 <= clock.seconds < LATE
        assert len(far.peers) == client.stats.attempts == 1


@pytest.mark.skipif(sys.platform != "linux", reason="there are network namespaces on Linux only")
def test_what_is_missing_for_the_hosts_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not() == "only root may make network namespaces"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert why_not() == "not installed: ip and nft (Debian: iproute2 and nftables)"
