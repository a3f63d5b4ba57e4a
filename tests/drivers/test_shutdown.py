"""Leaving the block of an asynchronous client, and its process: in every phase, in every way."""

from __future__ import annotations

import base64
import hashlib
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

from pusher_anyio import Client, open_pusher
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import Options

from .checkpoints import run, tasks
from .runners import Clock, until

CLOSE_TIMEOUT = 0.3
MARGIN = 0.9
"""Seconds that a machine which is busy may add."""

on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


def quick(server: ServerInThread, **more: Any) -> Options:
    return server.options(**({"close_timeout": CLOSE_TIMEOUT} | more))


class MyOwn(Exception):
    """Raised in a block."""


# In every phase


class Hangs:
    """A function of the application that does not come back."""

    called = False

    async def __call__(self, *_: object) -> Any:
        self.called = True
        await anyio.sleep_forever()


async def refuses(host: str, port: int) -> anyio.abc.ByteStream:
    raise ConnectionRefusedError


Phase = tuple[Options, dict[str, Any], Callable[[Client], object]]
"""The arguments of a client that gets into a phase, and a function that waits until it is there."""


def looking_up(server: ServerInThread, deaf: socket.socket) -> Phase:
    hangs = Hangs()
    return quick(server), {"connect": hangs}, lambda _: hangs.called


def shaking_hands_for_tls(server: ServerInThread, deaf: socket.socket) -> Phase:
    options = quick(server, port=deaf.getsockname()[1], tls=True)
    return options, {}, lambda _: select.select([deaf], [], [], 0)[0]


def waiting_for_the_upgrade(server: ServerInThread, deaf: socket.socket) -> Phase:
    options = quick(server, port=deaf.getsockname()[1])
    return options, {}, lambda client: client.stats.bytes_sent


def waiting_for_the_greeting(server: ServerInThread, deaf: socket.socket) -> Phase:
    server.delay(60, "greeting")
    return quick(server), {}, lambda client: client.stats.bytes_received


def waiting_to_try_again(server: ServerInThread, deaf: socket.socket) -> Phase:
    options = quick(server, retry_base=60.0, retry_cap=60.0)
    return options, {"connect": refuses}, lambda client: client._session.retry_at


def waiting_for_the_auth_endpoint(server: ServerInThread, deaf: socket.socket) -> Phase:
    def asks(client: Client) -> bool:
        client.subscribe("private-room")
        return server.server.stats.requests >= 2

    server.delay(60, "auth")
    return quick(server, auth_endpoint=True), {}, asks


def waiting_for_the_authorizer(server: ServerInThread, deaf: socket.socket) -> Phase:
    def asks(client: Client) -> bool:
        client.subscribe("private-room")
        return hangs.called

    hangs = Hangs()
    return quick(server, auth=None), {"authorizer": hangs}, asks


def connected(server: ServerInThread, deaf: socket.socket) -> Phase:
    return quick(server), {}, lambda client: client.socket_id


def connected_to_a_server_that_falls_silent(server: ServerInThread, deaf: socket.socket) -> Phase:
    def falls_silent(client: Client) -> bool:
        if client.socket_id is not None:
            server.mute()
        return client.socket_id is not None

    return quick(server), {}, falls_silent


@on_both
@pytest.mark.parametrize("way", ["return", "exception", "cancellation"])
@pytest.mark.parametrize(
    "phase",
    [
        looking_up,
        shaking_hands_for_tls,
        waiting_for_the_upgrade,
        waiting_for_the_greeting,
        waiting_to_try_again,
        waiting_for_the_auth_endpoint,
        waiting_for_the_authorizer,
        connected,
        connected_to_a_server_that_falls_silent,
    ],
    ids=lambda phase: phase.__name__,
)
def test_the_block_is_left_in_time_while_it_is(
    phase: Callable[[ServerInThread, socket.socket], Phase],
    way: str,
    backend: str,
    server: ServerInThread,
) -> None:
    async def main() -> None:
        before, clock, scope = tasks(), Clock(), anyio.CancelScope()
        try:
            with scope:
                async with open_pusher(options, **more) as client:
                    await until(lambda: there(client))
                    clock.__enter__()
                    if way == "exception":
                        raise MyOwn
                    if way == "cancellation":
                        scope.cancel()
                        await checkpoint()
        except MyOwn:
            assert way == "exception"
        clock.__exit__()
        assert scope.cancelled_caught == (way == "cancellation")
        assert clock.seconds < MARGIN + (0 if way == "cancellation" else CLOSE_TIMEOUT)
        assert tasks() == before

    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it listens, and accepts nothing
        options, more, there = phase(server, deaf)
        run(main, backend)


