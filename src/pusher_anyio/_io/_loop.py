"""The part of the I/O that both event loops share: wires, tasks, calls of the application, and the end."""

from __future__ import annotations

import contextvars
import inspect
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from typing import Any, Protocol

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import cancel_shielded_checkpoint

from pusher_proto.driving import IO, Driver, MessageWire, Wire, call_on_loop

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

    task: object
    """Keeps the task alive: asyncio itself holds weak references only."""

    async def run(self) -> None:
        """Dial."""

    def attend(self) -> None:
        """Read, write, or end, as the wire says."""


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


class Loop(IO):
    """The I/O of one client on an event loop: its wires, its tasks, its calls of the application and its timer."""

    driver: Driver
    body_class: type[Body]
    broke: Callable[[BaseException], None]
    """Called with each exception that a task raises."""
    time: Callable[[], float]
    connect: Connect | None = None
    """How the application opens byte streams, if it does."""
    connect_messages: ConnectMessages | None = None

    def __init__(self) -> None:
        # The class for this event loop: `anyio.Event()` looks it up each time, which takes ten times as long.
        self.new_event: Callable[[], anyio.Event] = type(anyio.Event())
        self.wires: dict[Wire, Mover] = {}
        """The wires that still have a dial, a socket or a task."""
        self.tasks: dict[Any, Callable[[], object]] = {}
        """All other tasks, and what cancels each."""
        self.ended: bool = False
        """Whether the tasks were cancelled: no other is to be started."""
        self.anchor: object = None
        """An object that lives as long as the event loop holds this one."""
        self.context: contextvars.Context = contextvars.copy_context()
        """Every task and call gets a copy."""
        self._fewer: anyio.Event | None = None

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
        """Return why commands cannot be given from here: another thread, another event loop; or "" if they can."""

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
        """Cancel all tasks."""
        self.ended = True
        for cancel in tuple(self.tasks.values()):
            cancel()

    # Byte streams

    @abstractmethod
    def _mover(self, wire: Wire, connect: Connect | None) -> Mover:
        """Return an object that dials, by `connect` if it is given, and moves the bytes of `wire`."""

    def open(self, wire: Wire) -> None:
        """Dial and move the bytes of `wire`."""
        connect = self.connect
        if self.connect_messages is not None and isinstance(wire, MessageWire):
            connect = opens_messages(self.connect_messages, wire)
        wire.moved_by = self.wires[wire] = mover = self._mover(wire, connect)
        name = f"pusher dial {wire.host}:{wire.port}"
        mover.task, _ = self._spawn(name, self.context.copy(), self._run, mover.run)

    def attend(self, wire: Wire) -> None:
        """Read, write, or end, as the wire says."""
        if wire.moved_by is not None:
            wire.moved_by.attend()

    def gone(self, wire: Wire) -> None:
        """Forget a wire: nothing of it is left."""
        self.wires.pop(wire, None)
        self._notify()

    # Functions of the application

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], object]:
        """Call `function(argument)`: in a task if it is async, else in a thread."""
        return call_on_loop(self, function, argument, done)

    def start_thread(self, name: str, work: Callable[[], None], *, daemon: bool) -> None:
        """Run `work` in a thread with this name."""
        run = self.context.copy().run
        threading.Thread(target=run, args=(work,), name=name, daemon=daemon).start()

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

        # Not `start`: the end of the client does not cancel the call. This list keeps the task alive.
        tasks: list[Spawned] = []
        name, context = "pusher call_from_thread", self.context.copy()
        alive = self.soon(lambda: tasks.append(self._spawn(name, context, act)))
        while alive and not wait((answer,), _LOOK_AGAIN).done:
            alive = self.soon(int)
        if not answer.done():
            raise RuntimeError(_ENDED)
        return answer.result()

    # The end

    async def wires_gone(self) -> None:
        """Wait until no wire is left."""
        await self._until(lambda: not self.wires)

    async def end(self) -> None:
        """Cancel all tasks, and wait until nothing is left."""
        # A handler that closes the client is neither cancelled nor waited for: another one may do the same.
        self._ended(self.current_task())
        self.cancel_tasks()
        await self._until(lambda: not (self.wires or self.tasks))

    async def _until(self, reached: Callable[[], bool]) -> None:
        with anyio.CancelScope(shield=True):
            while not reached():
                self._fewer = self._fewer or self.new_event()
                await self._fewer.wait()
            await cancel_shielded_checkpoint()

    async def _run(self, work: Work, *args: object) -> None:
        try:
            await work(*args)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            # Reported here, not raised: nothing awaits the task, and asyncio stops its loop for some exceptions.
            self.broke(error)

    def _ended(self, task: Any) -> None:
        self.tasks.pop(task, None)
        self._notify()

    def _notify(self) -> None:
        event, self._fewer = self._fewer, None
        if event is not None:
            event.set()
