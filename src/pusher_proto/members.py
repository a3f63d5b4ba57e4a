"""The members of a presence channel, as immutable snapshots for the application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

__all__ = ["Member", "Members"]


class Member(Struct, frozen=True):
    """A member of a presence channel."""

    id: str
    """The user id, as text."""
    info: Any = None
    """The `user_info` with which the application authorized the subscription, or None."""


class Members(Mapping[str, Member]):
    """The members at one moment, by user id. Iteration yields the ids.

    Ids are text; an integer finds the member whose id has the same digits.
    """

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Member] | None = None) -> None:
        self._members: Mapping[str, Member] = members if members is not None else {}

    def __getitem__(self, user_id: str | int) -> Member:
        return self._members[_text(user_id)]

    def __contains__(self, user_id: object) -> bool:
        return _text(user_id) in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"Members({len(self)})"

    @property
    def count(self) -> int:
        """The number of members."""
        return len(self._members)


def _text(user_id: Any) -> Any:
    """Return an integer id as text, and everything else unchanged."""
    return str(user_id) if type(user_id) is int else user_id
