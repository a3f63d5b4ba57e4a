"""A TCP proxy between clients and server that breaks connections in all ways in which networks and proxies do."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from contextlib import suppress

__all__ = ["FAULTS", "MOODS", "Link", "Proxy"]

_RESET = struct.pack("ii", 1, 0)
_BLOCK = 65536

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
"""Faults of open connections. "deaf": nothing from the server arrives; "dumb": nothing from the client does."""
MOODS = ("502", "503", "refuse", "silent", "mute")
"""How new connections are answered. "mute": the upgrade succeeds, and nothing follows. With TLS "silent" leaves the
handshake without an answer, and faults of open connections hit within its records."""


class Link:
    """One connection of a client through the proxy, and its fault."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.loses_up = self.loses_down = False
        self.delay = 0.0
        self.rate: float | None = None
        """Bytes per second from the server: more than are published, or the delay would grow without limit."""
        self.left: int | None = None
        """Bytes from the server after which the connection is cut."""
        self.resets = False
        self.is_new = True
        """Whether no byte of the server has arrived yet."""

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
    """Listens on a port, and forwards to the port of the server."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
        """The TLS contexts for clients and for the server, if the proxy must read or write within TLS."""
        self.target = 0
        self.port = 0
        self.mood: str | None = None
        self.links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        """Begin to listen."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]

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
        """Accept new connections again, and end connections that never reached the server."""
        self.mood = None
        for link in list(self.links):
            link.delay, link.rate, link.left = 0.0, None, None
            if link.server is None:
                link.end(reset=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(writer)
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
        pumps = [
            asyncio.create_task(self._up(link, reader)),
            asyncio.create_task(self._down(link, server_reader, mute=mood == "mute")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
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

    async def _down(self, link: Link, reader: asyncio.StreamReader, *, mute: bool) -> None:
        while data := await reader.read(_BLOCK):
            if mute:
                head, end, _ = data.partition(b"\r\n\r\n")
                if link.is_new and end:
                    link.client.write(head + end)
                link.is_new = False
                continue
            if link.delay:
                await asyncio.sleep(link.delay)
            if link.loses_down:
                continue
            if link.left is not None:
                if len(data) >= link.left:
                    link.client.write(data[: link.left])
                    await link.client.drain()
                    link.end(reset=link.resets)
                    return
                link.left -= len(data)
            await self._send(link, data)

    async def _send(self, link: Link, data: bytes) -> None:
        while data:
            part = data if link.rate is None else data[:200]
            data = data[len(part) :]
            link.client.write(part)
            await link.client.drain()
            if link.rate is not None:
                await asyncio.sleep(len(part) / link.rate)
