"""One HTTP POST, for the webhooks of the development server."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

__all__ = ["post"]

_TIMEOUT = 10.0


async def post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int | None:
    """Return the status of the answer, or None when there is none within 10 s."""
    call = partial(_post, url, dict(headers), body)
    with anyio.move_on_after(_TIMEOUT):
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    return None


def _post(url: str, headers: dict[str, str], body: bytes) -> int | None:
    try:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)) as connection:
            connection.request("POST", target, body, headers | {"Connection": "close"})
            return connection.getresponse().status
    except (OSError, ValueError, HTTPException):
        return None
