"""Turns events of the client back into the messages that they were read from, as Pysher gives them to callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pusher_proto as proto

__all__ = ["ERROR", "ESTABLISHED", "MADE", "Messages"]

ESTABLISHED = "pusher:connection_established"
ERROR = "pusher:error"
MADE = frozenset({ESTABLISHED, ERROR, "pusher:connection_failed"})
"""Events of the connection that are not read from each message. Servers never send the last one."""
_INTERNAL = "pusher_internal:"


class Messages:
    """Makes the messages of one client: event, data and channel, which is None for callbacks of the connection.

    The list of members in a `subscription_succeeded` is made later than the server's. It is kept here so that a join
    which it includes is not announced again, nor the leave of a member that it does not include.
    """

    def __init__(self, members_of: Callable[[str], Mapping[str, proto.Member]]) -> None:
        self._members_of = members_of
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, event: proto.Event) -> tuple[str, Any, str | None] | None:
        """Return the message that the server sent for `event`, or None for an event that Pysher has no message for."""
        made: tuple[str, Any] = "", None
        match event:
            case proto.ConnectionEstablished():
                return ESTABLISHED, _text(socket_id=event.socket_id, activity_timeout=120), None
            case proto.ServerError():
                return ERROR, {"code": event.code, "message": event.message}, None
            case proto.Subscribed():
                made = _INTERNAL + "subscription_succeeded", self._roster(event.channel)
            case proto.SubscriptionFailed():
                error = {"type": type(event.error).__name__, "error": str(event.error)}
                status = {"status": getattr(event.error, "code", None)}
                made = "pusher:subscription_error", error | status
            case proto.SubscriptionCount():
                made = _INTERNAL + "subscription_count", _text(subscription_count=event.count)
            case proto.CacheMiss():
                made = "pusher:cache_miss", "{}"
            case proto.MemberAdded() | proto.MemberUpdated() if self._came(event):
                member = _text(user_id=event.member.id, user_info=event.member.info)
                made = _INTERNAL + "member_added", member
            case proto.MemberRemoved() if self._left(event):
                made = _INTERNAL + "member_removed", _text(user_id=event.member.id)
        return (*made, getattr(event, "channel", None)) if made[0] else None

    def _roster(self, channel: str) -> str:
        if not channel.startswith("presence-"):
            return "{}"
        known = {member.id: member.info for member in self._members_of(channel).values()}
        self._known[channel] = known
        return _text(presence={"count": len(known), "ids": list(known), "hash": known})

    def _came(self, event: proto.MemberAdded | proto.MemberUpdated) -> bool:
        """Note a member; return whether it is new, or has another info."""
        known, member = self._known.setdefault(event.channel, {}), event.member
        if member.id in known and known[member.id] == member.info:
            return False
        known[member.id] = member.info
        return True

    def _left(self, event: proto.MemberRemoved) -> bool:
        """Forget a member; return whether it was known."""
        return self._known.get(event.channel, {}).pop(event.member.id, self) is not self


def _text(**data: object) -> str:
    return json.dumps(data, separators=(",", ":"))
