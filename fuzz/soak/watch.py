"""The invariants that a client of the soak checks at every event, and the record of events for other checks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection
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
    UserEvent,
)
from pusher_proto.names import USER_PREFIX

__all__ = ["EVENT", "Watch"]

EVENT = "count"
"""The name of the numbered events."""
_LATE_CACHE = 2.0
"""Seconds after a success during which Sockudo may send the cached event after a newer live one."""


class Watch:
    """Checks that one client gets nothing twice or out of order, and records the reported times of each gap.

    The soak compares `gaps` with the times of the publisher. The channels `refused` must never be subscribed.
    """

    def __init__(self, refused: Collection[str] = ()) -> None:
        self._refused = refused
        self.last: dict[str, int] = {}
        """The number of the last event on each channel."""
        self.gaps: list[dict[str, Any]] = []
        self.breaches: list[str] = []
        self.good: set[str] = set()
        """The channels that were subscribed since the application asked for them."""
        self.counts: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        """Numbered events by consumer."""
        self.heard_for_user: Counter[str] = Counter()
        """Numbered events of the user, by consumer."""
        self._signed_out_since: float | None = None
        """The time since which events of the user are missed, by `offline_for`; None while signed in."""
        self._windows: dict[str, list[tuple[float, float]]] = {}
        """The times reported as missed since the last event of each channel."""
        self._succeeded: dict[str, float] = {}
        self._recent: deque[tuple[str | None, str]] = deque(maxlen=400)
        """The last events with their channels, shown in a report about events that were lost silently."""

    def on_event(self, event: Event) -> None:
        """Check every event of the client, in order."""
        channel = getattr(event, "channel", None)
        number = event.data["n"] if isinstance(event, ChannelEvent) and event.name == EVENT else ""
        said = f"{time.time():.2f} {type(event).__name__} {number or event}"
        self._recent.append((channel, said[:150]))
        match event:
            case ChannelEvent() if event.name == EVENT:
                self.heard["on_event"] += 1
                self.heard_for_user["on_event"] += isinstance(event, UserEvent)
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
                if self._signed_out_since is None and event.offline_for is not None:
                    self._signed_out_since = time.time() - event.offline_for
            case SubscriptionFailed():
                self.counts["subscriptions failed"] += 1
            case SignedIn():
                self.counts["sign-ins"] += 1
                if self._signed_out_since is not None:
                    window = (self._signed_out_since, time.time())
                    self._windows.setdefault(USER_PREFIX + event.user_id, []).append(window)
                self._signed_out_since = None
            case SignInFailed():
                self.counts["sign-ins failed"] += 1
            case ProtocolViolation() | DecryptionFailed():
                self.breaches.append(str(event))

    def _subscribed(self, event: Subscribed) -> None:
        now = time.time()
        self.counts["subscriptions"] += 1
        if event.channel in self._refused:
            self.breaches.append(f"subscribed to {event.channel}, which is refused")
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
            recent = [said for of, said in self._recent if of in (None, channel)]
            self.gaps.append(
                {
                    "channel": channel,
                    "first": last + 1,
                    "last": number - 1,
                    "windows": windows,
                    "recent": recent[-30:],
                }
            )
        self.last[channel] = number
