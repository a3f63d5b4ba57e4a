"""A server on a loopback port that does what its script says: stall, lie, send any byte at any time, vanish.

`with FaultServer(script) as server` calls `script(peer)` in a new thread for each connection, which ends when
the script does. `relay` is a script that joins a client to a real server, so that what is between them can break.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from server.frames import frame

__all__ = [
    "FaultServer",
    "Gone",
    "Peer",
    "Script",
    "greeting",
    "hold",
    "joined",
    "relay",
    "said",
]

PATIENCE = 20.0
"""Seconds after which a script that waits for the client is given up."""
CLOSE, PING, PONG = 0x8, 0x9, 0xA


class Gone(Exception):
    """The client or the server ended the connection; the script ends with it."""


class Peer:
    """One connection as its script sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        """1 for the first connection that the server accepted."""
        self.socket_id = f"{number}.1"
        self.heard: list[dict[str, Any]] = []
        """The events that the client sent."""
        self.bytes_received = 0
        self.ended = False
        """Whether it is closed here."""
        self._incoming = bytearray()
        self._upgraded = False

    # Data of the client

    def head(self) -> bytes:
        """Return the head of an HTTP request."""
        while (end := self._incoming.find(b"\r\n\r\n")) < 0:
            self.receive()
        head = bytes(self._incoming[: end + 4])
        del self._incoming[: end + 4]
        return head

    def receive(self) -> None:
        """Take more bytes of the client. Raises `Gone`."""
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.bytes_received += len(data)
        self._incoming += data

    def event(self) -> dict[str, Any]:
        """Return the next event of the client. Raises `Gone` on a close frame, after answering it."""
        while True:
            opcode, payload = self._frame()
            if opcode == CLOSE:
                self.send(frame(payload, opcode=CLOSE, masked=False))
                raise Gone
            if opcode == 1:
                event: dict[str, Any] = json.loads(payload)
                self.heard.append(event)
                return event

    def expect(self, name: str, channel: str | None = None) -> dict[str, Any]:
        """Return the next event of that name (about `channel`); others before it are noted and passed over."""
        while True:
            event = self.event()
            about = event.get("channel", (event.get("data") or {}).get("channel"))
            if event["event"] == name and channel in (None, about):
                return event

    def count(self, name: str) -> int:
        """Return how often the client sent an event."""
        return sum(each["event"] == name for each in self.heard)

    def _frame(self) -> tuple[int, bytes]:
        length = self.take(2)
        size = length[1] & 0x7F
        if size > 125:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        mask, payload = self.take(4), self.take(size)
        return length[0] & 0x0F, bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))

    def take(self, size: int) -> bytes:
        """Return the next bytes of the client."""
        while len(self._incoming) < size:
            self.receive()
        taken = bytes(self._incoming[:size])
        del self._incoming[:size]
        return taken

    # Data of the server

    def send(self, data: bytes) -> None:
        """Send bytes, right or wrong. Raises `Gone`."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def drip(self, data: bytes) -> None:
        """Send one byte at a time, each in its own packet."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(len(data)):
            self.send(data[n : n + 1])

    def upgrade(self) -> bytes:
        """Accept the upgrade; return the head of the request."""
        head = self.head()
        (key,) = [
            line.split(b": ", 1)[1]
            for line in head.splitlines()
            if line.lower().startswith(b"sec-websocket-key")
        ]
        accept = base64.b64encode(
            hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        )
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self._upgraded = True
        return head

    def greet(self) -> None:
        """Accept the upgrade and establish the connection."""
        self.upgrade()
        self.send(greeting(self.socket_id))

    def say(self, event: str, data: object = None, channel: str | None = None) -> None:
        """Send an event."""
        self.send(said(event, data, channel))

    def accept_channel(self, channel: str) -> None:
        """Wait until the client subscribes to a channel, and say that it is subscribed."""
        self.expect("pusher:subscribe", channel)
        self.say("pusher_internal:subscription_succeeded", {}, channel)

    def arrive(self) -> None:
        """Wait until the client's system has all bytes sent so far."""
        deadline = time.monotonic() + PATIENCE
        while any(fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4))):
            assert time.monotonic() < deadline
            time.sleep(0.001)

    # The end

    def hold(self) -> None:
        """Say nothing more (but goodbye), until the client goes or `Peer.end` is called. Never returns."""
        while True:
            if self._upgraded:
                self.event()
            else:
                self.receive()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame."""
        self.send(frame(struct.pack("!H", code) + reason.encode(), opcode=CLOSE, masked=False))

    def reset(self) -> None:
        """Let the connection end with RST rather than FIN when the script ends, whatever is unread."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def end(self, *, reset: bool = False) -> None:
        """End the connection from any thread: its script sees `Gone`."""
        with contextlib.suppress(OSError):
            if reset:
                self.reset()
            self.sock.shutdown(socket.SHUT_RD)  # tells the client nothing; closing does


