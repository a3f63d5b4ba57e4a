"""`Pusher` with the arguments of Pysher 1.0.8."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pusher_proto as proto

from .channel import Channel
from .connection import Connection
from .proxies import PROXY

__all__ = ["VERSION", "Channel", "Connection", "Pusher"]

VERSION = proto.__version__


class Pusher:
    """A client of one app: `connect()`, `subscribe()`, and callbacks that are bound to channels."""

    host: str = "ws.pusherapp.com"
    """The host without `cluster` and `custom_host`. A subclass may have its own."""
    client_id = "Pysher"
    protocol = proto.PROTOCOL

    def __init__(
        self, key: str | bytes, cluster: str = "", secure: bool = True, secret: str | bytes = "",
        auth_endpoint: str | None = None,
        auth_endpoint_headers: Mapping[str, Any] = MappingProxyType({}),
        user_data: Mapping[str, Any] | None = None, log_level: int | str = logging.INFO,
        daemon: bool = True, port: int = 443, reconnect_interval: float = 10, custom_host: str = "",
        auto_sub: bool = False, http_proxy_host: str = "", http_proxy_port: int = 0,  # noqa: ARG002 - not needed
        http_no_proxy: list[str] | None = None, http_proxy_auth: tuple[str, str] | None = None,
        **thread_kwargs: Any,
    ) -> None:  # fmt: skip
        """Make a client; it does nothing before `connect()`.

        `secret` signs authorizations here, with `user_data` as the member of presence channels; `auth_endpoint` is
        asked over HTTP when there is no secret. `auth_endpoint_headers` is read for each request: it may be changed.
        `reconnect_interval` is the longest time between two attempts. `auto_sub` has no effect: channels are always
        subscribed again. `log_level` is the level of the connection's logger; messages are logged by the loggers below
        `pusher_proto`. `thread_kwargs` are for `threading.Thread`.
        """
        if not isinstance(cluster, str):
            raise TypeError(f"cluster is a str, not {type(cluster).__name__}")
        if custom_host or cluster:
            self.host = custom_host or f"ws-{cluster}.pusher.com"
        self.key: str = _text(key)
        self.secret = secret
        self.auth_endpoint = auth_endpoint
        self.auth_endpoint_headers = auth_endpoint_headers
        self.user_data: Mapping[str, Any] = user_data or {}
        if secret or auth_endpoint:
            self._way("private-", None)  # checks them
        self._place: dict[str, Any] = {"port": port or (443 if secure else 80), "tls": secure}
        self._built = self._build_url()
        proxy = http_proxy_host, http_proxy_port, http_no_proxy, http_proxy_auth
        self.connection: Connection = Connection(
            self._connection_handler, self._built, None, log_level, daemon, reconnect_interval,
            dict(zip(PROXY, proxy, strict=True)), **thread_kwargs,
        )  # fmt: skip
        self.channels: dict[str, Channel] = self.connection.channels

    @property
    def url(self) -> str:
        """The URL of the connection. It may be set before `connect()`."""
        return self.connection.url

    @url.setter
    def url(self, url: str) -> None:
        self.connection.url = url

    def connect(self) -> None:
        """Connect, to the URL, host and key that are set now. Returns at once."""
        if self.url == self._built:
            self.url = self._built = self._build_url()
        self.connection.start()

    def disconnect(self, timeout: float | None = None) -> None:
        """Disconnect and forget the channels; see `Connection.disconnect`."""
        self.connection.disconnect(timeout)
        self.channels.clear()

    def subscribe(self, channel_name: str, auth: str | None = None) -> Channel:
        """Subscribe to a channel, before or after `connect()`, and return a new `Channel`, without callbacks.

        `auth` is a token that was made for the current socket id. Raises NotImplementedError for a private or presence
        channel without `auth`, `secret` and `auth_endpoint`.
        """
        return self.connection.subscribe(channel_name, self._way(channel_name, auth))

    def unsubscribe(self, channel_name: str) -> None:
        """Unsubscribe from a channel."""
        if channel_name in self.channels:
            self.connection.unsubscribe(channel_name)

    def channel(self, channel_name: str) -> Channel | None:
        """Return the channel with this name, or None if it is not subscribed to."""
        return self.channels.get(channel_name)

    def _connection_handler(self, event_name: str, data: Any, channel_name: str) -> None:
        if (channel := self.channels.get(channel_name)) is not None:
            channel.call(event_name, data)

    def _build_url(self) -> str:
        query = {"client": self.client_id, "version": VERSION, "protocol": str(self.protocol)}
        return proto.Options.from_host(
            self.host, key=self.key, query=query, metadata=False, **self._place
        ).url

    def _way(self, channel_name: str, token: str | None) -> proto.Auth | None:
        """Return how a channel is authorized with the current settings, or None for a public channel."""
        if token is not None:
            is_presence = channel_name.startswith("presence-")
            return proto.AuthResponse(token, json.dumps(self.user_data) if is_presence else None)
        if not channel_name.startswith(("private-", "presence-")):
            return None
        if self.secret:
            return proto.OwnKey(self.key, _text(self.secret), member=self.user_data)
        if self.auth_endpoint:
            return proto.AuthEndpoint(self.auth_endpoint, headers=self._headers)
        raise NotImplementedError("this channel needs secret, auth_endpoint or auth")

    def _headers(self) -> dict[str, str]:
        """Return the headers for the endpoint. The body is always a form, as in Pysher."""
        headers = (self.auth_endpoint_headers or {}).items()
        return {k: _text(v) for k, v in headers if v is not None and k.lower() != "content-type"}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
