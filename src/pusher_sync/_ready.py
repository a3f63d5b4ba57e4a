"""Which sockets are ready: asked of epoll where there is one, and of what `selectors` finds elsewhere.

`selectors` asks epoll, too; but where events come one by one a turn through it takes some 10 µs more of the processor,
for which the event waits.
"""

from __future__ import annotations

import select
import selectors
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    import socket

__all__ = ["Polled", "Selected", "readiness"]

T = TypeVar("T")

_MOST = 64  # sockets that one turn tells of: those left out come first in the next


class _Watched(NamedTuple, Generic[T]):
    about: T
    number: int
    wanted: int


class Polled(Generic[T]):
    """Tells by epoll which sockets are ready.

    `about` is what stands for a socket, once. The socket may be closed by somebody else, and its number be another's.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._by_number: dict[int, _Watched[T]] = {}
        self._of: dict[T, _Watched[T]] = {}

    def watch(self, sock: socket.socket, wanted: int, about: T) -> None:
        """Look from now on whether `sock` is ready for what is `wanted`, and no longer for anything else."""
        before = self._of.pop(about, None)
        if before is not None and self._by_number.get(before.number) is before:
            del self._by_number[before.number]
            with suppress(OSError):  # closed: the system has forgotten it
                self._epoll.unregister(before.number)
        if wanted:
            number = sock.fileno()
            mask = select.EPOLLIN if wanted & EVENT_READ else 0
            mask |= select.EPOLLOUT if wanted & EVENT_WRITE else 0
            self._epoll.register(number, mask)
            self._of[about] = self._by_number[number] = _Watched(about, number, wanted)

    def wait(self, seconds: float) -> list[tuple[T, int]]:
        """Return what is ready, and for what, as soon as something is, or nothing after `seconds` (not negative)."""
        ready = []
        known = self._by_number.get
        for number, mask in self._epoll.poll(seconds, _MOST):
            watched = known(number)
            if watched is not None:
                # An error is for who reads and for who writes to find.
                came = EVENT_READ if mask & ~select.EPOLLOUT else 0
                came |= EVENT_WRITE if mask & ~select.EPOLLIN else 0
                ready.append((watched.about, came & watched.wanted))
        return ready

    def close(self) -> None:
        """Watch nothing any more; the sockets stay as they are."""
        self._epoll.close()


class Selected(Generic[T]):
    """The same by `selectors`: on macOS kqueue, on Windows select."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._of: dict[T, selectors.SelectorKey] = {}

    def watch(self, sock: socket.socket, wanted: int, about: T) -> None:
        """Look from now on whether `sock` is ready for what is `wanted`, and no longer for anything else."""
        watched = self._selector.get_map()
        before = self._of.pop(about, None)
        if before is not None and watched.get(before.fd) is before:
            self._selector.unregister(before.fd)
        if wanted:
            number = sock.fileno()
            if number in watched:  # by one that was closed
                self._selector.unregister(number)
            self._of[about] = self._selector.register(number, wanted, about)

    def wait(self, seconds: float) -> list[tuple[T, int]]:
        """Return what is ready, and for what, as soon as something is, or nothing after `seconds` (not negative)."""
        try:
            return [(key.data, came) for key, came in self._selector.select(seconds)]
        except OSError:
            if not self._forget_closed():
                raise
            return []

    def close(self) -> None:
        """Watch nothing any more; the sockets stay as they are."""
        self._selector.close()

    def _forget_closed(self) -> bool:
        """Forget the sockets that select refuses, which looks at none because of one; return whether there are any."""
        closed = []
        for number in list(self._selector.get_map()):
            try:
                select.select([number], [], [], 0)
            except OSError:
                closed.append(number)
        for number in closed:
            self._selector.unregister(number)
        return bool(closed)


def readiness() -> Polled[T] | Selected[T]:
    """Return the quicker that there is."""
    return Polled() if hasattr(select, "epoll") else Selected()
