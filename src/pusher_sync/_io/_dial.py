"""Opens TCP connections: tries all addresses of a host, and keeps the first that answers."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import chain, repeat
from typing import Any

from pusher_proto.driving import STAGGER, Wire, in_turns

__all__ = ["Connect", "connect_tcp"]

Connect = Callable[[str, int], socket.socket]
"""Opens a connected socket to a host and port."""


def connect_tcp(wire: Wire, resolved: Callable[[list[tuple[Any, ...]]], object]) -> socket.socket:
    """Return a connected socket ("Happy Eyeballs", RFC 8305). Raises OSError.

    `resolved` gets what `getaddrinfo` returned. The attempts end once the wire is over.
    """
    infos: list[tuple[Any, ...]] = socket.getaddrinfo(wire.host, wire.port, type=socket.SOCK_STREAM)
    resolved(infos)
    error = OSError(f"{wire.host} has no address")
    with selectors.DefaultSelector() as attempts, ExitStack() as opened:
        for info in chain(in_turns(infos), repeat(None)):
            if wire.over or not (info or attempts.get_map()):
                break
            try:
                if info is not None:
                    sock = opened.enter_context(socket.socket(*info[:3]))
                    sock.setblocking(False)
                    with suppress(BlockingIOError):
                        sock.connect(info[4])
                    attempts.register(sock, selectors.EVENT_WRITE, sock)
                for key, _ in attempts.select(STAGGER):
                    attempts.unregister(key.fd)
                    code = key.data.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        raise OSError(code, os.strerror(code))
                    key.data.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return socket.socket(fileno=key.data.detach())  # the other sockets are closed
            except OSError as failed:
                error = failed
    raise error
