"""Opens TCP connections: tries all addresses of a host, and keeps the first that answers.

anyio does the same, gives a stream, and does not say which addresses it found. A protocol of asyncio needs the socket,
before anything has read from it.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from typing import Any

import anyio

from pusher_proto.driving import STAGGER, LoopIO, Wire, in_turns

__all__ = ["connected"]


async def connected(wire: Wire, io: LoopIO) -> socket.socket:
    """Return a connected socket that does not block ("Happy Eyeballs", RFC 8305). Raises OSError."""
    won: list[socket.socket] = []
    error = OSError(f"{wire.host} has no address")

    async def attempt(info: tuple[Any, ...], over: anyio.Event) -> None:
        nonlocal error
        try:
            sock = opened.enter_context(socket.socket(*info[:3]))
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(info[4])
            await anyio.wait_writable(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            won.append(sock)
            attempts.cancel_scope.cancel()
        except OSError as failed:
            error = failed
        finally:
            over.set()

    infos = await _addresses(wire, io)
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


async def _addresses(wire: Wire, io: LoopIO) -> list[tuple[Any, ...]]:
    with suppress(OSError):  # an IP address is read without a thread
        return name_lookup(wire, socket.AI_NUMERICHOST)
    # Not in the thread pool of the event loop: a lookup may hang, and asyncio waits for the pool at the end.
    found: list[tuple[Any, ...]] = await io.call_and_wait(name_lookup, wire)
    return found


def name_lookup(wire: Wire, flags: int = 0) -> list[tuple[Any, ...]]:
    """Return the addresses of the wire's host."""
    return socket.getaddrinfo(wire.host, wire.port, type=socket.SOCK_STREAM, flags=flags)
