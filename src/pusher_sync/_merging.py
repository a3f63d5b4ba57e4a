"""One stream from several clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Protocol, Self, TypeVar

from pusher_proto import LocalProtocolError, PusherTimeout
from pusher_proto.client import END, PENDING, End, EventKey, MergedBase, Pending

from ._channel import Stream
from ._waiting import CANNOT_WAIT, Waiting

__all__ = ["Merged", "merge"]

T = TypeVar("T")
U = TypeVar("U")


class Merged(MergedBase[T]):
    """The events of several streams, each event once: `for` gives them. Made by `merge`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        event: T | End = self._wait(self._next)
        if event is END:
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> T:
        """Return the next event. Raises `PusherTimeout` after `timeout` seconds, and `ClientClosed` at the end."""
        return self._wait(self._next_now, timeout)

    def _wait(self, step: Callable[[], U | Pending], timeout: float | None = None) -> U:
        clients: list[Waiting] = [part.stream._client for part in self._parts]
        io = clients[0]._io
        deadline = inf if timeout is None else io.time() + timeout
        while (event := step()) is PENDING:
            if any(client._io.must_not_wait for client in clients):
                raise LocalProtocolError(CANNOT_WAIT)
            left = deadline - io.time()
            if left <= 0:
                raise PusherTimeout(self._why_not(timeout))
            wake, sleep = io.sleeper()
            with self._listening(partial(_wake_once, wake)):
                event = step()  # one may have come before
                if event is not PENDING:
                    break
                sleep(left)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _wake_once(wake: Callable[[], object]) -> None:
    """Wake, unless another client has."""
    with suppress(RuntimeError):
        wake()


class Source(Protocol[T]):
    """A stream, or a channel for its messages."""

    def __iter__(self) -> Stream[T]: ...


def merge(streams: Iterable[Source[T]], *, key: EventKey, window: int = 10_000) -> Merged[T]:
    """Return one stream of the events of several, each event once: for programs that keep two connections open.

    `streams` are streams, or channels for their messages, of any clients. Two events with the same `key` are the same
    event: `key` is the name of a field of the data, or a quick function of the event: None for one that is never
    a duplicate. The last `window` keys are remembered. Events are given in the order of one stream as long as it has
    any, then in the order of another; `duplicates` counts the dropped events.

    A stream that ends, by an error or because its client is closed, does not end the others; the error is logged. After
    the last one the iteration ends, or raises its error. Closing the merged stream closes all of them. Raises TypeError
    and ValueError.
    """
    return Merged(streams, iter, key, window)
