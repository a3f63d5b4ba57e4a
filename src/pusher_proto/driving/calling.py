"""Calls of functions of the application on an event loop, where they may be coroutine functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from .._base.logs import name_of
from .application import outcome_of
from .tls import must_return

__all__ = ["EventLoop", "call_on_loop"]


class EventLoop(Protocol):
    """The part of an event loop that `call_on_loop` needs. `LoopIO` has it."""

    cancelled: type[BaseException]
    """The exception in a task that was cancelled."""

    def start(
        self, name: str, work: Callable[..., Coroutine[Any, Any, None]], *args: Any
    ) -> Callable[[], object]:
        """Run `await work(*args)` in a task with this name. Return a function that cancels it."""

    def start_thread(self, name: str, work: Callable[[], None], *, daemon: bool) -> None:
        """Run `work()` in a thread with this name, for which the process waits at its end if it is not a daemon."""

    def soon(self, act: Callable[..., object], *args: object) -> object:
        """Call `act(*args)` in a later turn of the event loop. Called from any thread."""

    def later(self, act: Callable[..., object], *args: object) -> None:
        """Call `act(*args)` a moment later, unless the event loop is about to end."""


def call_on_loop(
    loop: EventLoop,
    function: Callable[[Any], object],
    argument: object,
    done: Callable[[object], None],
) -> Callable[[], None]:
    """Call a function of the application: for `IO.call` on an event loop.

    A coroutine function is awaited in a task. A plain function is called in a thread; what it returns is awaited in a
    task if it can be. Then `done` gets the result or the exception, once. Return a function that cancels the task; a
    thread runs on.
    """
    name = f"pusher {name_of(function)}"
    cancels: list[Callable[[], object]] = []
    is_cancelled = False

    async def wait_for(begin: Callable[[], Any]) -> None:
        result: object
        try:
            result = await begin()
        except loop.cancelled:
            result = TimeoutError("the call was cancelled")
            if not is_cancelled:  # but the task, or something within the function
                loop.later(done, result)
                return
        except BaseException as error:
            result = error
        done(result)

    def returned(result: object) -> None:
        if inspect.isawaitable(result):
            cancels.append(loop.start(name, wait_for, lambda: result))
            if is_cancelled:
                cancel()
        else:
            done(result)

    def in_thread() -> None:
        loop.soon(returned, outcome_of(function, argument))

    def cancel() -> None:
        nonlocal is_cancelled
        is_cancelled = True
        for each in cancels:
            loop.soon(each)  # a task that has not begun would not call `done`

    if inspect.iscoroutinefunction(function):
        cancels.append(loop.start(name, wait_for, partial(function, argument)))
    else:
        loop.start_thread(name, in_thread, daemon=not must_return(function))
    return cancel
