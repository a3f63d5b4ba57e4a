"""Gaps in the events of a channel, and the functions of the application that close them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable, Iterable, Mapping
from datetime import datetime
from functools import update_wrapper
from typing import Any

from msgspec import Struct

from ._base.recent_keys import RecentKeys
from ._wire.envelope import text_of
from .errors import excerpt
from .events import ChannelEvent, Event

__all__ = ["CatchUp", "CaughtUp", "EventKey", "Fetch", "Fetched", "Gap", "GapNotClosed"]


class Gap(Struct, frozen=True):
    """A time in which events of a channel may have been missed: the argument of a `catch_up` function."""

    channel: str
    """The name of the channel."""
    first: bool
    """Whether no event was delivered yet: the place for a snapshot or a history."""
    last: ChannelEvent | None
    """The last event that was delivered before the gap, or None; where `key` is given, the last one with a key."""
    offline_for: float | None
    """Seconds since the last byte was heard on the subscription before this one; None: there was none."""
    since: datetime | None
    """The time in UTC at which the last byte was heard, or earlier; None without `offline_for` or without a clock.

    A time in which the machine slept is included, other than in `offline_for`.
    """
    attempt: int
    """1, and 2 and more after attempts that failed."""


class CaughtUp(Event, frozen=True):
    """The events of a gap were fetched: emitted behind them, and before the live events that were held."""

    channel: str
    """The name of the channel."""
    gap: Gap
    """The gap that was closed."""
    fetched: int
    """How many events were delivered that the application fetched."""
    duplicates: int
    """How many of the fetched events were dropped, because they had been delivered already."""


class GapNotClosed(Event, frozen=True, eq=False):
    """The events of a gap could not be fetched: at this place in the order, events may be missing.

    Live events follow. Every stream of messages of the channel gives it, whatever names it selects; handlers and waits
    get it by `bind(GapNotClosed, ...)` or a selector of everything.
    """

    channel: str
    """The name of the channel."""
    gap: Gap
    """What is missing: events after `gap.last`."""
    reason: str
    """Why it was given up, in words."""
    error: BaseException | None = None
    """What the `catch_up` function raised last, if it did."""


FetchedEvent = ChannelEvent | Mapping[str, Any] | tuple[str, Any]
"""An event that was fetched: a `ChannelEvent`, a mapping with "event" and "data", or a pair of the two."""
Fetched = Iterable[FetchedEvent] | AsyncIterable[FetchedEvent]
Fetch = Callable[[Gap], Fetched | Awaitable[Fetched]]
"""A `catch_up` function. Returns the events that were published since `gap.last`, in their order, as an iterable or an
async iterable. It may take its time: a plain function runs in its own thread."""
EventKey = str | Callable[[Any], Hashable]
"""What tells one event from another: the name of a field of the data, or a pure and quick function of the event.

The function returns a value that can be hashed, or None for an event that is never a duplicate.
"""


class CatchUp:
    """How one channel catches up, and the events that it has delivered.

    A channel that is subscribed again with the same object continues behind the last delivered event.
    """

    def __init__(self, fetch: Fetch, key: EventKey | None = None) -> None:
        self.fetch: Fetch
        self.key: EventKey | None = None
        self.last: ChannelEvent | None = None
        """The last event that was delivered; where there is a key, the last one with a key."""
        self._seen: RecentKeys | None = None
        """The keys of the events that were delivered last."""
        self.open: bool = False
        """Whether there is a gap that is not closed."""
        self.missing_since: float | None = None
        """When it began, in monotonic seconds; None: there is none, or it has no beginning."""
        self.missing_since_utc: float | None = None
        """The same in seconds since the epoch."""
        self._utc_offset: float | None = None
        """The difference between the two clocks when the server confirmed the subscription last."""
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
        """Note that events are missing since a time in monotonic seconds, unless an earlier gap is open."""
        if not self.open:
            self.open = True
            self.missing_since, self.missing_since_utc = since, None

    def note_time(self, utc_offset: float) -> None:
        """Take the difference between the clocks, and use the earlier of two: the last one, and that of before the gap.

        So the gap never seems to begin too late, neither after a sleep of the machine nor when its clock was set back.
        """
        if self.missing_since is not None and self.missing_since_utc is None:
            before = utc_offset if self._utc_offset is None else self._utc_offset
            self.missing_since_utc = self.missing_since + min(before, utc_offset)
        self._utc_offset = utc_offset

    def end_gap(self) -> None:
        """Note that no event is missing, or that the application knows."""
        self.open = False
        self.missing_since = self.missing_since_utc = None

    def is_new(self, event: ChannelEvent, window: int) -> bool:
        """Return whether no event with the same key was delivered, and note that this one is.

        What the function of the application raises comes out; the event is then one without a key.
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
                self.last = event  # it follows the last one in the order of what was fetched
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
        """Return a function that fetches the events of `gap`; its result is a list of `ChannelEvent`.

        It is a coroutine function if the function of the application needs an event loop. A plain one may return an
        awaitable.
        """
        fetch: Any = self.fetch

        async def awaited() -> object:
            return await _read_later(fetch(gap), gap.channel)

        def plain() -> object:
            result = fetch(gap)
            if inspect.isawaitable(result) or isinstance(result, AsyncIterable):
                return _read_later(result, gap.channel)
            return _read(result, gap.channel)

        return update_wrapper(awaited if self.is_async else plain, fetch)


async def _read_later(result: Any, channel: str) -> list[ChannelEvent]:
    """Wait for what the function of the application returned, and read it."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncIterable):
        result = [each async for each in result]
    return _read(result, channel)


def _read(result: Any, channel: str) -> list[ChannelEvent]:
    """Return fetched events as events of `channel`. Raises TypeError or ValueError with the reason."""
    if isinstance(result, str | bytes | Mapping) or not isinstance(result, Iterable):
        what = "None" if result is None else type(result).__name__
        raise TypeError(
            f"a catch_up function returns an iterable of events (an empty one for none), not {what}"
        )
    return [_event(one, channel, number) for number, one in enumerate(result)]


def _event(one: object, channel: str, number: int) -> ChannelEvent:
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
            f"the fetched event {number} is a {type(one).__name__}: a ChannelEvent, a mapping with 'event' and "
            "'data', or a pair (event, data) is needed"
        )
    if not isinstance(name, str) or name.startswith(("pusher:", "pusher_internal:")):
        raise ValueError(
            f"the fetched event {number} has no name of an event: {excerpt(repr(name), 64)}"
        )
    try:
        text = data if data is None or isinstance(data, str) else text_of(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the data of the fetched event {number} is not JSON: {error}") from error
    sender = None if user_id is None else str(user_id)
    return ChannelEvent(channel, name, text, sender, extra, caught_up=True)


_KNOWN = ("event", "data", "user_id", "channel")
