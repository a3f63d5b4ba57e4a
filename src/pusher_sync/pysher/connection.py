"""A connection with the names of Pysher: a thread that calls the callbacks of one blocking client."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from threading import Thread, current_thread
from typing import Any

import pusher_proto as proto
from pusher_sync import Client, open_pusher

from .channel import CallbackBase, Callbacks
from .messages import MADE, Messages
from .settings import options_for

__all__ = ["Connection"]

_PATIENCE = 5.0
"""Seconds that `disconnect` waits for a callback that is running, unless its `timeout` says otherwise."""


class Connection(CallbackBase, Thread):
    """One connection and its successors. `start()` opens a client; the thread calls its callbacks.

    `event_handler(event_name, data, channel_name)` is called for each message on a channel, `reconnect_handler()` at
    each connection but the first. A thread runs once; `start()` makes a new one after the end.
    """

    ping_interval: float = 120
    """Seconds of silence before a ping. Set it before `start()`."""
    pong_timeout: float = 30
    """Seconds of silence after a ping before the connection counts as lost. Set it before `start()`."""
    _messages: Messages

    def __init__(
        self, event_handler: Callable[[str, Any, str], object], url: str,
        reconnect_handler: Callable[[], object] | None = None, log_level: int | str | None = None,
        daemon: bool = True, reconnect_interval: float = 10,
        socket_kwargs: Mapping[str, Any] | None = None, **thread_kwargs: Any,
    ) -> None:  # fmt: skip
        self.event_handler = event_handler
        self.url = url
        self.reconnect_handler = reconnect_handler
        self.event_callbacks: Callbacks = defaultdict(list)
        self.reconnect_interval = reconnect_interval
        self.socket_kwargs: Mapping[str, Any] = socket_kwargs or {}
        self.logger: logging.Logger = logging.getLogger(self.__module__)
        if log_level:
            self.logger.setLevel(log_level)
        self.disconnect_called: bool = False
        self.channels: dict[str, proto.Auth | None] = {}
        """The channels to subscribe to at each connection, each with the way to authorize it."""
        self._client: Client | None = None
        """While it is open."""
        self._state, self._socket_id = "initialized", ""
        """The state while no client is open, and the last socket id."""
        Thread.__init__(self, **thread_kwargs)
        self.daemon = daemon
        self.name = "PysherEventLoop"
        self._options()

    @property
    def state(self) -> str:
        """The state: initialized, connecting, connected, unavailable, failed or disconnected."""
        client = self._client
        return self._state if client is None else str(client.state)

    @property
    def socket_id(self) -> str:
        """The id of the connection, or of the last one; empty before the first one."""
        client = self._client
        return (client and client.socket_id) or self._socket_id

    def start(self) -> None:
        """Connect, and call callbacks in a new thread. Raises RuntimeError while it is running.

        Bind callbacks for messages without a channel before it, except for messages of the protocol.
        """
        if self.is_alive():
            raise RuntimeError("this connection is running already: call disconnect() first")
        if self.ident is not None:
            Thread.__init__(self, name=self.name, daemon=self.daemon)
        self.disconnect_called, self._state = False, "disconnected"
        client = open_pusher(self._options())
        try:
            self._messages = Messages(lambda name: client.channel(name).members)
            client.bind(None, self._take)
            if self.event_callbacks.keys() - MADE:
                client.bind(proto.Message, self._take_message)
            for name, auth in tuple(self.channels.items()):
                client.subscribe(name, auth=auth)
            self._client = client
            client.connect()
            super().start()
        except BaseException:
            self._client = None
            client.close()
            raise

    def run(self) -> None:
        """Call the callbacks until the client is closed."""
        if (client := self._client) is None:
            return  # disconnected already
        try:
            client.run()
        except proto.ConnectionFailed:  # the client has logged why
            self._state = "failed"
        finally:
            self._client = None
            client.close()

    def disconnect(self, timeout: float | None = None) -> None:
        """Disconnect permanently; `start()` connects again. No callback is called after it.

        Waits for a running callback, at most `timeout` seconds (5 by default), unless it is called in one.
        """
        self.disconnect_called = True
        client, self._client = self._client, None
        if client is not None:
            client.close()
        if self.is_alive() and current_thread() is not self:
            self.join(_PATIENCE if timeout is None else timeout)

    def reconnect(self, reconnect_interval: float | None = None) -> None:  # noqa: ARG002 - of Pysher
        """End the connection and open another at once; `reconnect_interval` has no effect."""
        if (client := self._client) is not None:
            client.reconnect()

    def subscribe(self, channel_name: str, auth: proto.Auth | None = None) -> None:
        """Subscribe to a channel at this connection and at all later ones."""
        if (client := self._client) is not None:
            client.subscribe(channel_name, auth=auth)
        self.channels[channel_name] = auth

    def unsubscribe(self, channel_name: str) -> None:
        """Unsubscribe from a channel."""
        self.channels.pop(channel_name, None)
        if (client := self._client) is not None:
            client.unsubscribe(channel_name)

    def send_event(self, event_name: str, data: Any, channel_name: str | None = None) -> None:
        """Send a message. A message that cannot be sent is logged, with what to do."""
        try:
            if event_name == "pusher:subscribe":
                ready = proto.AuthResponse(data.get("auth"), data.get("channel_data"))
                self.subscribe(data["channel"], ready if ready.auth else None)
            elif event_name == "pusher:unsubscribe":
                self.unsubscribe(data["channel"])
            elif (client := self._client) is None:
                raise proto.NotConnected("there is no connection: call connect() first")
            elif channel_name and event_name.startswith("client-"):
                client.channel(channel_name).trigger(event_name, data)
            else:
                client.send_event(event_name, data, channel_name)
        except (proto.PusherError, TypeError, ValueError, LookupError, AttributeError) as error:
            self.logger.error("%r was not sent: %s", event_name, error)

    def _options(self) -> proto.Options:
        pings = self.ping_interval, self.pong_timeout
        return options_for(self.url, self.reconnect_interval, pings, self.socket_kwargs)

    def _take(self, event: proto.Event) -> None:
        """Process an event of the client."""
        if self.disconnect_called:
            return
        if type(event) is proto.ChannelEvent:
            self.event_handler(event.name, event.wire_data, event.channel)
            return
        if isinstance(event, proto.ConnectionEstablished):
            self._socket_id = event.socket_id
            if event.offline_for is not None and self.reconnect_handler is not None:
                self.reconnect_handler()
        name, data = self._messages.of(event) or ("", None)
        if name in MADE:
            self.call(name, data)
        elif name:
            self.event_handler(name, data, getattr(event, "channel", ""))

    def _take_message(self, message: proto.Message) -> None:
        """Process a message as it was received."""
        if message.channel is None and message.event not in MADE and not self.disconnect_called:
            self.call(message.event, message.data)
