"""A connection with the names of Pysher: a thread that calls the callbacks of one blocking client."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread, current_thread
from typing import Any

import pusher_proto as proto
from pusher_sync import Client, open_pusher

from .channel import CallbackBase, Callbacks, Channel
from .proxies import PROXY, proxy_for

__all__ = ["Connection"]

_SOCKET_KWARGS = {*PROXY, "proxy_type", "origin", "ping_timeout"}
"""The keys of `socket_kwargs`. `ping_timeout` has no effect: in Pysher it has none either."""


class Connection(CallbackBase, Thread):
    """One connection and its successors. `start()` opens a client; the thread calls its callbacks.

    `event_handler(event_name, data, channel_name)` is called for each message on a channel, `reconnect_handler()` at
    each connection but the first. A thread runs once; `start()` makes a new one after the end.
    """

    ping_interval: float = 120
    """Seconds of silence before a ping. Set it before `start()`."""
    pong_timeout: float = 30
    """Seconds of silence after a ping before the connection counts as lost. Set it before `start()`."""

    def __init__(
        self, event_handler: Callable[[str, Any, str], object], url: str,
        reconnect_handler: Callable[[], object] | None = None, log_level: int | str | None = None,
        daemon: bool = True, reconnect_interval: float = 10,
        socket_kwargs: Mapping[str, Any] | None = None, **thread_kwargs: Any,
    ) -> None:  # fmt: skip
        self.event_handler = event_handler
        self.url = url
        self.reconnect_handler: Callable[[], object] = reconnect_handler or (lambda: None)
        self.event_callbacks: Callbacks = defaultdict(list)
        self.reconnect_interval = reconnect_interval
        self.socket_kwargs: Mapping[str, Any] = socket_kwargs or {}
        self.logger: logging.Logger = logging.getLogger(self.__module__)
        if log_level:
            self.logger.setLevel(log_level)
        self.disconnect_called: bool = False
        self.state: str = "initialized"
        """The state: initialized, connecting, connected, unavailable, failed or disconnected."""
        self.socket_id: str = ""
        """The id of the connection, or of the last one; empty before the first one."""
        self.channels: dict[str, Channel] = {}
        """The channels to subscribe to at each connection."""
        self._client: Client | None = None
        """While it is open."""
        self._greeting: Any = None
        self._code: int | None = -1
        """The code of the last `pusher:error`."""
        Thread.__init__(self, daemon=daemon, **thread_kwargs)
        self.name = "PysherEventLoop"
        self._options()

    def start(self) -> None:
        """Connect, and call callbacks in a new thread. Raises RuntimeError while it is running."""
        if self.is_alive():
            raise RuntimeError("this connection is running already: call disconnect() first")
        if self.ident is not None:
            Thread.__init__(self, name=self.name, daemon=self.daemon)
        client = open_pusher(self._options())
        try:
            client.bind((proto.Event, proto.ProtocolMessage), self._take)
            for channel in tuple(self.channels.values()):
                client.subscribe(channel.name, auth=channel.auth)
            client.connect()
            self._client = client
            self.disconnect_called = False
            super().start()
        except BaseException:
            self._client = None
            client.close()
            raise

    def run(self) -> None:
        """Call the callbacks until the client is closed."""
        if (client := self._client) is not None:  # else it was disconnected already
            with client, suppress(proto.ConnectionFailed):  # the client has logged why
                client.run()
            self._client = None

    def disconnect(self, timeout: float | None = None) -> None:
        """Disconnect permanently; `start()` connects again. No callback is called after it.

        Waits for a running callback, at most `timeout` seconds (5 by default), unless it is called in one.
        """
        self.disconnect_called = True
        client, self._client = self._client, None
        if client is not None:
            client.close()
            self.state = "disconnected"
        if self.is_alive() and current_thread() is not self:
            self.join(5.0 if timeout is None else timeout)

    def reconnect(self, reconnect_interval: float | None = None) -> None:  # noqa: ARG002 - of Pysher
        """End the connection and open another at once; `reconnect_interval` has no effect."""
        if (client := self._client) is not None:
            client.reconnect()

    def subscribe(self, channel_name: str, auth: proto.Auth | None = None) -> Channel:
        """Subscribe to a channel, at this connection and at all later ones, and return a new `Channel`."""
        if (client := self._client) is not None:
            client.subscribe(channel_name, auth=auth)
        channel = self.channels[channel_name] = Channel(channel_name, self, auth)
        return channel

    def unsubscribe(self, channel_name: str) -> None:
        """Unsubscribe from a channel."""
        self.channels.pop(channel_name, None)
        if (client := self._client) is not None:
            client.unsubscribe(channel_name)

    def send_event(self, event_name: str, data: Any, channel_name: str | None = None) -> None:
        """Send a message. A message that cannot be sent is logged, with what to do."""
        try:
            if event_name == "pusher:subscribe":
                token = data.get("auth")
                auth = proto.AuthResponse(token, data.get("channel_data")) if token else None
                self.subscribe(data["channel"], auth)
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
        """Return the options of the client. Raises TypeError or ValueError for an argument that is not supported."""
        for name in self.socket_kwargs.keys() - _SOCKET_KWARGS:
            raise TypeError(f"socket_kwargs[{name!r}] is not supported: use open_pusher for it")
        interval = self.reconnect_interval
        if type(interval) not in (int, float) or not interval >= 0:
            raise ValueError(f"reconnect_interval is a number of seconds, not {interval!r}")
        # websocket-client sends this header; Reverb may demand it.
        origin = "/".join(self.url.split("/")[:3]).replace("ws", "http", 1)
        return proto.Options.from_url(
            self.url, query={"protocol": str(proto.PROTOCOL)}, strict_names=False, auto_connect=False,
            origin=self.socket_kwargs.get("origin") or origin,
            proxy=proxy_for(self.url, self.socket_kwargs),
            activity_timeout=self.ping_interval, pong_timeout=self.pong_timeout,
            retry_base=min(1.0, interval or 1.0), retry_cap=interval or 1.0,
        )  # fmt: skip

    def _take(self, event: proto.Event) -> None:
        """Call the callbacks for an event of the client."""
        if self.disconnect_called:
            return
        match event:
            case proto.ChannelEvent():
                self.event_handler(event.name, event.wire_data, event.channel)
            case proto.StateChanged():
                self.state = str(event.current)
            case proto.ConnectionEstablished():
                self.socket_id = event.socket_id
                if event.offline_for is not None:
                    self.reconnect_handler()
                self.call("pusher:connection_established", self._greeting)
            case proto.ServerError():
                self._code = event.code
                self.call("pusher:error", {"code": event.code, "message": event.message})
            case proto.ConnectionLost(will_retry=False) if event.code != self._code:
                # Servers of protocol 7 send no `pusher:error` before the end; some others do.
                advice = f" ({event.hint})" if event.hint else ""
                self.call("pusher:error", {"code": event.code, "message": event.reason + advice})
            case proto.SubscriptionFailed(error=error):
                said = {"type": type(error).__name__, "error": str(error), "status": error.code}
                self.event_handler("pusher:subscription_error", said, event.channel)
            case proto.ProtocolMessage(event="pusher:connection_established"):
                self._greeting = event.data
            case proto.ProtocolMessage(event="pusher:error" | "pusher:subscription_error"):
                pass  # `ServerError` and `SubscriptionFailed` report them, with errors of the client
            case proto.ProtocolMessage(channel=None):
                self.call(event.event, event.data)
            case proto.ProtocolMessage(channel=str(channel)):
                self.event_handler(event.event, event.data, channel)
