"""Passes the server's messages to the connector, the channels and the user, or queues them for the application."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import assert_never

from .._base.logs import log_seldom, logger
from .._channels.catching_up import CatchUps
from .._channels.channel import Channel
from .._channels.subscriptions import Subscriptions
from .._channels.user import SIGNED_IN, USER_MESSAGES, User
from .._connection.connector import Connector
from .._protocol.channel_messages import FIRST, LAST
from .._protocol.control import (
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
from .._wire.envelope import BadMessage, Envelope, decode
from .._wire.fast_lane import Run
from ..errors import excerpt
from ..events import ChannelEvent, Message, ProtocolMessage, ProtocolViolation
from ..names import is_of_protocol
from .event_queue import EventQueue

__all__ = ["Dispatch"]

_MOST_CODES = 64
"""How many codes of errors are counted separately; all others are counted together."""

_log = logger("session")


class Dispatch:
    """Passes the items of a link to the parts of the session that process them."""

    __slots__ = (
        "_catch_ups", "_connector", "_errors", "_events", "_subscriptions", "_user", "messages",
    )  # fmt: skip

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
        self._errors: dict[int | None, int] = {}
        """How many errors with each code the server sent, for the log."""
        self.messages: int = 0
        """How many messages were received."""

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
            if FIRST <= event.name < LAST:
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

    def _count_error(self, code: int | None) -> int:
        """Count an error of the server; return how many errors with this code there were."""
        known = code in self._errors or len(self._errors) < _MOST_CODES
        key = code if known else None  # the server chooses the codes
        count = self._errors[key] = self._errors.get(key, 0) + 1
        return count

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
                count = self._count_error(item.code)
                text = "the server sent an error (%s): %s"
                log_seldom(_log, logging.WARNING, count, text, item.code, excerpt(item.message))
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
