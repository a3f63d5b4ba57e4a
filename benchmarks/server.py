"""The server of the benchmarks, a separate process: `python -m benchmarks.server CONFIG`.

It writes frames that were built in advance, so that only the client limits the speed. On a second port it reads
commands of the measured client, one per line: `go N` sends N events, `done` ends the server. Its last line of output
has its load.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import ssl
import sys
import time
from typing import Any

from .payloads import EVENT, Block, channel_names, frame, message

CHUNK = 512 * 1024
MEMBER = '{{"user_id":"{0}","user_info":{{"name":"Member {0}"}}}}'


class Server:
    """The connections and events of one run."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.connections = int(config["connections"])
        self.channels = channel_names(config["channels"], config["scope"])
        self.peers: list[Peer] = []
        self.subscribed = 0
        self.waiting: tuple[int, asyncio.Transport] | None = None
        self.blocks: list[Block] = []
        if config["kind"] == "stream":
            block = Block(config["size"], self.channels, encrypted=config["encrypted"])
            self.blocks = [block] * self.connections
        self.roster = json.dumps(
            {
                "presence": {
                    "count": config["members"],
                    "ids": [f"user-{n}" for n in range(config["members"])],
                    "hash": {
                        f"user-{n}": {"name": f"Member {n}"} for n in range(config["members"])
                    },
                }
            }
        )
        self.at = 0
        self.cpu = self.wall = 0.0
        self.dropped_at = self.back_at = 0.0
        self.auth_connections = self.auth_requests = 0
        self.done = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def wanted(self) -> int:
        """The number of subscriptions of all connections together."""
        return self.connections * len(self.channels)

    def order(self, line: str, transport: asyncio.Transport) -> None:
        """Carry out one command of the measured client."""
        word, _, rest = line.partition(" ")
        if word == "go":
            self.waiting = (int(rest), transport)
            self.go_if_ready()
        elif word == "done":
            self.done.set()

    def took_subscribe(self) -> None:
        """Count one more subscription."""
        self.subscribed += 1
        if self.subscribed < self.wanted:
            return
        if self.config["kind"] == "reconnect":
            if not self.dropped_at:
                asyncio.get_running_loop().call_later(0.5, self.drop)
            else:
                self.back_at = time.monotonic()
                self.done.set()
        self.go_if_ready()

    def drop(self) -> None:
        """End all connections like a server that restarts."""
        self.subscribed = 0
        self.dropped_at = time.monotonic()
        peers, self.peers = self.peers, []
        for peer in peers:
            peer.transport.write(frame((4200).to_bytes(2, "big"), 0x88))
            peer.transport.close()

    def go_if_ready(self) -> None:
        """Send the requested events when all channels are subscribed."""
        if self.waiting is not None and self.subscribed >= self.wanted:
            count, _ = self.waiting
            self.waiting = None
            task = asyncio.ensure_future(self.send(count))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def send(self, count: int) -> None:
        """Send `count` events, shared among all connections."""
        began, cpu = time.monotonic(), time.process_time()
        if self.config["kind"] == "pace":
            self.pace(count)
        elif self.config["kind"] == "roster":
            await self.write(self.peers[0], b"".join(self.changes(count)))
        else:
            share = count // self.connections
            at, self.at = self.at, self.at + share
            await asyncio.gather(
                *(
                    self.stream(peer, b, at, share)
                    for peer, b in zip(self.peers, self.blocks, strict=True)
                )
            )
        self.wall += time.monotonic() - began
        self.cpu += time.process_time() - cpu

    async def stream(self, peer: Peer, block: Block, at: int, count: int) -> None:
        """Write `count` events to one connection, as fast as it takes them."""
        size = len(block)
        while count:
            start = at % size
            part = min(size - start, count)
            if part == size:
                await self.write(peer, block.whole)
            else:
                await self.write(peer, b"".join(block.frames[start : start + part]))
            at += part
            count -= part

    async def write(self, peer: Peer, data: bytes) -> None:
        """Write bytes, and wait until most of them are gone."""
        view = memoryview(data)
        for start in range(0, len(data), CHUNK):
            await peer.writable.wait()
            peer.transport.write(view[start : start + CHUNK])

    def pace(self, count: int) -> None:
        """Send one event a millisecond, each with the time at which it was sent."""
        peer, due = self.peers[0], time.monotonic()
        for number in range(count):
            due += 0.001
            time.sleep(max(0.0, due - time.monotonic()))
            data = json.dumps({"n": number, "at": time.monotonic_ns(), "pad": "x" * 60})
            peer.transport.write(message(EVENT, data, self.channels[0]))

    def changes(self, count: int) -> list[bytes]:
        """Send members that join and leave, in turns."""
        frames = []
        for number in range(count):
            who = f"guest-{number // 2}"
            name, data = (
                ("pusher_internal:member_removed", f'{{"user_id":"{who}"}}')
                if number % 2
                else ("pusher_internal:member_added", MEMBER.format(who))
            )
            frames.append(message(name, data, self.channels[0]))
        return frames


