"""A wire on a socket that does not block, with a socket and a selector that a test plays."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.test_wire import Reported, wire
from pusher_proto.driving import READ_SIZE, SMALL_READ, Wire, WireSocket
from pusher_proto.driving.sockets import checked_socket

READ, WRITE = 1, 2


class Sock:
    """A socket that takes at most `room` bytes, and gives the bytes in `incoming`."""

    def __init__(self, number: int = 5) -> None:
        self.number = number
        self.room = 1_000_000
        self.incoming: deque[bytes | OSError] = deque()
        self.asked: list[int] = []
        self.sent = bytearray()
        self.failure: OSError | None = None
        self.down: list[int] = []
        self.is_closed = False

    def fileno(self) -> int:
        return self.number

    def getpeername(self) -> object:
        return ("127.0.0.1", 80)

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming.popleft()
        if isinstance(data, OSError):
            raise data
        if len(data) > size:
            self.incoming.appendleft(data[size:])
        return data[:size]

    def send(self, data: bytes) -> int:
        if self.failure is not None:
            raise self.failure
        taken = data[: self.room]
        if not taken:
            raise BlockingIOError
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def shutdown(self, how: int) -> None:
        self.down.append(how)

    def close(self) -> None:
        self.is_closed = True


class Secure(Sock):
    """A socket that speaks TLS itself."""

    def pending(self) -> int:
        return len(self.incoming)


class Selector:
    """A selector as in `selectors`."""

    def __init__(self) -> None:
        self.keys: dict[int, tuple[Any, int, Callable[[int], None]]] = {}

    def get_map(self) -> dict[int, Any]:
        return self.keys

    def register(self, sock: Any, events: int, data: Callable[[int], None]) -> None:
        if sock.fileno() < 0:
            raise ValueError("closed")
        assert sock.fileno() not in self.keys
        self.keys[sock.fileno()] = sock, events, data

    def unregister(self, sock: Any) -> None:
        found = [n for n, (s, _, _) in self.keys.items() if sock in (n, s)]
        if not found:
            raise KeyError(sock)
        del self.keys[found[0]]

    @property
    def events(self) -> list[int]:
        return [events for _, events, _ in self.keys.values()]

    def reports(self, events: int) -> None:
        for _, watched, ready in list(self.keys.values()):
            if watched & events:
                ready(watched & events)


def connected(sock: Sock) -> tuple[Wire, Reported, Selector]:
    """Return a wire on the socket, which is attended after each input as a driver does it."""
    stream, reported = wire()
    tell, selector = stream._tell, Selector()

    def settle(answer: Callable[..., None], *details: object) -> None:
        tell(answer, *details)
        if stream.moved_by is not None:
            stream.moved_by.attend()

    stream._tell = settle
    WireSocket.opened(stream, selector, sock)
    return stream, reported, selector


def test_a_connected_socket_carries_the_wire() -> None:
    sock = Sock()
    stream, reported, selector = connected(sock)
    assert reported.names() == ["opened"]
    assert selector.events == [READ]
    sock.incoming.append(b"one")
    selector.reports(READ)
    assert reported.data() == b"one"
    stream.send(b"two")
    stream.moved_by.attend()
    assert sock.sent == b"two"
    stream.close(abort=False)
    assert sock.is_closed
    assert selector.keys == {}


def test_a_socket_for_a_wire_that_is_over_is_closed() -> None:
    stream, reported = wire()
    stream.close(abort=True)
    sock = Sock()
    WireSocket.opened(stream, Selector(), sock)
    assert sock.is_closed
    assert reported.names() == ["failed"]


@given(
    st.lists(st.binary(min_size=1, max_size=9000), min_size=1, max_size=5),
    st.lists(st.integers(0, 5000)),
)
def test_all_is_written_in_order_whenever_the_socket_has_room(
    pieces: list[bytes], rooms: list[int]
) -> None:
    sock = Sock()
    sock.room = 0
    stream, reported, selector = connected(sock)
    for data in pieces:
        stream.send(data)
    stream.moved_by.attend()
    assert selector.events == [READ | WRITE]
    for room in [*rooms, *[10_000] * len(pieces), 10_000]:
        sock.room = room
        selector.reports(WRITE)
    assert sock.sent == b"".join(pieces)
    assert sum(each[1] for each in reported.said if each[0] == "sent") == len(sock.sent)
    assert selector.events == [READ]


def test_reading_pauses_and_continues() -> None:
    sock = Sock()
    stream, reported, selector = connected(sock)
    reported.wanted = False
    sock.incoming.append(b"later")
    ready = selector.keys[5][2]
    stream.moved_by.attend()
    assert selector.keys == {}
    ready(READ)
    assert reported.data() == b""
    reported.wanted = True
    stream.moved_by.attend()
    selector.reports(READ)
    assert reported.data() == b"later"


def test_the_read_buffer_grows_when_it_is_filled_and_shrinks_again() -> None:
    sock = Sock()
    _, reported, selector = connected(sock)
    for size in (10, SMALL_READ, 2 * SMALL_READ, 10, 10):
        sock.incoming.append(bytes(size))
        selector.reports(READ)
    assert sock.asked == [SMALL_READ, SMALL_READ, READ_SIZE, READ_SIZE, SMALL_READ]
    assert len(reported.data()) == 3 * SMALL_READ + 30


@pytest.mark.parametrize("end", [b"", ConnectionResetError("gone")])
def test_the_end_closes_the_socket(end: bytes | OSError) -> None:
    sock = Sock()
    stream, reported, selector = connected(sock)
    sock.incoming += [ssl.SSLWantReadError(), b"last", end]
    for _ in range(3):
        selector.reports(READ)
    assert reported.said[-2:] == [("data", b"last"), ("closed", end or "")]
    assert stream.over
    assert sock.is_closed


def test_a_socket_that_speaks_tls_is_read_until_it_has_nothing_decrypted() -> None:
    sock = Secure()
    _, reported, selector = connected(sock)
    sock.incoming += [b"one", b"two"]
    selector.reports(READ)
    assert reported.data() == b"onetwo"

    def pause() -> None:
        reported.wanted = False

    reported.then["data"] = pause
    sock.incoming += [b"three", b"four"]
    selector.reports(READ)
    assert reported.data() == b"onetwothree"


def test_bytes_before_an_error_of_writing_are_read() -> None:
    sock = Sock()
    stream, reported, selector = connected(sock)
    sock.failure = BrokenPipeError("gone")
    sock.incoming += [b"why", b""]
    stream.send(b"x")
    stream.moved_by.attend()
    assert sock.down == [2]
    assert not stream.over
    selector.reports(READ)
    selector.reports(READ)
    assert reported.said[1:] == [("data", b"why"), ("closed", sock.failure)]
    assert sock.is_closed


def test_tls_of_the_socket_continues_after_an_error_of_writing() -> None:
    """To shut the socket down would end TLS, and the next read would return bytes that are encrypted."""
    sock = Secure()
    stream, reported, selector = connected(sock)
    sock.failure = BrokenPipeError("gone")
    sock.incoming += [b"why", b""]
    stream.send(b"x")
    stream.moved_by.attend()
    assert sock.down == []
    selector.reports(READ)
    assert reported.said[1:] == [("data", b"why"), ("closed", sock.failure)]


def test_a_socket_that_the_application_closed_fails_when_it_is_written() -> None:
    sock = Sock()
    stream, reported, _ = connected(sock)
    sock.number, sock.failure = -1, OSError("bad file descriptor")
    stream.send(b"x")
    stream.moved_by.attend()
    assert reported.said[1:] == [("closed", sock.failure)]


def test_a_socket_that_the_application_closed_fails_when_it_is_watched() -> None:
    sock = Sock()
    stream, reported, _ = connected(sock)
    reported.wanted = False
    stream.moved_by.attend()
    sock.number, reported.wanted = -1, True
    stream.moved_by.attend()
    assert reported.names() == ["opened", "closed"]
    assert stream.over


def test_the_next_socket_may_have_the_number_of_one_that_the_application_closed() -> None:
    one, other = Sock(5), Sock(5)
    first, reported, selector = connected(one)
    one.number = -1
    second, _ = wire()
    WireSocket.opened(second, selector, other)
    second.moved_by.attend()
    assert [key[0] for key in selector.keys.values()] == [other]
    first.moved_by.close()
    assert [key[0] for key in selector.keys.values()] == [other]
    assert reported.names() == ["opened"]


def test_a_socket_is_checked_and_does_not_block_from_then_on() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert checked_socket(one) is one
        assert not one.getblocking()
    with pytest.raises(TypeError, match="connect= returns a connected socket, not int, which has"):
        checked_socket(5)
