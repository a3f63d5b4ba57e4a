"""One channel: its subscribers and, on a presence channel, its members. Sending is up to `_realm`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ._names import Kind
from ._users import Client

__all__ = ["Cache", "CachedEvent", "Channel", "Member"]


class Member(msgspec.Struct, frozen=True):
    """A user on a presence channel."""

    user_id: str
    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The JSON of `user_info`, passed on unchanged."""


class Channel:
    """A channel while it has subscribers."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.subscribers: dict[Client, Member | None] = {}
        self._members: dict[str, Member] = {}
        self._connections: dict[str, int] = {}

    @property
    def members(self) -> Mapping[str, Member]:
        """The users on a presence channel by their ids."""
        return self._members

    @property
    def shown_name(self) -> str | None:
        """The name in `pusher_internal:subscription_succeeded`."""
        return self.name

    def add(self, socket: Client, member: Member | None) -> bool:
        """Add a subscriber; return whether its user was not on the channel before."""
        self.subscribers[socket] = member
        if member is None:
            return False
        # The first connection decides the data of a user.
        self._members.setdefault(member.user_id, member)
        count = self._connections.get(member.user_id, 0) + 1
        self._connections[member.user_id] = count
        return count == 1

    def remove(self, socket: Client) -> Member | None:
        """Remove a subscriber; return its user if this was the last connection of that user."""
        member = self.subscribers.pop(socket)
        if member is None:
            return None
        self._connections[member.user_id] -= 1
        if self._connections[member.user_id]:
            return None
        del self._connections[member.user_id]
        return self._members.pop(member.user_id)

    def success_data(self) -> object:
        """Return the data of `pusher_internal:subscription_succeeded`, or UNSET when the server fails to build it."""
        if self.kind is not Kind.PRESENCE:
            return {}
        roster = {
            user_id: None if member.info is msgspec.UNSET else member.info
            for user_id, member in self._members.items()
        }
        return {"presence": {"ids": list(roster), "hash": roster, "count": len(roster)}}

    def added_data(self, member: Member) -> object:
        """Return the data of `pusher_internal:member_added`."""
        return _Added(member.user_id, member.info)

    def removed_data(self, member: Member) -> object:
        """Return the data of `pusher_internal:member_removed`."""
        return {"user_id": member.user_id}

    def user_id_of(self, sender: Client) -> object:
        """Return the `user_id` that the server adds to client events of a subscriber, or None."""
        member = self.subscribers.get(sender)
        return None if member is None else member.user_id


class _Added(msgspec.Struct, frozen=True):
    user_id: str
    user_info: msgspec.Raw | msgspec.UnsetType


class CachedEvent(msgspec.Struct, frozen=True):
    """The last event of a cache channel."""

    text: str
    data: str
    expires: float


class Cache:
    """The last event of each cache channel, until it expires."""

    def __init__(self, limit: int, lifetime: float) -> None:
        self._limit = limit
        self._lifetime = lifetime
        self._events: dict[str, CachedEvent] = {}

    def put(self, channel: str, text: str, data: str, now: float) -> None:
        """Replace the cached event of a channel."""
        self._events.pop(channel, None)
        self._events[channel] = CachedEvent(text, data, now + self._lifetime)
        # All have the same lifetime, so the oldest expires first.
        while (oldest := next(iter(self._events))) != channel:
            if self._events[oldest].expires > now and len(self._events) <= self._limit:
                break
            del self._events[oldest]

    def get(self, channel: str, now: float) -> CachedEvent | None:
        """Return the event for a new subscriber."""
        event = self._events.get(channel)
        return event if event is not None and event.expires > now else None

    def drop(self, channel: str) -> None:
        """Forget the event of a channel."""
        self._events.pop(channel, None)
