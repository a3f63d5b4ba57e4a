"""The roster: the members of a presence channel, kept equal to the server's list.

Servers send different formats (protocol: presence): ids may be integers; PHP writes a `hash` with consecutive keys or
none as a list; info may be null or missing; `count` may be wrong. All ids are converted to str.

Sockudo adds a client to the channel before it builds the list, so joins and leaves of others can arrive before the
success and be missing from its list. They are kept, and applied to the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from .._base.checks import is_int
from .._protocol.control import read_id
from .._wire.envelope import value_of
from ..events import Event, MemberAdded, MemberRemoved, MemberUpdated
from ..members import Member, Members

__all__ = ["BadPresence", "Roster"]


class BadPresence(ValueError):
    """A message about members is invalid; the exception says why."""


class Roster:
    """The members of one channel. `members` is a snapshot that is built again only after a change."""

    __slots__ = (
        "_by_id",
        "_channel",
        "_early",
        "_limit",
        "_me_id",
        "_previous",
        "_snapshot",
        "drifts",
        "own_removed",
        "server_count",
    )

    def __init__(self, channel: str, limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._by_id: dict[str, Member] = {}
        self._early: dict[str, Member | None] | None = None
        """Joins and leaves (as None) between the subscribe and its success, by user id; None: they are dropped."""
        self._previous: dict[str, Member] | None = None
        """The members when the last subscription ended, to report the differences."""
        self._snapshot: Members | None = None
        self._me_id: str | None = None
        self.server_count: int | None = None
        self.own_removed = False
        """Whether this client's own member was removed between the subscribe and its success."""
        self.drifts = 0
        """How many messages contradicted the roster: joins of listed members, and leaves of unlisted ones."""

    @property
    def members(self) -> Members:
        """The current members."""
        if self._snapshot is None:
            self._snapshot = Members(self._by_id)
        return self._snapshot

    @property
    def me(self) -> Member | None:
        """This client's own member, or None while it is not subscribed."""
        return self._by_id.get(self._me_id) if self._me_id is not None else None

    def introduce(self, channel_data: str | None, user_id: str | None) -> None:
        """Store this client's own id, from the `channel_data` of the authorization or else from the sign-in."""
        data = value_of(channel_data)
        found = read_id(data.get("user_id")) if isinstance(data, dict) else None
        self._me_id = found if found is not None else user_id

    def expect(self) -> None:
        """Keep joins and leaves from now on, until the success arrives."""
        self._early = {}

    def ignore(self) -> None:
        """Drop joins and leaves until `expect`: they belong to a subscription that was ended."""
        self._early = None

    @property
    def expects(self) -> bool:
        """Whether messages belong to the subscription that is being made, not to the one that was ended."""
        return self._early is not None

    def clear(self) -> None:
        """Empty the roster at the end of a subscription; keep its members, to report the differences later."""
        if self._by_id:
            self._previous = self._by_id
        self._by_id = {}
        self._early = self._snapshot = self.server_count = None

    def forget(self) -> None:
        """Forget the members of the last subscription: after an unsubscribe no differences are reported."""
        self._previous = None

    def replace(self, data: Any) -> Iterator[Event]:
        """Use the list of a success; return the differences to the members of the last subscription, as events.

        Raises `BadPresence` for an invalid list; then the roster is empty.
        """
        before, self._previous = self._previous, None
        early, self._early = self._early or {}, None
        self.own_removed = self._me_id in early and early[self._me_id] is None
        self._by_id, self._snapshot, self.server_count = {}, None, None
        members, count = _read(data)
        for user_id, member in early.items():
            if member is not None:
                members[user_id] = member
            elif user_id != self._me_id:
                members.pop(user_id, None)
        if len(members) > self._limit:
            raise BadPresence(self._too_many)
        self._by_id, self.server_count = members, count
        return self._differences(before) if before is not None else iter(())

    def note(self, data: Any, *, joined: bool) -> None:
        """Keep a member_added or member_removed that arrives before the success.

        Raises `BadPresence` for one without a user id, and for more members than the limit.
        """
        user_id, member = _member_of(data, joined=joined)
        if self._early is None:
            return
        if user_id not in self._early and len(self._early) >= self._limit:
            raise BadPresence(self._too_many)
        self._early[user_id] = member if joined else None

    def add(self, data: Any) -> Event | None:
        """Apply a member_added; return its event, or None if it changes nothing. Raises `BadPresence`."""
        user_id, member = _member_of(data, joined=True)
        known = self._by_id.get(user_id)
        if known is None and len(self._by_id) >= self._limit:
            raise BadPresence(self._too_many)
        if known is not None:
            self.drifts += 1
        if known == member:
            return None
        self._edit()[user_id] = member
        if known is None:
            return MemberAdded(self._channel, member)
        return MemberUpdated(self._channel, member, known)

    def remove(self, data: Any) -> Event | None:
        """Apply a member_removed; return its event, or None for a member that was not listed. Raises `BadPresence`.

        Keeps this client's own member: a server sends its removal only when the member's last connection has ended,
        and this client is connected.
        """
        user_id, _ = _member_of(data, joined=False)
        if user_id not in self._by_id:
            self.drifts += 1
            return None
        if user_id == self._me_id:
            return None
        return MemberRemoved(self._channel, self._edit().pop(user_id))

    def is_own(self, data: Any) -> bool:
        """Return whether a member_added or member_removed names this client's own member."""
        value = value_of(data)
        user_id = read_id(value.get("user_id")) if isinstance(value, dict) else None
        return user_id is not None and user_id == self._me_id

    @property
    def _too_many(self) -> str:
        return f"more than {self._limit} members (Options.max_members)"

    def _edit(self) -> dict[str, Member]:
        """Return the members for editing; snapshots returned before stay unchanged."""
        if self._snapshot is not None:
            self._by_id = dict(self._by_id)
            self._snapshot = None
        return self._by_id

    def _differences(self, before: dict[str, Member]) -> Iterator[Event]:
        """Yield the events that lead from the members `before` to the current ones."""
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


def _member_of(data: Any, *, joined: bool) -> tuple[str, Member]:
    """Return the user id and the member in a member_added or member_removed. Raises `BadPresence`."""
    value = value_of(data)
    user_id = read_id(value.get("user_id")) if isinstance(value, dict) else None
    if user_id is None:
        raise BadPresence(f"a member_{'added' if joined else 'removed'} without a user_id")
    return user_id, Member(user_id, value.get("user_info"))


def _read(data: Any) -> tuple[dict[str, Member], int | None]:
    """Return the members and the count in the data of a success. Raises `BadPresence`."""
    value = value_of(data)
    presence = value.get("presence") if isinstance(value, dict) else None
    if not isinstance(presence, dict):
        raise BadPresence("a success on a presence channel without its members")
    ids, infos = presence.get("ids"), presence.get("hash")
    if not isinstance(ids, list):
        ids = []
    if isinstance(infos, list):
        # PHP writes an array with the keys 0, 1, 2 as a list.
        named = zip_longest(ids[: len(infos)], infos)
        infos = {read_id(one) or str(i): info for i, (one, info) in enumerate(named)}
    if not isinstance(infos, dict):
        infos = {}
    members = {user_id: Member(user_id, info) for user_id, info in infos.items()}
    for one in ids:
        user_id = read_id(one)
        if user_id is not None and user_id not in members:
            members[user_id] = Member(user_id)
    count = presence.get("count")
    return members, count if is_int(count) else None
