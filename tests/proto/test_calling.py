"""Functions of the application on an event loop that is driven by hand: `done` is called once, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.loop_by_hand import Cancelled, Loop, Until
from pusher_proto.driving import call_on_loop
from pusher_proto.driving.tls import make_context


def plain(argument: object) -> object:
    return ("plain", argument)


def fails(_: object) -> object:
    raise KeyError("mine")


async def fails_there(_: object) -> object:
    raise KeyError("mine")


async def quick(argument: object) -> object:
    return ("quick", argument)


async def waits(argument: object) -> object:
    await Until(bool)
    return ("waits", argument)


async def is_cut_off(_: object) -> object:
    raise Cancelled


async def goes_on(argument: object) -> object:
    """Survive a cancellation."""
    try:
        await Until(bool)
    except Cancelled:
        return ("went on", argument)
    raise AssertionError("nothing else wakes it")


def begins(argument: object) -> object:
    return waits(argument)


FUNCTIONS = [plain, fails, fails_there, quick, waits, is_cut_off, begins]


def finish(loop: Loop) -> None:
    """Let everything end that can, and wake the other tasks."""
    for _ in range(4):
        loop.end_threads()
        loop.take_turn()
    for task in loop.started:
        task.ready = lambda: True
    loop.go_on()
    assert not loop.tasks
    assert not loop.errors


@pytest.mark.parametrize(
    ("function", "expected"),
    [(plain, ("plain", 7)), (quick, ("quick", 7)), (waits, ("waits", 7)), (begins, ("waits", 7))],
)
def test_the_result_is_handed_to_done(function: Callable[[Any], object], expected: object) -> None:
    loop, ended = Loop(), list[object]()
    call_on_loop(loop, function, 7, ended.append)
    finish(loop)
    assert ended == [expected]


@pytest.mark.parametrize(
    ("function", "kind"), [(fails, KeyError), (fails_there, KeyError), (is_cut_off, TimeoutError)]
)
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
    assert loop.started[0].name == "pusher quick"
    names = [name.rpartition(".")[2] for name, _, _ in loop.threads]
    assert names == ["pusher plain", "Authorizer"]
    finish(loop)


def test_the_process_waits_for_the_thread_that_creates_an_ssl_context() -> None:
    loop = Loop()
    call_on_loop(loop, plain, 7, list[object]().append)
    call_on_loop(loop, make_context, None, list[object]().append)
    assert [daemon for _, _, daemon in loop.threads] == [True, False]


@pytest.mark.parametrize("function", [waits, begins])
@pytest.mark.parametrize("early", [False, True])
def test_a_call_that_was_cancelled_ends_with_a_timeout(
    function: Callable[[Any], object], early: bool
) -> None:
    """A plain function may return the awaitable after the call was cancelled."""
    loop, ended = Loop(), list[object]()
    cancel = call_on_loop(loop, function, 7, ended.append)
    if not early:
        loop.end_threads()
        loop.go_on()
    cancel()
    loop.end_threads()
    loop.go_on()
    assert [type(each) for each in ended] == [TimeoutError]


def test_a_call_that_something_else_cancels_ends_later() -> None:
    loop, ended = Loop(), list[object]()
    waiting: list[tuple[object, ...]] = []
    loop.later = lambda *call: waiting.append(call)  # type: ignore[method-assign]  # as on asyncio
    call_on_loop(loop, waits, 7, ended.append)
    loop.go_on()
    loop.started[0].cancel()
    loop.go_on()
    assert (ended, loop.started) == ([], [])
    [(done, result)] = waiting
    assert done == ended.append
    assert isinstance(result, TimeoutError)


def test_a_function_may_return_a_result_although_it_was_cancelled() -> None:
    loop, ended = Loop(), list[object]()
    cancel = call_on_loop(loop, goes_on, 7, ended.append)
    loop.go_on()
    cancel()
    loop.go_on()
    assert ended == [("went on", 7)]


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
