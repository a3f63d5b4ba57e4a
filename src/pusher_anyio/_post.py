"""One HTTP POST over anyio, for the webhooks of the development server."""

from __future__ import annotations

import contextlib
import ssl
from urllib.parse import urlsplit

import anyio
import h11
from anyio.abc import ByteStream

__all__ = ["post"]

_TIMEOUT = 10.0
_READ_SIZE = 65536


async def post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int | None:
    """Return the status of the answer, or None when there is none within 10 s."""
    try:
        with anyio.fail_after(_TIMEOUT):
            return await _post(url, headers, body)
    except (
        OSError,
        ValueError,
        TimeoutError,
        ssl.SSLError,
        anyio.EndOfStream,
        anyio.BrokenResourceError,
        h11.ProtocolError,
    ):
        return None


async def _post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int | None:
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
    stream: ByteStream = (
        await anyio.connect_tcp(host, port, tls=True, tls_standard_compatible=False)
        if is_tls
        else await anyio.connect_tcp(host, port)
    )
    try:
        http = h11.Connection(h11.CLIENT)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = [
            ("Host", parts.netloc.rpartition("@")[2]),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *headers,
        ]
        data = http.send(h11.Request(method="POST", target=target, headers=fields)) or b""
        data += http.send(h11.Data(data=body)) or b""
        data += http.send(h11.EndOfMessage()) or b""
        await stream.send(data)
        while True:
            event = http.next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive(_READ_SIZE))
    finally:
        with anyio.CancelScope(shield=True), contextlib.suppress(OSError):
            await anyio.aclose_forcefully(stream)
