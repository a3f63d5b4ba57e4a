"""Remembers the keys that were seen last, to find duplicates."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["RecentKeys"]


class RecentKeys:
    """The last `window` keys that were added."""

    __slots__ = ("_seen", "window")

    def __init__(self, window: int) -> None:
        self._seen: dict[Hashable, None] = {}
        self.window: int = window
        """How many keys are kept. A change takes effect at the next `add`."""

    def __contains__(self, key: Hashable) -> bool:
        return key in self._seen

    def add(self, key: Hashable) -> None:
        """Add a key that is not kept yet, and forget the oldest ones beyond `window`."""
        self._seen[key] = None
        while len(self._seen) > self.window:
            del self._seen[next(iter(self._seen))]
