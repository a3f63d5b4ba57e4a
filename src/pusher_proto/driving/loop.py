"""The part of an `IO` that is the same on all event loops with tasks: wires, tasks, calls of functions, and the end."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from .calling import call_on_loop
from .driver import IO, Driver
from .wire import Wire

__all__ = ["Ended", "LoopIO", "Spawned", "Work"]

Work = Callable[[], Coroutine[Any, Any, None]]
"""Makes the coroutine of a task."""
Ended = Callable[[Any], object]
"""Called with a task at its end."""
Spawned = tuple[Any, Callable[[], object]]
"""A task, and a function that cancels it."""

TURNS = 2
"""Turns of the event loop from the time of a deadline until it counts.

After a suspension of the machine, received data counts before timers. The event loop may not have polled its sockets
yet: it does so within one turn, and a task that reads runs in the next turn.
"""

_ENDED = "the event loop of the client has ended"
_LOOK_AGAIN = 1.0
"""Seconds after which a thread that waits for the event loop checks whether it has ended."""


class LoopIO(IO):
    """An `IO` on an event loop with tasks. Derive from it, set the attributes, and write the abstract methods.

    All methods belong on the event loop, except `soon` and `call_from_thread`. A task never ends with an exception: it
    is passed to `broke`.
    """

    driver: Driver
    """The driver. Set it before the first wire is opened."""
    broke: Callable[[BaseException], None]
    """Called with each exception that a task raises. Give it to the driver as well."""
    time: Callable[[], float]
    """Returns monotonic seconds, as in `ring_at`."""
    call_soon: Callable[..., object]
    """Calls a function with arguments in a later turn of the event loop. Used on the event loop only."""
    call_soon_threadsafe: Callable[..., object]
    """Does the same from any thread, in a signal handler, in the garbage collector. Raises RuntimeError or OSError when
    the event loop has ended."""
    cancelled: type[BaseException]
    """The exception in a task that was cancelled."""
    new_event: Callable[[], Any]
    """Makes an event with `set()` and `await wait()`."""
    new_future: Callable[[], Any]
    """Makes the object in which a thread waits for a result: `concurrent.futures.Future`."""

    def __init__(self) -> None:
        self.wires: dict[Wire, Spawned] = {}
        """The wires that still have a task or a connection, with the task and a function that cancels it."""
        self.tasks: dict[Any, Callable[[], object]] = {}
        """All other tasks, with a function that cancels each."""
        self.ended: bool = False
        """Whether the tasks were cancelled: start no others."""
        self.context: Context = copy_context()
        """The context of which every task gets a copy."""
        self._fewer: Any = None
        """The event that is set when a wire or a task ends, while something waits for it."""

    # The parts of an event loop.

    @abstractmethod
    def spawn(self, name: str, context: Context, work: Work, ended: Ended) -> Spawned:
        """Run `await work()` in a new task with this name and context.

        Call `ended(task)` after the end of the task, also if it was cancelled before it began, but never within this
        call. Return the task and a function that cancels it.
        """

    @abstractmethod
    def current_task(self) -> Any:
        """Return the current task, as `spawn` returned it, or None in a callback."""

    @abstractmethod
    def start_thread(self, name: str, work: Callable[[], None], *, daemon: bool) -> None:
        """Run `work()` in a thread with this name, for which the process waits at its end if it is not a daemon."""

    @abstractmethod
    async def move(self, wire: Wire) -> None:
        """Dial `wire.host` and `wire.port`, and move the bytes of the wire. Raise why the connection failed.

        It is cancelled if the wire is over while it dials. What lives longer than this call is `wire.moved_by` at its
        end, has a method `attend`, and calls `gone` when the connection is closed: a `WireProtocol` does it.
        """

    @abstractmethod
    def ring_at(self, at: float) -> None:
        """Call `due(at)` at the time `at`; it replaces the time set before. Infinity means never."""

    def cause(self, error: Exception) -> BaseException:
        """Return the exception to report where `move`, or writing on a stream, raised `error`."""
        return error

    # Turns and tasks.

    def soon(self, act: Callable[..., object], *args: object) -> bool:
        """Call `act(*args)` in a later turn of the event loop, from any thread and in signal handlers.

        Return False, and do nothing, when the event loop has ended.
        """
        with suppress(RuntimeError, OSError):
            self.call_soon_threadsafe(act, *args)
            return True
        return False

    def later(self, act: Callable[..., object], *args: object) -> None:
        """Call `act(*args)` a moment later, unless the event loop is about to end.

        It is used when something else cancels a task of this object. Many event loops do so at their end; without a
        delay, errors would be logged and connections retried in the last turns.
        """
        self.soon(act, *args)

    def start(
        self,
        name: str,
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: Any,
        context: Context | None = None,
    ) -> Callable[[], object]:
        """Run `await work(*args)` in a task with this name. Return a function that cancels it."""
        run = partial(self._run, work, *args)
        task, cancel = self.spawn(name, context or self.context.copy(), run, self._ended)
        self.tasks[task] = cancel
        return cancel

    def due(self, at: float, turns: int = TURNS) -> None:
        """Fire the timers of the time `at`, given to `ring_at`, after the data that has arrived by now."""
        if turns:
            self.call_soon(self.due, at, turns - 1)
        elif self.driver.rings_at == at:  # else another time was set in between
            self.driver.ring()

    # Wires.

    def open(self, wire: Wire) -> None:
        """Dial, and move the bytes of `wire`, in a new task."""
        name = f"pusher dial {wire.host}:{wire.port}"
        work, ended = partial(self._move, wire), partial(self._moved, wire)
        self.wires[wire] = self.spawn(name, self.context.copy(), work, ended)

    def attend(self, wire: Wire) -> None:
        """Read, write or end as the wire requires."""
        if wire.moved_by is not None:
            wire.moved_by.attend()
        elif wire.over:
            self.give_up(wire)

    def give_up(self, wire: Wire) -> None:
        """Cancel the task of a wire, once: what it does after that is to close the connection."""
        if wire in self.wires:
            task, cancel = self.wires[wire]
            self.wires[wire] = task, _nothing
            cancel()

    def cut_off(self, wire: Wire) -> None:
        """Handle the end of the task of a wire that is not over: something else cancelled the task."""
        if not wire.over:
            self.later(wire.failed, "given up")

    def gone(self, wire: Wire) -> None:
        """Forget a wire: its connection is closed."""
        wire.moved_by = None
        self.wires.pop(wire, None)
        self._notify()

    # Functions of the application.

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], object]:
        """Call `function(argument)`: in a task if it is async, else in a thread."""
        return call_on_loop(self, function, argument, done)

    async def call_and_wait(self, function: Callable[[Any], object], argument: object) -> Any:
        """Call `function(argument)` as `call` does, and wait. Return its result, or raise its exception."""
        results: list[Any] = []
        ended = self.new_event()

        def done(result: object) -> None:
            results.append(result)
            ended.set()

        cancel = self.call(function, argument, done)
        try:
            await ended.wait()
        except self.cancelled:
            cancel()
            raise
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    def call_from_thread(self, function: Callable[..., object], *args: object) -> Any:
        """Call `function(*args)` on the event loop, from another thread, and wait for its result.

        An awaitable is awaited there. Raises what the function raised, and RuntimeError if the event loop has ended.
        The end of this object does not cancel the call.
        """
        answer = self.new_future()

        async def act() -> None:
            try:
                result = function(*args)
                answer.set_result(await result if inspect.isawaitable(result) else result)
            except self.cancelled:
                answer.set_exception(RuntimeError(_ENDED))
                raise
            except BaseException as error:
                answer.set_exception(error)

        # Not `start`, which would cancel it. This list keeps the task alive.
        tasks: list[Spawned] = []
        spawn = partial(self.spawn, "pusher call_from_thread", self.context.copy(), act, bool)
        alive = self.soon(lambda: tasks.append(spawn()))
        while alive and not answer.done():
            with suppress(TimeoutError):
                answer.exception(_LOOK_AGAIN)
            alive = self.soon(int)
        if not answer.done():
            raise RuntimeError(_ENDED)
        return answer.result()

    # The end.

    async def wires_gone(self) -> None:
        """Wait until no wire is left."""
        await self.wait_until(lambda: not self.wires)

    async def end(self) -> None:
        """Cancel all tasks but the current one, and wait until no other and no wire is left."""
        # Several tasks may do this at once: none of them is waited for.
        self._ended(self.current_task())
        self.cancel_tasks()
        await self.wait_until(lambda: not (self.wires or self.tasks))

    def cancel_tasks(self) -> None:
        """Cancel all tasks except those of wires. Each is cancelled once: it may wait while it cleans up."""
        self.ended = True
        for task, cancel in tuple(self.tasks.items()):
            self.tasks[task] = _nothing
            cancel()

    async def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached()` is true; it is checked when a wire or a task ends."""
        while not reached():
            if self._fewer is None:
                self._fewer = self.new_event()
            await self._fewer.wait()

    # Steps.

    async def _run(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        try:
            await work(*args)
        except self.cancelled:
            raise
        except BaseException as error:
            self._report(error)

    async def _move(self, wire: Wire) -> None:
        try:
            if not wire.over:
                await self.move(wire)
        except self.cancelled:
            raise
        except Exception as error:
            wire.failed(self.cause(error))
        except BaseException as error:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        """Report what a task raised. Nothing awaits the task, and asyncio stops its loop for some exceptions."""
        if isinstance(error, GeneratorExit) and not self.soon(bool):
            raise error  # the event loop has ended, and Python closes the coroutine
        self.broke(error)

    def _moved(self, wire: Wire, _: object) -> None:
        """Handle the end of the task of a wire."""
        if wire.moved_by is None:
            self.cut_off(wire)
            self.gone(wire)
        else:
            self.wires[wire] = _NO_TASK  # the connection lives longer than its dial

    def _ended(self, task: Any) -> None:
        self.tasks.pop(task, None)
        self._notify()

    def _notify(self) -> None:
        event, self._fewer = self._fewer, None
        if event is not None:
            event.set()


def _nothing() -> None:
    """Do nothing: the task has ended, or is cancelled already."""


_NO_TASK: Spawned = None, _nothing
