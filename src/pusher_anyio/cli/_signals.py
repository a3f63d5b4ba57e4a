"""Ends a command on Ctrl+C and SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from ._arguments import Exit

__all__ = ["interrupted_by_sigterm", "until_signal"]


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt for the length of the block, as Ctrl+C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def until_signal(work: Callable[[], Awaitable[int]]) -> int:
    """Return what `work` returns, or `Exit.DONE` when a signal ended it. Exceptions are raised unchanged.

    Call it within the blocks of clients and servers, so that after a signal these are left normally.
    """
    status: int = Exit.DONE
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        await group.start(_cancel_on_signal, group.cancel_scope)
        try:
            status = await work()
        except Exception as error:
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return status


async def _cancel_on_signal(
    scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]
) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()
    except NotImplementedError:
        # asyncio on Windows has no signal handlers; there KeyboardInterrupt ends the program.
        task_status.started()
