"""A wire on a stream whose methods are awaited, without an event loop: coroutines are driven by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.test_wire import Told, wire
from pusher_proto.driving import READ_SIZE, Wire, WireStream


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
    """A coroutine that continues as soon as it can."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.ready: Callable[[], object] = bool  # not begun
        self.over = False
        self.cancelled = False
        self.step()

    def step(self) -> None:
        try:
            self.ready = self.coroutine.send(None)
        except StopIteration:
            self.over = True

    def go_on(self) -> None:
        while not self.over and self.ready():
            self.step()

    def cancel(self) -> None:
        self.cancelled = self.over = True
        self.coroutine.close()


class Stream:
    """Receives the pieces in `arrived`, and takes a piece each time it has room."""

    def __init__(self) -> None:
        self.arrived: deque[bytes | Exception] = deque()
        self.sent: list[bytes] = []
        self.room = 0
        self.breaks: Exception | None = None

    async def receive(self, size: int) -> bytes:
        assert size == READ_SIZE
        await Until(lambda: self.arrived)
        data = self.arrived.popleft()
        if isinstance(data, Exception):
            raise data
        return data

    async def send(self, data: bytes) -> None:
        await Until(lambda: self.room or self.breaks)
        if self.breaks is not None:
            raise self.breaks
        self.room -= 1
        self.sent.append(data)


class Hand:
    """A stream that is open, and its tasks."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.wire: Wire
        self.told: Told
        self.wire, self.told = wire()
        self.writers: list[Task] = []
        self.moving = WireStream(
            self.wire,
            self.stream,
            start=self.start,
            new_event=Event,
            cause=lambda error: error.__cause__ or error,
        )
        self.wire.opened()
        self.reader = Task(self.moving.read())

    def start(self, function: Callable[[], Awaitable[None]]) -> Callable[[], object]:
        assert all(each.over for each in self.writers), "one at a time"
        task = Task(function())
        self.writers.append(task)
        return task.cancel

    def go_on(self) -> None:
        for task in (self.reader, *self.writers):
            task.go_on()


def test_bytes_are_read_until_the_wire_is_over() -> None:
    hand = Hand()
    hand.stream.arrived += [b"one", b"two"]
    hand.go_on()
    assert hand.told.data() == b"onetwo"
    hand.wire.close(abort=True)
    hand.stream.arrived.append(b"late")
    hand.go_on()
    assert hand.reader.over
    assert hand.told.data() == b"onetwo"


def test_nothing_is_read_while_the_session_wants_nothing() -> None:
    hand = Hand()
    hand.told.wanted = False
    hand.stream.arrived.append(b"one")
    hand.go_on()  # this read had begun
    hand.stream.arrived.append(b"two")
    hand.moving.attend()
    hand.go_on()
    assert hand.told.data() == b"one"
    hand.told.wanted = True
    hand.moving.attend()
    hand.go_on()
    assert hand.told.data() == b"onetwo"


def test_a_pause_ends_with_the_wire() -> None:
    hand = Hand()
    hand.told.wanted = False
    hand.stream.arrived.append(b"one")
    hand.go_on()
    hand.wire.close(abort=True)
    hand.moving.attend()
    hand.go_on()
    assert hand.reader.over


def test_what_the_stream_raises_comes_out_of_read() -> None:
    hand = Hand()
    hand.stream.arrived.append(EOFError("the end"))
    with pytest.raises(EOFError, match="the end"):
        hand.go_on()


def test_an_error_of_writing_is_reported_by_its_cause_and_reading_goes_on() -> None:
    hand = Hand()
    broken = RuntimeError("the stream broke")
    broken.__cause__ = OSError("reset")
    hand.wire.send(b"one")
    hand.moving.attend()
    hand.stream.breaks = broken
    hand.go_on()
    hand.stream.arrived.append(b"a reason")
    hand.go_on()
    assert hand.told.data() == b"a reason"
    hand.wire.eof()
    assert hand.told.said[-1] == ("closed", broken.__cause__)


def test_the_task_that_writes_can_be_cancelled() -> None:
    hand = Hand()
    hand.moving.stop_writing()
    hand.wire.send(b"one")
    hand.moving.attend()
    hand.moving.stop_writing()
    assert [each.cancelled for each in hand.writers] == [True]


@given(st.lists(st.sampled_from(["send", "room"]), max_size=30))
def test_bytes_are_written_in_order_by_one_task_at_a_time(steps: list[str]) -> None:
    hand = Hand()
    sent = bytearray()
    for number, step in enumerate(steps):
        if step == "send":
            sent += b"%d;" % number
            hand.wire.send(b"%d;" % number)
            hand.moving.attend()
        else:
            hand.stream.room += 1
        hand.go_on()
        assert sent.startswith(b"".join(hand.stream.sent))
        assert hand.told.sent() == sum(map(len, hand.stream.sent))
    hand.stream.room = 100
    hand.go_on()
    assert b"".join(hand.stream.sent) == sent
