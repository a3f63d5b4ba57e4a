"""Turns events of the client back into the messages that they were read from, as Pysher gives them to callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pusher_proto as proto

__all__ = ["MADE", "Messages"]

ESTABLISHED = "pusher:connection_established"
ERROR = "pusher:error"
MADE = frozenset({ESTABLISHED, ERROR, "pusher:connection_failed"})
"""Events of the connection that are not read from each message. Servers never send the last one."""
_INTERNAL = "pusher_internal:"
_MISSING = object()


class Messages:
    """Makes the messages of one client: event and data.

    The list of members in a `subscription_succeeded` is made later than the server's. It is kept here, so that a join
    which is in the list already is not announced after it, nor the leave of a member who is not.
    """

    def __init__(self, members_of: Callable[[str], Mapping[str, proto.Member]]) -> None:
        self._members_of = members_of
        self._known: dict[str, dict[str, Any]] = {}
        self._code: int | None = -1
        """The code of the last `pusher:error`."""

    def of(self, event: proto.Event) -> tuple[str, Any] | None:
        """Return the message that the server sent for `event`, or None for an event that Pysher has no message for."""
        match event:
            case proto.ConnectionEstablished():
                return ESTABLISHED, _text(socket_id=event.socket_id, activity_timeout=120)
            case proto.ServerError():
                self._code = event.code
                return ERROR, {"code": event.code, "message": event.message}
            case proto.ConnectionLost(will_retry=False) if event.code != self._code:
                # Servers of protocol 7 send no `pusher:error` before the end; some others do.
                advice = f" ({event.hint})" if event.hint else ""
                return ERROR, {"code": event.code, "message": event.reason + advice}
            case proto.Subscribed():
                return _INTERNAL + "subscription_succeeded", self._roster(event.channel)
            case proto.SubscriptionFailed(error=error):
                said = {"type": type(error).__name__, "error": str(error)}
                return "pusher:subscription_error", said | {"status": getattr(error, "code", None)}
            case proto.SubscriptionCount():
                return _INTERNAL + "subscription_count", _text(subscription_count=event.count)
            case proto.CacheMiss():
                return "pusher:cache_miss", "{}"
            case proto.MemberAdded(member=member) | proto.MemberUpdated(member=member):
                known = self._known.setdefault(event.channel, {})
                if known.get(member.id, _MISSING) != member.info:
                    known[member.id] = member.info
                    added = _text(user_id=member.id, user_info=member.info)
                    return _INTERNAL + "member_added", added
            case proto.MemberRemoved(member=member):
                if self._known.get(event.channel, {}).pop(member.id, _MISSING) is not _MISSING:
                    return _INTERNAL + "member_removed", _text(user_id=member.id)
        return None

    def _roster(self, channel: str) -> str:
        if not channel.startswith("presence-"):
            return "{}"
        known = {member.id: member.info for member in self._members_of(channel).values()}
        self._known[channel] = known
        return _text(presence={"count": len(known), "ids": list(known), "hash": known})


def _text(**data: object) -> str:
    return json.dumps(data, separators=(",", ":"))
