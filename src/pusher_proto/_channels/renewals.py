"""Decides when to renew a subscription: to unsubscribe and subscribe again on the same connection.

A server in a cluster can confirm a subscription and then send nothing on it, remove a present member from its lists, or
send messages of a subscription that was ended. To renew the subscription helps against all of these. A ping between
unsubscribe and subscribe separates old messages from new ones, since servers answer in order.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import RequestKind
from ..options import Options
from .channel import Channel
from .roster import Roster

__all__ = ["Renewals"]

_RENEWED_EACH = 30.0
"""The least time between two renewals of a channel, in seconds."""
_AGAIN_AFTER = 1.0
"""Seconds from a success until the subscribe is sent again, to a cluster that may still be removing an earlier
connection of this client or the last one of the channel."""


class Renewals:
    """The renewals on one connection: unsubscribed presence channels, and subscribes that are sent again."""

    __slots__ = ("_connector", "_frames", "_left", "_options", "_renewed", "_timers")

    def __init__(self, options: Options, timers: Timers, connector: Connector) -> None:
        self._options = options
        self._timers = timers
        self._connector = connector
        self._left: dict[str, int | None] = {}
        """The unsubscribed presence channels, each with the number of the ping that followed, once it is sent."""
        self._renewed: dict[str, float] = {}
        """When each channel was renewed last."""
        self._frames: dict[str, bytes] = {}
        """The subscribes that will be sent again."""

    def left(self, name: str) -> None:
        """Record that an unsubscribe is sent for a presence channel."""
        if len(self._left) < self._options.max_channels:
            self._left[name] = None

    def subscribing(self, channel: Channel, frame: bytes, now: float) -> None:
        """Prepare for a subscribe, which is sent next."""
        if self._options.several_nodes:
            self._frames[channel.name] = frame
        if channel.roster is None:
            return
        if channel.name not in self._left:
            channel.roster.expect()
            return
        channel.roster.ignore()
        if self._left[channel.name] is None:
            self._connector.ping(now)
            self._left[channel.name] = self._connector.ledger.pings

    def ponged(self, channels: Mapping[str, Channel]) -> None:
        """Process a pong: later messages belong to the subscriptions that were requested after its ping."""
        pongs = self._connector.ledger.pongs
        for name in [n for n, at in self._left.items() if at is not None and at <= pongs]:
            del self._left[name]
            channel = channels.get(name)
            if channel is not None and channel.roster is not None:
                channel.roster.expect()

    def may_renew(self, name: str, now: float) -> bool:
        """Return whether to renew a channel that the server does not count as subscribed; if so, record the renewal."""
        before = self._renewed.get(name)
        if before is not None and now - before < _RENEWED_EACH:
            return False
        self._renewed[name] = now
        return True

    def may_rejoin(self, name: str, now: float) -> bool:
        """Return whether to renew a channel whose server removed this client's own member; if so, record the renewal.

        That is once for each connection. With several nodes a further renewal is planned for later.
        """
        before = self._renewed.get(name)
        if before is None:
            return self.may_renew(name, now)
        if self._options.several_nodes:
            self._frames.pop(name, None)
            self._timers.set(Timer.SUBSCRIBE_AGAIN, max(now, before + _RENEWED_EACH), name)
        return False

    def subscribed(self, channel: Channel, now: float) -> None:
        """Plan to send the subscribe again, which repairs a subscription that receives nothing."""
        if channel.name in self._frames:
            self._timers.set(Timer.SUBSCRIBE_AGAIN, now + _AGAIN_AFTER, channel.name)

    def confirmed_again(self, channel: Channel, now: float) -> bool:
        """Process a second success. Return whether to renew the channel, because the first subscribe had no effect."""
        if not self._options.several_nodes:
            return False
        if channel.roster is None:
            channel.answered_again(now)
            return False
        return self.may_renew(channel.name, now)

    def lost_own_member(self, name: str, roster: Roster, now: float) -> bool:
        """Return whether to renew a channel after its success, because the server removed this client's member."""
        return roster.own_removed and self._options.several_nodes and self.may_rejoin(name, now)

    def send_again(self, channel: Channel, now: float) -> bool:
        """Send a subscribe again; return False, and record a renewal, if the channel is to be renewed instead."""
        name = channel.name
        frame = self._frames.pop(name, None)
        if frame is None:
            self._renewed[name] = now
            return False
        kind = RequestKind.SUBSCRIBE if channel.roster is None else RequestKind.SUBSCRIBE_AGAIN
        self._connector.request(frame, kind, name, now)
        return True

    def forget(self, name: str) -> None:
        """Cancel what is planned for a channel: it is unsubscribed."""
        self._timers.stop(Timer.SUBSCRIBE_AGAIN, name)
        self._frames.pop(name, None)

    def lost(self) -> None:
        """Reset at the end of the connection."""
        for name in {**self._frames, **self._renewed}:
            self._timers.stop(Timer.SUBSCRIBE_AGAIN, name)
        self._left.clear()
        self._renewed.clear()
        self._frames.clear()
