"""Client events and messages for extensions of servers: their checks, their rate, and the outboxes.

Protocol: client events. A server that refuses one says so in an error that may name no channel, or keeps
silent, so what can be known here is refused here.

An event that cannot go out yet waits: for the rate, and with an `Outbox` also for the subscription of its channel.
Waiting events are numbered in the order of `trigger`. Events that wait for the rate alone are in the heap `_ready`:
all events of a subscribed channel and none of another. So the events of a channel go out in the order of their
numbers, and none overtakes an older one.
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
from .._connection.ledger import Asked
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
"""Messages that the client sends itself: one from the application would contradict its state."""

_log = logger("session")


class _Waiting(Struct):
    """An event that waits."""

    number: int
    channel: str | None
    event: str
    frame: bytes
    queued: bool
    """Whether it may wait for the subscription of its channel, and survives the loss of the connection."""
    too_old_at: float
    ready: bool = False
    """Whether its number is in the heap of events that wait for the rate alone."""


class ClientEvents:
    """Sends client events, keeps to a rate if one is set, and keeps what has to wait."""

    __slots__ = (
        "_connector", "_counted_at", "_drops", "_options", "_outboxes", "_ready", "_sent_behind",
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
        self._counted_at = float("-inf")
        # An empty deque would take 700 bytes.
        self._waiting: dict[int, _Waiting] = {}
        self._waiting_bytes = 0
        self._ready: list[int] = []
        self._outboxes: dict[str, dict[int, _Waiting]] = {}
        """The queued events of each channel that has any."""
        self._sent_behind: int | None = None
        """How many pings went out on this connection before the last event; None without an event."""
        self.last: int = 0
        """The number of the last event that had to wait."""
        self._drops = 0
        self.dropped: int = 0
        """How many events waited too long, or their channel was left."""
        self.replaced: int = 0
        """How many events were replaced by a newer one of the same name."""
        self.losses: int = 0
        """How many connections ended before the server had confirmed all events that were sent or waited on them."""

    # Questions

    @property
    def waiting(self) -> int:
        """How many events wait until the rate allows them, or until their channel is subscribed."""
        return len(self._waiting)

    def waiting_on(self, channel: str) -> int:
        """Return how many events wait in the outbox of a channel."""
        return len(self._outboxes.get(channel, ()))

    def waits(self, number: int) -> bool:
        """Return whether an event waits whose number is at most `number`."""
        return bool(self._waiting) and next(iter(self._waiting)) <= number

    # Commands

    def trigger(
        self, channel: ChannelSnapshot, event: str, data: Any, queue: Outbox | None, now: float
    ) -> None:
        """Send a client event on a channel, or let it wait. Raises for an invalid event, before anything changes."""
        check_client_event(event, strict=self._options.strict_names)
        if channel.kind not in (ChannelKind.PRIVATE, ChannelKind.PRESENCE):
            raise UnsupportedFeature(
                f"client events go to private and presence channels, and {excerpt(channel.name, 64)!r} is "
                f"{channel.kind.value}"
            )
        if queue is None:
            check_subscribed(channel)
        elif not is_wanted(channel.state):
            raise NotSubscribed(
                f"{excerpt(channel.name, 64)!r} is not subscribed ({channel.state.meaning}): call subscribe() first, "
                "then client events can wait for it"
            )
        self._send(event, data, channel.name, queue, now)

    def send(self, event: str, data: Any, channel: str | None, now: float) -> None:
        """Send any message. Raises, before anything changes, when it cannot be right."""
        shown = excerpt(event, 64)
        if not 0 < len(event) <= _LONGEST_NAME:
            raise InvalidName(
                f"the name of an event is a text of 1 to {_LONGEST_NAME} characters, not {shown!r}"
            )
        if event in _OURS:
            raise LocalProtocolError(f"{shown!r} is sent by the client itself: use {_OURS[event]}")
        if self._connector.socket_id is None:
            raise NotConnected(f"there is no connection to send {shown!r} on")
        self._send(event, data, channel, None, now)

    # What happens

    def subscribed(self, channel: str, now: float) -> None:
        """Send the events that waited for the subscription of a channel, as far as the rate allows."""
        outbox = self._outboxes.get(channel)
        if outbox is not None:
            for waiting in outbox.values():
                self._make_ready(waiting)
            self.due(now)

    def left(self, channel: str, now: float) -> None:
        """Drop the events that wait for a channel, unless it is subscribed again at once."""
        if channel in self._outboxes:
            self._timers.set(Timer.OUTBOX, now, channel)

    def lost(self) -> None:
        """Note the loss of the connection: events without an outbox that waited are lost, and sent ones may be."""
        behind, self._sent_behind = self._sent_behind, None
        unqueued = [waiting for waiting in self._waiting.values() if not waiting.queued]
        if unqueued or (behind is not None and self._connector.ledger.pongs <= behind):
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
        """Log that events still wait: the client is being closed."""
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
                self._go(waiting.frame, waiting.channel, now)
        if self._ready:
            self._timers.set(Timer.TRIGGER, now + self._seconds_left(now))

    def outbox_due(self, of: int | str) -> None:
        """Drop an event that is too old, by its number, or the events of a channel that was left."""
        if isinstance(of, int):
            dropped = [self._waiting[of]]
        elif is_wanted(self._state_of(of)):
            return
        else:
            dropped = list(self._outboxes.get(of, {}).values())
        for waiting in dropped:
            self._remove(waiting)
        self._count_dropped(len(dropped))

    # Within

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
                '10; client_event_overflow="wait" sends them later',
                retry_after=seconds + ahead / rate,
            )
        replaced = self._replaced_by(event, channel, queue) if waits else []
        self._check_room(frame, channel, queue if waits else None, replaced)
        if waits:
            self._wait(event, frame, channel, queue, now, replaced)
        else:
            self._go(frame, channel, now)

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
        unsent = self._connector.unsent + self._waiting_bytes
        unsent -= sum(len(waiting.frame) for waiting in replaced)
        if unsent + len(frame) > self._options.outbox_limit:
            raise OutboxFull(f"{unsent} bytes wait to be sent already (Options.outbox_limit)")
        if queue is not None:
            count = self.waiting_on(channel or "") - len(replaced)
            if count >= queue.limit:
                raise OutboxFull(
                    f"{count} client events wait for {excerpt(channel, 64)!r} already (outbox(limit=...))"
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
        if not waiting.ready:
            waiting.ready = True
            heappush(self._ready, waiting.number)

    def _may_go(self, waiting: _Waiting) -> bool:
        """Return whether the event waits for the rate alone."""
        return (
            not waiting.queued or self._state_of(waiting.channel or "") is ChannelState.SUBSCRIBED
        )

    def _go(self, frame: bytes, channel: str | None, now: float) -> None:
        self._tokens -= self._options.client_event_rate is not None
        self._connector.request(frame, Asked.CLIENT_EVENT, channel, now)
        self._sent_behind = self._connector.ledger.pings

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
        text = "client events that waited were dropped, as they were too old or their channel was left: %d until now"
        log_seldom(_log, logging.WARNING, self._drops, text, self.dropped)

    def _frame(self, event: str, data: Any, channel: str | None) -> bytes:
        frame, limit = encode(event, data, channel), self._options.max_client_event
        size = len(frame) - len(encode(event, 0, channel)) + 1
        if size > limit:
            raise LocalProtocolError(
                f"the data of {excerpt(event, 64)!r} has {size} bytes; servers take {limit} (Options.max_client_event)"
            )
        largest = self._options.max_frame
        if largest is not None and len(frame) > largest:
            raise LocalProtocolError(
                f"the message with {excerpt(event, 64)!r} has {len(frame)} bytes; the server takes {largest} "
                "(Options.max_frame)"
            )
        return frame

    def _seconds_left(self, now: float) -> float:
        """Return how long the next event has to wait for a bucket that fills at the rate and holds a second's worth."""
        rate = self._options.client_event_rate
        if rate is None:
            return 0.0
        filled = self._tokens + (now - self._counted_at) * rate
        self._tokens, self._counted_at = min(float(rate), filled), now
        # By rounding a float may be slightly less than a token.
        return 0.0 if self._tokens > 1 - 1e-9 else (1 - self._tokens) / rate
