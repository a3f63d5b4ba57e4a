"""Proxies that let the client through, and proxies that do not."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from drivers.runners import Driver, until
from drivers.scenarios import Authority
from pusher_anyio.testing import RunningServer, serve
from pusher_proto import ConnectionFailed, ConnectionLost, ConnectionState, Options
from secrecy import secrets_in

from .rows import QUICK, on_every_driver
from .server import FaultServer, Gone, Peer, Script, joined

LOGIN = "ada:the-password-of-the-proxy"


class HttpProxy:
    """The script of a proxy for CONNECT that wants a login. `answer` may send what it says in its own way."""

    scheme = "http"

    def __init__(self, answer: Callable[[Peer, bytes], object] = Peer.send) -> None:
        self.asked: list[bytes] = []
        self._answer = answer

    def __call__(self, peer: Peer) -> None:
        head = peer.head()
        self.asked.append(head)
        wanted = b"Basic " + base64.b64encode(LOGIN.encode())
        if wanted not in head:
            peer.send(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"
                b"Content-Length: 0\r\n\r\n"
            )
            raise Gone
        host, port = head.split(b" ")[1].decode().rsplit(":", 1)
        with socket.create_connection((host, int(port))) as server:
            self._answer(peer, b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n")
            joined(peer.sock, server)


class SocksProxy:
    """The script of a proxy for SOCKS 5 that wants a login."""

    scheme = "socks5"

    def __init__(self, answer: Callable[[Peer, bytes], object] = Peer.send) -> None:
        self.asked: list[bytes] = []
        self._answer = answer

    def __call__(self, peer: Peer) -> None:
        _, count = peer.take(2)
        if 2 not in peer.take(count):
            peer.send(b"\x05\xff")
            raise Gone
        self._answer(peer, b"\x05\x02")
        peer.take(1)
        user, password = (peer.take(peer.take(1)[0]).decode() for _ in range(2))
        if f"{user}:{password}" != LOGIN:
            peer.send(b"\x01\x01")
            raise Gone
        self._answer(peer, b"\x01\x00")
        kind = peer.take(4)[3]
        packed = peer.take(4 if kind == 1 else peer.take(1)[0])
        host = socket.inet_ntoa(packed) if kind == 1 else packed.decode()
        port = int.from_bytes(peer.take(2), "big")
        self.asked.append(packed)
        with socket.create_connection((host, port)) as server:
            self._answer(peer, b"\x05\x00\x00\x01" + bytes(6))
            joined(peer.sock, server)


@cache
def good_authority() -> Authority:
    return Authority()


def through(proxy: FaultServer, scheme: str, login: str = LOGIN) -> dict[str, Any]:
    at = f"{login}@" if login else ""
    return QUICK | {"proxy": f"{scheme}://{at}127.0.0.1:{proxy.port}"}


@pytest.mark.parametrize("answer", [Peer.send, Peer.drip], ids=["at_once", "byte_by_byte"])
@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
@on_every_driver
async def test_N24_a_proxy_leads_to_the_server(
    driver: Driver, server: RunningServer, kind: Any, answer: Any
) -> None:
    """The connection and the requests to the auth endpoint go through it, with TLS behind it."""
    authority, script = good_authority(), kind(answer)
    async with serve(ssl_context=authority.server) as safe:
        with FaultServer(script) as proxy:
            options = safe.options(auth_endpoint=True, **through(proxy, kind.scheme))
            async with driver(options, ssl_context=authority.client) as client:
                room = client.subscribe("private-room")
                await room.wait_subscribed(10)
                text = "x" * 100_000
                safe.publish("private-room", "large", text)
                assert (await client.wait_for("large", timeout=10)).data == text
                first = client.socket_id
                safe.drop(4200)
                await until(lambda: client.socket_id not in (None, first))
                await room.wait_subscribed(10)
            assert len(script.asked) >= 3
        await until(lambda: not safe.connections)


@on_every_driver
async def test_N24_a_proxy_leads_to_a_server_without_TLS(
    driver: Driver, server: RunningServer
) -> None:
    """The client asks it for a tunnel too."""
    with FaultServer(HttpProxy()) as proxy:
        options = server.options(**through(proxy, "http"))
        async with driver(options) as client:
            await client.wait_connected(10)


@on_every_driver
async def test_N24_the_certificate_behind_a_proxy_is_not_good(
    driver: Driver, server: RunningServer
) -> None:
    """It is refused as without a proxy: the name must be the server's."""
    authority = Authority("elsewhere.example")
    async with serve(ssl_context=authority.server) as unsafe:
        with FaultServer(HttpProxy()) as proxy:
            options = unsafe.options(**through(proxy, "http"))
            async with driver(options, ssl_context=authority.client) as client:
                with pytest.raises(ConnectionFailed, match="is not valid for"):
                    await client.wait_connected(10)
            assert unsafe.server.stats.requests == 0


@pytest.mark.parametrize(
    "login", ["", "ada:wrong-the-password-of-the-proxy"], ids=["none", "wrong"]
)
@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
@on_every_driver
async def test_N24_the_proxy_wants_another_login(
    driver: Driver, server: RunningServer, kind: Any, login: str
) -> None:
    """The client gives up; the error says why and does not show the login."""
    with FaultServer(kind()) as proxy:
        options = server.options(**through(proxy, kind.scheme, login))
        async with driver(options) as client:
            with pytest.raises(ConnectionFailed, match=r"the proxy at 127\.0\.0\.1") as caught:
                await client.wait_connected(10)
            assert client.state is ConnectionState.FAILED
        assert secrets_in(f"{caught.value!r} {options!r}") == set()
        assert len(proxy.peers) == 1


def drops(peer: Peer) -> None:
    peer.head()
    peer.reset()


def ends(peer: Peer) -> None:
    peer.head()


def babbles(peer: Peer) -> None:
    peer.head()
    peer.send(b"SSH-2.0-OpenSSH\r\n\r\n")
    peer.hold()


def has_a_large_head(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000)
    peer.hold()


def is_overloaded(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    peer.hold()


def says_too_much(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nand so on")
    peer.hold()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (drops, "reset by peer"),
        (ends, "it ended the connection"),
        (babbles, "does not answer in HTTP"),
        (has_a_large_head, "answered with a head of more than"),
        (is_overloaded, "answered CONNECT with 503 Service Unavailable"),
        (says_too_much, "sent bytes before TLS had started"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@on_every_driver
async def test_N24_the_proxy_fails(
    driver: Driver, server: RunningServer, script: Script, reason: str
) -> None:
    """The error names the proxy and the reason, and another attempt follows."""
    with FaultServer(script) as proxy:
        options = Options(host="far.test", key="demo", **through(proxy, "http"))
        async with driver(options) as client:
            lost = client.events(ConnectionLost)
            for _ in range(2):
                event = await anext(lost)
                assert "the proxy" in event.reason
                assert reason in event.reason
                assert secrets_in(event.reason) == set()
                assert event.will_retry


@on_every_driver
async def test_N24_TLS_stalls_behind_the_proxy(driver: Driver, server: RunningServer) -> None:
    """The attempt ends after `connect_timeout`, and leaving the client does not wait for it."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.hold()

    with FaultServer(script) as proxy:
        options = Options(
            host="far.test", key="demo", **(through(proxy, "http") | {"connect_timeout": 0.3})
        )
        async with driver(options) as client:
            lost = client.events(ConnectionLost)
            assert "no connection within 0.3 s" in (await anext(lost)).reason
            await until(lambda: len(proxy.peers) >= 2 and proxy.last.bytes_received > 200)
