"""Subscriptions that are made a second time on the same connection, and what keeps the two apart.

A server in a cluster can confirm a subscription and then send nothing on it, remove a member from the lists who is
there, or send messages of a subscription that was left. Leaving and joining again cures all of these. A ping between
the two tells old messages from new ones: servers answer in the order of asking.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import Asked
from ..options import Options
from .channel import Channel

__all__ = ["Renewals"]

_RENEWED_EACH = 30.0
"""Seconds between two renewals of a channel because the server does not count it as subscribed."""
_SHORT_ABSENCE = 10.0
"""Seconds after a loss in which a cluster may still clean up, after this client's connection or another one."""
_AGAIN_AFTER = 1.0


class Renewals:
    """Notes of one connection: channels that were left, and subscribes to be sent again."""

    def __init__(self, options: Options, timers: Timers, connector: Connector) -> None:
        self._options = options
        self._timers = timers
        self._connector = connector
        self._left: dict[str, int | None] = {}
        """The presence channels that were left, each with the number of the ping behind its leaving, once sent."""
        self._renewed: dict[str, float] = {}
        self._frames: dict[str, bytes] = {}
        """The subscribes that may be sent again."""

    def left(self, name: str) -> None:
        """Note that an unsubscribe goes out for a presence channel."""
        if len(self._left) < self._options.max_channels:
            self._left[name] = None

    def subscribing(self, channel: Channel, frame: bytes, now: float) -> None:
        """Prepare for the subscribe `frame`, which goes out next."""
        if channel.roster is None:
            if self._options.several_nodes:
                self._frames[channel.name] = frame
            return
        if channel.name not in self._left:
            channel.roster.expect()
            return
        channel.roster.ignore()
        if self._left[channel.name] is None:
            self._connector.ping(now)
            self._left[channel.name] = self._connector.ledger.pings

    def ponged(self, channels: Mapping[str, Channel]) -> None:
        """Take a pong: later messages belong to the subscriptions that were requested after its ping."""
        pongs = self._connector.ledger.pongs
        for name in [n for n, at in self._left.items() if at is not None and at <= pongs]:
            del self._left[name]
            channel = channels.get(name)
            if channel is not None and channel.roster is not None:
                channel.roster.expect()

    def may_wake(self, name: str, now: float) -> bool:
        """Return whether to renew a channel that the server does not count as subscribed, and note it."""
        before = self._renewed.get(name)
        if before is not None and now - before < _RENEWED_EACH:
            return False
        self._renewed[name] = now
        return True

    def may_rejoin(self, name: str, now: float) -> bool:
        """Return whether to renew a channel whose server dropped this client's own member, and note it."""
        return name not in self._renewed and self.may_wake(name, now)

    def subscribed(self, channel: Channel, offline_for: float | None, now: float) -> None:
        """Plan to send a subscribe again after a short absence, which wakes a subscription that gets nothing."""
        if channel.name in self._frames and offline_for is not None:
            if offline_for < _SHORT_ABSENCE:
                self._timers.set(Timer.SUBSCRIBE_AGAIN, now + _AGAIN_AFTER, channel.name)
            else:
                del self._frames[channel.name]

    def send_again(self, name: str, now: float) -> None:
        """Send a subscribe a second time."""
        self._connector.request(self._frames.pop(name), Asked.SUBSCRIBE, name, now)

    def forget(self, name: str) -> None:
        """Plan nothing for a channel any longer: it is left."""
        self._timers.stop(Timer.SUBSCRIBE_AGAIN, name)
        self._frames.pop(name, None)

    def lost(self) -> None:
        """Forget everything: the connection is gone."""
        for name in self._frames:
            self._timers.stop(Timer.SUBSCRIBE_AGAIN, name)
        self._left.clear()
        self._renewed.clear()
        self._frames.clear()
