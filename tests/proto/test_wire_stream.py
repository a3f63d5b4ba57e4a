"""A wire on a stream whose methods are awaited, without an event loop: coroutines are driven by hand."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from proto.loop_by_hand import Loop, Task, Until
from proto.test_wire import Reported, wire
from pusher_proto.driving import READ_SIZE, Wire, WireStream


class End(Exception):
    """Raised by the stream at the end of the data."""


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

    def __init__(self, abort_at: str = "") -> None:
        self.stream = Stream()
        self.wire: Wire
        self.reported: Reported
        self.wire, self.reported = wire()
        self.reported.then[abort_at] = self.abort
        self.loop = Loop(self.move)
        self.closed = 0
        self.loop.open(self.wire)
        self.go_on()

    async def move(self, wire: Wire) -> None:
        try:
            await WireStream(wire, self.stream, self.loop, end=End).run()
        finally:
            await Until(lambda: True)  # a stream may take its time to close
            self.closed += 1
            self.loop.gone(wire)

    @property
    def writers(self) -> list[Task]:
        return [task for task in self.loop.started if task.name == "pusher write"]

    def attend(self) -> None:
        self.loop.attend(self.wire)

    def abort(self) -> None:
        self.wire.close(abort=True)
        self.attend()

    def go_on(self) -> None:
        self.loop.go_on()
        assert len(self.writers) <= 1, "one at a time"

    def end(self) -> None:
        """End the wire, and check that nothing is left."""
        self.abort()
        self.go_on()
        assert self.is_over()

    def is_over(self) -> bool:
        """Return whether nothing is left, without unnecessary calls."""
        return self.closed == 1 and not (self.loop.started or self.loop.wires or self.loop.errors)


def test_bytes_are_read_until_the_wire_is_over() -> None:
    hand = Hand()
    assert hand.reported.names() == ["opened"]
    hand.stream.arrived += [b"one", b"two"]
    hand.go_on()
    assert hand.reported.data() == b"onetwo"
    hand.wire.close(abort=True)
    hand.stream.arrived.append(b"late")
    hand.go_on()
    assert hand.is_over()
    assert hand.reported.data() == b"onetwo"


def test_a_wire_that_is_over_ends_the_read_that_waits() -> None:
    hand = Hand()
    hand.end()
    assert hand.reported.names() == ["opened", "closed"]


def test_nothing_is_read_while_the_session_wants_nothing() -> None:
    hand = Hand()
    hand.reported.wanted = False
    hand.stream.arrived.append(b"one")
    hand.go_on()  # this read had begun
    hand.stream.arrived.append(b"two")
    hand.attend()
    hand.go_on()
    assert hand.reported.data() == b"one"
    hand.reported.wanted = True
    hand.attend()
    hand.go_on()
    assert hand.reported.data() == b"onetwo"
    hand.end()


def test_a_pause_ends_with_the_wire() -> None:
    hand = Hand()
    hand.reported.wanted = False
    hand.stream.arrived.append(b"one")
    hand.go_on()
    hand.end()


def test_the_end_of_the_stream_is_the_end_of_the_wire() -> None:
    hand = Hand()
    hand.stream.arrived.append(End())
    hand.go_on()
    assert hand.reported.said == [("opened",), ("closed", "")]
    assert hand.is_over()


def test_an_error_of_the_stream_is_reported_by_its_cause() -> None:
    hand = Hand()
    broken = RuntimeError("the stream broke")
    broken.__cause__ = OSError("reset")
    hand.stream.arrived.append(broken)
    hand.go_on()
    assert hand.reported.said == [("opened",), ("closed", broken.__cause__)]
    assert hand.is_over()


def test_an_error_of_writing_is_reported_and_reading_continues() -> None:
    hand = Hand()
    hand.wire.send(b"one")
    hand.attend()
    broken = hand.stream.breaks = OSError("reset")
    hand.go_on()
    hand.stream.arrived.append(b"a reason")
    hand.go_on()
    assert hand.reported.data() == b"a reason"
    hand.wire.eof()
    assert hand.reported.said[-1] == ("closed", broken)
    hand.end()


def test_the_end_of_the_wire_cancels_the_task_that_writes() -> None:
    hand = Hand()
    hand.wire.send(b"one")
    hand.attend()
    hand.go_on()
    [writer] = hand.writers
    hand.stream.arrived.append(End())
    hand.go_on()
    assert writer.over
    assert hand.stream.sent == []
    assert hand.is_over()


def test_a_wire_that_is_over_writes_nothing() -> None:
    hand = Hand()
    hand.wire.close(abort=True)
    hand.wire.send(b"one")
    hand.attend()
    assert hand.writers == []
    hand.end()


def test_a_task_that_is_cancelled_from_outside_ends_the_wire() -> None:
    """As `asyncio.run` does at its end."""
    hand = Hand()
    [task] = hand.loop.started
    task.cancel()
    hand.go_on()
    assert hand.reported.said == [("opened",), ("closed", "given up")]
    assert hand.is_over()


@given(
    at=st.sampled_from(["opened", "data", "sent", "closed", "outside"]),
    steps=st.lists(st.sampled_from(["data", "send", "room", "turn", "end", "breaks"]), max_size=8),
)
def test_whenever_the_wire_ends_the_stream_is_closed_once_and_in_peace(
    at: str, steps: list[str]
) -> None:
    """Also in the task that reads, which must not cancel itself while it closes the stream."""
    hand = Hand(at)
    for step in steps:
        match step:
            case "data" | "send":
                hand.stream.arrived += [b"data"] * (step == "data")
                hand.wire.send(b"sent")
                hand.attend()
            case "room":
                hand.stream.room += 1
            case "turn":
                hand.loop.take_turn()
            case "end":
                hand.stream.arrived.append(End())
            case "breaks":
                hand.stream.breaks = OSError("reset")
    hand.end()
    assert [name for name in hand.reported.names() if name in ("opened", "closed")] == [
        "opened",
        "closed",
    ]


@given(st.lists(st.sampled_from(["send", "room"]), max_size=30))
def test_bytes_are_written_in_order_by_one_task_at_a_time(steps: list[str]) -> None:
    hand = Hand()
    sent = bytearray()
    for number, step in enumerate(steps):
        if step == "send":
            sent += b"%d;" % number
            hand.wire.send(b"%d;" % number)
            hand.attend()
        else:
            hand.stream.room += 1
        hand.go_on()
        assert sent.startswith(b"".join(hand.stream.sent))
        assert hand.reported.sent() == sum(map(len, hand.stream.sent))
    hand.stream.room = 100
    hand.go_on()
    assert b"".join(hand.stream.sent) == sent
    hand.end()
