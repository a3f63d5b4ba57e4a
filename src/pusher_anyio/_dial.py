"""How a TCP connection is opened: all addresses of a host, the first that answers wins.

anyio does the same, and gives a stream. What is wanted here is the socket, before anybody reads from it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from pusher_proto.client import STAGGER, in_turns

__all__ = ["connect", "connected"]

Connect = Callable[[socket.socket, Any], Awaitable[None]]


async def connect(sock: socket.socket, address: Any) -> None:
    """Connect a socket that does not block, on any event loop. Raises OSError."""
    try:
        sock.connect(address)
    except BlockingIOError:
        await anyio.wait_writable(sock)
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code)) from None


async def connected(host: str, port: int, connect: Connect = connect) -> socket.socket:
    """Return a connected socket that does not block ("Happy Eyeballs", RFC 8305). Raises OSError."""
    won: list[socket.socket] = []
    error = OSError(f"{host} has no address")
    infos = await _addresses(host, port)

    async def attempt(info: tuple[Any, ...], over: anyio.Event) -> None:
        nonlocal error
        family, kind, protocol, _, address = info
        try:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                await connect(sock, address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except BaseException:
                sock.close()
                raise
        except OSError as failed:
            error = failed
        else:
            won.append(sock)
            attempts.cancel_scope.cancel()
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as attempts:
            for info in in_turns(infos):
                over = anyio.Event()
                attempts.start_soon(attempt, info, over)
                with anyio.move_on_after(STAGGER):
                    await over.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    if not won:
        raise error
    for late in won[1:]:  # two may have been connected in one turn
        late.close()
    return won[0]


async def _addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    kind = socket.SOCK_STREAM
    try:
        # An address needs no thread to be looked up in.
        return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except OSError:
        return await anyio.getaddrinfo(host, port, type=kind)
