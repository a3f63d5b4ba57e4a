"""The search for channels that make the server end the connection when they are subscribed.

Sockudo 5.2.0 does so for a presence channel without `channel_data`, Reverb for a subscribe above its limit, and this
client itself for a cached event above `Options.max_message_size`. Such a channel must not cost the others their
connection, again and again.
"""

from __future__ import annotations

__all__ = ["Suspects"]

_TOO_LARGE = 1009
_BARE = (None, 1006, _TOO_LARGE)
"""Codes of ends that can have been caused by one subscribe: none, and "message too large"."""


class Suspects:
    """The channels that may be the reason for the last ends, and the convicted ones.

    A channel whose subscribe is unanswered when the connection ends is a suspect from the second such end in a row
    on. The connections that follow subscribe suspects last and one by one, so that the next end convicts one.
    """

    __slots__ = ("_convicted", "_ends", "_names")

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._ends = 0
        self._convicted: dict[str, None] = {}

    def suspected(self, name: str) -> bool:
        """Return whether the channel is to be subscribed alone."""
        return name in self._names or name in self._convicted

    def convicted(self, name: str) -> bool:
        """Return whether the channel ended a connection and was not subscribed since."""
        return name in self._convicted

    def cleared(self, name: str) -> None:
        """Trust a channel again: the connection outlived its subscribe, or it was left."""
        self._names.pop(name, None)
        self._convicted.pop(name, None)
        if not self._names:
            self._ends = 0

    def ended(
        self, code: int | None, unanswered: list[str], behind: str | None, alone: str | None
    ) -> str | None:
        """Take the end of a connection; return the channel that is found to be its reason, or None.

        `unanswered` are the channels whose subscribe was not answered, `behind` the one whose cached event may have
        been about to come, `alone` the one that was being subscribed alone.
        """
        present = unanswered if behind is None else [*unanswered, behind]
        if code not in _BARE or not present:
            if not present and alone is None:
                self._ends = 0
            return None
        if alone is None and len(present) == 1 and code == _TOO_LARGE:
            alone = present[0]
        if alone is not None and alone in present:
            self._names.pop(alone, None)
            self._convicted[alone] = None
            return alone
        self._ends += 1
        if self._ends > 1:
            self._names.update(dict.fromkeys(present))
        return None
