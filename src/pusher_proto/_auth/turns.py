"""Turns: who may go on now, of those who want the same and of whom only so many may have it at once."""

from __future__ import annotations

__all__ = ["Turns"]


class Turns:
    """Whose turn it is, of those who ask the same: at most `limit` at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[int, None] = {}
        self._under_way: dict[int, None] = {}  # an empty set takes three times as much

    def __contains__(self, number: int) -> bool:
        """Return whether this request has not had its turn yet."""
        return number in self._waiting

    def wait(self, number: int) -> None:
        """Let a request have its turn after those that wait already."""
        self._waiting[number] = None

    def end(self, number: int) -> None:
        """A request takes part no more."""
        self._waiting.pop(number, None)
        self._under_way.pop(number, None)

    def next(self) -> int | None:
        """Return the request whose turn has come, or None."""
        if not self._waiting or len(self._under_way) >= self._limit:
            return None
        number = next(iter(self._waiting))
        del self._waiting[number]
        self._under_way[number] = None
        return number
