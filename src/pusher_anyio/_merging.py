"""One stream from several clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from pusher_proto import PusherTimeout
from pusher_proto.client import AT_ONCE, END, PENDING, EventKey, MergedBase

from ._channel import Stream

__all__ = ["Merged", "merge"]

T = TypeVar("T")


class Merged(MergedBase[T]):
    """The events of several streams, each event once: `async for` gives them. Made by `merge`."""

    _left = AT_ONCE
    """How many events are given until other tasks get a turn."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._left -= 1
        if self._left <= 0:
            await checkpoint()
            self._left = AT_ONCE
        while (event := self._next()) is PENDING:
            await self._notified()
        if event is END:
            raise StopAsyncIteration
        return event

    async def next(self, timeout: float | None = None) -> T:
        """Return the next event. Raises `PusherTimeout` after `timeout` seconds, and `ClientClosed` at the end."""
        with anyio.move_on_after(timeout):
            while (event := self._next_now()) is PENDING:
                await self._notified()
            return event
        raise PusherTimeout(self._why_not(timeout))

    async def _notified(self) -> None:
        event = anyio.Event()
        with self._listening(event.set):
            await event.wait()
        self._left = AT_ONCE

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Source(Protocol[T]):
    """A stream, or a channel for its messages."""

    def __aiter__(self) -> Stream[T]: ...


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
    return Merged(streams, aiter, key, window)
