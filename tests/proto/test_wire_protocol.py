"""A wire on a transport in the shape of asyncio's, without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.test_wire import Reported, wire
from pusher_proto.driving import READ_SIZE, Wire, WireProtocol


class Transport:
    """The transport of an event loop: it takes `room` bytes at once and keeps the others."""

    def __init__(self, room: int = 100_000) -> None:
        self.room = room
        self.sent = bytearray()
        self.kept = b""
        self.calls: list[str] = []
        self.reads = True
        self.closing = False
        self.protocol: WireProtocol | None = None

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 80) if name == "peername" else None

    def is_reading(self) -> bool:
        return self.reads

    def is_closing(self) -> bool:
        return self.closing

    def resume_reading(self) -> None:
        self.calls.append("resume")
        self.reads = True

    def pause_reading(self) -> None:
        self.calls.append("pause")
        self.reads = False

    def abort(self) -> None:
        self.calls.append("abort")

    def write(self, data: bytes) -> None:
        assert not self.kept, "only when all is written"
        self.sent += data[: self.room]
        self.kept = data[self.room :]
        if self.kept:
            assert self.protocol is not None
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.kept)

    def drain(self) -> None:
        """Write what was kept."""
        if self.kept:
            data, self.kept = self.kept, b""
            self.sent += data
            assert self.protocol is not None
            self.protocol.resume_writing()


class LikeAsyncio(Transport):
    """Has the attribute by which asyncio's own transport says how much it reads at once."""

    max_size = 1


class Turns:
    """The later turns of an event loop."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def soon(self, function: Callable[[], None]) -> None:
        self.due.append(function)

    def take(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


def connected(transport: Transport) -> tuple[Wire, Reported, WireProtocol, Turns]:
    stream, reported = wire()
    turns = Turns()
    protocol = transport.protocol = WireProtocol(stream, turns.soon)
    protocol.connection_made(transport)
    return stream, reported, protocol, turns


def test_the_wire_is_open_with_its_connection() -> None:
    _, reported, protocol, _ = connected(Transport())
    assert reported.names() == ["opened"]
    protocol.data_received(bytearray(b"one"))  # type: ignore[arg-type]  # Windows gives this
    assert reported.said[-1] == ("data", b"one")
    assert type(reported.said[-1][1]) is bytes


def test_a_transport_that_can_reads_as_much_as_other_drivers() -> None:
    transport = LikeAsyncio()
    connected(transport)
    assert transport.max_size == READ_SIZE


def test_what_is_sent_in_one_turn_is_written_at_once() -> None:
    transport = Transport()
    stream, reported, protocol, turns = connected(transport)
    for data in (b"one", b"two"):
        stream.send(data)
        protocol.attend()
    assert len(turns.due) == 1
    assert transport.sent == b""
    turns.take()
    assert transport.sent == b"onetwo"
    assert reported.sent() == 6


def test_reading_follows_the_wire() -> None:
    transport = Transport()
    _, reported, protocol, _ = connected(transport)
    for wanted in (False, False, True, True):
        reported.wanted = wanted
        protocol.attend()
    assert transport.calls == ["pause", "resume"]
    transport.closing, reported.wanted = True, False
    protocol.attend()
    assert transport.calls == ["pause", "resume"]


def test_a_transport_that_closes_gets_nothing() -> None:
    transport = Transport()
    stream, _, protocol, turns = connected(transport)
    stream.send(b"late")
    protocol.attend()
    transport.closing = True
    turns.take()
    assert transport.sent == b""


def test_a_wire_that_is_over_aborts_the_transport() -> None:
    transport = Transport()
    stream, _, protocol, _ = connected(transport)
    stream.close(abort=True)
    protocol.attend()
    assert transport.calls == ["abort"]


@pytest.mark.parametrize("error", [None, OSError("reset")])
def test_the_end_of_the_connection_is_the_wires(error: OSError | None) -> None:
    stream, reported, protocol, _ = connected(Transport())
    if error is None:
        assert protocol.eof_received() is True
    protocol.connection_lost(error)
    assert stream.over
    assert reported.said[-1] == ("closed", error or "")
    assert reported.names().count("closed") == 1


@given(
    room=st.integers(1, 9),
    steps=st.lists(st.sampled_from(["send", "turn", "drain"]), max_size=30),
)
def test_bytes_are_written_in_order_and_reported_once_they_have_left(
    room: int, steps: list[str]
) -> None:
    transport = Transport(room)
    stream, reported, protocol, turns = connected(transport)
    sent = bytearray()
    for number, step in enumerate(steps):
        if step == "send":
            sent += b"%d;" % number
            stream.send(b"%d;" % number)
            protocol.attend()
        elif step == "turn":
            turns.take()
        else:
            transport.drain()
        assert sent.startswith(bytes(transport.sent))
        assert reported.sent() <= len(transport.sent)
    while turns.due or transport.kept:
        turns.take()
        transport.drain()
    assert transport.sent == sent
    assert reported.sent() == len(sent)


def details(function: Any) -> list[str]:
    return list(function.__code__.co_varnames[: function.__code__.co_argcount])


def test_the_callbacks_are_those_of_asyncio() -> None:
    import asyncio

    for name, there in vars(asyncio.BaseProtocol).items() | vars(asyncio.Protocol).items():
        if not name.startswith("_"):
            assert len(details(getattr(WireProtocol, name))) == len(details(there)), name