@on_both
@pytest.mark.parametrize("way", ["return", "cancellation"])
def test_the_block_is_left_in_time_while_the_network_takes_nothing(way: str, backend: str) -> None:
    async def connect(host: str, port: int) -> anyio.abc.ByteStream:
        stream = await anyio.connect_tcp(host, port)
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return stream

    async def main() -> None:
        before, clock, scope = tasks(), Clock(), anyio.CancelScope()
        with scope:
            async with open_pusher(options, connect=connect) as client:
                await until(lambda: select.select([listener], [], [], 0)[0])
                peer, _ = listener.accept()
                await until(lambda: select.select([peer], [], [], 0)[0])
                greet(peer)
                await client.wait_connected(5)
                for _ in range(10_000):
                    client.ping()
                await until(lambda: client.stats.bytes_sent > 4096)  # the first piece of 300 KB
                clock.__enter__()
                if way == "cancellation":
                    scope.cancel()
                    await checkpoint()
        clock.__exit__()
        assert clock.seconds < MARGIN + (0 if way == "cancellation" else CLOSE_TIMEOUT)
        assert tasks() == before
        peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = listener.getsockname()[1]
        options = Options.from_host(
            "127.0.0.1", port=port, tls=False, key="demo", close_timeout=CLOSE_TIMEOUT
        )
        run(main, backend)


def greet(peer: socket.socket) -> None:
    """Be a server up to the greeting."""
    head = peer.recv(4096).decode()
    (key,) = [
        line.split(": ")[1]
        for line in head.splitlines()
        if line.lower().startswith("sec-websocket-key")
    ]
    accept = base64.b64encode(
        hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    )
    text = rb'{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\"}"}'
    peer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n\x81%c%b" % (accept, len(text), text)
    )


# The end of the process


SCRIPT = """
    import logging, sys, anyio, anyio.lowlevel
    from pusher_anyio import open_pusher
    from pusher_proto import Options, SubscriptionCount

    # A busy machine makes asyncio warn of slow callbacks in development mode; errors are still logged.
    logging.getLogger("asyncio").setLevel(logging.ERROR)

    def exits(event):
        sys.exit(3)

    async def main():
        options = Options.from_host("127.0.0.1", port={port}, tls=False, key="demo")
        async with open_pusher(options) as client:
            room = client.subscribe("room")
            room.bind("exit", exits)
            await room.wait_for(SubscriptionCount, timeout=30)  # the last that the server sends by itself
            for _ in range(10):  # trio raises KeyboardInterrupt in whatever runs: let all of it come to rest
                await anyio.lowlevel.checkpoint()
            print("connected", flush=True)
            await client.run()

    anyio.run(main, backend={backend!r})
"""


AN_INTERRUPT = {
    "Traceback (most recent call last):",
    "asyncio.exceptions.CancelledError",
    "",
    "During handling of the above exception, another exception occurred:",
    "KeyboardInterrupt",
}
"""A traceback as Python prints it, without the lines of code."""


@contextmanager
def connected_process(server: ServerInThread, backend: str) -> Iterator[subprocess.Popen[str]]:
    script = textwrap.dedent(SCRIPT).format(port=server.port, backend=backend)
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            yield process
        finally:
            process.kill()


@on_both
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_ctrl_c_ends_the_process_at_once_and_without_noise(
    server: ServerInThread, backend: str
) -> None:
    with connected_process(server, backend) as process, Clock() as clock:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert said.endswith("\nKeyboardInterrupt\n")
    assert {line for line in said.splitlines() if not line.startswith(" ")} <= AN_INTERRUPT
    assert clock.seconds < 1.9  # an orderly end may take 2 s


@on_both
def test_a_handler_may_end_the_process(server: ServerInThread, backend: str) -> None:
    with connected_process(server, backend) as process:
        server.publish("room", "exit", None)
        assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 3
