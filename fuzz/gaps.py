"""Checks that events which an application misses were published in the times that its client reports as missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pusher_proto import ChannelEvent, DecryptionFailed, Event, Subscribed, Unsubscribed

__all__ = ["Gaps"]

_SLACK = 1.0
"""The most seconds between publishing an event and its arrival: it is lost if the connection ends before."""


class Gaps:
    """The last number of each channel, and the time since which its events may be missing."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def take(
        self, event: Event, at: float | None, published: Mapping[str, Sequence[float]]
    ) -> str | None:
        """Check an event that was emitted at a time (None if unknown); return what is wrong with it."""
        if at is None:
            self._last.clear()
            self._since.clear()
            return None
        match event:
            case Subscribed() if event.offline_for is not None:
                since = self._since.get(event.channel, at)
                self._since[event.channel] = min(since, at - event.offline_for)
            case Subscribed() | Unsubscribed() | DecryptionFailed():
                self._last.pop(event.channel, None)
                self._since.pop(event.channel, None)
            case ChannelEvent() if event.name == "count" and not event.cached:
                return self._number(event.channel, event.data["n"], published[event.channel])
        return None

    def _number(self, channel: str, number: int, published: Sequence[float]) -> str | None:
        last, since = self._last.get(channel), self._since.pop(channel, None)
        self._last[channel] = number
        if last is None or since is None or number <= last + 1:
            return None
        early = since - published[last + 1]
        if early <= _SLACK:
            return None
        return (
            f"{channel} lost {last + 1}, published {early:.1f} s before the gap that was reported"
        )
