"""Checks that the events that a client missed were published in the times that it reported as missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Published", "lost_in_silence"]

_SLACK = 2.0
"""Seconds that the scheduler of a busy machine may take between two of the processes."""

Times = tuple[float, float]
"""A beginning and an end, in seconds since the epoch."""


class Published(NamedTuple):
    """One event as the publisher knows it: the server sends it between `asked` and `answered`."""

    asked: float
    answered: float
    taken: bool
    """Whether the server confirmed it. Otherwise it may or may not have been published."""


def lost_in_silence(
    missing: Iterable[Published], windows: Sequence[Times], held: Sequence[Times]
) -> list[int]:
    """Return the indexes of the missing events that were published outside of all reported times (`windows`).

    `held` are the times in which the proxy held back data of the server. The data that it held when a window began was
    lost with the connection, although it was published before the client received its last byte.
    """
    begun = [(_begin(begin, held), end) for begin, end in windows]
    return [
        place
        for place, event in enumerate(missing)
        if event.taken
        and not any(
            begin - _SLACK <= event.answered and event.asked <= end + _SLACK for begin, end in begun
        )
    ]


def _begin(begin: float, held: Sequence[Times]) -> float:
    """Return the time of the oldest data that was lost in a window that began at `begin`."""
    return min([begin, *(read for read, until in held if read <= begin <= until + _SLACK)])
