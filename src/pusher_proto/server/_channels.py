"""One channel: who is subscribed and, on a presence channel, who is there. It sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ._names import Kind, kind_of

if TYPE_CHECKING:
    from ._realm import Socket

__all__ = ["Cache", "CachedEvent", "Channel", "Member"]


class Member(msgspec.Struct, frozen=True):
    """A user on a presence channel."""

    user_id: str
    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The JSON of `user_info`, passed on as it came."""


class Channel:
    """A channel while anybody is subscribed to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = kind_of(name)
        self.subscribers: dict[Socket, Member | None] = {}
        self.members: dict[str, Member] = {}
        self._places: dict[str, int] = {}

    def add(self, socket: Socket, member: Member | None) -> bool:
        """Add a subscriber; True when a user came who was not there through another connection."""
        self.subscribers[socket] = member
        if member is None:
            return False
        # The first connection decides what is known about a user.
        self.members.setdefault(member.user_id, member)
        self._places[member.user_id] = self._places.get(member.user_id, 0) + 1
        return self._places[member.user_id] == 1

    def remove(self, socket: Socket) -> Member | None:
        """Remove a subscriber; the user who is gone with it, if this was their last connection."""
        member = self.subscribers.pop(socket)
        if member is None:
            return None
        self._places[member.user_id] -= 1
        if self._places[member.user_id]:
            return None
        del self._places[member.user_id]
        return self.members.pop(member.user_id)

    def success_data(self) -> object:
        """Return the data of `pusher_internal:subscription_succeeded`."""
        if self.kind is not Kind.PRESENCE:
            return {}
        roster = {
            user_id: None if member.info is msgspec.UNSET else member.info
            for user_id, member in self.members.items()
        }
        return {"presence": {"ids": list(roster), "hash": roster, "count": len(roster)}}


class CachedEvent(msgspec.Struct, frozen=True):
    """The last event of a cache channel."""

    text: str
    data: str
    expires: float


class Cache:
    """The last event of each cache channel, for half an hour, whether anybody is subscribed or not."""

    LIFETIME = 30 * 60.0

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: dict[str, CachedEvent] = {}

    def put(self, channel: str, text: str, data: str, now: float) -> None:
        """Keep an event in place of the last one."""
        self._events.pop(channel, None)
        self._events[channel] = CachedEvent(text, data, now + self.LIFETIME)
        # All live equally long, so those that expire first stand first.
        while (oldest := next(iter(self._events))) != channel:
            if self._events[oldest].expires > now and len(self._events) <= self._limit:
                break
            del self._events[oldest]

    def get(self, channel: str, now: float) -> CachedEvent | None:
        """Return the event that a new subscriber gets."""
        event = self._events.get(channel)
        return event if event is not None and event.expires > now else None
