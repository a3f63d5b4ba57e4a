"""The roster of a presence channel, kept equal to the server's.

Servers differ in what they send (protocol: presence): ids may be integers, `hash` a list or `[]` where PHP saw
consecutive or no keys, info null or missing, `count` wrong. All ids become str.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from .._wire.envelope import value_of
from ..events import Event, MemberAdded, MemberRemoved, MemberUpdated
from ..members import Member, Members

__all__ = ["BadPresence", "Roster"]


class BadPresence(ValueError):
    """What the server said of members makes no sense; says why."""


class Roster:
    """The members of one channel. `members` is a snapshot that is made anew only after a change."""

    __slots__ = ("_by_id", "_channel", "_limit", "_me_id", "_previous", "_snapshot", "server_count")

    def __init__(self, channel: str, limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._by_id: dict[str, Member] = {}
        self._previous: dict[str, Member] | None = None
        self._snapshot: Members | None = None
        self._me_id: str | None = None
        self.server_count: int | None = None

    @property
    def members(self) -> Members:
        """Who is there now."""
        if self._snapshot is None:
            self._snapshot = Members(self._by_id)
        return self._snapshot

    @property
    def me(self) -> Member | None:
        """This client's own member, or None while it is not subscribed."""
        return self._by_id.get(self._me_id) if self._me_id is not None else None

    def introduce(self, channel_data: str | None, user_id: str | None) -> None:
        """Note who subscribes: by the data that the authorization carries, or as the user who is signed in."""
        data = value_of(channel_data)
        found = _id_of(data.get("user_id")) if isinstance(data, dict) else None
        self._me_id = found if found is not None else user_id

    def clear(self) -> None:
        """The socket dropped: nobody is known to be there. What was known is kept for the differences."""
        if self._by_id:
            self._previous = self._by_id
        self._by_id = {}
        self._snapshot = None
        self.server_count = None

    def forget(self) -> None:
        """The channel was left: there is nothing to tell differences from."""
        self._previous = None

    def replace(self, data: Any) -> Iterator[Event]:
        """Take the roster that comes with a success; return what changed since the one before a drop.

        Raises `BadPresence`, with an empty roster then.
        """
        before, self._previous = self._previous, None
        self._by_id, self._snapshot, self.server_count = {}, None, None
        self._by_id, self.server_count = _read(data, self._limit)
        return self._differences(before) if before is not None else iter(())

    def add(self, data: Any) -> Event | None:
        """Take a member_added; return the event that it is, or None when nothing changed."""
        value = value_of(data)
        user_id = _id_of(value.get("user_id")) if isinstance(value, dict) else None
        if user_id is None:
            raise BadPresence("a member_added without a user_id")
        member = Member(user_id, value.get("user_info"))
        known = self._by_id.get(user_id)
        if known is None and len(self._by_id) >= self._limit:
            raise BadPresence(f"more than {self._limit} members (Options.max_members)")
        if known == member:
            return None
        self._edit()[user_id] = member
        if known is None:
            return MemberAdded(self._channel, member)
        return MemberUpdated(self._channel, member, known)

    def remove(self, data: Any) -> Event | None:
        """Take a member_removed; return the event that it is, or None for somebody who was not there."""
        value = value_of(data)
        user_id = _id_of(value.get("user_id")) if isinstance(value, dict) else None
        if user_id is None:
            raise BadPresence("a member_removed without a user_id")
        if user_id not in self._by_id:
            return None
        return MemberRemoved(self._channel, self._edit().pop(user_id))

    def _edit(self) -> dict[str, Member]:
        """Return the members to change them; a snapshot that was handed out keeps what it has."""
        if self._snapshot is not None:
            self._by_id = dict(self._by_id)
            self._snapshot = None
        return self._by_id

    def _differences(self, before: dict[str, Member]) -> Iterator[Event]:
        now = self._by_id
        for user_id, member in before.items():
            if user_id not in now:
                yield MemberRemoved(self._channel, member)
        for user_id, member in now.items():
            known = before.get(user_id)
            if known is None:
                yield MemberAdded(self._channel, member)
            elif known != member:
                yield MemberUpdated(self._channel, member, known)


def _read(data: Any, limit: int) -> tuple[dict[str, Member], int | None]:
    value = value_of(data)
    presence = value.get("presence") if isinstance(value, dict) else None
    if not isinstance(presence, dict):
        raise BadPresence("a success on a presence channel without its members")
    ids, infos = presence.get("ids"), presence.get("hash")
    if not isinstance(ids, list):
        ids = []
    if isinstance(infos, list):  # PHP writes an array with the keys 0, 1, 2 as a list
        named = zip_longest(ids[: len(infos)], infos)
        infos = {_id_of(one) or str(i): info for i, (one, info) in enumerate(named)}
    if not isinstance(infos, dict):
        infos = {}
    members = {user_id: Member(user_id, info) for user_id, info in infos.items()}
    for one in ids:
        user_id = _id_of(one)
        if user_id is not None and user_id not in members:
            members[user_id] = Member(user_id)
    if len(members) > limit:
        raise BadPresence(f"more than {limit} members (Options.max_members)")
    count = presence.get("count")
    known = isinstance(count, int) and not isinstance(count, bool)
    return members, count if known else None


def _id_of(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value) or None
