"""What both event loops have in common: calls of the application, streams that it opens, and the end."""

from __future__ import annotations

import contextvars
import inspect
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Protocol

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import cancel_shielded_checkpoint

from pusher_proto.driving import IO, Driver, MessageWire, Wire, outcome_of

from ._messages import ConnectMessages, opens_messages

__all__ = ["TURNS", "Body", "Connect", "Loop", "Mover", "Spawned", "Work"]

Connect = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a byte stream to a host and port."""

Work = Callable[..., Awaitable[None]]
Spawned = tuple[Any, Callable[[], object]]
"""A task, and what cancels it."""

# After a suspension of the machine, received data counts before timers. The event loop may not have polled its
# sockets yet: it does so within one turn, and a task that reads runs in the next turn.
TURNS = 2

_ENDED = "the event loop of the client has ended"
_LOOK_AGAIN = 1.0  # seconds in which a thread that waits for the loop notices that it is over


class Mover(Protocol):
    """Dials and moves the bytes of one wire. At the end it calls `Loop.gone`."""

    async def run(self) -> None:
        """Dial."""

    def attend(self) -> None:
        """Read, write, or end, as the wire says."""


class Body:
    """The task that runs the body of a client's block, which it has just entered."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._task = loop.current_task()
        self._left = self._interrupted = False

    @property
    def is_here(self) -> bool:
        """Whether this is the task that runs now."""
        return self._loop.current_task() is self._task

    def interrupt(self) -> None:
        """Interrupt the body at its next wait, once."""
        if not (self._left or self._interrupted):
            self._interrupted = True
            self._wake()

    @abstractmethod
    def _wake(self) -> None:
        """Wake the task with an exception."""

    @abstractmethod
    async def leave(self, error: BaseException | None) -> bool:
        """Leave the block with `error`. Return whether that is only the interruption."""


