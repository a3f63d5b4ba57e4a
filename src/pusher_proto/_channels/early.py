"""Messages that the server sends on a channel before it confirms that the channel is subscribed again.

Sockudo counts a connection as subscribed a moment before it sends the success. The gap that `Subscribed` reports lies
before such a message: an application that fetches what follows the last event that it has would fetch too little. So
these messages are held, and emitted behind `Subscribed`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..events import ChannelEvent, DecryptionFailed, Event, size_of

__all__ = ["EarlyMessages"]

_SHARE = 16
"""The part of `Options.receive_buffer` that may be held. Reading cannot pause for it: the success has to be read."""


class EarlyMessages:
    """The messages that wait for the success of their channel's subscribe."""

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
        """Hold a message until `release`; emit it, behind the earlier ones of its channel, if that is too much."""
        self._held.setdefault(event.channel, []).append(event)
        self._size += size_of(event)
        if self._size > self._limit:
            self.release(event.channel)

    def release(self, channel: str) -> None:
        """Emit the messages of a channel: it is subscribed, or the server does not say so in time."""
        if channel in self._held:
            for event in self._take(channel):
                self.emit(event)

    def forget(self, channel: str) -> None:
        """Drop the messages of a channel, as the subscribe failed: they lie in the gap that is reported later."""
        if channel in self._held:
            self._take(channel)

    def _take(self, channel: str) -> list[ChannelEvent | DecryptionFailed]:
        taken = self._held.pop(channel)
        self._size -= sum(map(size_of, taken))
        return taken
