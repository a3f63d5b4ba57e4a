"""Serves the machine on a port of 127.0.0.1 from a thread, so that real clients can talk to it."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from pusher_proto.testing import Server, ServerClose, ServerSend

P = ParamSpec("P")
R = TypeVar("R")


class _Peer:
    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.outgoing = bytearray()
        self.ending = False
        self.shut = False


class Loopback:
    """`with Loopback(server) as loopback:` — every call of the machine is made in its thread."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._here, self._there = socket.socketpair()
        self._calls: deque[Callable[[], None]] = deque()
        self._peers: dict[int, _Peer] = {}
        self._next = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="loopback", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        with suppress(OSError):  # it was awake, has seen it, and is gone
            self._here.send(b"!")
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._here.close()

    def do(self, control: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Move a control, in the thread of the server; `now` is filled in."""
        future: Future[R] = Future()

        def call() -> None:
            try:
                future.set_result(control(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self._calls.append(call)
        self._here.send(b"!")
        return future.result(10)

    def timed(self, control: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Move a control that takes `now`."""
        return self.do(lambda: control(*args, now=time.monotonic(), **kwargs))

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._there, selectors.EVENT_READ, self._wake)
        try:
            while not self._stopping:
                due = self.server.next_deadline()
                timeout = None if due is None else max(0.0, due - time.monotonic())
                for key, events in self._selector.select(timeout):
                    key.data(events)
                self.server.handle_timeout(now=time.monotonic())
                self._carry_out()
        finally:
            for peer in list(self._peers.values()):
                self._drop(peer)
            self._selector.close()
            self._listener.close()
            self._there.close()

    def _wake(self, _events: int) -> None:
        self._there.recv(4096)
        while self._calls:
            self._calls.popleft()()

    def _accept(self, _events: int) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        self._next += 1
        peer = self._peers[self._next] = _Peer(self._next, sock)
        self._selector.register(
            sock, selectors.EVENT_READ, lambda events: self._ready(peer, events)
        )
        self.server.connection_opened(peer.number, now=time.monotonic())

    def _ready(self, peer: _Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = peer.sock.recv(65536)
                if not data:
                    self._drop(peer)
                    return
                self.server.receive_data(peer.number, data, now=time.monotonic())
            if events & selectors.EVENT_WRITE:
                self._write(peer)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)

    def _write(self, peer: _Peer) -> None:
        if peer.outgoing:
            sent = peer.sock.send(peer.outgoing)
            del peer.outgoing[:sent]
        if peer.ending and not peer.outgoing and not peer.shut:
            # Closing outright would reset the connection if anything is unread, and lose what was
            # sent last: the client closes when it has read the end.
            peer.shut = True
            peer.sock.shutdown(socket.SHUT_WR)
        self._selector.modify(
            peer.sock,
            selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.outgoing else 0),
            lambda events: self._ready(peer, events),
        )

    def _carry_out(self) -> None:
        while (effect := self.server.next_effect()) is not None:
            peer = self._peers.get(effect.connection)
            if peer is None:
                continue
            try:
                match effect:
                    case ServerSend():
                        peer.outgoing += effect.data
                        self._write(peer)
                    case ServerClose(abort=True):
                        linger = struct.pack("ii", 1, 0)
                        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        self._drop(peer)
                    case ServerClose():
                        peer.ending = True
                        self._write(peer)
            except BlockingIOError:
                pass
            except OSError:
                self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        if self._peers.pop(peer.number, None) is not None:
            self._selector.unregister(peer.sock)
            peer.sock.close()
            self.server.connection_closed(peer.number, now=time.monotonic())