class Loop(IO):
    """An event loop and what one client has on it: wires, tasks, calls of the application and a time to ring at."""

    driver: Driver
    body_class: type[Body]
    broke: Callable[[BaseException], None]
    """Gets the exceptions that come out of tasks."""
    time: Callable[[], float]
    connect: Connect | None = None
    """How the application opens byte streams, if it does."""
    connect_messages: ConnectMessages | None = None

    def __init__(self) -> None:
        # Asking anyio for each event takes ten times as long.
        self.new_event: Callable[[], anyio.Event] = type(anyio.Event())
        self.wires: dict[Wire, Callable[[], object]] = {}
        """The wires that still have a dial, a socket or a task, with the scope that cancels the task."""
        self.tasks: dict[Any, Callable[[], object]] = {}
        """All other tasks, and what cancels each."""
        self.ended: bool = False
        """Whether the tasks were cancelled: no other is to be started."""
        self.anchor: object = None
        """What is kept alive as long as the event loop keeps this."""
        self.context: contextvars.Context = contextvars.copy_context()
        """Copied for every task and call."""
        self._fewer: anyio.Event | None = None
        self._leaving: list[Any] = []
        """Tasks that wait for the end of all others: a handler may close the client."""

    # What an event loop adds

    @abstractmethod
    def _spawn(self, name: str, context: contextvars.Context, work: Work, *args: object) -> Spawned:
        """Run `work` in a new task, and call `_ended` with the task at its end."""

    @abstractmethod
    def soon(self, act: Callable[..., object], *args: object) -> bool:
        """Call `act` in a later turn of the loop. From any thread, in a signal handler, in the collector.

        Returns False, and does nothing, when the event loop has ended.
        """

    @abstractmethod
    def why_not_here(self) -> str:
        """Return why commands cannot be given from here: another thread, another event loop; or an empty text."""

    @abstractmethod
    async def check_cancelled(self) -> None:
        """Raise again if the task that runs now is cancelled itself, and not only something within it."""

    @abstractmethod
    def current_task(self) -> Any:
        """Return the task that runs now."""

    # Tasks

    def start(
        self, name: str, work: Work, *args: object, context: contextvars.Context | None = None
    ) -> Callable[[], object]:
        """Run `work` in a task with this name; return what cancels it."""
        task, cancel = self._spawn(name, context or self.context.copy(), self._run, work, *args)
        self.tasks[task] = cancel
        return cancel

    def cancel_tasks(self) -> None:
        """Cancel all tasks but the one that runs now, and those of wires, which end with them."""
        self.ended = True
        current = self.current_task()
        for task, cancel in tuple(self.tasks.items()):
            if task is not current:
                cancel()

    # Byte streams

    @abstractmethod
    def _mover(self, wire: Wire, connect: Connect | None) -> Mover:
        """Return what dials, by `connect` if it is given, and moves the bytes of `wire`."""

    def open(self, wire: Wire) -> None:
        """Dial and move the bytes of `wire`."""
        connect = self.connect
        if self.connect_messages is not None and isinstance(wire, MessageWire):
            connect = opens_messages(self.connect_messages, wire)
        wire.moved_by = mover = self._mover(wire, connect)
        self.wires[wire] = int
        name = f"pusher dial {wire.host}:{wire.port}"
        _, cancel = self._spawn(name, self.context.copy(), self._run, mover.run)
        if wire in self.wires:  # it may have ended already, where tasks begin within the call
            self.wires[wire] = cancel

    def attend(self, wire: Wire) -> None:
        """Look again at what a wire wants."""
        if wire.moved_by is not None:
            wire.moved_by.attend()

    def gone(self, wire: Wire) -> None:
        """Nothing is left of a wire."""
        self.wires.pop(wire, None)
        self._notify()

    # Functions of the application

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], None]:
        """Call `function(argument)`: in a task if it is async, else in a thread."""
        name = f"pusher {getattr(function, '__qualname__', type(function).__qualname__)}"
        call = Call(self, name, done)
        if inspect.iscoroutinefunction(function):
            call.begin(partial(function, argument))
        else:
            args = self.context.copy().run, function, argument
            threading.Thread(target=call.run, args=args, name=name, daemon=True).start()
        return call.cancel

    def call_from_thread(self, function: Callable[..., object], *args: object) -> Any:
        """Call `function(*args)` on the loop, from another thread, and wait for its result."""
        answer: Future[Any] = Future()

        async def act() -> None:
            try:
                result = function(*args)
                answer.set_result(await result if inspect.isawaitable(result) else result)
            except anyio.get_cancelled_exc_class():
                answer.set_exception(RuntimeError(_ENDED))
                raise
            except BaseException as error:
                answer.set_exception(error)

        # Not `start`: a task that is cancelled before it has begun would not answer. This list keeps it alive.
        tasks: list[Spawned] = []
        name, context = "pusher call_from_thread", self.context.copy()
        alive = self.soon(lambda: tasks.append(self._spawn(name, context, act)))
        while alive and not wait((answer,), _LOOK_AGAIN).done:
            alive = self.soon(int)
        if not answer.done():
            raise RuntimeError(_ENDED)
        return answer.result()

    # The end

    async def all_gone(self, *, tasks: bool) -> None:
        """Wait until no wire is left and, with `tasks`, no task except the callers of this function."""
        current = self.current_task()
        if tasks:
            self._leaving.append(current)
            self._notify()
        try:
            with anyio.CancelScope(shield=True):
                while self.wires or (tasks and self.tasks.keys() - self._leaving):
                    self._fewer = self._fewer or self.new_event()
                    await self._fewer.wait()
                await cancel_shielded_checkpoint()
        finally:
            if tasks:
                self._leaving.remove(current)

    async def _run(self, work: Work, *args: object) -> None:
        try:
            await work(*args)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            # Not by way of the task: nothing waits for it, and asyncio would stop its loop for some exceptions.
            self.broke(error)

    def _ended(self, task: Any) -> None:
        self.tasks.pop(task, None)
        self._notify()

    def _notify(self) -> None:
        event, self._fewer = self._fewer, None
        if event is not None:
            event.set()


class Call:
    """One call of a function of the application. It ends once, also when it was cancelled."""

    def __init__(self, loop: Loop, name: str, done: Callable[[object], None]) -> None:
        self._loop = loop
        self._name = name
        self._done = done
        self._cancel_task: Callable[[], object] = int  # nothing yet

    def cancel(self) -> None:
        """Cancel a coroutine function. A plain function runs on."""
        self._loop.soon(self._cancel_task)  # a task that has not begun would not end the call

    def run(self, function: Callable[..., object], *args: object) -> None:
        """Call a plain function, in its own thread."""
        self._loop.soon(self._returned, outcome_of(function, *args))

    def begin(self, begin: Callable[[], Any]) -> None:
        """Await what `begin` returns."""
        self._cancel_task = self._loop.start(self._name, self._wait, begin)

    def _returned(self, result: object) -> None:
        if inspect.isawaitable(result):
            self.begin(lambda: result)
        else:
            self._done(result)

    async def _wait(self, begin: Callable[[], Any]) -> None:
        result: object = TimeoutError("the call was cancelled")
        try:
            result = await begin()
        except BaseException as error:
            # Continue if only something within the function was cancelled.
            await self._loop.check_cancelled()
            result = error
        finally:
            self._done(result)
