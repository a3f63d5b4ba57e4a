"""Opens TCP connections: tries all addresses of a host, and keeps the first that answers.

anyio does the same, gives a stream, and does not say which addresses it found. A protocol of asyncio needs the socket,
before anything has read from it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any

import anyio

from pusher_proto.driving import STAGGER, Wire, in_turns

__all__ = ["connected"]

Call = Callable[[Callable[[Any], object], object, Callable[[object], None]], object]


async def connected(wire: Wire, call: Call) -> socket.socket:
    """Return a connected socket that does not block ("Happy Eyeballs", RFC 8305). Raises OSError.

    `call` is `IO.call`, for the name lookup.
    """
    won: list[socket.socket] = []
    error = OSError(f"{wire.host} has no address")

    async def attempt(info: tuple[Any, ...], over: anyio.Event) -> None:
        nonlocal error
        try:
            sock = opened.enter_context(socket.socket(*info[:3]))
            await _connect(sock, info[4])
            won.append(sock)
            attempts.cancel_scope.cancel()
        except OSError as failed:
            error = failed
        finally:
            over.set()

    infos = await _addresses(call, wire)
    wire.resolved(infos)
    with ExitStack() as opened:
        async with anyio.create_task_group() as attempts:
            for info in in_turns(infos):
                over = anyio.Event()
                attempts.start_soon(attempt, info, over)
                with anyio.move_on_after(STAGGER):
                    await over.wait()
        if not won:
            raise error
        won[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return socket.socket(fileno=won[0].detach())  # the other sockets are closed


async def _addresses(call: Call, wire: Wire) -> list[tuple[Any, ...]]:
    with suppress(OSError):  # an IP address is read without a thread
        return name_lookup(wire, socket.AI_NUMERICHOST)
    # Not in the thread pool of the event loop: a lookup may hang, and asyncio waits for the pool at the end.
    found: Future[Any] = Future()
    over = anyio.Event()
    found.add_done_callback(lambda _: over.set())
    call(name_lookup, wire, found.set_result)
    await over.wait()
    if isinstance(found.result(), BaseException):
        raise found.result()
    return found.result()  # type: ignore[no-any-return]  # a list of addresses


def name_lookup(wire: Wire, flags: int = 0) -> list[tuple[Any, ...]]:
    """Return the addresses of the wire's host."""
    return socket.getaddrinfo(wire.host, wire.port, type=socket.SOCK_STREAM, flags=flags)


async def _connect(sock: socket.socket, address: Any) -> None:
    sock.setblocking(False)
    try:
        sock.connect(address)
    except BlockingIOError:
        await anyio.wait_writable(sock)
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code)) from None
