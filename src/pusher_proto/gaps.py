"""Gaps in the events of a channel, and the functions of the application that close them."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Hashable,
    Iterable,
    Mapping,
)
from datetime import datetime
from functools import update_wrapper
from typing import Any

from msgspec import Struct

from ._base.checks import check_plain
from ._base.recent_keys import RecentKeys
from ._wire.envelope import text_of
from .errors import excerpt
from .events import ChannelEvent, Event
from .names import is_of_protocol

__all__ = [
    "CatchUp",
    "CaughtUp",
    "EventKey",
    "Fetch",
    "Fetched",
    "FetchedLater",
    "Gap",
    "GapNotClosed",
]


class Gap(Struct, frozen=True):
    """A period in which events of a channel may have been missed: the argument of a `catch_up` function."""

    channel: str
    """The name of the channel."""
    first: bool
    """Whether no event was delivered before: return a snapshot or the history."""
    last: ChannelEvent | None
    """The last event that was delivered before the gap, or None; with `key`, the last one that has a key."""
    offline_for: float | None
    """Seconds since the last byte was received on the last subscription; None if there was none."""
    since: datetime | None
    """When the last byte was received, in UTC, or earlier; None without `offline_for` or without a clock.

    Unlike `offline_for`, it includes the time that the machine was asleep.
    """
    attempt: int
    """The number of the attempt to fetch, from 1."""


class CaughtUp(Event, frozen=True):
    """The events of a gap were fetched. It is emitted after them, and before the held live events."""

    channel: str
    """The name of the channel."""
    gap: Gap
    """The gap that was closed."""
    fetched: int
    """How many fetched events were delivered."""
    duplicates: int
    """How many fetched events were dropped, because they had been delivered before."""


class GapNotClosed(Event, frozen=True, eq=False):
    """The events of a gap could not be fetched: events may be missing at this place in the order of events.

    Live events follow. All streams of messages of the channel return it, whichever names they select; handlers and
    waits get it by `bind(GapNotClosed, ...)` or by a selector of all events.
    """

    channel: str
    """The name of the channel."""
    gap: Gap
    """The gap: events after `gap.last` may be missing."""
    reason: str
    """Why it was given up."""
    error: BaseException | None = None
    """The last exception of the `catch_up` function, or None."""


FetchedEvent = ChannelEvent | Mapping[str, Any] | tuple[str, Any]
"""A fetched event: a `ChannelEvent`, a mapping with "event" and "data", or a pair of event and data."""
Fetched = Iterable[FetchedEvent] | AsyncIterable[FetchedEvent]
Fetch = Callable[[Gap], Fetched | Awaitable[Fetched]]
"""A `catch_up` function. It returns the events that were published since `gap.last`, in their order, as an iterable or
an async iterable. It may be slow: a plain function runs in its own thread."""
EventKey = str | Callable[[Any], Hashable]
"""The key of an event: the name of a field of the data, or a pure and quick function of the event.

