"""A channel with the names of Pysher, and the callbacks of channels and connections."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from pusher_proto import Auth

__all__ = ["CallbackBase", "Callbacks", "Channel"]

Callback = Callable[..., object]
Callbacks = defaultdict[str, list[tuple[Callback, tuple[Any, ...], dict[str, Any]]]]
"""The callbacks of each event, with the additional arguments of `bind`."""


class CallbackBase:
    """Has callbacks for messages: a channel, or the connection."""

    name: str
    event_callbacks: Callbacks
    logger: logging.Logger

    def bind(self, event_name: str, callback: Callback, *args: Any, **kwargs: Any) -> None:
        """Call `callback(data, *args, **kwargs)` for each message of that name.

        The data is a string if it is one in the message, as in nearly all, and else the decoded value.
        """
        self.event_callbacks[event_name].append((callback, args, kwargs))

    def call(self, event_name: str, data: Any) -> None:
        """Call the callbacks of an event. An exception is logged, and the next one is called."""
        for callback, args, kwargs in tuple(self.event_callbacks.get(event_name, ())):
            try:
                callback(data, *args, **kwargs)
            except Exception:
                self.logger.exception("%r raised for %r on %s", callback, event_name, self.name)


class Channel(CallbackBase):
    """A channel that `Pusher.subscribe` returned. `connection` is its `Connection`."""

    def __init__(self, channel_name: str, connection: Any, auth: Auth | None = None) -> None:
        """`auth` is the way to authorize it."""
        self.name = channel_name
        self.connection = connection
        self.logger: logging.Logger = connection.logger
        self.event_callbacks: Callbacks = defaultdict(list)
        self.auth: Auth | None = auth

    def trigger(self, event_name: str, data: Any) -> None:
        """Send a client event to the other subscribers. An event that cannot be sent is logged, with what to do."""
        if event_name.startswith("client-"):
            self.connection.send_event(event_name, data, self.name)
        else:
            self.logger.error("%r was not sent: write %r", event_name, f"client-{event_name}")
