"""Holds messages that the server sends on a channel before it confirms that the channel is subscribed again.

Sockudo subscribes a connection a moment before it sends the success, and messages can arrive between the two. The gap
that `Subscribed` reports is before such a message: an application that fetches the events after its last one would
fetch too few. So these messages are held, and emitted after `Subscribed`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..events import ChannelEvent, DecryptionFailed, Event, size_of

__all__ = ["EarlyMessages"]

_SHARE = 16
"""A 16th of `Options.receive_buffer` may be held. Reading cannot pause for it, since the success has to be read."""


class EarlyMessages:
    """The messages of all channels that wait for the success of a subscribe."""

    __slots__ = ("_held", "_limit", "_size", "emit")

    def __init__(self, receive_buffer: int, emit: Callable[[Event], None]) -> None:
        self._held: dict[str, list[ChannelEvent | DecryptionFailed]] = {}
        self._size = 0
        self._limit = receive_buffer // _SHARE
        self.emit = emit

    def __len__(self) -> int:
        """Return how many messages are held."""
        return sum(map(len, self._held.values()))

    def hold(self, event: ChannelEvent | DecryptionFailed) -> None:
        """Hold a message until `release`. Beyond the limit emit it, after the earlier messages of its channel."""
        self._held.setdefault(event.channel, []).append(event)
        self._size += size_of(event)
        if self._size > self._limit:
            self.release(event.channel)

    def release(self, channel: str) -> None:
        """Emit the messages of a channel: its subscribe succeeded, or was not answered in time."""
        if channel in self._held:
            for event in self._take(channel):
                self.emit(event)

    def forget(self, channel: str) -> None:
        """Drop the messages of a channel whose subscribe failed: the gap that is reported later includes them."""
        if channel in self._held:
            self._take(channel)

    def _take(self, channel: str) -> list[ChannelEvent | DecryptionFailed]:
        taken = self._held.pop(channel)
        self._size -= sum(map(size_of, taken))
        return taken
