"""`LoopIO` on an event loop that is driven by hand: wires, tasks, deadlines, calls from threads, and the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.loop_by_hand import Cancelled, Loop, Task, Until
from proto.test_wire import Reported, wire
from pusher_proto.driving import Driver, Wire


class Mine(Exception):
    """Raised by a function of the application, or by a bug."""


async def for_ever(*_: object) -> None:
    await Until(bool)


def one_wire(dial: Callable[[Wire], Awaitable[None]] = for_ever) -> tuple[Loop, Wire, Reported]:
    loop = Loop(dial)
    opened, reported = wire()
    loop.open(opened)
    return loop, opened, reported


def nothing_is_left(loop: Loop) -> bool:
    return not (loop.wires or loop.tasks or loop.started)


# Wires.


def test_a_wire_is_dialed_in_a_task_that_says_so() -> None:
    loop, opened, _ = one_wire()
    assert [task.name for task in loop.started] == [f"pusher dial {opened.host}:443"]
    assert list(loop.wires) == [opened]
    assert not loop.tasks
    loop.attend(opened)
    loop.go_on()
    assert len(loop.started) == 1


def test_a_dial_that_fails_is_reported_by_its_cause() -> None:
    async def fails(_: Wire) -> None:
        raise Mine from refused

    refused = OSError("refused")
    loop, _, reported = one_wire(fails)
    loop.go_on()
    assert reported.said == [("failed", refused)]
    assert nothing_is_left(loop)
    assert not loop.errors


def test_a_bug_in_a_dial_that_is_not_an_exception_is_reported_to_broke() -> None:
    class Bug(BaseException):
        pass

    async def fails(_: Wire) -> None:
        raise Bug

    loop, _, reported = one_wire(fails)
    loop.go_on()
    assert [type(each) for each in loop.errors] == [Bug]
    assert reported.said == [("failed", "given up")]
    assert nothing_is_left(loop)


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_generator_exit_is_a_bug_unless_the_event_loop_has_ended(has_ended: bool) -> None:
    """Then it is how Python closes the coroutine of a task that never ended."""
    loop = Loop()
    loop.start("task", for_ever)
    loop.go_on()
    loop.has_ended = has_ended
    loop.started[0].coroutine.close()
    assert [type(each) for each in loop.errors] == [GeneratorExit] * (not has_ended)


def test_a_dial_that_ends_without_a_connection_has_failed() -> None:
    async def nothing(_: Wire) -> None: ...

    loop, _, reported = one_wire(nothing)
    loop.go_on()
    assert reported.said == [("failed", "given up")]
    assert nothing_is_left(loop)


@pytest.mark.parametrize("turns", [0, 2])
def test_a_wire_that_is_over_cancels_its_dial(turns: int) -> None:
    """Also before the task has begun, where it never runs."""
    loop, opened, reported = one_wire()
    loop.go_on(turns)
    opened.close(abort=True)
    loop.attend(opened)
    loop.go_on()
    assert reported.said == [("failed", "given up")]
    assert nothing_is_left(loop)


def test_a_dial_that_something_else_cancels_has_failed_later() -> None:
    """An event loop may cancel all tasks as it ends: then nothing calls the function."""
    loop, _, reported = one_wire()
    waiting: list[Callable[[], object]] = []
    loop.later = lambda act, *args: waiting.append(partial(act, *args))  # type: ignore[method-assign]  # as on asyncio
    loop.go_on()
    loop.started[0].cancel()
    loop.go_on()
    assert reported.said == []
    assert nothing_is_left(loop)
    [call] = waiting
    call()
    assert reported.said == [("failed", "given up")]


def test_a_wire_that_is_over_when_its_task_begins_is_not_dialed() -> None:
    dialed: list[Wire] = []

    async def dial(wire: Wire) -> None:
        dialed.append(wire)

    loop, opened, _ = one_wire(dial)
    opened.close(abort=True)
    loop.go_on()
    assert dialed == []
    assert nothing_is_left(loop)


def test_a_dial_is_cancelled_once_and_may_take_its_time_to_clean_up() -> None:
    cleaned: list[bool] = []

    async def dial(_: Wire) -> None:
        try:
            await for_ever()
        finally:
            await Until(lambda: True)
            cleaned.append(True)

    loop, opened, _ = one_wire(dial)
    loop.go_on()
    [task] = loop.started
    opened.close(abort=True)
    loop.attend(opened)
    loop.take_turn()
    loop.attend(opened)
    loop.go_on()
    assert cleaned == [True]
    assert task.cancels == 1
    assert nothing_is_left(loop)
    loop.attend(opened)  # it is gone


class Mover:
    def __init__(self) -> None:
        self.attended = 0

    def attend(self) -> None:
        self.attended += 1


def test_a_connection_may_live_longer_than_its_dial() -> None:
    mover = Mover()

    async def dial(wire: Wire) -> None:
        wire.moved_by = mover
        wire.opened()

    loop, opened, reported = one_wire(dial)
    loop.go_on()
    assert reported.said == [("opened",)]
    assert loop.wires[opened][0] is None, "the task is not kept"
    opened.close(abort=True)
    loop.attend(opened)
    assert mover.attended == 1
    assert list(loop.wires) == [opened]
    loop.gone(opened)
    assert nothing_is_left(loop)


def test_a_connection_may_be_gone_before_its_dial_ends() -> None:
    async def dial(wire: Wire) -> None:
        wire.moved_by = Mover()
        wire.opened()
        wire.eof()
        loop.gone(wire)

    loop = Loop(dial)
    opened, reported = wire()
    loop.open(opened)
    loop.go_on()
    assert reported.said == [("opened",), ("closed", "")]
    assert nothing_is_left(loop)


def test_a_wire_that_cannot_be_opened_is_not_kept() -> None:
    loop = Loop(for_ever)
    loop.has_ended = True
    with pytest.raises(RuntimeError):
        loop.open(wire()[0])
    assert not loop.wires


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["turn", "dialed", "refused", "abort", "lost"]), st.booleans()),
        max_size=12,
    )
)
def test_each_wire_gets_one_answer_and_is_forgotten(steps: list[tuple[str, bool]]) -> None:
    outcomes: dict[Wire, str] = {}

    async def dial(wire: Wire) -> None:
        await Until(lambda: wire in outcomes)
        if outcomes[wire] == "refused":
            raise OSError("refused")
        wire.moved_by = Mover()
        wire.opened()

    def lose(wire: Wire) -> None:
        if wire.moved_by is not None:
            wire.eof()
            loop.gone(wire)

    loop = Loop(dial)
    pairs = [wire(), wire()]
    for opened, _ in pairs:
        loop.open(opened)
    for step, second in steps:
        opened, _ = pairs[second]
        match step:
            case "turn":
                loop.take_turn()
            case "dialed" | "refused":
                outcomes.setdefault(opened, step)
            case "abort":
                opened.close(abort=True)
                loop.attend(opened)
            case "lost":
                lose(opened)
    for opened, _ in pairs:
        opened.close(abort=True)
        loop.attend(opened)
        loop.go_on()
        lose(opened)
    loop.go_on()
    assert nothing_is_left(loop)
    for _, reported in pairs:
        assert reported.names() in (["failed"], ["opened", "closed"])


# Tasks and the end.


def test_what_a_task_raises_is_reported_to_broke() -> None:
    async def fails(what: str) -> None:
        raise Mine(what)

    loop = Loop()
    loop.start("fails", fails, "one")
    loop.go_on()
    assert [str(each) for each in loop.errors] == ["one"]
    assert nothing_is_left(loop)


def test_a_task_can_be_cancelled() -> None:
    loop = Loop()
    cancel = loop.start("waits", for_ever)
    loop.go_on()
    assert loop.tasks
    cancel()
    loop.go_on()
    assert nothing_is_left(loop)
    assert not loop.errors


def test_a_task_that_is_cut_off_is_not_reported() -> None:
    async def is_cut_off() -> None:
        raise Cancelled

    loop = Loop()
    loop.start("is cut off", is_cut_off)
    loop.go_on()
    assert nothing_is_left(loop)
    assert not loop.errors


def test_the_end_cancels_all_tasks_but_the_ones_that_wait_for_it() -> None:
    loop, opened, _ = one_wire()
    ended: list[str] = []
    others: list[str] = []

    async def end(who: str) -> None:
        await loop.end()
        ended.append(who)

    async def other() -> None:
        try:
            await for_ever()
        finally:
            await Until(lambda: len(others) >= 3)  # the end waits for it
            others.append("cancelled")

    loop.start("another", other)
    loop.start("one", end, "one")
    loop.go_on()
    assert loop.ended
    loop.start("two", end, "two")
    loop.go_on()
    assert ended == []
    others += ["", "", ""]
    loop.go_on()
    assert others[-1] == "cancelled"
    assert ended == [], "a wire is left"
    opened.close(abort=True)
    loop.attend(opened)
    loop.go_on()
    assert sorted(ended) == ["one", "two"]
    assert nothing_is_left(loop)


def test_a_wait_for_the_wires_does_not_wait_for_tasks() -> None:
    loop, opened, _ = one_wire()
    loop.start("waits", for_ever)
    waits = loop.spawn("test", loop.context, loop.wires_gone, bool)[0]
    loop.go_on()
    assert not waits.over
    opened.close(abort=True)
    loop.attend(opened)
    loop.go_on()
    assert waits.over
    assert loop.tasks


def test_soon_says_whether_the_event_loop_has_ended() -> None:
    loop, called = Loop(), list[int]()
    assert loop.soon(called.append, 1)
    loop.go_on()
    loop.has_ended = True
    assert not loop.soon(called.append, 2)
    assert called == [1]


# Deadlines.


class Rung:
    """A driver, seen from its `IO`."""

    def __init__(self, at: float) -> None:
        self.rings_at = at
        self.rung = 0

    def ring(self) -> None:
        self.rung += 1


def test_received_data_counts_before_a_timer_that_is_due() -> None:
    """After a suspension both are there: the event loop may call the timer first."""
    loop = Loop()
    driver: Any = Rung(7.0)
    loop.driver = driver
    loop.due(7.0)
    loop.take_turn()  # polls the sockets
    assert driver.rung == 0
    loop.take_turn()  # reads
    loop.take_turn()
    assert driver.rung == 1


def test_a_time_that_was_replaced_does_not_ring() -> None:
    loop = Loop()
    driver: Any = Rung(7.0)
    loop.driver = driver
    loop.due(7.0)
    driver.rings_at = 9.0
    loop.go_on()
    assert driver.rung == 0


def test_the_driver_of_a_session_rings_again() -> None:
    """With a real driver: the next time is set as the last one is due."""
    from proto.test_driver import Hand, options

    hand = Hand(options())
    loop = Loop()
    loop.driver = hand.driver
    hand.connected()
    before = hand.driver.rings_at
    hand.now = before
    loop.due(before)
    loop.go_on()
    assert isinstance(loop.driver, Driver)
    assert hand.driver.rings_at > before
    assert hand.rings[-1] == hand.driver.rings_at


# Functions of the application.


def test_a_call_is_a_task_or_a_thread() -> None:
    async def waits(argument: object) -> object:
        return argument

    loop, results = Loop(), list[object]()
    loop.call(waits, 1, results.append)
    loop.call(lambda argument: argument, 2, results.append)
    loop.go_on()
    loop.end_threads()
    loop.go_on()
    assert results == [1, 2]


def fails(what: object) -> object:
    raise Mine(what)


def test_a_task_may_wait_for_a_call() -> None:
    outcomes: list[object] = []

    async def asks(function: Callable[[Any], object]) -> None:
        try:
            outcomes.append(await loop.call_and_wait(function, 7))
        except Mine as error:
            outcomes.append(error.args[0])

    loop = Loop()
    for function in (lambda argument: argument, fails):
        loop.start("asks", asks, function)
    loop.go_on()
    loop.end_threads()
    loop.go_on()
    assert outcomes == [7, 7]
    assert nothing_is_left(loop)


def test_a_task_that_is_cancelled_cancels_the_call_that_it_waits_for() -> None:
    loop = Loop()
    cancel = loop.start("asks", loop.call_and_wait, for_ever, 7)
    loop.go_on()
    assert len(loop.started) == 2
    cancel()
    loop.go_on()
    assert nothing_is_left(loop)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_from_a_thread_returns_what_the_function_returned(asynchronous: bool) -> None:
    turns: list[Task | None] = []

    def plain(a: int, b: int) -> int:
        turns.append(loop.current)
        return a + b

    async def waits(a: int, b: int) -> int:
        await Until(lambda: True)
        return plain(a, b)

    loop = Loop()
    assert loop.call_from_thread(waits if asynchronous else plain, 1, 2) == 3
    assert [task.name for task in turns if task is not None] == ["pusher call_from_thread"]
    loop.go_on()
    assert nothing_is_left(loop)


def test_a_call_from_a_thread_raises_what_the_function_raised() -> None:
    def fails() -> None:
        raise TimeoutError("mine")

    loop = Loop()
    with pytest.raises(TimeoutError, match="mine"):
        loop.call_from_thread(fails)


def test_the_end_does_not_cancel_a_call_from_a_thread() -> None:
    async def ends() -> str:
        await loop.end()
        await Until(lambda: True)
        return "ended"

    loop = Loop()
    loop.start("another", for_ever)
    assert loop.call_from_thread(ends) == "ended"
    loop.go_on()
    assert nothing_is_left(loop)


def test_a_call_from_a_thread_to_an_event_loop_that_has_ended_raises() -> None:
    loop = Loop()
    loop.has_ended = True
    with pytest.raises(RuntimeError, match="the event loop of the client has ended"):
        loop.call_from_thread(len, "never called")


def test_a_call_from_a_thread_raises_when_the_event_loop_ends() -> None:
    async def ends() -> None:
        loop.has_ended = True
        await for_ever()

    loop = Loop()
    with pytest.raises(RuntimeError, match="the event loop of the client has ended"):
        loop.call_from_thread(ends)


def test_a_call_from_a_thread_raises_when_the_event_loop_cancels_it() -> None:
    async def ends() -> None:
        assert loop.current is not None
        loop.current.cancel()
        await for_ever()

    loop = Loop()
    with pytest.raises(RuntimeError, match="the event loop of the client has ended"):
        loop.call_from_thread(ends)
    loop.go_on()
    assert nothing_is_left(loop)


def test_a_loop_that_ends_with_its_last_answer_returns_it() -> None:
    def last() -> str:
        loop.has_ended = True
        return "the answer"

    loop = Loop()
    assert loop.call_from_thread(last) == "the answer"
