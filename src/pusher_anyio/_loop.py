"""asyncio's event loop, and how it calls a client outside of any task."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from ._client import Client

__all__ = ["Loop"]


class Loop:
    """What happens to a client in a callback of the loop happens by `call`, as a task would have it happen."""

    def __init__(self, client: Client, asyncio_loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self.asyncio_loop = asyncio_loop
        self._context = contextvars.copy_context()
        # Where no task runs, anyio would not know asyncio, and start nothing. It asks sniffio where that is installed.
        if (sniffio := sys.modules.get("sniffio")) is not None:
            self._context.run(sniffio.current_async_library_cvar.set, "asyncio")

    def call(self, act: Callable[..., None], *args: object) -> None:
        """Let `act` happen; an exception of it comes out of the client's block."""
        self._context.run(self._client._attempt, act, *args)