Script = Callable[[Peer], object]


class FaultServer:
    """Plays a script on each connection to a port of 127.0.0.1 (or to a listener that is given)."""

    def __init__(
        self, script: Script, *, listening: bool = True, listener: socket.socket | None = None
    ) -> None:
        self.script = script
        self.peers: list[Peer] = []
        """All connections there have been, in the order of arrival."""
        self.arrivals: list[float] = []
        """When each came, in seconds of `time.monotonic`."""
        # Holds the port while nothing listens, so that it refuses and no other program gets it.
        self._holder = _bound(0) if listener is None else listener
        self.port: int = self._holder.getsockname()[1]
        self._listening = listening
        self._given = listener
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._listening:
            self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.refuse()
        for peer in self.peers:
            peer.end()
        for thread in self._threads:
            thread.join(PATIENCE * 2)
            assert not thread.is_alive()
        self._holder.close()
        if self._errors and error is None:
            raise self._errors[0]

    @property
    def live(self) -> list[Peer]:
        """The connections that have not ended."""
        return [each for each in self.peers if not each.ended]

    @property
    def last(self) -> Peer:
        """The connection that came last."""
        return self.peers[-1]

    def listen(self) -> None:
        """Accept connections from now on."""
        if self._acceptor is not None:
            return
        self._listener = self._given or _bound(self.port)
        self._listener.listen(128)
        self._waker, waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener, waker))
        self._acceptor.start()

    def refuse(self) -> None:
        """Refuse connections from now on; open ones stay."""
        if self._acceptor is not None:
            self._waker.close()
            self._acceptor.join(PATIENCE)
            self._acceptor = None

    def end_all(self, *, reset: bool = False) -> None:
        """End all connections."""
        for peer in self.live:
            peer.end(reset=reset)

    def _accept(self, listener: socket.socket, waker: socket.socket) -> None:
        with listener, waker:
            while waker not in select.select([listener, waker], [], [])[0]:
                sock, _ = listener.accept()
                sock.settimeout(PATIENCE)
                # Else each small write may wait 40 ms for the acknowledgement of the one before.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer(sock, len(self.peers) + 1)
                thread = threading.Thread(target=self._play, args=(peer,))
                self.arrivals.append(time.monotonic())
                self.peers.append(peer)
                self._threads.append(thread)
                thread.start()

    def _play(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except (Gone, ssl.SSLError):
            pass
        except BaseException as error:
            self._errors.append(error)
        finally:
            peer.sock.close()
            peer.ended = True


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def said(event: str, data: object = None, channel: str | None = None) -> bytes:
    """Return the frame of an event, with its data in text as servers send it."""
    message: dict[str, object] = {"event": event, "data": json.dumps({} if data is None else data)}
    if channel is not None:
        message["channel"] = channel
    return frame(json.dumps(message).encode(), masked=False)


def greeting(socket_id: str, activity_timeout: float = 120) -> bytes:
    """Return the frame that establishes a connection."""
    about = {"socket_id": socket_id, "activity_timeout": activity_timeout}
    return said("pusher:connection_established", about)


def hold(peer: Peer) -> None:
    """Accept, read, and say nothing: the script of a server that never answers."""
    peer.hold()


def relay(port: int) -> Script:
    """Return the script that passes everything on between the client and a server at `port` of this machine."""

    def script(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            joined(peer.sock, server)

    return script


def joined(one: socket.socket, other: socket.socket) -> None:
    """Pass everything on between two sockets until one of them ends. Raises `Gone`."""
    ends = {one: other, other: one}
    while True:
        for source in select.select(list(ends), [], [], PATIENCE)[0]:
            data = b""
            with contextlib.suppress(OSError):
                data = source.recv(65536)
            if not data:
                raise Gone
            try:
                ends[source].sendall(data)
            except OSError as error:
                raise Gone from error
