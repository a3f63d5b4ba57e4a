"""The parts of a session: the functions that timers call, and the counts of `Stats`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .._auth.requests import AuthRequests
from .._base.timers import Timer
from .._channels.catching_up import CatchUps
from .._channels.client_events import ClientEvents
from .._channels.subscriptions import Subscriptions
from .._channels.user import User
from .._connection.connector import Connector
from .._transports.transports import Transports
from ..stats import Stats

__all__ = ["DUE", "Parts", "fire"]


class Parts(NamedTuple):
    """The parts of a session that have timers or counts."""

    transports: Transports
    connector: Connector
    auth_requests: AuthRequests
    subscriptions: Subscriptions
    user: User
    client_events: ClientEvents
    catch_ups: CatchUps

    def reconnect(self, now: float) -> None:
        """Close the connection and open another."""
        self.connector.disconnect(now)
        self.connector.connect(now)

    def stats(self, messages: int, violations: int, now: float) -> Stats:
        """Return the counts of all parts; `messages` and `violations` are the counts of the dispatch."""
        connector, catch_ups = self.connector, self.catch_ups
        hanging = self.auth_requests.hanging(now) + catch_ups.hanging(now)
        return Stats(
            self.transports.bytes_received,
            self.transports.bytes_sent,
            messages,
            connector.connections,
            connector.attempts,
            violations,
            connector.round_trip,
            reading_paused=connector.pauses,
            roster_drifts=self.subscriptions.notices.drifts,
            calls_hanging=len(hanging),
            gaps_closed=catch_ups.gaps_closed,
            gaps_not_closed=catch_ups.gaps_not_closed,
            duplicates_dropped=catch_ups.duplicates,
            client_events_waiting=self.client_events.waiting,
            client_events_dropped=self.client_events.dropped,
            client_events_replaced=self.client_events.replaced,
        )

    def hanging_text(self, now: float) -> str:
        """Return a message about calls that did not return in time, or ""."""
        texts = self.auth_requests.hanging_text(now), self.catch_ups.hanging_text(now)
        return "; ".join(filter(None, texts))


def fire(parts: Parts, timer: Timer, of: Any, now: float) -> None:
    """Call the function of a timer that is due; `of` is its channel, request or transport."""
    DUE[timer](parts, of, now)


DUE: dict[Timer, Callable[[Parts, Any, float], None]] = {
    Timer.OPEN: lambda parts, _, now: parts.connector.open_due(now),
    Timer.ACTIVITY: lambda parts, _, now: parts.connector.activity_due(now),
    Timer.PONG: lambda parts, _, now: parts.connector.pong_due(now),
    Timer.ONE_WAY: lambda parts, _, now: parts.connector.one_way_due(now),
    Timer.RETRY: lambda parts, _, now: parts.connector.retry_due(now),
    Timer.STABLE: lambda parts, _, __: parts.connector.stable_due(),
    Timer.UNAVAILABLE: lambda parts, _, __: parts.connector.unavailable_due(),
    Timer.CLOSE: lambda parts, transport, _: parts.transports.close_due(transport),
    Timer.TRIGGER: lambda parts, _, now: parts.client_events.due(now),
    Timer.OUTBOX: lambda parts, of, _: parts.client_events.outbox_due(of),
    Timer.LOOK: lambda _, __, ___: None,  # the client checks its consumers after each input
    Timer.IDLE: lambda parts, transport, now: parts.auth_requests.idle_due(transport, now),
    Timer.AUTH: lambda parts, request, now: parts.auth_requests.request_due(request, now),
    Timer.AUTH_RETRY: lambda parts, request, now: parts.auth_requests.retry_due(request, now),
    Timer.CALL: lambda parts, call, now: parts.auth_requests.call_due(call, now),
    Timer.GATHER: lambda parts, _, now: parts.auth_requests.gather_due(now),
    Timer.CATCH_UP: lambda parts, channel, now: parts.catch_ups.time_over(channel, now),
    Timer.FETCH: lambda parts, channel, now: parts.catch_ups.retry_due(channel, now),
    Timer.FETCH_CALL: lambda parts, call, now: parts.catch_ups.call_due(call, now),
    Timer.PAUSED: lambda parts, _, now: parts.catch_ups.pause_over(parts.connector, now),
    Timer.REAUTHORIZE: lambda parts, channel, now: parts.subscriptions.reauthorize_due(
        channel, now
    ),
    Timer.PACE: lambda parts, _, now: parts.subscriptions.pace_due(now),
    Timer.SUBSCRIBE: lambda parts, name, now: parts.subscriptions.subscribe_due(name, now),
    Timer.SUBSCRIBE_AGAIN: lambda parts, name, now: parts.subscriptions.again_due(name, now),
    Timer.LEAVE_ALL: lambda parts, _, now: parts.reconnect(now),
    Timer.SIGN_IN: lambda parts, _, now: parts.user.signin_due(now),
    Timer.SIGN_IN_RETRY: lambda parts, _, now: parts.user.retry_due(now),
    Timer.USER_CHANNEL: lambda _, __, ___: None,  # waits look after every input
}
"""The function of each timer; it gets the channel, request or transport. A test checks that none is missing."""
