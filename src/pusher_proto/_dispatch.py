"""Dispatches the server's messages to channels and user, and queues events for the application."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import assert_never

from ._base.logs import log_seldom, logger
from ._channels.catching_up import CatchUps
from ._channels.channel import Channel
from ._channels.subscriptions import Subscriptions
from ._channels.user import SIGNED_IN, USER_MESSAGES, User
from ._connection.connector import Connector
from ._protocol.channel_messages import is_of_protocol
from ._protocol.control import (
    Ended,
    ErrorReceived,
    Greeted,
    LinkItem,
    LinkNews,
    Malformed,
    Ponged,
    TextReceived,
    Upgraded,
)
from ._wire.envelope import BadMessage, Envelope, decode
from ._wire.fast_lane import Run
from .errors import excerpt
from .events import (
    ChannelEvent,
    Event,
    Message,
    ProtocolMessage,
    ProtocolViolation,
    SignInFailed,
    SubscriptionFailed,
    size_of,
)

__all__ = ["Dispatch", "EventQueue"]

_log = logger("session")

# The protocol's names, and few others, are between these two. A comparison takes a quarter of the time of a call.
_FIRST, _LAST = "pusher:", "pusher_internal;"
_FAILURES = (SubscriptionFailed, SignInFailed)


class EventQueue(deque[Event]):
    """The queue of events for the application.

    It counts nothing for each message: `bytes` increases with each read, and when it reaches `look_at` the queue calls
    `look`, which counts the bytes of the waiting events.
    """

    __slots__ = ("_look", "alike", "bytes", "changes", "held", "look_at", "violations")

    def __init__(self, look_at: int, look: Callable[[], None]) -> None:
        super().__init__()
        self.bytes: int = 0
        """The bytes of all events so far, or more."""
        self.look_at: int = look_at
        """The value of `bytes` at which `look` is called."""
        self.alike: int = 0
        """How many messages at the left end have the same channel and name; see `fast_lane.Run`."""
        self.changes: int = 0
        """How many events other than messages were queued."""
        self.violations: int = 0
        self.held: int = 0
        """The bytes of messages that are held before the queue, while missed events are fetched."""
        self._look = look

    def emit(self, event: Event) -> None:
        """Queue and count an event, and log failures of subscriptions and sign-ins."""
        if isinstance(event, _FAILURES):
            _log_failure(event)
        self.changes += 1
        self.bytes += size_of(event)
        self.violations += type(event) is ProtocolViolation
        self.append(event)
        if self.bytes >= self.look_at:
            self._look()

    def add(self, run: Run) -> None:
        """Queue messages. Call `check` after the last run of a read."""
        if run.alike and self.alike == len(self) and (not self or run.is_like(self[0])):
            self.alike += len(run.events)
        self.extend(run.events)

    def check(self) -> None:
        """Call `look` if enough was received since the last time. Call this after each read."""
        if self.bytes >= self.look_at:
            self._look()

    def release(self, size: int) -> None:
        """Report that held messages of `size` bytes were queued or dropped."""
        self.held -= size
        self._look()

    def waiting(self) -> int:
        """Return the bytes of the events in the queue and of the held messages."""
        return sum(map(size_of, self)) + self.held


def _log_failure(event: SubscriptionFailed | SignInFailed) -> None:
    """Log a failure: as a warning if another attempt is planned, else as an error."""
    if isinstance(event, SignInFailed):
        what = "the user is not signed in"
    else:
        what = f"no subscription to {excerpt(event.channel, 64)}"
    if event.retry_in is None:
        _log.error("%s: %s", what, event.error)
    else:
        _log.warning("%s: %s; next try in %.1f s", what, event.error, event.retry_in)


class Dispatch:
    """Passes the items of a link to the parts of the session that process them."""

    __slots__ = ("_catch_ups", "_connector", "_events", "_subscriptions", "_user", "messages")

    def __init__(
        self,
        events: EventQueue,
        connector: Connector,
        subscriptions: Subscriptions,
        user: User,
        catch_ups: CatchUps,
    ) -> None:
        self._events = events
        self._connector = connector
        self._subscriptions = subscriptions
        self._user = user
        self._catch_ups = catch_ups
        self.messages = 0

    def dispatch(self, items: Iterable[Run | LinkItem], now: float) -> None:
        """Process the items of one read, each before getting the next."""
        for item in items:
            if isinstance(item, Run):
                self._messages_of(item, now)
            elif isinstance(item, Envelope):
                self.messages += 1
                if item.event == SIGNED_IN:
                    self._subscriptions.signed_in(now)
                if not self._user.receive(item, now):
                    _log.debug(
                        "dropped %s: unknown, and without a channel", excerpt(item.event, 64)
                    )
            else:
                self._control(item, now)

    def _messages_of(self, run: Run, now: float) -> None:
        """Process messages of channels. A run of messages that are alike needs one look-up."""
        find = self._subscriptions.channels.get
        events: list[ChannelEvent] = run.events
        self.messages += len(events)
        last = None
        for event in events[:1] if run.alike else events:
            if event.channel != last:
                last = event.channel
                channel = find(last)
                if channel is None or not channel.passes:
                    break
            if _FIRST <= event.name < _LAST:
                break
        else:
            self._events.add(run)
            return
        for event in events:
            self._message(event, now)

    def _message(self, event: ChannelEvent, now: float) -> None:
        """Process one message of a channel."""
        channel, name = self._subscriptions.channels.get(event.channel), event.name
        if channel is None or is_of_protocol(name):
            self._special(channel, event, now)
        elif channel.passes:
            self._events.append(event)
        elif channel.receives:
            self._subscriptions.message(channel, event, now)
        else:
            _log.debug("dropped %s: its channel is not subscribed", excerpt(name, 64))

    def _special(self, channel: Channel | None, event: ChannelEvent, now: float) -> None:
        """Process a message of the protocol, or of a channel that is not subscribed."""
        if event.name == SIGNED_IN:
            self._subscriptions.signed_in(now)
        for_user = channel is None or event.name in USER_MESSAGES
        if for_user and self._user.receive_on_channel(event, now):
            return
        if event.name.startswith("pusher"):
            self._subscriptions.control(channel, event, now)
        else:
            _log.debug("dropped %s: its channel is unknown", excerpt(event.name, 64))

    def _emit_message(self, text: bytes) -> None:
        """Emit a `Message`, if its class is wanted.

        Does nothing for an invalid text, for which the link emits a `Malformed`.
        """
        try:
            found = decode(text)
        except BadMessage:
            return
        is_event = found.channel is not None and not is_of_protocol(found.event)
        if is_event and self._connector.wants_texts is not Message:
            return  # an event that is not plain
        cls = Message if is_event else ProtocolMessage
        user_id = None if found.user_id is None else str(found.user_id)
        message = cls(found.event, found.channel, found.data, user_id, found.extra, text.decode())
        self._events.emit(message)

    def _control(self, item: LinkNews, now: float) -> None:
        """Process an item about the connection itself."""
        connector = self._connector
        match item:
            case TextReceived():
                self._emit_message(item.text)
            case Upgraded():
                connector.upgraded()
            case Greeted():
                connector.greeted(item.socket_id, now)
            case ErrorReceived():
                message = excerpt(item.message)
                _log.warning("the server sent an error (%s): %s", item.code, message)
                if self._subscriptions.error(item, now):
                    connector.forget_error()
            case Malformed():
                count = self._events.violations + 1
                log_seldom(_log, logging.WARNING, count, "%s: %s", item.reason, item.excerpt)
                self._events.emit(ProtocolViolation(item.reason, item.excerpt))
            case Ponged():
                self._subscriptions.ponged(now)
                self._catch_ups.ponged(connector.ledger.pongs, now)
            case Ended():
                connector.ended(item, now)
            case _:
                assert_never(item)
