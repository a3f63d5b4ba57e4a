"""What came from the server, and to whom it goes; and the events that wait for the application."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import assert_never

from ._connector import Connector
from ._link_items import (
    Ended,
    ErrorReceived,
    Greeted,
    LinkItem,
    LinkNews,
    Malformed,
    Upgraded,
)
from ._logs import logger
from ._messages import Envelope
from ._subscriptions import Subscriptions
from ._user import User
from .errors import excerpt
from .events import (
    ChannelEvent,
    DecryptionFailed,
    Event,
    ProtocolViolation,
    SignInFailed,
    SubscriptionFailed,
)

__all__ = ["Events", "Inbox"]

_log = logger("session")


class Events:
    """The queue of events. `changes` counts those that are not messages; `filled` is told of `limit` and more."""

    __slots__ = ("_filled", "_limit", "changes", "queue", "violations")

    def __init__(self, limit: int, filled: Callable[[], None]) -> None:
        self.queue: deque[Event] = deque()
        self.changes = 0
        self.violations = 0
        self._limit = limit
        self._filled = filled

    def emit(self, event: Event) -> None:
        """Queue an event."""
        match event:
            case SubscriptionFailed():
                _log.error("no subscription to %s: %s", excerpt(event.channel, 64), event.error)
            case SignInFailed():
                _log.error("the user is not signed in: %s", event.error)
            case DecryptionFailed():
                _log.error("dropped an encrypted event: %s", event.error)
            case _:
                pass
        self.changes += 1
        self.violations += type(event) is ProtocolViolation
        self.queue.append(event)
        self.check()

    def check(self) -> None:
        """Look whether the queue is full; `emit` does, and who appended to it by itself does so at last."""
        if len(self.queue) >= self._limit:
            self._filled()


class Inbox:
    """Hands what a link received to the machine that it concerns."""

    def __init__(
        self, events: Events, connector: Connector, subscriptions: Subscriptions, user: User
    ) -> None:
        self._events = events
        self._connector = connector
        self._subscriptions = subscriptions
        self._user = user
        self.messages = 0

    def take(self, items: Iterable[LinkItem], now: float) -> None:
        """Take what one read brought, each before the next is asked for."""
        channels, queue = self._subscriptions.channels, self._events.queue
        for item in items:
            if not isinstance(item, Envelope):
                self._take_control(item, now)
                continue
            self.messages += 1
            name, event = item.channel, item.event
            channel = channels.get(name) if name is not None else None
            if channel is None or event.startswith(("pusher:", "pusher_internal:")):
                self._take_special(item, now)
            elif not channel.receives:
                _log.debug("dropped %s: its channel is not subscribed", excerpt(event, 64))
            elif channel.plain:  # the path of nearly every message
                user_id = None if item.user_id is None else str(item.user_id)
                queue.append(ChannelEvent(channel.name, event, item.data, user_id, item.extra))
            else:
                self._subscriptions.message(channel, item, now)
        self._events.check()

    def _take_special(self, envelope: Envelope, now: float) -> None:
        if self._user.receive(envelope, now):
            return
        if envelope.channel is not None and envelope.event.startswith("pusher"):
            self._subscriptions.control(envelope, now)
        else:
            _log.debug("dropped %s: nobody is known whom it is for", excerpt(envelope.event, 64))

    def _take_control(self, item: LinkNews, now: float) -> None:
        connector = self._connector
        match item:
            case Upgraded():
                connector.upgraded()
            case Greeted():
                connector.greeted(item.socket_id, now)
            case ErrorReceived():
                message = excerpt(item.message)
                _log.error("the server sent an error (%s): %s", item.code, message)
                if self._subscriptions.error(item, now) and connector.link is not None:
                    connector.link.forget_error()
            case Malformed():
                _log.warning("%s: %s", item.reason, item.excerpt)
                self._events.emit(ProtocolViolation(item.reason, item.excerpt))
            case Ended():
                connector.ended(item, now)
            case _:
                assert_never(item)
