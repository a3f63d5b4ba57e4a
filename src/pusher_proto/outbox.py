"""The settings of the queue for client events of one channel."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from ._base.checks import is_int, is_number

__all__ = ["Keep", "Outbox"]

Keep = Literal["all", "latest"]
_KEEP: Final = ("all", "latest")


class Outbox(Struct, frozen=True, kw_only=True):
    """The settings of the queue for client events of one channel.

    Raises ValueError or TypeError for invalid settings.
    """

    max_age: float | None = 60.0
    """Seconds after which a waiting event is dropped, and counted in `Stats.client_events_dropped`. None: it waits
    until it is sent or its channel is unsubscribed."""
    keep: Keep = "all"
    """Whether all events wait, or only the latest one of each name: for positions and other values that replace
    each other."""
    limit: int = 100
    """How many events may wait; `trigger` raises `OutboxFull` for another one."""

    def __post_init__(self) -> None:
        if self.max_age is not None:
            if not is_number(self.max_age):
                raise TypeError(f"max_age is a number of seconds or None, not {self.max_age!r}")
            if not self.max_age > 0:
                raise ValueError(f"max_age is a positive number of seconds, not {self.max_age!r}")
        if self.keep not in _KEEP:
            raise ValueError(f"keep is one of {', '.join(_KEEP)}, not {self.keep!r}")
        if not is_int(self.limit):
            raise TypeError(f"limit is a number of events, not {self.limit!r}")
        if self.limit < 1:
            raise ValueError(f"limit is a number of events and at least 1, not {self.limit!r}")
