"""Functions of the application on an event loop that is driven by hand: `done` is called once, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.test_wire_stream import Until
from pusher_proto.driving import EventLoop, call_on_loop


class Cancelled(BaseException):
    """What a task is cancelled with."""


class Task:
    def __init__(self, name: str, coroutine: Any) -> None:
        self.name = name
        self.coroutine = coroutine
        self.begun = self.over = self.cancelled = False

    def step(self, error: BaseException | None = None) -> None:
        if self.over:
            return
        self.begun = True
        try:
            if error is None:
                self.coroutine.send(None)
            else:
                self.coroutine.throw(error)
        except (StopIteration, Cancelled):
            self.over = True

    def cancel(self) -> None:
        """Cancel as asyncio does: a task that has not begun never runs."""
        self.cancelled = True
        if self.begun:
            self.step(Cancelled())
        else:
            self.coroutine.close()
            self.over = True


class Loop(EventLoop):
    """Tasks, threads and turns, each of which continues when the test says so."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.threads: list[tuple[str, Callable[[], None]]] = []
        self.turn: list[Callable[[], object]] = []

    def start(
        self, name: str, work: Callable[..., Awaitable[None]], *args: Any
    ) -> Callable[[], object]:
        task = Task(name, work(*args))
        self.tasks.append(task)
        self.turn.append(task.step)
        return task.cancel

    def start_thread(self, name: str, work: Callable[[], None], *, daemon: bool) -> None:
        self.threads.append((name, work))

    def soon(self, act: Callable[..., object], *args: object) -> None:
        self.turn.append(lambda: act(*args))

    async def check_cancelled(self) -> None:
        if any(task.cancelled for task in self.tasks):
            raise Cancelled

    def take_turn(self) -> None:
        turn, self.turn = self.turn, []
        for act in turn:
            act()

    def end_threads(self) -> None:
        threads, self.threads = self.threads, []
        for _, work in threads:
            work()


def plain(argument: object) -> object:
    return ("plain", argument)


def fails(_: object) -> object:
    raise KeyError("mine")


async def quick(argument: object) -> object:
    return ("quick", argument)


async def waits(argument: object) -> object:
    await Until(bool)
    return ("waits", argument)


async def is_cut_off(_: object) -> object:
    raise Cancelled


def begins(argument: object) -> object:
    return waits(argument)


FUNCTIONS = [plain, fails, quick, waits, is_cut_off, begins]


def finish(loop: Loop) -> None:
    """Let everything end that can."""
    for _ in range(4):
        loop.end_threads()
        loop.take_turn()
    for task in loop.tasks:
        task.step()


@pytest.mark.parametrize(
    ("function", "expected"),
    [(plain, ("plain", 7)), (quick, ("quick", 7)), (waits, ("waits", 7)), (begins, ("waits", 7))],
)
def test_the_result_is_handed_to_done(function: Callable[[Any], object], expected: object) -> None:
    loop, ended = Loop(), list[object]()
    call_on_loop(loop, function, 7, ended.append)
    finish(loop)
    assert ended == [expected]


@pytest.mark.parametrize(("function", "kind"), [(fails, KeyError), (is_cut_off, Cancelled)])
def test_an_exception_is_a_result_too(
    function: Callable[[Any], object], kind: type[BaseException]
) -> None:
    loop, ended = Loop(), list[object]()
    call_on_loop(loop, function, 7, ended.append)
    finish(loop)
    assert [type(each) for each in ended] == [kind]


def test_tasks_and_threads_have_the_name_of_the_function() -> None:
    class Authorizer:
        def __call__(self, _: object) -> object:
            return None

    loop = Loop()
    for function in (plain, quick, Authorizer()):
        call_on_loop(loop, function, 7, list[object]().append)
    assert loop.tasks[0].name == "pusher quick"
    assert [name.rpartition(".")[2] for name, _ in loop.threads] == ["pusher plain", "Authorizer"]
    finish(loop)


def test_a_call_that_was_cancelled_ends_with_a_timeout() -> None:
    loop, ended = Loop(), list[object]()
    call_on_loop(loop, waits, 7, ended.append)()
    finish(loop)
    assert [type(each) for each in ended] == [TimeoutError]


@given(
    function=st.sampled_from(FUNCTIONS),
    steps=st.lists(st.sampled_from(["turn", "thread", "cancel"]), max_size=8),
)
def test_done_is_called_once_whenever_the_call_is_cancelled(
    function: Callable[[Any], object], steps: list[str]
) -> None:
    loop, ended = Loop(), list[object]()
    cancel = call_on_loop(loop, function, 7, ended.append)
    for step in steps:
        if step == "turn":
            loop.take_turn()
        elif step == "thread":
            loop.end_threads()
        else:
            cancel()
        assert len(ended) <= 1
    finish(loop)
    assert len(ended) == 1
