"""`Pusher` with the arguments of Pysher 1.0.8."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pusher_proto as proto

from .channel import Channel
from .connection import Connection
from .settings import PROXY

__all__ = ["VERSION", "Pusher"]

VERSION = proto.__version__
_STALE = "the token was made for an earlier connection: subscribe again in the connect handler"


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
        auto_sub: bool = False, http_proxy_host: str = "", http_proxy_port: int = 0,
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
        if not isinstance(user_data or {}, Mapping):
            raise TypeError(f"user_data is a mapping, not {type(user_data).__name__}")
        if cluster:
            self.host = f"ws-{cluster}.pusher.com"
        self.key: str = _text(key)
        self.secret = secret
        self.auth_endpoint = auth_endpoint
        self.auth_endpoint_headers = auth_endpoint_headers
        self.user_data: Mapping[str, Any] = user_data or {}
        self.auto_sub = auto_sub
        self.channels: dict[str, Channel] = {}
        self._place = secure, port, custom_host
        self.url: str = self._build_url()
        self._built = self.url
        self._endpoint: proto.AuthEndpoint | None = None
        if auth_endpoint:
            self._endpoint = proto.AuthEndpoint(auth_endpoint, headers=self._headers)
        proxy = http_proxy_host, http_proxy_port, http_no_proxy, http_proxy_auth
        self.connection: Connection = Connection(
            self._connection_handler, self.url, None, log_level, daemon, reconnect_interval,
            dict(zip(PROXY, proxy, strict=True)), **thread_kwargs,
        )  # fmt: skip

    def connect(self) -> None:
        """Connect, to the host or URL that is set now. Returns at once."""
        before, self._built = self._built, self._build_url()
        if self.url == before:
            self.url = self._built
        if self.connection.url == before:
            self.connection.url = self.url
        self.connection.start()

    def disconnect(self, timeout: float | None = None) -> None:
        """Disconnect and forget the channels; see `Connection.disconnect`."""
        self.connection.disconnect(timeout)
        self.connection.channels.clear()
        self.channels = {}

    def subscribe(self, channel_name: str, auth: str | None = None) -> Channel:
        """Subscribe to a channel, before or after `connect()`, and return a new `Channel`, without callbacks.

        `auth` is a token that was made for the current socket id. Raises NotImplementedError for a private or presence
        channel without `auth`, `secret` and `auth_endpoint`.
        """
        way = self._way(channel_name, auth)
        channel = self.channels[channel_name] = Channel(channel_name, self.connection, auth)
        try:
            self.connection.subscribe(channel_name, way)
        except proto.PusherError:
            del self.channels[channel_name]
            raise
        return channel

    def unsubscribe(self, channel_name: str) -> None:
        """Unsubscribe from a channel."""
        if self.channels.pop(channel_name, None) is not None:
            self.connection.unsubscribe(channel_name)

    def channel(self, channel_name: str) -> Channel | None:
        """Return the channel with this name, or None if it is not subscribed to."""
        return self.channels.get(channel_name)

    def _connection_handler(self, event_name: str, data: Any, channel_name: str) -> None:
        channel = self.channels.get(channel_name)
        if channel is not None:
            channel.call(event_name, data)

    def _build_url(self) -> str:
        secure, port, custom_host = self._place
        server = f"{custom_host or self.host}:{port or (443 if secure else 80)}"
        if "/" in server:
            raise ValueError(f"custom_host is a name without scheme and path, not {custom_host!r}")
        query = f"client={self.client_id}&version={VERSION}&protocol={self.protocol}"
        return f"{'wss' if secure else 'ws'}://{server}/app/{quote(self.key, safe='')}?{query}"

    def _way(self, channel_name: str, token: str | None) -> proto.Auth | None:
        """Return how a channel is authorized with the current settings, or None for a public channel."""
        made_for = self.connection.socket_id
        member = json.dumps(self.user_data) if channel_name.startswith("presence-") else None

        def ready(request: proto.AuthRequest) -> proto.AuthResponse:
            if made_for not in ("", request.socket_id):
                raise proto.AuthorizationError(_STALE, channel=channel_name)
            return proto.AuthResponse(token or "", member)

        if token is not None:
            return ready
        if not channel_name.startswith(("private-", "presence-")):
            return None
        if self.secret:
            return proto.OwnKey(self.key, _text(self.secret), member=lambda _: self.user_data)
        if not self.auth_endpoint:
            raise NotImplementedError("this channel needs secret, auth_endpoint or auth")
        if self._endpoint is None or self._endpoint.url != self.auth_endpoint:
            self._endpoint = proto.AuthEndpoint(self.auth_endpoint, headers=self._headers)
        return self._endpoint

    def _headers(self) -> dict[str, str]:
        """Return the headers for the endpoint. The body is always a form, as in Pysher."""
        headers = (self.auth_endpoint_headers or {}).items()
        return {k: _text(v) for k, v in headers if v is not None and k.lower() != "content-type"}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
