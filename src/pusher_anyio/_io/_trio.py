"""trio: one task for each wire, and one that sleeps until the next deadline. No task owns these system tasks."""

from __future__ import annotations

import inspect
from contextvars import Context
from math import inf
from typing import NoReturn

import trio
from anyio.abc import SocketStream
from trio import lowlevel

from pusher_proto.driving import Wire
from pusher_proto.driving.loop import Ended, Spawned, Work

from ._dial import connected
from ._loop import Body, Loop

__all__ = ["TrioLoop"]


class _Interrupted(BaseException):
    """Interrupts the body of a block. No scope of the body catches it, nor `except Exception`."""


class _Body(Body):
    """Interrupts the body by waking its task with an exception, as trio does for KeyboardInterrupt.

    A cancel scope around the body would have to be left by the task that entered it, in order with other scopes.
    """

    _left = False

    def interrupt(self) -> None:
        """Interrupt the body at its next wait."""
        lowlevel.spawn_system_task(self._wake_soon, name="pusher interrupt a block")

    async def _wake_soon(self) -> None:
        task = self.task
        while not self._left and inspect.getcoroutinestate(task.coro) != inspect.CORO_CLOSED:
            if task._abort_func is not None:  # noqa: SLF001 - trio has no public way to wake a task with an exception
                task._attempt_abort(_interrupt)  # noqa: SLF001 - as above
                return
            await lowlevel.cancel_shielded_checkpoint()

    async def leave(self, error: BaseException | None) -> bool:
        """Return whether `error` is the interruption."""
        self._left = True
        if isinstance(error, BaseExceptionGroup):
            return error.split(_Interrupted)[1] is None
        return isinstance(error, _Interrupted)


def _interrupt() -> NoReturn:
    raise _Interrupted


async def _live(scope: trio.CancelScope, work: Work, ended: Ended) -> None:
    try:
        with scope:
            await work()
    finally:
        ended(lowlevel.current_task())


class TrioLoop(Loop):
    """A trio event loop."""

    body_class = _Body
    cancelled = trio.Cancelled
    new_event = trio.Event

    def __init__(self) -> None:
        super().__init__()
        self.native = lowlevel.current_trio_token()
        self.time = trio.current_time
        self.call_soon = self.call_soon_threadsafe = self.native.run_sync_soon
        self._sleep: trio.CancelScope | None = None

    def spawn(self, name: str, context: Context, work: Work, ended: Ended) -> Spawned:
        """Run `work` in a new task."""
        scope = trio.CancelScope()
        task = lowlevel.spawn_system_task(_live, scope, work, ended, name=name, context=context)
        return task, scope.cancel

    def current_task(self) -> lowlevel.Task:
        """Return the current task."""
        return lowlevel.current_task()

    def running(self) -> object:
        """Return the token of the run in this thread."""
        return lowlevel.current_trio_token() if lowlevel.in_trio_run() else None

    def is_cancelled(self) -> bool:
        """Return whether the current task is cancelled itself."""
        return trio.current_effective_deadline() == -inf

    def later(self, *_: object) -> None:
        """Do nothing: only the end of the run cancels its system tasks."""

    def ring_at(self, at: float) -> None:
        """Ring at `at`."""
        if self._sleep is None:
            self._sleep = trio.CancelScope()
            self.start("pusher deadlines", self._ring)
        self._sleep.deadline = at

    async def _ring(self) -> None:
        # One task for all deadlines: to start one for each takes a half more of the CPU time of an idle client.
        while self._sleep is not None:
            with self._sleep as sleep:
                await trio.sleep_forever()
            self._sleep = trio.CancelScope()
            self.due(sleep.deadline)

    async def dial(self, wire: Wire) -> SocketStream:
        """Dial, and return the stream."""
        sock = await connected(wire, self)
        try:
            return await SocketStream.from_socket(sock)
        except BaseException:  # the server has ended the connection already
            sock.close()
            raise
