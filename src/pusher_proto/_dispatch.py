"""Dispatch of the server's messages to the machines, and the queue of events for the application."""

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
    ProtocolViolation,
    SignInFailed,
    SubscriptionFailed,
    size_of,
)

__all__ = ["Dispatch", "EventQueue"]

_log = logger("session")

# Between these are the names of the protocol, and few others: to compare costs a quarter of what a call does.
_FIRST, _LAST = "pusher:", "pusher_internal;"
_FAILURES = (SubscriptionFailed, SignInFailed)


class EventQueue(deque[Event]):
    """The queue of events. `changes` counts the events other than messages.

    Nothing is counted for each message: `bytes` grows with each read, and `look` is called once it has reached
    `look_at`, to count what really waits.
    """

    __slots__ = ("_look", "alike", "bytes", "changes", "held", "look_at", "violations")

    def __init__(self, look_at: int, look: Callable[[], None]) -> None:
        super().__init__()
        self.bytes: int = 0
        """At least the bytes of all events so far."""
        self.look_at: int = look_at
        self.alike: int = 0
        """How many messages at the left have the same channel and name; see `fast_lane.Run`."""
        self.changes: int = 0
        """How many events were emitted that are not messages."""
        self.violations: int = 0
        self.held: int = 0
        """The bytes of messages that wait before the queue, while missed ones are fetched."""
        self._look = look

    def emit(self, event: Event) -> None:
        """Queue an event."""
        if isinstance(event, _FAILURES):
            _log_failure(event)
        self.changes += 1
        self.bytes += size_of(event)
        self.violations += type(event) is ProtocolViolation
        self.append(event)
        if self.bytes >= self.look_at:
            self._look()

    def add(self, run: Run) -> None:
        """Queue messages. Call `check` after the last one."""
        if run.alike and self.alike == len(self) and (not self or run.is_like(self[0])):
            self.alike += len(run.events)
        self.extend(run.events)

    def check(self) -> None:
        """Call `look` if enough was received for it: after each read."""
        if self.bytes >= self.look_at:
            self._look()

    def release(self, size: int) -> None:
        """Report that held messages of `size` bytes were queued or dropped."""
        self.held -= size
        self._look()

    def waiting(self) -> int:
        """Count the bytes of the events in the queue, and of the held ones."""
        return sum(map(size_of, self)) + self.held


def _log_failure(event: SubscriptionFailed | SignInFailed) -> None:
    if isinstance(event, SignInFailed):
        what = "the user is not signed in"
    else:
        what = f"no subscription to {excerpt(event.channel, 64)}"
    if event.retry_in is None:
        _log.error("%s: %s", what, event.error)
    else:
        _log.warning("%s: %s; next try in %.1f s", what, event.error, event.retry_in)


class Dispatch:
    """Hands what a link received to the machine that handles it."""

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

    def take(self, items: Iterable[Run | LinkItem], now: float) -> None:
        """Handle the items of one read, each before asking for the next."""
        for item in items:
            if isinstance(item, Run):
                self._take_messages(item, now)
            elif isinstance(item, Envelope):
                self.messages += 1
                if item.event == SIGNED_IN:
                    self._subscriptions.signed_in(now)
                if not self._user.receive(item, now):
                    _log.debug(
                        "dropped %s: unknown, and no channel is named", excerpt(item.event, 64)
                    )
            else:
                self._take_control(item, now)

    def _take_messages(self, run: Run, now: float) -> None:
        """Take messages that name a channel: one look-up for a run of messages that are alike."""
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
            self._take_message(event, now)

    def _take_message(self, event: ChannelEvent, now: float) -> None:
        channel, name = self._subscriptions.channels.get(event.channel), event.name
        if channel is None or name.startswith(("pusher:", "pusher_internal:")):
            self._take_special(channel, event, now)
        elif channel.passes:
            self._events.append(event)
        elif channel.receives:
            self._subscriptions.message(channel, event, now)
        else:
            _log.debug("dropped %s: its channel is not subscribed", excerpt(name, 64))

    def _take_special(self, channel: Channel | None, event: ChannelEvent, now: float) -> None:
        """Handle a message of the protocol, or of a channel that the application does not have."""
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
        """Emit a message as it was received; what cannot be read is reported as a `ProtocolViolation` later."""
        try:
            found = decode(text)
        except BadMessage:
            return
        user_id = None if found.user_id is None else str(found.user_id)
        message = Message(
            found.event, found.channel, found.data, user_id, found.extra, text.decode()
        )
        self._events.emit(message)

    def _take_control(self, item: LinkNews, now: float) -> None:
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
