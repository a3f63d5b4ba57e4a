"""Client events, and messages for extensions of servers: checks them, limits their rate, and queues them in outboxes.

Protocol: client events. A server refuses an invalid event by an error that may name no channel, or silently. So
`trigger` raises for each event that is known to be invalid.

An event that cannot be sent yet waits: for the rate, and with an `Outbox` also for the subscription of its channel.
Waiting events are numbered in the order of `trigger`. The heap `_ready` has the events that wait for the rate only:
all waiting events of subscribed channels, and no others. So the events of a channel are sent in the order of their
numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

from msgspec import Struct

from .._base.logs import log_seldom, logger
from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import RequestKind
from .._wire.envelope import encode
from ..errors import (
    InvalidName,
    LocalProtocolError,
    NotConnected,
    NotSubscribed,
    OutboxFull,
    RateLimited,
    UnsupportedFeature,
    excerpt,
)
from ..names import ChannelKind, check_client_event
from ..options import Options
from ..outbox import Outbox
from ..states import ChannelState, is_wanted
from .channel import ChannelSnapshot, check_subscribed

__all__ = ["ClientEvents"]

_LONGEST_NAME = 200

_OURS = {
    "pusher:subscribe": "subscribe()",
    "pusher:unsubscribe": "unsubscribe()",
    "pusher:signin": "signin()",
    "pusher:ping": "ping()",
    "pusher:pong": "nothing: pings are answered by the client",
}
"""Messages that only the client may send, as they change its state, and what to call instead."""

_log = logger("session")


class _Waiting(Struct):
    """An event that waits to be sent."""

    number: int
    channel: str | None
    event: str
    frame: bytes
    queued: bool
    """Whether it is in an outbox: it may wait for the subscription of its channel, and outlives the connection."""
    too_old_at: float
    ready: bool = False
    """Whether its number is in the heap of events that wait for the rate only."""


class ClientEvents:
    """Sends client events, at most `client_event_rate` per second, and keeps the events that wait."""

    __slots__ = (
        "_connector", "_counted_at", "_drops", "_options", "_outboxes", "_pings_before", "_ready",
        "_state_of", "_timers", "_tokens", "_waiting", "_waiting_bytes", "dropped", "last",
        "losses", "replaced",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        timers: Timers,
        connector: Connector,
        state_of: Callable[[str], ChannelState],
    ) -> None:
        self._options = options
        self._timers = timers
        self._connector = connector
        self._state_of = state_of
        self._tokens = float(options.client_event_rate or 0)
        """How many events the rate allowed at `_counted_at`."""
        self._counted_at = float("-inf")
        self._waiting: dict[int, _Waiting] = {}
        """The waiting events, by number."""
        self._waiting_bytes = 0
        self._ready: list[int] = []
        """A heap of the numbers of events that wait for the rate only, and of removed ones."""
        self._outboxes: dict[str, dict[int, _Waiting]] = {}
        """The events in outboxes, by channel."""
        self._pings_before: int | None = None
        """How many pings were sent on this connection before the last event; None when no event was sent."""
        self.last: int = 0
        """The number of the last event that was queued."""
        self._drops = 0
        """How often events were dropped, for the log."""
        self.dropped: int = 0
        """How many waiting events were dropped: they were too old, or their channel was unsubscribed."""
        self.replaced: int = 0
        """How many waiting events were replaced by a newer one of the same name."""
        self.losses: int = 0
        """How many connections ended with events that had not been sent, or not been confirmed by a pong."""

    # Queries.

    @property
    def waiting(self) -> int:
        """How many events wait for the rate or for the subscription of their channel."""
        return len(self._waiting)

    def waiting_on(self, channel: str) -> int:
        """Return how many events wait in the outbox of a channel."""
        return len(self._outboxes.get(channel, ()))

    def waits(self, number: int) -> bool:
        """Return whether an event waits whose number is at most `number`."""
        return bool(self._waiting) and next(iter(self._waiting)) <= number

    def waited_for(self, number: int) -> list[str | None]:
        """Return the channels of the waiting events whose number is at most `number`: one for each event."""
        return [waiting.channel for waiting in self._waiting.values() if waiting.number <= number]

    # Commands.

    def trigger(
        self, channel: ChannelSnapshot, event: str, data: Any, queue: Outbox | None, now: float
    ) -> None:
        """Send or queue a client event. Raises for an invalid event, and then changes nothing."""
        check_client_event(event, strict=self._options.strict_names)
        if channel.kind not in (ChannelKind.PRIVATE, ChannelKind.PRESENCE):
            raise UnsupportedFeature(
                "client events can be sent on private and presence channels only, and "
                f"{excerpt(channel.name, 64)!r} is {channel.kind.value}"
            )
        if queue is None:
            check_subscribed(channel)
        elif not is_wanted(channel.state):
            raise NotSubscribed(
                f"{excerpt(channel.name, 64)!r} is not subscribed ({channel.state.meaning}): call subscribe() before "
                "events can wait in its outbox"
            )
        self._send(event, data, channel.name, queue, now)

    def send(self, event: str, data: Any, channel: str | None, now: float) -> None:
        """Send any message. Raises for an invalid one, and then changes nothing."""
        shown = excerpt(event, 64)
        if not 0 < len(event) <= _LONGEST_NAME:
            raise InvalidName(
                f"the name of an event has 1 to {_LONGEST_NAME} characters, unlike {shown!r}"
            )
        if event in _OURS:
            raise LocalProtocolError(f"only the client sends {shown!r}: use {_OURS[event]}")
        if self._connector.socket_id is None:
            raise NotConnected(
                f"{shown!r} cannot be sent without a connection: wait for wait_connected()"
            )
        self._send(event, data, channel, None, now)

    # Inputs.

    def subscribed(self, channel: str, now: float) -> None:
        """Send the events that wait for the subscription of a channel, as far as the rate allows."""
        outbox = self._outboxes.get(channel)
        if outbox is not None:
            for waiting in outbox.values():
                self._make_ready(waiting)
            self.due(now)

    def left(self, channel: str, now: float) -> None:
        """Drop the events of a channel that was unsubscribed, unless it is subscribed again at the same time."""
        if channel in self._outboxes:
            self._timers.set(Timer.OUTBOX, now, channel)

    def lost(self) -> None:
        """Handle the loss of the connection: drop waiting events that are not in an outbox."""
        before, self._pings_before = self._pings_before, None
        unqueued = [waiting for waiting in self._waiting.values() if not waiting.queued]
        if unqueued or (before is not None and self._connector.ledger.pongs <= before):
            self.losses += 1
        if unqueued:
            _log.log(
                logging.WARNING,
                "%d client events that waited for Options.client_event_rate were lost with the connection",
                len(unqueued),
            )
        for waiting in unqueued:
            self._remove(waiting)
        for waiting in self._waiting.values():
            waiting.ready = False
        self._ready.clear()
        self._timers.stop(Timer.TRIGGER)

    def closed(self) -> None:
        """Log a warning when the client is closed while events wait."""
        if self._waiting:
            _log.warning(
                "the client was closed while %d client events waited: call flush() before close()",
                len(self._waiting),
            )

    def due(self, now: float) -> None:
        """Send the waiting events that the rate allows now."""
        while self._ready and not self._seconds_left(now):
            waiting = self._waiting.get(heappop(self._ready))
            if waiting is None:
                continue  # replaced or dropped
            waiting.ready = False
            if not self._may_go(waiting):
                continue
            self._remove(waiting)
            if waiting.too_old_at <= now:
                self._count_dropped(1)
            else:
                self._send_now(waiting.frame, waiting.channel, now)
        if self._ready:
            self._timers.set(Timer.TRIGGER, now + self._seconds_left(now))

    def outbox_due(self, of: int | str) -> None:
        """Drop an event that is too old, given by its number, or all events of a channel that was unsubscribed."""
        if isinstance(of, int):
            dropped = [self._waiting[of]]
        elif is_wanted(self._state_of(of)):
            return
        else:
            dropped = list(self._outboxes.get(of, {}).values())
        for waiting in dropped:
            self._remove(waiting)
        self._count_dropped(len(dropped))

    # Steps.

    def _send(
        self, event: str, data: Any, channel: str | None, queue: Outbox | None, now: float
    ) -> None:
        frame = self._frame(event, data, channel)
        self.due(now)
        may_go = queue is None or self._state_of(channel or "") is ChannelState.SUBSCRIBED
        seconds = self._seconds_left(now) if may_go else 0.0
        waits = bool(seconds) or not may_go
        if waits and queue is None and self._options.client_event_overflow == "raise":
            rate = self._options.client_event_rate or inf
            ahead = sum(number in self._waiting for number in self._ready)
            raise RateLimited(
                f"more than {rate:g} client events in a second (Options.client_event_rate); Pusher refuses more than "
                '10: send fewer, or set client_event_overflow="wait" to send them later',
                retry_after=seconds + ahead / rate,
            )
        replaced = self._replaced_by(event, channel, queue) if waits else []
        self._check_room(frame, channel, queue if waits else None, replaced)
        if waits:
            self._wait(event, frame, channel, queue, now, replaced)
        else:
            self._send_now(frame, channel, now)

    def _replaced_by(self, event: str, channel: str | None, queue: Outbox | None) -> list[_Waiting]:
        """Return the waiting events that a new one replaces."""
        if queue is None or queue.keep == "all":
            return []
        return [
            waiting
            for waiting in self._outboxes.get(channel or "", {}).values()
            if waiting.event == event
        ]

    def _check_room(
        self, frame: bytes, channel: str | None, queue: Outbox | None, replaced: list[_Waiting]
    ) -> None:
        """Raise OutboxFull when the event exceeds `Options.outbox_limit` or the limit of the outbox."""
        unsent = self._connector.unsent + self._waiting_bytes
        unsent -= sum(len(waiting.frame) for waiting in replaced)
        if unsent + len(frame) > self._options.outbox_limit:
            raise OutboxFull(
                f"{unsent} bytes wait to be sent already (Options.outbox_limit): try later"
            )
        if queue is not None:
            count = self.waiting_on(channel or "") - len(replaced)
            if count >= queue.limit:
                raise OutboxFull(
                    f"{count} client events wait for {excerpt(channel, 64)!r} already: see outbox(limit=...)"
                )

    def _wait(
        self,
        event: str,
        frame: bytes,
        channel: str | None,
        queue: Outbox | None,
        now: float,
        replaced: list[_Waiting],
    ) -> None:
        """Queue an event."""
        self.replaced += len(replaced)
        for each in replaced:
            self._remove(each)
        self.last += 1
        max_age = None if queue is None else queue.max_age
        too_old_at = inf if max_age is None else now + max_age
        waiting = _Waiting(self.last, channel, event, frame, queue is not None, too_old_at)
        self._waiting[waiting.number] = waiting
        self._waiting_bytes += len(frame)
        if queue is not None:
            self._outboxes.setdefault(channel or "", {})[waiting.number] = waiting
        if too_old_at < inf:
            self._timers.set(Timer.OUTBOX, too_old_at, waiting.number)
        if self._may_go(waiting):
            self._make_ready(waiting)
            self._timers.set(Timer.TRIGGER, now + self._seconds_left(now))

    def _make_ready(self, waiting: _Waiting) -> None:
        """Add an event to the heap of events that wait for the rate only."""
        if not waiting.ready:
            waiting.ready = True
            heappush(self._ready, waiting.number)

    def _may_go(self, waiting: _Waiting) -> bool:
        """Return whether the event waits for the rate only."""
        return (
            not waiting.queued or self._state_of(waiting.channel or "") is ChannelState.SUBSCRIBED
        )

    def _send_now(self, frame: bytes, channel: str | None, now: float) -> None:
        self._tokens -= self._options.client_event_rate is not None
        self._connector.request(frame, RequestKind.CLIENT_EVENT, channel, now)
        self._pings_before = self._connector.ledger.pings

    def _remove(self, waiting: _Waiting) -> None:
        del self._waiting[waiting.number]
        self._waiting_bytes -= len(waiting.frame)
        if waiting.queued:
            self._timers.stop(Timer.OUTBOX, waiting.number)
            outbox = self._outboxes[waiting.channel or ""]
            del outbox[waiting.number]
            if not outbox:
                del self._outboxes[waiting.channel or ""]

    def _count_dropped(self, count: int) -> None:
        self.dropped += count
        self._drops += 1
        text = "waiting client events were dropped (too old, or their channel was unsubscribed): %d so far"
        log_seldom(_log, logging.WARNING, self._drops, text, self.dropped)

    def _frame(self, event: str, data: Any, channel: str | None) -> bytes:
        """Return the text of the message. Raises LocalProtocolError when it is too large for servers."""
        frame, limit = encode(event, data, channel), self._options.max_client_event
        size = len(frame) - len(encode(event, 0, channel)) + 1
        if size > limit:
            raise LocalProtocolError(
                f"the data of {excerpt(event, 64)!r} has {size} bytes; the limit is {limit} (Options.max_client_event)"
            )
        largest = self._options.max_frame
        if largest is not None and len(frame) > largest:
            raise LocalProtocolError(
                f"the message with {excerpt(event, 64)!r} has {len(frame)} bytes; the limit is {largest}"
                " (Options.max_frame)"
            )
        return frame

    def _seconds_left(self, now: float) -> float:
        """Return for how many seconds the rate delays the next event: a token bucket with the tokens of one second."""
        rate = self._options.client_event_rate
        if rate is None:
            return 0.0
        filled = self._tokens + (now - self._counted_at) * rate
        self._tokens, self._counted_at = min(float(rate), filled), now
        # A sum of floats may be slightly less than 1.
        return 0.0 if self._tokens > 1 - 1e-9 else (1 - self._tokens) / rate
