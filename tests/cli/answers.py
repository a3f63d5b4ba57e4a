"""Programs that listen on a port and are not a Pusher server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["answering", "unused_port"]


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """Answer each connection to a port with these bytes and the end, or never with None; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, _closing() as clients:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                clients.append(client)
                if answer is not None:
                    client.recv(65536)
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def _closing() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


@contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port on which nothing listens, and which no other program gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
