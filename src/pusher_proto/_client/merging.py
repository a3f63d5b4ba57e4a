"""Merges several streams with the same events into one that returns each event once. A driver adds the waiting.

A program that opens two connections reads from one while it returns events, and from the other when it does not. So
events are in the order of one connection, and there is neither a gap nor a duplicate as long as one of them was up.
The streams that are not being read are checked all the time: duplicates are dropped, and the first other event of each
is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from .._base.checks import check_plain, is_int
from .._base.logs import log_seldom, logger
from .._base.recent_keys import RecentKeys
from ..errors import (
    ClientClosed,
    ConnectionFailed,
    PusherError,
    SignInError,
    SubscriptionError,
    describe,
)
from ..events import ChannelEvent
from ..gaps import EventKey
from .handles import SourceBase
from .host import Host
from .pending import END, PENDING, End, Pending, fresh
from .streams import StreamBase

__all__ = ["MergedBase"]

T = TypeVar("T")

_FINAL = (ConnectionFailed, SubscriptionError, SignInError)
"""Errors after which a stream has no events for now or permanently, while other streams may have some."""

_log = logger("client")


class _Part(Generic[T]):
    """One of the streams."""

    __slots__ = ("ended", "error", "held", "host", "key", "step", "stream")

    def __init__(self, stream: StreamBase[T]) -> None:
        self.stream = stream
        self.host: Host = stream._host  # noqa: SLF001 - a merged stream uses the parts of other streams
        self.step: Callable[[], T | Pending | End] = stream._next  # noqa: SLF001 - see above
        self.held: list[T] = []
        """The first event that no other stream has returned, or nothing."""
        self.key: Hashable = None
        """The key of that event."""
        self.ended = False
        """Whether the stream or its client was closed."""
        self.error: PusherError | None = None
        """Why it has no events now, or None."""


class MergedBase(Generic[T]):
    """The events of several streams, each event once. Made by `merge`."""

    def __init__(
        self,
        sources: Iterable[Any],
        open_stream: Callable[[Any], object],
        key: EventKey,
        window: int,
    ) -> None:
        """`open_stream` is `iter` or `aiter`, which returns the stream of a channel, and a stream itself."""
        if not isinstance(key, str) and not callable(key):
            raise TypeError(
                f"key is the name of a field of the data, or a function of the event, not {key!r}"
            )
        check_plain(key, "key")
        if not is_int(window):
            raise TypeError(f"window is a number of keys, not {window!r}")
        if window < 1:
            raise ValueError(f"window is a number of keys and at least 1, not {window!r}")
        self._parts: list[_Part[T]] = [_Part(stream) for stream in _opened(sources, open_stream)]
        """The streams; the one that is being read is first."""
        self._key = key
        self._recent = RecentKeys(window)
        self._failures = 0
        """How many events had no usable key."""
        self.duplicates: int = 0
        """How many events were dropped because they had been returned before."""

    def close(self) -> None:
        """Close all streams, which ends the iteration."""
        for part in self._parts:
            part.stream.close()
            part.held.clear()

    def _next(self) -> T | Pending | End:
        """Return the next event, `PENDING`, or `END`. Raises the reason if no stream can have one."""
        for part in self._parts:
            self._look(part)
        for number, part in enumerate(self._parts):
            if part.held:
                self._parts.insert(0, self._parts.pop(number))
                if part.key is not None:
                    self._recent.add(part.key)
                return part.held.pop()
        left = [part for part in self._parts if not part.ended]
        for part in left:
            if part.error is None:
                return PENDING
        if left:
            assert left[0].error is not None
            raise fresh(left[0].error)
        return END

    def _next_now(self) -> T | Pending:
        """Do the same as `_next`, but raise `ClientClosed` at the end."""
        event = self._next()
        if event is END:
            raise ClientClosed("the streams or their clients were closed: no event follows")
        return event

    @contextmanager
    def _listening(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call `wake`, perhaps several times, when one of the streams may have an event."""
        parts = tuple(self._parts)
        try:
            for part in parts:
                with part.host.guard:
                    part.stream.signal.add(wake)
            yield
        finally:
            for part in parts:
                with part.host.guard:
                    part.stream.signal.discard(wake)

    def _why_not(self, timeout: float | None) -> str:
        """Return the message of a timeout."""
        reasons = []
        for part in self._parts:
            with part.host.guard:
                reasons.append(part.host.checks.why_not("no event was received", timeout))
        return "; ".join(dict.fromkeys(reasons))

    def _look(self, part: _Part[T]) -> None:
        """Drop duplicates until an event is held that no stream has returned."""
        while not part.ended:
            if not part.held:
                event = self._take(part)
                if event is PENDING or event is END:
                    return
                part.held.append(event)
                part.key = self._key_of(event)
            if part.key is None or part.key not in self._recent:
                return
            part.held.clear()
            self.duplicates += 1

    def _take(self, part: _Part[T]) -> T | Pending | End:
        """Return the next event of one stream. Stores and logs an error that ends this stream only."""
        with part.host.guard:
            part.host.driver.usable()
            try:
                event = part.step()
            except _FINAL as error:
                if part.error is None:
                    _log.warning(
                        "a merged stream has no more events, but others may have: %s",
                        describe(error),
                    )
                part.error = error
                return PENDING
        part.error = None
        part.ended = event is END
        return event

    def _key_of(self, event: object) -> Hashable:
        """Return the key of an event, or None. An event without a key is never a duplicate."""
        if not isinstance(event, ChannelEvent):
            return None
        try:
            if not isinstance(self._key, str):
                key = self._key(event)
            else:
                data = event.data
                known = isinstance(data, Mapping)
                key = data.get(self._key) if known else getattr(data, self._key, None)
            hash(key)
        except Exception as error:
            self._failures += 1
            text = "an event has no usable key, and may be returned twice: %s"
            log_seldom(_log, logging.WARNING, self._failures, text, describe(error))
            return None
        return key


def _opened(sources: Iterable[Any], open_stream: Callable[[Any], object]) -> list[StreamBase[Any]]:
    """Return the streams of sources. Raises TypeError for an object without one, and ValueError for no sources."""
    if isinstance(sources, SourceBase | StreamBase) or not isinstance(sources, Iterable):
        raise TypeError(f"merge needs a list of streams or channels, not {sources!r}")
    streams = []
    for each in sources:
        try:
            stream = open_stream(each)
        except TypeError:
            stream = None
        if not isinstance(stream, StreamBase):
            raise TypeError(f"merge needs streams or channels of this kind of client, not {each!r}")
        streams.append(stream)
    if not streams:
        raise ValueError("merge needs at least one stream")
    return streams
