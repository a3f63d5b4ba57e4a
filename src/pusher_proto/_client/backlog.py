"""Keeps events of channels that no consumer has selected yet, a limited number for each channel."""

from __future__ import annotations

from heapq import merge

from .._base.logs import logger
from ..errors import excerpt
from ..events import ChannelEvent, Event, Subscribed, scope_of
from .sinks import Sink

__all__ = ["Backlog"]

_Kept = list[tuple[int, Event]]  # an empty deque takes 700 bytes for each channel

_log = logger("client")


class Backlog:
    """Keeps messages, and in another list the other events of a channel, so that neither displaces the other.

    Each event has a place, an increasing number, which gives the order across channels. Of the first success of a
    channel, which every idle channel has, only the place is kept: that takes 32 bytes, the event 250.
    """

    __slots__ = ("_limit", "_messages", "_others", "_scopes", "_warned", "last")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scopes: dict[str, int] = {}
        """The channels, each with the place of its first success, or 0 when that is not kept."""
        self._messages: dict[str, _Kept] = {}
        """The kept messages of each channel, in order."""
        self._others: dict[str, _Kept] = {}
        """Its other kept events."""
        self._warned: dict[str, None] = {}
        """The channels about which a warning was logged."""
        self.last: int = 0
        """The place of the last event."""

    def begin(self, scope: str) -> None:
        """Keep events of this channel from now on."""
        if self._limit:
            self._scopes[scope] = 0

    def end(self, scope: str) -> None:
        """Forget this channel and its events."""
        for table in (self._scopes, self._messages, self._others, self._warned):
            table.pop(scope, None)

    def next_place(self) -> int:
        """Return the place of the next event."""
        self.last += 1
        return self.last

    def keep(self, event: Event, place: int) -> bool:
        """Keep an event. Return whether to call `warn`, because a message was dropped for the first time."""
        scope = scope_of(event)
        if scope is None or scope not in self._scopes:
            return False
        if self._is_first_success(event, scope):
            self._scopes[scope] = place
            return False
        is_message = isinstance(event, ChannelEvent)
        kept = (self._messages if is_message else self._others).setdefault(scope, [])
        dropping = len(kept) == self._limit
        if dropping:
            del kept[0]
        kept.append((place, event))
        return dropping and is_message and scope not in self._warned

    def warn(self, scope: str) -> None:
        """Log a warning that messages of this channel are dropped; `keep` asks for it once."""
        self._warned[scope] = None
        _log.warning(
            "%s has no stream and no handler: only its last %d messages are kept (Options.backlog_limit)",
            excerpt(scope, 64),
            self._limit,
        )

    def give_back(self, event: Event, place: int) -> None:
        """Keep an event again, at its old place, that a consumer got but did not take."""
        scope = scope_of(event)
        if scope is None or scope not in self._scopes:
            return
        if self._is_first_success(event, scope):
            self._scopes[scope] = place
        else:
            table = self._messages if isinstance(event, ChannelEvent) else self._others
            entries = [*table.get(scope, ()), (place, event)]
            entries.sort(key=lambda entry: entry[0])
            table[scope] = entries[-self._limit :]

    def find(self, sink: Sink) -> tuple[int, Event] | None:
        """Return the first kept event that `sink` wants, with its place. It is kept until `take`."""
        return next((entry for entry in self._entries(sink) if _wants(sink, entry[1])), None)

    def take(self, event: Event, place: int) -> bool:
        """Remove the event at this place; return whether it was kept."""
        scope = scope_of(event) or ""
        if self._scopes.get(scope) == place:
            self._scopes[scope] = 0
            return True
        for table in (self._messages, self._others):
            kept = table.get(scope, ())
            left = [entry for entry in kept if entry[0] != place]
            if len(left) < len(kept):
                self._put_back(table, scope, left)
                return True
        return False

    def serve(self, sink: Sink) -> None:
        """Move all kept events that `sink` wants to it, in order."""
        taken = set()
        for place, event in self._entries(sink):
            if _wants(sink, event):
                sink.put(event)
                taken.add(place)
        if not taken:
            return
        for scope in self._scopes if sink.channel is None else [sink.channel]:
            if self._scopes.get(scope) in taken:
                self._scopes[scope] = 0
        for table in (self._messages, self._others):
            # Look up again: a predicate may have unsubscribed.
            for scope in list(table) if sink.channel is None else [sink.channel]:
                left = [entry for entry in table.get(scope, ()) if entry[0] not in taken]
                self._put_back(table, scope, left)

    def _entries(self, sink: Sink) -> list[tuple[int, Event]]:
        """Return a copy of the events kept in the scope of `sink`, in order."""
        scope, kept = sink.channel, list[_Kept]()
        for table in (self._messages, self._others):
            kept += table.values() if scope is None else [table[scope]] if scope in table else []
        scopes = self._scopes if scope is None else {scope: self._scopes.get(scope, 0)}
        first = sorted((place, name) for name, place in scopes.items() if place)
        if first:
            kept.append([(place, Subscribed(name)) for place, name in first])
        return kept[0].copy() if len(kept) == 1 else list(merge(*kept, key=_place_of))

    def _is_first_success(self, event: Event, scope: str) -> bool:
        """Return whether the place is enough to keep this event: it is a first success, and none is kept."""
        is_first = type(event) is Subscribed and event.offline_for is None
        return is_first and not self._scopes[scope]

    @staticmethod
    def _put_back(table: dict[str, _Kept], scope: str, left: _Kept) -> None:
        """Replace the kept events of a channel."""
        if left:
            table[scope] = left
        else:
            table.pop(scope, None)


def _wants(sink: Sink, event: Event) -> bool:
    """Return whether `sink` wants a kept event. Calls predicates with messages only, which is what they may expect."""
    return (isinstance(event, ChannelEvent) or sink.choice.asks_for(event)) and sink.wants(event)


def _place_of(entry: tuple[int, Event]) -> int:
    return entry[0]
