"""The members of a presence channel, kept up to date event by event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pusher_proto import Member

__all__ = ["Change", "Roster"]


class Change(NamedTuple):
    """A change of the list: `here` with all members, or `joined`, `changed`, `left` with one."""

    what: str
    member: Member | None = None


class Roster:
    """The members, in the order in which they joined.

    A channel's own `members` may be newer than the events that are still to be read. A change that the list contains
    already is not reported again.
    """

    def __init__(self) -> None:
        self.me: str | None = None
        self._members: dict[str, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)

    def here(self, members: Mapping[str, Member], me: Member | None) -> Change:
        """Replace the list by these members."""
        self.me = None if me is None else me.id
        self._members = dict(members)
        return Change("here")

    def joined(self, member: Member) -> Change | None:
        """Add a member, or update its info."""
        before = self._members.get(member.id)
        if before == member:
            return None
        self._members[member.id] = member
        return Change("joined" if before is None else "changed", member)

    def left(self, member: Member) -> Change | None:
        """Remove a member."""
        return Change("left", member) if self._members.pop(member.id, None) is not None else None
