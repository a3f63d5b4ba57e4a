"""Both ways of looking which sockets are ready say the same, whatever becomes of the sockets."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_sync._ready import Polled, Selected, readiness

from .runners import by_select

BOTH = EVENT_READ | EVENT_WRITE

Ways = Polled[int] | Selected[int]


WAYS: list[Any] = [Selected, by_select]
if hasattr(select, "epoll"):
    WAYS.append(Polled)


class World:
    """Sockets by number, each with a peer, and what is to be said of them."""

    def __init__(self, make: Callable[[], Ways]) -> None:
        self.ways = make()
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.wanted: dict[int, int] = {}
        self.has_something: set[int] = set()

    def opens(self) -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        self.pairs.append((here, there))

    def watches(self, which: int, wanted: int) -> None:
        here = self.pairs[which][0]
        if here.fileno() < 0:
            wanted = 0  # nobody looks at a socket that he knows to be closed
        self.ways.watch(here, wanted, which)
        self.wanted[which] = wanted

    def says(self, which: int) -> None:
        here, there = self.pairs[which]
        if here.fileno() >= 0:
            there.send(b"x")
            self.has_something.add(which)

    def is_read(self, which: int) -> None:
        here, _ = self.pairs[which]
        if here.fileno() >= 0:
            with suppress(BlockingIOError):
                here.recv(1000)
            self.has_something.discard(which)

    def is_closed(self, which: int) -> None:
        """Behind our back."""
        self.pairs[which][0].close()

    def expected(self) -> dict[int, int]:
        """Return what is ready; who can be written to always is."""
        found = {
            which: wanted & (EVENT_WRITE | (EVENT_READ if which in self.has_something else 0))
            for which, wanted in self.wanted.items()
            if self.pairs[which][0].fileno() >= 0
        }
        return {which: what for which, what in found.items() if what}

    def check(self) -> None:
        said = self.ways.wait(0.0)
        if not said and self.expected():
            said = self.ways.wait(0.0)  # select looked at none, because one was closed
        assert dict(said) == self.expected()
        assert len(said) == len(dict(said))

    def knows_any(self) -> bool:
        """Return whether something is still kept of any socket."""
        ways = self.ways
        numbers = ways._by_number if isinstance(ways, Polled) else ways._selector.get_map()
        return bool(ways._of or numbers)

    def ends(self) -> None:
        self.ways.close()
        for pair in self.pairs:
            for each in pair:
                each.close()


numbers = st.integers(0, 4)
steps = st.lists(
    st.tuples(st.just("opens"))
    | st.tuples(st.just("watches"), numbers, st.sampled_from([0, EVENT_READ, EVENT_WRITE, BOTH]))
    | st.tuples(st.sampled_from(["says", "is_read", "is_closed"]), numbers),
    max_size=30,
)


@pytest.mark.parametrize("make", WAYS)
@given(steps=steps)
def test_what_is_ready_is_told_whatever_was_closed_behind_our_back(make: Any, steps: Any) -> None:
    world = World(make)
    try:
        world.opens()
        for name, *details in steps:
            if details:
                details[0] %= len(world.pairs)
            getattr(world, name)(*details)
            world.check()
        for which in range(len(world.pairs)):
            world.watches(which, 0)
        assert world.ways.wait(0.0) == []
        assert not world.knows_any()
    finally:
        world.ends()


@pytest.fixture(params=WAYS)
def ways(request: pytest.FixtureRequest) -> Iterator[Ways]:
    made = request.param()
    yield made
    made.close()


def test_the_end_of_the_other_side_is_something_to_read(ways: Ways) -> None:
    here, there = socket.socketpair()
    with here:
        ways.watch(here, EVENT_READ, 7)
        assert ways.wait(0.0) == []
        there.close()
        assert ways.wait(1.0) == [(7, EVENT_READ)]


def test_who_only_writes_hears_of_nothing_to_read(ways: Ways) -> None:
    """Or it would be read though the session wants no more data."""
    here, there = socket.socketpair()
    with here:
        ways.watch(here, EVENT_WRITE, 7)
        there.send(b"x")
        there.close()
        assert ways.wait(1.0) == [(7, EVENT_WRITE)]


def test_an_error_is_for_who_reads_to_find(ways: Ways) -> None:
    """Nothing can be read or written, and so nobody would hear of it otherwise."""
    with socket.socket() as never_connected:
        ways.watch(never_connected, EVENT_READ, 7)
        assert ways.wait(1.0) == [(7, EVENT_READ)]


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
def test_what_epoll_cannot_forget_is_told_to_nobody() -> None:
    """It looks at what is open, which another process may hold open, and not at the number that was closed."""
    ways = Polled[int]()
    here, there = socket.socketpair()
    held_open = here.dup()
    ways.watch(here, EVENT_READ, 7)
    here.close()
    ways.watch(here, 0, 7)
    there.send(b"x")
    assert ways.wait(0.0) == []
    for each in (ways, there, held_open):
        each.close()


def test_each_is_told_of_in_time_when_more_are_ready_than_one_turn_tells(ways: Ways) -> None:
    pairs = [socket.socketpair() for _ in range(150)]
    for number, (here, there) in enumerate(pairs):
        ways.watch(here, EVENT_READ, number)
        there.send(b"x")
    told: set[int] = set()
    for _ in range(3):
        told |= {number for number, _ in ways.wait(0.0)}
    assert told == set(range(150))
    for pair in pairs:
        for each in pair:
            each.close()


def test_an_error_that_is_no_closed_socket_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ways = by_select()

    def broken(*_: object) -> Any:
        raise OSError("something else")

    monkeypatch.setattr(ways._selector, "select", broken)
    with pytest.raises(OSError, match="something else"):
        ways.wait(0.0)
    ways.close()


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
def test_on_linux_it_is_epoll() -> None:
    ways: Ways = readiness()
    assert isinstance(ways, Polled)
    ways.close()


def test_elsewhere_it_is_what_selectors_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    ways: Ways = readiness()
    assert isinstance(ways, Selected)
    ways.close()
