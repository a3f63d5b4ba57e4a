"""asyncio and uvloop: the event loop calls, and no task waits for data, for room to write or for a time.

A task for reading would cost 20 µs more each time, and 7 KB of each idle client; one that sleeps until a deadline 5 KB.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

from pusher_proto.driving import READ_SIZE, Wire

from ._dial import connected
from ._loop import TURNS, Body, Connect, Loop, Mover, Spawned, Work
from ._streams import Stream

__all__ = ["AsyncioLoop"]


class _Body(Body):
    """As asyncio.timeout does it."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._cancelling = self._task.cancelling()

    def _wake(self) -> None:
        self._interrupted = self._task.cancel()

    async def leave(self, error: BaseException | None) -> bool:
        """Take the cancellation back, if it was this one's."""
        self._left = True
        if not (self._interrupted and self.is_here):
            return False
        ours: bool = self._task.uncancel() <= self._cancelling
        if isinstance(error, asyncio.CancelledError):
            return ours
        if sys.version_info < (3, 13):
            # The cancellation was not delivered yet, and would be in spite of `uncancel`.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return False


class AsyncioLoop(Loop):
    """An asyncio event loop."""

    body_class = _Body

    def __init__(self) -> None:
        super().__init__()
        self.native = asyncio.get_running_loop()
        self.time = self.native.time
        self._thread = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None

    def _spawn(self, name: str, context: contextvars.Context, work: Work, *args: object) -> Spawned:
        coroutine: Any = work(*args)
        task: asyncio.Task[None] = self.native.create_task(coroutine, name=name, context=context)
        task.add_done_callback(self._ended)
        return task, task.cancel

    def soon(self, act: Callable[..., object], *args: object) -> bool:
        """Call `act` in a later turn."""
        with suppress(RuntimeError):
            self.native.call_soon_threadsafe(act, *args)
            return True
        return False

    def why_not_here(self) -> str:
        """Return why commands cannot be given from here."""
        running = asyncio._get_running_loop()  # noqa: SLF001 - as documented; the public one raises, and this is asked often
        if running is self.native:
            return ""
        if running is not None:
            return "it was opened on another event loop"
        if self.native.is_running() or threading.get_ident() != self._thread:
            return "it was opened in another thread"
        return ""  # the loop is not running, and will

    async def check_cancelled(self) -> None:
        """Raise again if this task is cancelled itself."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    def current_task(self) -> Any:
        """Return this task."""
        return asyncio.current_task(self.native) if asyncio._get_running_loop() else None  # noqa: SLF001 - see above

    def ring_at(self, at: float) -> None:
        """Ring at `at`."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at == inf else self.native.call_at(at, self._ring, TURNS)

    def _ring(self, turns: int) -> None:
        if turns:
            self.native.call_soon(self._ring, turns - 1)
        elif self._timer is not None:
            self._timer = None
            self.driver.ring()

    def _mover(self, wire: Wire, connect: Connect | None) -> Mover:
        return _Connection(self, wire) if connect is None else Stream(self, wire, connect)


class _Connection(asyncio.Protocol):
    """Moves the bytes of one wire."""

    def __init__(self, loop: AsyncioLoop, wire: Wire) -> None:
        self._loop = loop
        self._wire = wire
        self._transport: asyncio.Transport | None = None
        self._write_is_due = False
        self._unwritten = 0
        """How many bytes the transport has and has not written; nothing is given to it before it has."""

    async def run(self) -> None:
        """Dial; then the loop calls."""
        native, wire = self._loop.native, self._wire
        try:
            sock = await connected(wire, native.sock_connect)
            try:
                await native.create_connection(lambda: self, sock=sock)
            except BaseException:
                if self._transport is None:
                    sock.close()
                raise
            if wire in self._loop.wires:
                self._loop.wires[wire] = int  # the task is over, and its `cancel` would keep it
        except Exception as error:
            wire.failed(error)
        finally:
            if self._transport is None:
                wire.failed("given up")
                self._loop.gone(wire)

    def attend(self) -> None:
        """Read, write, or end, as the wire says."""
        wire, transport = self._wire, self._transport
        if transport is None:
            if wire.over:
                # Soon: a task that has not begun would not report its end.
                self._loop.native.call_soon(self._loop.wires[wire])
            return
        if wire.over:
            transport.abort()
            return
        wanted = wire.wants_data
        if wanted is not transport.is_reading() and not transport.is_closing():
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()
        if not (self._write_is_due or self._unwritten) and wire.has_to_write:
            # Soon: then all that this turn brings is written in one piece.
            self._loop.native.call_soon(self._write)
            self._write_is_due = True

    def connection_made(self, transport: Any) -> None:
        """There is a connection."""
        self._transport = transport
        transport.set_write_buffer_limits(0)  # it then reports when all is written
        if hasattr(transport, "max_size"):
            transport.max_size = READ_SIZE  # asyncio's own is 256 KB; uvloop has none
        self._wire.opened(transport.get_extra_info("peername"))
        self.attend()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._wire.received(bytes(data))  # on Windows it may be a bytearray

    def eof_received(self) -> bool:
        """Nothing more will come."""
        self._wire.eof()
        return True  # closing is ours

    def resume_writing(self) -> None:
        """All is written."""
        size, self._unwritten = self._unwritten, 0
        self._wire.written(size)
        self._write()

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        if error is None:
            self._wire.eof()
        else:
            self._wire.failed(error)
        self._loop.gone(self._wire)

    def _write(self) -> None:
        wire, transport = self._wire, self._transport
        assert transport is not None
        self._write_is_due = False
        while not (self._unwritten or transport.is_closing()) and (data := wire.to_write()):
            transport.write(data)
            if transport.get_write_buffer_size():
                self._unwritten = len(data)
            else:
                wire.written(len(data))
