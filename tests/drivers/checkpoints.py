"""Cancels at a chosen checkpoint, on asyncio and trio alike, and sees what is left behind.

An awaitable is run by hand: each time it suspends its task is one checkpoint. The cancellation comes at the chosen one,
before the event loop gets the suspension.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc

from .runners import leaves_nothing

__all__ = ["Checkpoints", "CountedStream", "leaves_no_trace", "run", "tasks"]

T = TypeVar("T")

ENOUGH = 500
"""Checkpoints that nothing here has."""
PATIENCE = 40.0
"""Seconds that a test may take on a machine that is busy."""


class Checkpoints:
    """Counts what passes through `counted`, and calls `cancel` at the `at`-th checkpoint of all that."""

    def __init__(self, at: int) -> None:
        self.scope = anyio.CancelScope()
        self.cancel: Callable[[], object] = self.scope.cancel
        self.passed = 0
        self._at = at

    @property
    def reached(self) -> bool:
        """Whether the chosen checkpoint was there to be reached, and so the cancellation has come."""
        return self.passed >= self._at

    def counted(self, awaitable: Awaitable[T]) -> Awaitable[T]:
        """Return the same awaitable with its checkpoints counted."""
        return _Counted(awaitable, self)

    def step(self) -> None:
        """Count one checkpoint."""
        self.passed += 1
        if self.passed == self._at:
            self.cancel()

    @classmethod
    def each(cls) -> Iterator[Checkpoints]:
        """Yield one for the first checkpoint, the second, and so on, until one was not reached."""
        for at in count(1):
            assert at < ENOUGH
            chosen = cls(at)
            yield chosen
            if not chosen.reached:
                return


class _Counted(Generic[T]):
    def __init__(self, awaitable: Awaitable[T], checkpoints: Checkpoints) -> None:
        self._awaitable = awaitable
        self._checkpoints = checkpoints

    def __await__(self) -> Generator[Any, Any, T]:
        steps: Any = self._awaitable.__await__()
        resume: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            try:
                trap = resume(value)
            except StopIteration as stop:
                result: T = stop.value
                return result
            self._checkpoints.step()
            try:
                value, resume = (yield trap), steps.send
            except BaseException as error:
                value, resume = error, steps.throw


class CountedStream(anyio.abc.ByteStream):
    """A byte stream whose every wait is counted."""

    def __init__(self, inner: anyio.abc.ByteStream, checkpoints: Checkpoints) -> None:
        self._inner = inner
        self._counted = checkpoints.counted

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._counted(self._inner.receive(max_bytes))

    async def send(self, item: bytes) -> None:
        await self._counted(self._inner.send(item))

    async def send_eof(self) -> None:
        await self._counted(self._inner.send_eof())

    async def aclose(self) -> None:
        await self._counted(self._inner.aclose())


def tasks() -> set[int]:
    """Return the tasks that live on this event loop."""
    return {each.id for each in anyio.get_running_tasks()}


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@contextmanager
def leaves_no_trace() -> Iterator[None]:
    """Fail when asyncio has something to complain of, or a socket or a file is left behind."""
    complaints = _Complaints()
    logger = logging.getLogger("asyncio")
    logger.addHandler(complaints)
    try:
        with leaves_nothing():
            yield
        gc.collect()
    finally:
        logger.removeHandler(complaints)
    assert complaints.heard == []


def run(main: Callable[[], Awaitable[None]], backend: str) -> None:
    """Run `main` on its own event loop, and check that it leaves nothing."""

    async def bounded() -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    with leaves_no_trace():
        anyio.run(bounded, backend=backend)
