"""The part of the I/O that asyncio and trio share: streams, threads, and waits for the end."""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import cancel_shielded_checkpoint

from pusher_proto.driving import LoopIO, MessageWire, Wire, WireStream

from ._messages import ConnectMessages, open_messages

__all__ = ["Body", "Connect", "Loop"]

Connect = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a byte stream to a host and port."""


class Body:
    """The task that runs the body of a block. Made as the block is entered."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.task: Any = loop.current_task()

    @property
    def is_here(self) -> bool:
        """Whether this is the task that runs now."""
        return self._loop.current_task() is self.task

    @abstractmethod
    def interrupt(self) -> None:
        """Interrupt the body at its next wait. Call it at most once, while the block is not left."""

    @abstractmethod
    async def leave(self, error: BaseException | None) -> bool:
        """Leave the block with `error`. Return whether that is only the interruption."""


class Loop(LoopIO):
    """The I/O of one client on an event loop."""

    native: Any
    """The event loop of asyncio, or the token of a trio run."""
    body_class: type[Body]
    connect: Connect | None = None
    """How the application opens byte streams, if it does."""
    connect_messages: ConnectMessages | None = None
    new_future: Callable[[], Future[Any]] = Future

    def __init__(self) -> None:
        super().__init__()
        self.anchor: object = None
        """An object that lives as long as the event loop holds this one."""

    @abstractmethod
    def running(self) -> object:
        """Return the event loop that runs in this thread, or None."""

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Return whether the current task is cancelled itself, and not only something within it."""

    @abstractmethod
    async def dial(self, wire: Wire) -> ByteStream | None:
        """Dial. Return the stream, or None if a `WireProtocol` moves the bytes of `wire`."""

    def why_not_here(self) -> str:
        """Return why commands cannot be given from here, or "" if they can."""
        running = self.running()
        if running is self.native:
            return ""
        where = "in another thread" if running is None else "on another event loop"
        return f"it was opened {where}"

    def start_thread(self, name: str, work: Callable[[], None], *, daemon: bool) -> None:
        """Run `work` in a thread with this name."""
        run = self.context.copy().run
        threading.Thread(target=run, args=(work,), name=name, daemon=daemon).start()

    async def move(self, wire: Wire) -> None:
        """Dial, or let the application do it. Move the bytes of `wire` over the stream, and close it."""
        if self.connect_messages is not None and isinstance(wire, MessageWire):
            stream: Any = await open_messages(self.connect_messages, wire)
        elif self.connect is not None:
            stream = await self.connect(wire.host, wire.port)
        elif (stream := await self.dial(wire)) is None:
            return
        try:
            # None for a stream that does not know the address of its other end.
            extra = getattr(stream, "extra", lambda _, default: default)
            peer = extra(SocketAttribute.remote_address, None)
            await WireStream(wire, stream, self, end=anyio.EndOfStream).run(peer)
        finally:
            try:
                # Whatever the application's stream raises here, it is over.
                with anyio.CancelScope(shield=True), suppress(Exception):
                    await anyio.aclose_forcefully(stream)
            finally:
                self.gone(wire)

    def cause(self, error: Exception) -> BaseException:
        """Return the error of the system that anyio wrapped in its own."""
        cause: BaseException | None = error.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError):
            if cause.errno and str(cause.strerror).startswith("Connect call failed"):
                return OSError(cause.errno, os.strerror(cause.errno))  # asyncio hides the text
            return cause
        if isinstance(error, anyio.BrokenResourceError):  # on asyncio it does not say what broke
            return ConnectionError("the connection broke")
        return error

    async def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached()` is true, also in a scope that is cancelled."""
        with anyio.CancelScope(shield=True):
            await super().wait_until(reached)
            await cancel_shielded_checkpoint()
