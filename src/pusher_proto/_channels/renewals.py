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
from .roster import Roster

__all__ = ["Renewals"]

_RENEWED_EACH = 30.0
"""Seconds between two renewals of a channel because the server does not count it as subscribed."""
_AGAIN_AFTER = 1.0
"""Seconds after a success until the subscribe is sent again, to a cluster that may be cleaning up after a connection
that was the channel's last one, this client's or another's."""


class Renewals:
    """Notes of one connection: channels that were left, and subscribes to be sent again."""

    __slots__ = ("_connector", "_frames", "_left", "_options", "_renewed", "_timers")

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
        """Return whether to renew a channel whose server dropped this client's own member, and note it.

        That is once for each connection. At several nodes it is planned when the last time is long enough ago.
        """
        before = self._renewed.get(name)
        if before is None:
            return self.may_wake(name, now)
        if self._options.several_nodes:
            self._frames.pop(name, None)
            self._timers.set(Timer.SUBSCRIBE_AGAIN, max(now, before + _RENEWED_EACH), name)
        return False

    def subscribed(self, channel: Channel, now: float) -> None:
        """Plan to send a subscribe again, which wakes a subscription that gets nothing."""
        if channel.name in self._frames:
            self._timers.set(Timer.SUBSCRIBE_AGAIN, now + _AGAIN_AFTER, channel.name)

    def was_deaf(self, channel: Channel, now: float) -> bool:
        """Take the answer to a repeated subscribe. Return whether to renew the channel, as the first had no effect."""
        if not self._options.several_nodes:
            return False
        if channel.roster is None:
            channel.answered_again(now)
            return False
        return self.may_wake(channel.name, now)

    def is_dropped(self, name: str, roster: Roster, now: float) -> bool:
        """Return whether to renew a channel that was just subscribed, as its server dropped this client's member."""
        return roster.own_removed and self._options.several_nodes and self.may_rejoin(name, now)

    def send_again(self, channel: Channel, now: float) -> bool:
        """Send a subscribe a second time; return False if the channel is to be renewed instead, and note it."""
        name = channel.name
        frame = self._frames.pop(name, None)
        if frame is None:
            self._renewed[name] = now
            return False
        kind = Asked.SUBSCRIBE if channel.roster is None else Asked.SUBSCRIBE_AGAIN
        self._connector.request(frame, kind, name, now)
        return True

    def forget(self, name: str) -> None:
        """Plan nothing for a channel any longer: it is left."""
        self._timers.stop(Timer.SUBSCRIBE_AGAIN, name)
        self._frames.pop(name, None)

    def lost(self) -> None:
        """Forget everything, as the connection has ended."""
        for name in {**self._frames, **self._renewed}:
            self._timers.stop(Timer.SUBSCRIBE_AGAIN, name)
        self._left.clear()
        self._renewed.clear()
        self._frames.clear()
