"""Client events and messages for extensions of servers: everything that is checked before one is sent, and the rate.

Protocol: client events. A server that refuses one says so in an error that may name no channel, or keeps
silent, so what can be known here is refused here.
"""

from __future__ import annotations

import logging
from typing import Any

from .._base.logs import logger
from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import Asked
from .._wire.envelope import encode
from ..errors import (
    InvalidName,
    LocalProtocolError,
    NotConnected,
    OutboxFull,
    RateLimited,
    UnsupportedFeature,
    excerpt,
)
from ..names import ChannelKind, check_client_event
from ..options import Options
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
"""Messages that the client sends itself: one of the application would contradict what it knows."""

_log = logger("session")


class ClientEvents:
    """Sends client events, and keeps to a rate if one is set."""

    def __init__(self, options: Options, timers: Timers, connector: Connector) -> None:
        self._options = options
        self._timers = timers
        self._connector = connector
        self._tokens = float(options.client_event_rate or 0)
        self._counted_at = float("-inf")
        self._waiting: list[tuple[bytes, str | None]] = []  # an empty deque would take 700 bytes
        self._waiting_bytes = 0

    @property
    def waiting(self) -> int:
        """How many events wait until the rate allows them."""
        return len(self._waiting)

    def trigger(self, channel: ChannelSnapshot, event: str, data: Any, now: float) -> None:
        """Send a client event on a channel. Raises, before anything changes, when it cannot be right."""
        check_client_event(event, strict=self._options.strict_names)
        if channel.kind not in (ChannelKind.PRIVATE, ChannelKind.PRESENCE):
            raise UnsupportedFeature(
                f"client events go to private and presence channels, and {excerpt(channel.name, 64)!r} is "
                f"{channel.kind.value}"
            )
        check_subscribed(channel)
        self._send(event, data, channel.name, now)

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
        self._send(event, data, channel, now)

    def due(self, now: float) -> None:
        """Send the waiting client events that the rate allows now."""
        while self._waiting and not self._seconds_left(now):
            frame, channel = self._waiting.pop(0)
            self._waiting_bytes -= len(frame)
            self._tokens -= 1
            self._connector.request(frame, Asked.CLIENT_EVENT, channel, now)
        if self._waiting:
            self._timers.set(Timer.TRIGGER, now + self._seconds_left(now))

    def lost(self) -> None:
        """Drop the client events that waited for the lost connection: sent ones may be lost too."""
        if self._waiting:
            _log.log(
                logging.WARNING,
                "%d client events that waited for Options.client_event_rate were lost with the connection",
                len(self._waiting),
            )
        self._waiting.clear()
        self._waiting_bytes = 0
        self._timers.stop(Timer.TRIGGER)

    def _send(self, event: str, data: Any, channel: str | None, now: float) -> None:
        frame = self._frame(event, data, channel)
        waiting = self._connector.unsent + self._waiting_bytes
        if waiting + len(frame) > self._options.outbox_limit:
            raise OutboxFull(f"{waiting} bytes wait to be sent already (Options.outbox_limit)")
        seconds = self._seconds_left(now)
        if not seconds and not self._waiting:
            self._tokens -= self._options.client_event_rate is not None
            self._connector.request(frame, Asked.CLIENT_EVENT, channel, now)
        elif self._options.client_event_overflow == "raise":
            rate = self._options.client_event_rate
            raise RateLimited(
                f"more than {rate:g} client events in a second (Options.client_event_rate); Pusher refuses more than "
                '10; client_event_overflow="wait" sends them later',
                retry_after=seconds,
            )
        else:
            self._waiting.append((frame, channel))
            self._waiting_bytes += len(frame)
            self._timers.set(Timer.TRIGGER, now + seconds)

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
        # A float may fall short of a token by what was rounded off.
        return 0.0 if self._tokens > 1 - 1e-9 else (1 - self._tokens) / rate
