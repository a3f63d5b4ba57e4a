"""Finds channels that end the connection when they are subscribed.

Sockudo 5.2.0 closes the connection for a presence channel without `channel_data`, Reverb for a subscribe above its
limit, and this client for a cached event above `Options.max_message_size`. Such a channel must not cost the other
channels their connection again and again.

Reverb with `terminate_on_limit` ends a connection in the same way for the number of its messages. Then no channel is
the reason, and the subscribes have to be sent more slowly.
"""

from __future__ import annotations

__all__ = ["Suspects"]

_TOO_LARGE = 1009
_BARE = (None, 1006, _TOO_LARGE)
"""Close codes of ends that one subscribe can cause: no code, and "message too large"."""
_LEAST_LIMIT = 5
"""How many subscribes each server with a limit on messages answers on one connection."""
_MOST_SLOWINGS = 6
"""How many ends are attributed to a limit on messages once there is one: after that the rate is at its lowest."""


class Suspects:
    """The channels that may be the reason for the last ends of connections, and the convicted ones.

    A channel whose subscribe is unanswered when the connection ends becomes a suspect at the second such end in a row.
    Later connections subscribe suspects last and one by one, so that the next end convicts one of them.

    If so many others were answered before it that a limit on messages may be the reason, the next connection subscribes
    the suspect first. If it is answered there, and the connection still ends, there is such a limit.
    """

    __slots__ = (
        "_convicted", "_ends", "_first", "_first_answered", "_names", "_no_limit", "_slowings", "limited",
    )  # fmt: skip

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        """The suspects."""
        self._ends = 0
        """How many connections in a row ended while a subscribe was unanswered."""
        self._convicted: dict[str, None] = {}
        self._first: str | None = None
        """The suspect that the next connection subscribes first."""
        self._first_answered = False
        """Whether it was answered on the current connection."""
        self._no_limit = False
        """Whether a suspect that was subscribed first ended its connection; reset when there are no suspects."""
        self._slowings = 0
        """How many ends were attributed to a limit on messages."""
        self.limited: bool = False
        """Whether the last end was one of them."""

    def suspected(self, name: str) -> bool:
        """Return whether to subscribe the channel alone."""
        return name != self._first and (name in self._names or name in self._convicted)

    @property
    def has_first(self) -> bool:
        """Whether there is a channel to subscribe before all others."""
        return self._first is not None

    def goes_first(self, name: str) -> bool:
        """Return whether to subscribe the channel before all others."""
        return name == self._first

    def answered(self, name: str) -> None:
        """Record the success of a channel."""
        if name == self._first:
            self._first_answered = True

    def convicted(self, name: str) -> bool:
        """Return whether the channel ended a connection and has not been subscribed since."""
        return name in self._convicted

    def cleared(self, name: str) -> None:
        """Remove a channel: the connection outlived its subscribe, or it was unsubscribed."""
        self._names.pop(name, None)
        self._convicted.pop(name, None)
        if name == self._first:
            self._first = None
        if not self._names:
            self._ends, self._no_limit = 0, False

    def ended(
        self,
        code: int | None,
        unanswered: list[str],
        behind: str | None,
        alone: str | None,
        successes: int,
    ) -> str | None:
        """Process the end of a connection with `code`; return the channel that caused it, if that is certain.

        `unanswered` are the channels whose subscribe was not answered, `behind` the one whose cached event was next,
        `alone` the one that was being subscribed alone; `successes` is the number of successes.
        """
        first_answered, self._first_answered, self.limited = self._first_answered, False, False
        present = unanswered if behind is None else [*unanswered, behind]
        if code not in _BARE or not present:
            if not present and alone is None:
                self._ends = 0
            return None
        first, self._first = self._first, None
        if self._is_limit(first if first_answered else None, successes):
            return None
        if first is not None and first in present:
            alone, self._no_limit = first, True
        elif alone is None and len(present) == 1 and code == _TOO_LARGE:
            alone = present[0]
        if alone is not None and alone in present:
            is_known = self._no_limit or alone in self._convicted
            if successes >= _LEAST_LIMIT and not is_known:
                self._first = alone
                return None
            self._names.pop(alone, None)
            self._convicted[alone] = None
            return alone
        self._ends += 1
        if self._ends > 1:
            self._names.update(dict.fromkeys(present))
        return None

    def _is_limit(self, innocent: str | None, successes: int) -> bool:
        """Return whether the end is attributed to a limit on messages; if so, remove all suspects.

        `innocent` is the suspect that was subscribed first and answered.
        """
        if successes < _LEAST_LIMIT or not (
            innocent is not None or 0 < self._slowings < _MOST_SLOWINGS
        ):
            return False
        self._slowings += 1
        self.limited = True
        self._names.clear()
        self._ends = 0
        return True
