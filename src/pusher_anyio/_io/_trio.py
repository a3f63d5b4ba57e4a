"""trio: one task for each wire, and one that sleeps until the next deadline. No task owns these system tasks."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, NoReturn

import trio
from anyio.abc import SocketStream
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_task,
    current_trio_token,
    spawn_system_task,
)

from pusher_proto.driving import Wire

from ._dial import connected
from ._loop import TURNS, Body, Connect, Loop, Mover, Spawned, Work
from ._streams import Stream

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
        spawn_system_task(self._wake_soon, name="pusher interrupt a block")

    async def _wake_soon(self) -> None:
        task = self.task
        while not self._left and inspect.getcoroutinestate(task.coro) != inspect.CORO_CLOSED:
            if task._abort_func is not None:  # noqa: SLF001 - trio has no public way to wake a task with an exception
                task._attempt_abort(_interrupt)  # noqa: SLF001 - as above
                return
            await cancel_shielded_checkpoint()

    async def leave(self, error: BaseException | None) -> bool:
        """Return whether `error` is the interruption."""
        self._left = True
        if isinstance(error, BaseExceptionGroup):
            return error.split(_Interrupted)[1] is None
        return isinstance(error, _Interrupted)


def _interrupt() -> NoReturn:
    raise _Interrupted


async def _dial(loop: Loop, wire: Wire, *_: object) -> SocketStream:
    return await SocketStream.from_socket(await connected(wire, loop.call))


class TrioLoop(Loop):
    """A trio event loop."""

    body_class = _Body

    def __init__(self) -> None:
        super().__init__()
        self.time = trio.current_time
        self._token = current_trio_token()
        self._rings_at = inf
        self._sleep: trio.CancelScope | None = None

    def _spawn(self, name: str, context: contextvars.Context, work: Work, *args: object) -> Spawned:
        scope = trio.CancelScope()
        task = spawn_system_task(self._live, scope, work, *args, name=name, context=context)
        return task, scope.cancel

    async def _live(self, scope: trio.CancelScope, work: Work, *args: object) -> None:
        try:
            with scope:
                await work(*args)
        finally:
            self._ended(current_task())

    def soon(self, act: Callable[..., object], *args: object) -> bool:
        """Call `act` in a later turn."""
        with suppress(trio.RunFinishedError, OSError):  # the run has ended, or crashed
            self._token.run_sync_soon(act, *args)
            return True
        return False

    def why_not_here(self) -> str:
        """Return why commands cannot be given from here."""
        try:
            here = current_trio_token() is self._token
        except RuntimeError:
            return "it was opened in another thread"
        return "" if here else "it was opened on another event loop"

    async def check_cancelled(self) -> None:
        """Raise again if this task is cancelled itself."""
        await checkpoint_if_cancelled()

    def current_task(self) -> Any:
        """Return this task."""
        return current_task()

    def _mover(self, wire: Wire, connect: Connect | None) -> Mover:
        return Stream(self, wire, connect or partial(_dial, self, wire))

    def ring_at(self, at: float) -> None:
        """Ring at `at`."""
        self._rings_at = at
        if self._sleep is not None:
            self._sleep.deadline = at
        elif at != inf:
            self._sleep = trio.CancelScope(deadline=at)
            self.start("pusher deadlines", self._ring)

    async def _ring(self) -> None:
        # One task for all deadlines: to start one for each takes a half more of the CPU time of an idle client.
        while self._sleep is not None:
            with self._sleep:
                await trio.sleep_forever()
            for _ in range(TURNS):
                await cancel_shielded_checkpoint()
            if trio.current_time() >= self._rings_at:
                self._rings_at = inf
                self.driver.ring()
            self._sleep = trio.CancelScope(deadline=self._rings_at)
