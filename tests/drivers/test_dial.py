"""Opening a TCP connection to a host with several addresses (RFC 8305)."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from pusher_anyio import open_pusher
from pusher_anyio._io import current_loop
from pusher_anyio._io._dial import connected
from pusher_proto import ConnectionFailed, OpenTransport, Options, Session
from pusher_proto.driving import Wire, in_turns
from pusher_sync._io._dial import connect_tcp

from .runners import Clock, free_port, leaves_nothing

LOCAL = "127.0.0.1"
Info = tuple[Any, ...]
Dial = Callable[[], socket.socket]


@pytest.fixture(autouse=True)
def stack() -> Iterator[ExitStack]:
    with leaves_nothing(), ExitStack() as stack:
        yield stack


def info(port: int, host: str = LOCAL) -> Info:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, socket.SOCK_STREAM, 0, "", (host, port)


def listening(stack: ExitStack) -> int:
    listener = stack.enter_context(socket.create_server((LOCAL, 0)))
    port: int = listener.getsockname()[1]
    return port


def swallowing(stack: ExitStack) -> int:
    """Return a port that neither accepts nor refuses: its queue is full."""
    listener = stack.enter_context(socket.create_server((LOCAL, 0), backlog=0))
    port: int = listener.getsockname()[1]
    for _ in range(4):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex((LOCAL, port))
    return port


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[Info]:
    """The addresses of the name `host`."""
    found: list[Info] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    return found


def never(*_: object) -> None:
    """Take the addresses, or what a wire tells its session."""


def wire() -> Wire:
    return Wire(OpenTransport(1, "host", 1, False), Session(Options.from_host("h", key="k")), never)


async def dial_here() -> socket.socket:
    return await connected(wire(), current_loop())


on_all = pytest.mark.parametrize(
    "dial",
    [
        pytest.param(lambda: connect_tcp(wire(), never), id="blocking"),
        pytest.param(lambda: anyio.run(dial_here), id="asyncio"),
        pytest.param(lambda: anyio.run(dial_here, backend="trio"), id="trio"),
    ],
)


def test_the_addresses_of_both_families_take_turns() -> None:
    six = [info(port, "::1") for port in (1, 2, 3)]
    four = [info(port) for port in (4, 5)]
    assert list(in_turns([*six, *four])) == [six[0], four[0], six[1], four[1], six[2]]


def test_a_connected_socket_sends_small_pieces_at_once(
    stack: ExitStack, addresses: list[Info]
) -> None:
    addresses.append(info(listening(stack)))
    with connect_tcp(wire(), never) as sock:
        assert sock.getpeername() == addresses[0][4]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@on_all
def test_an_address_that_refuses_is_followed_by_the_next_at_once(
    stack: ExitStack, addresses: list[Info], dial: Dial
) -> None:
    addresses += [info(free_port()), info(listening(stack))]
    took = []
    for _ in range(3):  # the machine may be busy with something else
        with Clock() as clock, dial() as sock:
            assert sock.getpeername() == addresses[1][4]
        took.append(clock.seconds)
    assert min(took) < 0.25


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux drops what a full queue cannot take"
)
@on_all
def test_an_address_that_does_not_answer_is_overtaken(
    stack: ExitStack, addresses: list[Info], dial: Dial
) -> None:
    addresses += [info(swallowing(stack)), info(listening(stack))]
    with Clock() as clock, dial() as sock:
        assert sock.getpeername() == addresses[1][4]
    assert 0.25 <= clock.seconds + 0.01 < 1


@on_all
def test_when_all_fail_the_last_error_is_raised(addresses: list[Info], dial: Dial) -> None:
    addresses += [info(free_port()), info(free_port())]
    with pytest.raises(ConnectionRefusedError):
        dial()


@on_all
def test_an_address_that_cannot_be_tried_is_followed_by_the_next(
    stack: ExitStack, addresses: list[Info], dial: Dial
) -> None:
    impossible = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (LOCAL, 0))
    addresses += [impossible, (9999, socket.SOCK_STREAM, 0, "", ()), info(listening(stack))]
    with dial() as sock:
        assert sock.getpeername() == addresses[2][4]
    del addresses[2]
    with pytest.raises(OSError, match=r"Address family") as caught:
        dial()
    assert caught.value.errno == errno.EAFNOSUPPORT


@on_all
def test_a_name_without_an_address_is_an_error(addresses: list[Info], dial: Dial) -> None:
    with pytest.raises(OSError, match="host has no address"):
        dial()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux drops what a full queue cannot take"
)
def test_attempts_end_when_they_are_given_up(stack: ExitStack, addresses: list[Info]) -> None:
    addresses.append(info(swallowing(stack)))
    given_up = wire()
    timer = threading.Timer(0.1, given_up.close, kwargs={"abort": True})
    timer.start()
    with Clock() as clock, pytest.raises(OSError, match="no address"):
        connect_tcp(given_up, never)
    timer.join()
    assert clock.seconds < 20  # the system would continue for minutes


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux drops what a full queue cannot take"
)
def test_attempts_end_when_they_are_cancelled(stack: ExitStack, addresses: list[Info]) -> None:
    addresses += [info(swallowing(stack)), info(swallowing(stack))]

    async def main() -> None:
        with anyio.move_on_after(0.3) as scope:
            await dial_here()
        assert scope.cancelled_caught

    anyio.run(main)


@pytest.mark.parametrize("cancelled", [False, True])
def test_of_two_that_answer_in_one_turn_one_is_taken(
    stack: ExitStack, addresses: list[Info], cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses += [info(listening(stack)), info(listening(stack))]
    writable = anyio.wait_writable

    async def main() -> None:
        both = anyio.Event()
        tried: list[object] = []

        async def slowly(sock: Any) -> None:
            tried.append(sock)
            await writable(sock)
            if len(tried) == 2:
                both.set()
                if cancelled:
                    scope.cancel()
            with anyio.CancelScope(shield=True):
                await both.wait()

        monkeypatch.setattr(anyio, "wait_writable", slowly)
        with anyio.CancelScope() as scope:
            sock = await connected(wire(), current_loop())
            assert sock.getpeername() in (addresses[0][4], addresses[1][4])
            sock.close()
        assert scope.cancelled_caught is cancelled

    anyio.run(main)


def test_a_socket_whose_peer_is_gone_is_closed_on_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    async def connected_once(*_: object) -> socket.socket:
        opened.append(socket.socket())  # as one that the server has reset: it has no peer
        return opened[-1]

    monkeypatch.setattr("pusher_anyio._io._trio.connected", connected_once)

    async def main() -> None:
        options = Options.from_host(LOCAL, port=free_port(), key="demo", max_attempts=1)
        async with open_pusher(options) as client:
            with pytest.raises(ConnectionFailed, match="not connected"):
                await client.run()

    anyio.run(main, backend="trio")
    assert [sock.fileno() for sock in opened] == [-1]
