"""The client that the fuzzing server tests: our WebSocket layer over a blocking socket, echoing.

A program that `suite` runs in its own network: `testee.py SIZE COMMAND...`. The command is to
start the fuzzing server on PORT; what is received is given to our layer in pieces of SIZE bytes. It ends
when all cases are done and the reports are written.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from wsproto.frame_protocol import Frame, Opcode

from pusher_proto._wire.frames import Frames
from pusher_proto._wire.items import FrameItem
from pusher_proto._wire.websocket import (
    PeerClosed,
    UpgradeRefused,
    UpgradeRequest,
    Violation,
    WebSocket,
)

AGENT = "pusher-proto"
PORT = 9001
ADDRESS = ("127.0.0.1", PORT)

_LARGEST = 64 * 1024 * 1024  # the largest message of section 9 has 16 MiB
_AT_ONCE = 8  # most cases wait for time to pass
_START_TIMEOUT = 20.0
_SILENCE = 60.0


class EchoingFrames(Frames):
    """Frames that echo binary messages too, which the layer itself only counts."""

    def __init__(self) -> None:
        super().__init__(
            max_message_size=_LARGEST, max_fragments=1 << 20, control_frame_rate=1000, fast=True
        )
        self._binary = bytearray()

    def _process(self, frame: Frame, payload: bytes, items: list[FrameItem]) -> None:
        is_open = self.is_open
        super()._process(frame, payload, items)
        if frame.opcode is Opcode.BINARY:
            self._binary += payload
            if frame.message_finished:
                if is_open:
                    self._answer_pings()
                    self.output += self._wsproto.send_data(bytes(self._binary))
                self._binary.clear()


class Talk:
    """One connection to the fuzzing server, from the upgrade until either side ends it."""

    def __init__(self, target: str, piece: int = 65536, *, compression: bool = False) -> None:
        self._websocket = WebSocket(
            UpgradeRequest(f"{ADDRESS[0]}:{PORT}", target, compression=compression)
        )
        self._websocket._frames = EchoingFrames()
        self._piece = piece
        self._over = False
        self.texts: list[bytes] = []

    def run(self, *, echo: bool) -> None:
        """Echo the messages, or collect them in `texts`; answer a close frame, then close."""
        with socket.create_connection(ADDRESS, timeout=_SILENCE) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(self._websocket.open())
            try:
                while not self._over and (data := sock.recv(65536)):
                    for start in range(0, len(data), self._piece):
                        sock.sendall(self._answer(data[start : start + self._piece], echo))
                # Closing a socket with unread data would send a reset.
                with suppress(OSError):  # ENOTCONN when it was faster
                    sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except ConnectionError:  # the server has closed, and what we said then has crossed that
                pass

    def _answer(self, data: bytes, echo: bool) -> bytes:
        """Return what there is to say to `data`."""
        items = self._websocket.receive_data(data)
        answer = self._websocket.data_to_send()
        for item in items:
            if isinstance(item, PeerClosed | UpgradeRefused | Violation):
                self._over = True
            elif type(item) is bytes and not echo:
                self.texts.append(item)
            elif type(item) is bytes and self._websocket.is_open:
                answer += self._websocket.send_text(item)
        return answer


def ask(target: str) -> bytes:
    """Return what the server says to a request for information."""
    talk = Talk(target)
    talk.run(echo=False)
    return talk.texts[0] if talk.texts else b""


def loopback_up() -> None:
    """Give the network its loopback interface: that of a new namespace is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        siocsifflags, iff_up = 0x8914, 0x1
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sH22x", b"lo", iff_up))


def wait_until_it_listens(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            socket.create_connection(ADDRESS, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline or server.poll() is not None:
                sys.exit("the fuzzing server does not listen")
        time.sleep(0.05)


def main(piece: int, compression: bool, command: list[str]) -> None:
    def run_case(number: int) -> None:
        target = f"/runCase?case={number}&agent={AGENT}"
        Talk(target, piece, compression=compression).run(echo=True)

    loopback_up()
    server = subprocess.Popen(command)
    try:
        wait_until_it_listens(server)
        count = int(json.loads(ask("/getCaseCount")))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(run_case, range(1, count + 1)))
        ask(f"/updateReports?agent={AGENT}")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "compression", sys.argv[3:])
