"""A TCP proxy between clients and server that breaks connections as networks and proxies do."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import time
from collections import defaultdict, deque
from contextlib import suppress
from functools import partial

__all__ = ["FAULTS", "MOODS", "Link", "Proxy"]

_RESET = struct.pack("ii", 1, 0)
_BLOCK = 65536
_HELD = 0.5
"""Seconds above which the proxy records that it held data."""

FAULTS = (
    "reset",
    "reset all",
    "cut by FIN",
    "cut by RST",
    "swallow",
    "deaf",
    "dumb",
    "delay",
    "slow",
)
"""Faults of open connections. "deaf": the client receives nothing; "dumb": the server receives nothing."""
MOODS = ("502", "503", "refuse", "silent", "mute")
"""Answers to new connections. "silent": none, not even to a TLS handshake; "mute": the upgrade succeeds, and nothing
follows."""


class Link:
    """One connection of a client through the proxy, and its fault."""

    def __init__(self, name: str, client: asyncio.StreamWriter) -> None:
        self.name = name
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.loses_up = self.loses_down = False
        self.delay = 0.0
        self.rate: float | None = None
        """Bytes per second from the server: above the rate of publishing, or the delay would grow without limit."""
        self.left: int | None = None
        """Bytes from the server after which the connection is cut."""
        self.resets = False
        self.is_new = True
        """Whether no byte of the server has arrived yet."""
        self.waiting: deque[tuple[float, bytes]] = deque()
        """Data of the server for the client, each with the time of reading; empty data marks the end."""
        self.came = asyncio.Event()

    def end(self, *, reset: bool) -> None:
        """End both sides, by RST or by FIN."""
        for writer in (self.client, self.server):
            if writer is None:
                continue
            if reset:
                with suppress(OSError, ValueError):
                    sock: socket.socket | None = writer.get_extra_info("socket")
                    if sock is not None:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                with suppress(OSError, RuntimeError):
                    writer.close()


class Proxy:
    """Listens on a port for each client, and forwards to the port of the server."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
        """The TLS contexts for clients and for the server, for answers of the proxy itself; None without TLS."""
        self.target = 0
        self.mood: str | None = None
        self.links: set[Link] = set()
        self.held: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        """For each client the times of reading and of passing on (or losing) data that was held longer than `_HELD`."""
        self._servers: list[asyncio.Server] = []

    async def listen(self, name: str) -> int:
        """Start to listen for a client; return the port."""
        server = await asyncio.start_server(partial(self._accept, name), "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()

    def break_one(self, fault: str) -> bool:
        """Do one of `FAULTS` to an open connection, or to all. Return whether there was one."""
        links = [link for link in self.links if link.server is not None]
        if not links:
            return False
        links.sort(key=lambda link: link.client.get_extra_info("peername") or ())
        chosen = links if fault == "reset all" else [self.rng.choice(links)]
        for link in chosen:
            match fault:
                case "reset" | "reset all":
                    link.end(reset=True)
                case "cut by FIN" | "cut by RST":
                    link.left = self.rng.randrange(1, 400)
                    link.resets = fault == "cut by RST"
                case "swallow":
                    link.loses_up = link.loses_down = True
                case "deaf":
                    link.loses_down = True
                case "dumb":
                    link.loses_up = True
                case "delay":
                    link.delay = self.rng.uniform(0.2, 2.5)
                case _:
                    link.rate = self.rng.uniform(4000, 8000)
        return True

    def heal(self) -> None:
        """Accept new connections again, end delays, and reset connections that never reached the server."""
        self.mood = None
        for link in list(self.links):
            link.delay, link.rate, link.left = 0.0, None, None
            if link.server is None:
                link.end(reset=True)

    async def _accept(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        link = Link(name, writer)
        self.links.add(link)
        try:
            await self._serve(link, reader, writer)
        except asyncio.CancelledError:
            pass  # the soak is over
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.links.discard(link)
            link.end(reset=False)
            while link.waiting:
                self._passed(link)

    async def _serve(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        mood = self.mood
        if mood == "refuse":
            link.end(reset=True)
            return
        if self.tls is not None and mood in ("502", "503", "mute"):
            await writer.start_tls(self.tls[0])
        if mood in ("502", "503"):
            await reader.read(_BLOCK)
            writer.write(
                f"HTTP/1.1 {mood} Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
            return
        if mood == "silent":
            while await reader.read(_BLOCK):
                pass
            return
        upstream = self.tls[1] if self.tls is not None and mood == "mute" else None
        server_reader, link.server = await asyncio.open_connection(
            "127.0.0.1", self.target, ssl=upstream
        )
        link.loses_down = False
        ends = [
            asyncio.create_task(self._up(link, reader)),
            asyncio.create_task(self._down(link, mute=mood == "mute")),
        ]
        pumps = [asyncio.create_task(self._read(link, server_reader)), *ends]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _up(self, link: Link, reader: asyncio.StreamReader) -> None:
        assert link.server is not None
        while data := await reader.read(_BLOCK):
            if link.delay:
                await asyncio.sleep(link.delay)
            if not link.loses_up:
                link.server.write(data)
                await link.server.drain()

    async def _read(self, link: Link, reader: asyncio.StreamReader) -> None:
        """Read from the server without waiting for the client, to measure how long data is held."""
        data = b"first"
        while data:
            try:
                data = await reader.read(_BLOCK)
            except OSError:
                data = b""
            link.waiting.append((time.time(), data))
            link.came.set()

    async def _down(self, link: Link, *, mute: bool) -> None:
        while True:
            while not link.waiting:
                link.came.clear()
                await link.came.wait()
            read, data = link.waiting[0]
            if not data:
                return
            await asyncio.sleep(max(0.0, read + link.delay - time.time()))
            if mute:
                head, end, _ = data.partition(b"\r\n\r\n")
                if link.is_new and end:
                    link.client.write(head + end)
                link.is_new = False
            elif not link.loses_down:
                if link.left is not None and len(data) >= link.left:
                    link.client.write(data[: link.left])
                    await link.client.drain()
                    link.end(reset=link.resets)
                    return
                if link.left is not None:
                    link.left -= len(data)
                await self._send(link, data)
            self._passed(link)

    def _passed(self, link: Link) -> None:
        """Record how long the oldest data was held, which was now passed on or lost."""
        read, _ = link.waiting.popleft()
        now = time.time()
        if now - read > _HELD:
            self.held[link.name].append((read, now))

    async def _send(self, link: Link, data: bytes) -> None:
        while data:
            part = data if link.rate is None else data[:200]
            data = data[len(part) :]
            link.client.write(part)
            await link.client.drain()
            if link.rate is not None:
                await asyncio.sleep(len(part) / link.rate)
