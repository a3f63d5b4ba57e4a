"""The event loop, and how it calls a client outside of any task."""

from __future__ import annotations

import contextvars
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from ._client import Client

__all__ = ["AsyncioLoop", "Loop", "TrioLoop"]


class Loop(ABC):
    """What happens to a client in a callback of the loop happens by `call`, as a task would have it happen."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._context = contextvars.copy_context()

    def call(self, act: Callable[..., None], *args: object) -> None:
        """Let `act` happen; an exception of it comes out of the client's block."""
        self._context.run(self._client._attempt, act, *args)

    @abstractmethod
    def soon(self, act: Callable[[], None]) -> None:
        """Let `act` happen in the next turn."""

    @abstractmethod
    def soon_from_anywhere(self, act: Callable[[], None]) -> None:
        """The same, from any thread. Raises RuntimeError when the event loop is over."""


class AsyncioLoop(Loop):
    """asyncio's, or uvloop."""

    def __init__(self, client: Client, native: asyncio.AbstractEventLoop) -> None:
        super().__init__(client)
        self.native = native
        # Where no task runs, anyio would not know asyncio, and start nothing. It asks sniffio where that is installed.
        if (sniffio := sys.modules.get("sniffio")) is not None:
            self._context.run(sniffio.current_async_library_cvar.set, "asyncio")

    def soon(self, act: Callable[[], None]) -> None:
        """Let `act` happen in the next turn."""
        self.native.call_soon(self.call, act)

    def soon_from_anywhere(self, act: Callable[[], None]) -> None:
        """The same, from any thread."""
        self.native.call_soon_threadsafe(self.call, act)


class TrioLoop(Loop):
    """trio's, by the token of the run."""

    def __init__(self, client: Client, token: Any) -> None:
        super().__init__(client)
        self._token = token

    def soon(self, act: Callable[[], None]) -> None:
        """Let `act` happen in the next turn: to start a task for it costs twice as much, and some KB meanwhile."""
        self._token.run_sync_soon(self.call, act)

    soon_from_anywhere = soon
