"""An event loop without I/O, clock or threads, on which `LoopIO` is tested: each turn is taken by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from math import inf
from typing import Any

from pusher_proto.driving import LoopIO, Wire
from pusher_proto.driving.loop import Ended, Spawned, Work

__all__ = ["Cancelled", "Event", "Loop", "Task", "Until"]


class Cancelled(BaseException):
    """Raised in a task that is cancelled."""


class Until:
    """Waits until `ready` returns true."""

    def __init__(self, ready: Callable[[], object]) -> None:
        self.ready = ready

    def __await__(self) -> Generator[Callable[[], object], None, None]:
        yield self.ready


class Event:
    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    async def wait(self) -> None:
        await Until(lambda: self.is_set)


class Task:
    """A coroutine that continues as soon as it can. As on asyncio, it never runs if it is cancelled before that."""

    def __init__(self, loop: Loop, name: str, coroutine: Any, ended: Ended) -> None:
        self.loop = loop
        self.name = name
        self.coroutine = coroutine
        self.ended = ended
        self.ready: Callable[[], object] = lambda: True
        self.begun = self.over = self.cancelling = False
        self.cancels = 0

    def cancel(self) -> None:
        self.cancels += 1
        self.cancelling = not self.over

    def go_on(self) -> None:
        """Run until it waits again, if there is a reason."""
        if self.over or not (self.cancelling or self.ready()):
            return
        self.loop.current, cancelling, self.cancelling = self, self.cancelling, False
        try:
            if cancelling and not self.begun:
                self.coroutine.close()
                raise Cancelled
            self.begun = True
            throw, send = self.coroutine.throw, self.coroutine.send
            self.ready = throw(Cancelled()) if cancelling else send(None)
        except (StopIteration, Cancelled):
            self.over = True
            self.loop.turn.append(lambda: self.ended(self))
        finally:
            self.loop.current = None


class Answer:
    """A future in which a thread waits. That thread is the test, so the loop runs while it waits."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.outcome: tuple[object, BaseException | None] | None = None

    def set_result(self, result: object) -> None:
        self.outcome = result, None

    def set_exception(self, error: BaseException) -> None:
        self.outcome = None, error

    def done(self) -> bool:
        return self.outcome is not None

    def exception(self, timeout: float) -> object:
        assert timeout > 0
        self.loop.take_turn()
        if self.outcome is None:
            raise TimeoutError
        return self.outcome[1]

    def result(self) -> object:
        assert self.outcome is not None
        result, error = self.outcome
        if error is not None:
            raise error
        return result


class Loop(LoopIO):
    """An event loop of which each turn is taken by hand. `dial` is what it does for a wire."""

    def __init__(self, dial: Callable[[Wire], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self.dial = dial
        self.now = 100.0
        self.time = lambda: self.now
        self.cancelled = Cancelled
        self.new_event = Event
        self.new_future = lambda: Answer(self)
        self.current: Task | None = None
        self.turn: deque[Callable[[], object]] = deque()
        self.has_ended = False
        self.started: list[Task] = []
        self.threads: list[tuple[str, Callable[[], None], bool]] = []
        self.rings = inf
        self.errors: list[BaseException] = []
        self.broke = self.errors.append
        self.call_soon = self.call_soon_threadsafe = self.append

    def append(self, act: Callable[..., object], *args: object) -> None:
        if self.has_ended:
            raise RuntimeError("the loop is closed")
        self.turn.append(lambda: act(*args))

    def spawn(self, name: str, context: Context, work: Work, ended: Ended) -> Spawned:
        if self.has_ended:
            raise RuntimeError("the loop is closed")
        task = Task(self, name, work(), ended)
        self.started.append(task)
        self.turn.append(task.go_on)
        return task, task.cancel

    def current_task(self) -> Task | None:
        return self.current

    def start_thread(self, name: str, work: Callable[[], None], *, daemon: bool) -> None:
        self.threads.append((name, work, daemon))

    async def move(self, wire: Wire) -> None:
        assert self.dial is not None
        await self.dial(wire)

    def ring_at(self, at: float) -> None:
        self.rings = at

    def cause(self, error: Exception) -> BaseException:
        return error.__cause__ or super().cause(error)

    def take_turn(self) -> None:
        """Call everything that was posted before, and and let every task continue that can."""
        for _ in range(len(self.turn)):
            self.turn.popleft()()
        for task in tuple(self.started):
            task.go_on()
        self.started = [task for task in self.started if not task.over]

    def go_on(self, turns: int = 12) -> None:
        """Take some turns: enough for everything that can happen."""
        for _ in range(turns):
            self.take_turn()

    def end_threads(self) -> None:
        threads, self.threads = self.threads, []
        for _, work, _ in threads:
            work()
