"""Messages that nobody claimed: kept, a bounded number for each channel, for the consumer that comes later."""

from __future__ import annotations

from collections import deque
from heapq import merge

from .._base.logs import logger
from ..errors import excerpt
from ..events import ChannelEvent
from .streams import Sink

__all__ = ["Backlog"]

_Kept = deque[tuple[int, ChannelEvent]]

_log = logger("client")


class Backlog:
    """Each message has a place, a number that grows, so that the order is known across channels."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, _Kept | None] = {}
        self._warned: dict[str, None] = {}
        self._last = 0

    def begin(self, scope: str) -> None:
        """Keep messages of this channel from now on."""
        if self._limit:
            self._kept.setdefault(scope, None)

    def end(self, scope: str) -> None:
        """Forget this channel and its messages."""
        self._kept.pop(scope, None)
        self._warned.pop(scope, None)

    def next_place(self) -> int:
        """Return the place of the message of the moment."""
        self._last += 1
        return self._last

    def keep(self, scope: str, event: ChannelEvent) -> bool:
        """Keep a message. Returns whether one was dropped for it, of a channel that nobody was warned of."""
        kept = self._kept.get(scope)
        if kept is None:
            if scope not in self._kept:
                return False
            kept = self._kept[scope] = deque(maxlen=self._limit)
        self._last = place = self._last + 1
        dropping = len(kept) == self._limit and scope not in self._warned
        kept.append((place, event))
        return dropping

    def warn(self, scope: str) -> None:
        """Say that messages of this channel are dropped, once."""
        self._warned[scope] = None
        _log.warning(
            "nobody listens to %s: of its messages only the last %d are kept (Options.backlog_limit)",
            excerpt(scope, 64),
            self._limit,
        )

    def give_back(self, scope: str, event: ChannelEvent, place: int) -> None:
        """Keep a message that had been claimed, and was not taken, where it stood."""
        if scope in self._kept:
            entries = [*(self._kept[scope] or ()), (place, event)]
            entries.sort(key=lambda entry: entry[0])
            self._kept[scope] = deque(entries, maxlen=self._limit)

    def serve(self, sink: Sink) -> None:
        """Give `sink` what it wants of all this, in order: the first one only when it takes just one."""
        scopes = list(self._kept) if sink.channel is None else [sink.channel]
        waiting = {scope: tuple(self._kept.get(scope) or ()) for scope in scopes}
        taken = set()
        for place, event in merge(*waiting.values()):
            if sink.wants(event):
                sink.put(event)
                taken.add(place)
                if sink.once:
                    sink.place = place
                    break
        for scope, entries in waiting.items() if taken else ():
            if scope in self._kept:  # a predicate may have unsubscribed
                left = [entry for entry in entries if entry[0] not in taken]
                self._kept[scope] = deque(left, maxlen=self._limit) if left else None