Events with equal keys are duplicates. The function returns a hashable value, or None for an event that is never a
duplicate.
"""


class CatchUp:
    """The functions with which one channel catches up, and a record of the delivered events.

    A channel that is subscribed again with the same object continues after the last delivered event.
    """

    def __init__(self, fetch: Fetch, key: EventKey | None = None) -> None:
        self.fetch: Fetch
        self.key: EventKey | None = None
        self.last: ChannelEvent | None = None
        """The last delivered event; with `key`, the last one that has a key."""
        self._seen: RecentKeys | None = None
        """The keys of the last delivered events."""
        self.open: bool = False
        """Whether there is a gap that is not closed."""
        self.missing_since: float | None = None
        """When the gap began, in monotonic seconds; None without a gap, or for the first subscription."""
        self.missing_since_utc: float | None = None
        """The same in seconds since the epoch."""
        self._utc_offset: float | None = None
        """The difference between the two clocks when the server last confirmed the subscription."""
        self.use(fetch, key)

    def use(self, fetch: Fetch, key: EventKey | None) -> None:
        """Use these functions from now on. Raises TypeError for other values."""
        if not callable(fetch):
            raise TypeError(f"catch_up is a function of a Gap, not {type(fetch).__name__}")
        if key is not None and not isinstance(key, str) and not callable(key):
            raise TypeError(
                "key is the name of a field of the data, or a function of the event, not "
                f"{type(key).__name__}"
            )
        check_plain(key, "key")
        if key != self.key:
            self._seen = None
        self.fetch, self.key = fetch, key

    @property
    def is_async(self) -> bool:
        """Whether the function needs an event loop."""
        called = vars(type(self.fetch)).get("__call__")
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in (self.fetch, called)
        )

    def begin_gap(self, since: float | None) -> None:
        """Begin a gap at a time in monotonic seconds, unless a gap is open."""
        if not self.open:
            self.open = True
            self.missing_since, self.missing_since_utc = since, None

    def note_time(self, utc_offset: float) -> None:
        """Store the difference between the clocks, and compute the beginning of the gap on the wall clock.

        Of the current difference and the last one before the gap, use the one that gives the earlier time: so the gap
        never seems to begin too late, even if the machine was asleep or its clock was set back.
        """
        if self.missing_since is not None and self.missing_since_utc is None:
            before = utc_offset if self._utc_offset is None else self._utc_offset
            self.missing_since_utc = self.missing_since + min(before, utc_offset)
        self._utc_offset = utc_offset

    def end_gap(self) -> None:
        """End the gap: it was closed, or the application was notified."""
        self.open = False
        self.missing_since = self.missing_since_utc = None

    def is_new(self, event: ChannelEvent, window: int) -> bool:
        """Return whether no event with the same key was delivered before, and record this one as delivered.

        Raises exceptions of the application's `key` function; the event then counts as one without a key.
        """
        if self.key is None:
            self.last = event
            return True
        key = self._key_of(event, self.key)
        if key is None:
            return True
        if self._seen is None:
            self._seen = RecentKeys(window)
        if key in self._seen:
            if self.last is not None and self.last.caught_up and event.caught_up:
                self.last = event  # it follows the last one in the order of the fetched events
            return False
        self._seen.window = window
        self._seen.add(key)
        self.last = event
        return True

    @staticmethod
    def _key_of(event: ChannelEvent, key: EventKey) -> Hashable:
        if not isinstance(key, str):
            return key(event)
        data = event.data
        return data.get(key) if isinstance(data, dict) else None

    def call(self, gap: Gap) -> Callable[[], object]:
        """Return a function that fetches the events of `gap` and returns a list of `ChannelEvent`.

        It is a coroutine function if the application's function needs an event loop. A plain function may return an
        awaitable.
        """
        fetch: Any = self.fetch

        async def awaited() -> object:
            return await _read_later(fetch(gap), gap.channel)

        def plain() -> object:
            result = fetch(gap)
            if inspect.isawaitable(result) or isinstance(result, AsyncIterable):
                return FetchedLater(result, gap.channel)
            return _read(result, gap.channel)

        return update_wrapper(awaited if self.is_async else plain, fetch)


class FetchedLater:
    """The awaitable of the fetched events. A driver that cannot await it calls `close`."""

    def __init__(self, result: Any, channel: str) -> None:
        self._result = result
        self._channel = channel

    def __await__(self) -> Generator[Any, None, list[ChannelEvent]]:
        return _read_later(self._result, self._channel).__await__()

    def close(self) -> None:
        """Close the application's coroutine, which would warn that it was never awaited."""
        if inspect.iscoroutine(self._result):
            self._result.close()


async def _read_later(result: Any, channel: str) -> list[ChannelEvent]:
    """Await the result of the application's function, and convert it."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncIterable):
        result = [each async for each in result]
    return _read(result, channel)


def _read(result: Any, channel: str) -> list[ChannelEvent]:
    """Convert fetched events to events of `channel`. Raises TypeError or ValueError with the reason."""
    if isinstance(result, str | bytes | Mapping) or not isinstance(result, Iterable):
        what = "None" if result is None else type(result).__name__
        raise TypeError(
            f"a catch_up function has to return an iterable of events (empty without events), not {what}"
        )
    return [_event(one, channel, number) for number, one in enumerate(result)]


def _event(one: object, channel: str, number: int) -> ChannelEvent:
    """Convert one fetched event. Raises TypeError or ValueError with its number and the reason."""
    name: object
    data: object
    user_id: object = None
    extra: dict[str, Any] | None = None
    if isinstance(one, ChannelEvent):
        if one.channel != channel:
            other = excerpt(one.channel, 64)
            raise ValueError(f"the fetched event {number} is of another channel: {other!r}")
        name, data, user_id, extra = one.name, one.wire_data, one.user_id, one.extra
    elif isinstance(one, Mapping):
        name, data, user_id = one.get("event"), one.get("data"), one.get("user_id")
        extra = {key: value for key, value in one.items() if key not in _KNOWN} or None
    elif isinstance(one, tuple) and len(one) == 2:
        name, data = one
    else:
        raise TypeError(
            f"the fetched event {number} is a {type(one).__name__}: return a ChannelEvent, a mapping with 'event' and "
            "'data', or a pair (event, data)"
        )
    if not isinstance(name, str) or is_of_protocol(name):
        raise ValueError(f"the fetched event {number} has no valid name: {excerpt(repr(name), 64)}")
    try:
        text = data if data is None or isinstance(data, str) else text_of(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the data of the fetched event {number} is not JSON: {error}") from error
    sender = None if user_id is None else str(user_id)
    return ChannelEvent(channel, name, text, sender, extra, caught_up=True)


_KNOWN = ("event", "data", "user_id", "channel")
