"""The invariants that a client of the soak checks by itself, on every event, and what it keeps for the others."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from pusher_proto import (
    ChannelEvent,
    ConnectionEstablished,
    ConnectionLost,
    DecryptionFailed,
    Event,
    ProtocolViolation,
    SignedIn,
    SignInFailed,
    Subscribed,
    SubscriptionFailed,
    Unsubscribed,
)

__all__ = ["EVENT", "Watch"]

EVENT = "count"
"""The name of the numbered events."""
_LATE_CACHE = 2.0
"""Seconds after a success in which Sockudo may send the kept event behind a newer live one."""


class Watch:
    """What one client was given: nothing twice, nothing out of order, and for each gap the times that were reported.

    Whether an event was published in a reported gap the publisher knows: it reads `gaps`.
    """

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        """The number of the last event of each channel."""
        self.gaps: list[dict[str, Any]] = []
        self.breaches: list[str] = []
        self.good: set[str] = set()
        """The channels that were subscribed since they were wanted."""
        self.counts: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        """Numbered events by consumer."""
        self._windows: dict[str, list[tuple[float, float]]] = {}
        """The times that were reported as missed since the last event of a channel."""
        self._succeeded: dict[str, float] = {}

    def on_event(self, event: Event) -> None:
        """Take every event of the client, in order."""
        match event:
            case ChannelEvent() if event.name == EVENT:
                self.heard["on_event"] += 1
                self._number(event)
            case Subscribed():
                self._subscribed(event)
            case Unsubscribed():
                self._forget(event.channel)
                self.good.discard(event.channel)
            case ConnectionLost():
                self.counts["connections lost or not reached"] += 1
                if not event.will_retry:
                    self.breaches.append(f"gave up: {event}")
            case ConnectionEstablished():
                self.counts["connections"] += 1
            case SubscriptionFailed():
                self.counts["subscriptions failed"] += 1
            case SignedIn():
                self.counts["sign-ins"] += 1
            case SignInFailed():
                self.counts["sign-ins failed"] += 1
            case ProtocolViolation() | DecryptionFailed():
                self.breaches.append(str(event))

    def _subscribed(self, event: Subscribed) -> None:
        now = time.time()
        self.counts["subscriptions"] += 1
        self.good.add(event.channel)
        self._succeeded[event.channel] = now
        if event.offline_for is None:
            self._forget(event.channel)
        else:
            window = (now - event.offline_for, now)
            self._windows.setdefault(event.channel, []).append(window)

    def _forget(self, channel: str) -> None:
        self.last.pop(channel, None)
        self._windows.pop(channel, None)

    def _number(self, event: ChannelEvent) -> None:
        channel, number = event.channel, event.data["n"]
        last = self.last.get(channel)
        if last is not None and number <= last:
            if event.cached:
                return
            since = time.time() - self._succeeded.get(channel, 0.0)
            if "cache-" in channel and since < _LATE_CACHE:
                self.counts["kept events behind a newer one"] += 1
            else:
                self.breaches.append(f"{channel}: {number} after {last}")
            return
        windows = self._windows.pop(channel, [])
        if last is not None and number > last + 1:
            self.gaps.append(
                {"channel": channel, "first": last + 1, "last": number - 1, "windows": windows}
            )
        self.last[channel] = number
