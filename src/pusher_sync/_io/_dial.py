"""Opens TCP connections: tries all addresses of a host, and the first that answers wins."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from pusher_proto.driving import STAGGER, Wire, in_turns

__all__ = ["connect_tcp"]


def connect_tcp(wire: Wire, resolved: Callable[[list[tuple[Any, ...]]], object]) -> socket.socket:
    """Return a connected socket ("Happy Eyeballs", RFC 8305). Raises OSError.

    `resolved` gets what `getaddrinfo` returned. The attempts end once the wire is over.
    """
    infos: list[tuple[Any, ...]] = socket.getaddrinfo(wire.host, wire.port, type=socket.SOCK_STREAM)
    resolved(infos)
    addresses = in_turns(infos)
    error = OSError(f"{wire.host} has no address")
    with selectors.DefaultSelector() as attempts:
        try:
            while not wire.over:
                if (info := next(addresses, None)) is not None:
                    try:
                        _begin(attempts, info)
                    except OSError as failed:
                        error = failed
                        continue
                elif not attempts.get_map():
                    break
                for key, _ in attempts.select(STAGGER):
                    sock = key.data
                    attempts.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not code:
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return sock  # type: ignore[no-any-return]  # selectors return the object that was registered
                    sock.close()
                    error = OSError(code, os.strerror(code))
            raise error
        finally:
            for key in attempts.get_map().values():
                key.data.close()


def _begin(attempts: selectors.BaseSelector, info: tuple[Any, ...]) -> None:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            pass
        attempts.register(sock, selectors.EVENT_WRITE, sock)
    except BaseException:
        sock.close()
        raise