class Lines(asyncio.Protocol):
    """Reads commands, one per line."""

    def __init__(self, server: Server) -> None:
        self.server, self.buffer = server, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.server.order(line.decode(), self.transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.server.done.set()


class Peer(asyncio.Protocol):
    """One connection: a WebSocket, or requests to the auth endpoint."""

    def __init__(self, server: Server) -> None:
        self.server, self.buffer, self.upgraded = server, b"", False
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=CHUNK)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while not self.upgraded:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.decode().split("\r\n"))
            }
            if head.startswith(b"POST"):
                length = int(headers["content-length"])
                if len(rest) < length:
                    return
                self.buffer = rest[length:]
                self.authorize()
            else:
                self.buffer = rest
                self.upgrade(headers["sec-websocket-key"])
        self.take_frames()

    def authorize(self) -> None:
        """Answer one request to the auth endpoint. The signature is not checked."""
        server = self.server
        server.auth_requests += 1
        server.auth_connections += not hasattr(self, "counted")
        self.counted = True
        body = json.dumps({"auth": f"bench-key:{'0' * 64}"}).encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )

    def upgrade(self, key: str) -> None:
        """Answer the upgrade, and send the greeting."""
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
        )
        self.upgraded = True
        self.server.peers.append(self)
        greeting = {
            "socket_id": f"1.{len(self.server.peers)}",
            "activity_timeout": self.server.config["activity"],
        }
        self.transport.write(message("pusher:connection_established", json.dumps(greeting)))

    def take_frames(self) -> None:
        """Read the frames in the buffer; write all answers together."""
        answers, data, at = [], self.buffer, 0
        while len(data) - at >= 6:
            length, start = data[at + 1] & 0x7F, at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            end = start + 4 + length
            if end > len(data):
                break
            mask = data[start : start + 4] * (length // 4 + 1)
            payload = bytes(a ^ b for a, b in zip(data[start + 4 : end], mask, strict=False))
            answers.append(self.answer(data[at] & 0x0F, payload))
            at = end
        self.buffer = data[at:]
        if any(answers) and not self.transport.is_closing():
            self.transport.write(b"".join(answers))

    def answer(self, opcode: int, payload: bytes) -> bytes:
        """Return the answer to one frame."""
        if opcode == 0x9:
            return frame(payload, 0x8A)
        if opcode == 0x8:
            self.transport.close()
        if opcode != 0x1:
            return b""
        said = json.loads(payload)
        if said["event"] == "pusher:ping":
            return message("pusher:pong", "{}")
        if said["event"] != "pusher:subscribe":
            return b""
        channel = said["data"]["channel"]
        asyncio.get_running_loop().call_soon(self.server.took_subscribe)
        data = self.server.roster if channel.startswith("presence-") else "{}"
        return message("pusher_internal:subscription_succeeded", data, channel)


async def main(config: dict[str, Any]) -> None:
    """Serve one run."""
    os.sched_setaffinity(0, config["cores"])
    server = Server(config)
    context = None
    if config["tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config["tls"])
    loop = asyncio.get_running_loop()
    peers = await loop.create_server(
        lambda: Peer(server), "127.0.0.1", 0, ssl=context, backlog=1000
    )
    lines = await loop.create_server(lambda: Lines(server), "127.0.0.1", 0)
    ports = [each.sockets[0].getsockname()[1] for each in (peers, lines)]
    print(json.dumps({"port": ports[0], "orders": ports[1]}), flush=True)
    await server.done.wait()
    result = {
        "busy": round(server.cpu / server.wall, 3) if server.wall else None,
        "back_after": server.back_at - server.dropped_at if server.back_at else None,
        "auth_connections": server.auth_connections,
        "auth_requests": server.auth_requests,
    }
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
