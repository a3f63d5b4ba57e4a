"""An auth endpoint over HTTP that signs, refuses, hangs, and gives all kinds of invalid answers."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import struct
from collections import Counter
from contextlib import suppress
from urllib.parse import parse_qs

from fuzz.soak.application import REFUSED, WRONG, Setup
from pusher_proto import AuthRequest

__all__ = ["Endpoint"]

_MOODS = (
    *("500", "503", "429", "404", "403", "page", "cut JSON", "cut body"),
    *("reset", "close", "slow", "hang"),
)


class Endpoint:
    """Answers requests for authorizations. `badness` is the share of bad answers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.badness = 0.0
        self.setups: dict[str, Setup] = {}
        """The setups of the clients, by the name in their requests."""
        self.counts: Counter[str] = Counter()
        self.port = 0

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        """Start to listen, with TLS if a context is given."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one(reader, writer):
                pass
        except asyncio.CancelledError:
            pass  # the soak is over
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            with suppress(OSError, RuntimeError):
                writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = 0
        for line in head.split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        form = parse_qs((await reader.readexactly(length)).decode())
        fields = {name: values[0] for name, values in form.items()}
        self.counts["requests"] += 1
        status, body = self._signed(fields)
        bad = self.rng.random() < self.badness
        mood = self.rng.choice(_MOODS) if bad and status == 200 else ""
        if mood:
            self.counts[mood] += 1
        match mood:
            case "":
                pass
            case "page":
                body = "<html>login</html>"
            case "cut JSON":
                body = body[: len(body) // 2]
            case "cut body":
                writer.write(_head(200, len(body) + 10) + body.encode())
                return False
            case "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            case "close":
                return False
            case "slow":
                await asyncio.sleep(self.rng.uniform(1, 9))
            case "hang":
                await asyncio.sleep(30)
                return False
            case _:
                status, body = int(mood), "{}"
        writer.write(_head(status, len(body.encode())) + body.encode())
        await writer.drain()
        return True

    def _signed(self, fields: dict[str, str]) -> tuple[int, str]:
        """Return the status and body of the answer that a working endpoint gives."""
        channel = fields.get("channel_name")
        if channel == REFUSED:
            return 403, "{}"
        request = AuthRequest(fields["socket_id"], channel)
        secret = "another secret" if channel in WRONG else ""
        response = self.setups[fields["client"]].own_key(secret).authorization(request)
        answer = {"auth": str(response.auth)}
        for name in ("channel_data", "shared_secret", "user_data"):
            value = getattr(response, name)
            if value is not None:
                answer[name] = str(value)
        return 200, json.dumps(answer)


def _head(status: int, length: int) -> bytes:
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
