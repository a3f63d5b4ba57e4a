"""Processes the server's notices about a channel: joins and leaves of members, and the number of subscriptions."""

from __future__ import annotations

from collections.abc import Callable

from .._base.checks import is_int
from .._wire.envelope import value_of
from ..errors import excerpt
from ..events import ChannelEvent, Event, ProtocolViolation, SubscriptionCount
from ..states import ChannelState
from .channel import Channel
from .roster import BadPresence, Roster

__all__ = ["Notices"]


class Notices:
    """Applies notices to channels, and emits the changes."""

    __slots__ = ("_emit", "drifts")

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.drifts: int = 0
        """How many notices contradicted a roster."""

    def member(self, channel: Channel, roster: Roster, event: ChannelEvent) -> bool:
        """Apply a member_added or member_removed. Return whether it removes this client's own member.

        Then other clients no longer see this client's member, although it is subscribed.
        """
        joined = event.name.endswith("member_added")
        try:
            if channel.state is not ChannelState.SUBSCRIBED:
                roster.note(event.wire_data, joined=joined)
                return False
            if not joined and channel.is_cached(event.name):
                return False  # on Reverb it can be the cached event of a presence-cache channel
            before = roster.drifts
            change = roster.add(event.wire_data) if joined else roster.remove(event.wire_data)
            self.drifts += roster.drifts - before
        except BadPresence as error:
            self._emit(ProtocolViolation(str(error), excerpt(event.raw_data)))
            return False
        if change is not None:
            self._emit(change)
        return change is None and not joined and roster.is_own(event.wire_data)

    def count(self, channel: Channel, event: ChannelEvent) -> None:
        """Store and emit a subscription_count."""
        data = value_of(event.wire_data)
        count = data.get("subscription_count") if isinstance(data, dict) else None
        if not is_int(count) or count < 0:
            what = "a subscription_count without a count"
            self._emit(ProtocolViolation(what, excerpt(event.raw_data)))
        else:
            channel.counted(count)
            self._emit(SubscriptionCount(channel.name, count))
