"""The options of a client, in one immutable object, and the address that they give."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, Unpack

from ._base.checks import check_each_header, check_header, check_option, is_token
from ._base.environment import service_of
from ._base.secret import Secret
from ._base.urls import (
    Address,
    address_of,
    app_target,
    check_host,
    shown_url,
    split_app_url,
    url_of,
)
from ._more_options import MoreOptions
from ._version import __version__
from ._wire.proxy import Proxy, proxy_of
from .auth import Auth, AuthEndpoint, AuthResponse, OwnKey
from .errors import excerpt

__all__ = [
    "CLIENT",
    "PROTOCOL",
    "DecryptedText",
    "Metadata",
    "Options",
    "check_header",
    "with_names",
]

PROTOCOL = 7
"""The version of the protocol."""
CLIENT = "pusher-proto-python"
"""The name of this client for servers."""


DecryptedText = Callable[[bytes], str] | Callable[[bytes, str, str], str]
"""A function that converts the bytes of a decrypted event to text. Its arguments are the bytes, or the bytes, the
channel and the event's name. It has to be pure and quick."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The argument of `Options.resolve_url`: the parts of a server's URL that the client knows."""

    key: str
    """The key of the app."""
    protocol: int = PROTOCOL
    """The version of the protocol."""
    client: str = CLIENT
    """The name of this client."""
    version: str = __version__
    """The version of this client."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of a client. Made by `from_cluster`, `from_host`, `from_url`, `from_env` or with `resolve_url`.

    Times are in seconds, sizes in bytes. Invalid values raise ValueError or TypeError.
    """

    key: str = ""
    """The key of the app, which is not secret."""
    host: str = ""
    """The host name or address of the server; not needed with `resolve_url`."""
    port: int | None = None
    """The port; None: 443 with TLS and 80 without."""
    tls: bool = True
    """Whether the connection uses TLS (wss)."""
    path: str = ""
    """The part of the path before `/app/KEY` (Reverb: REVERB_SERVER_PATH, Soketi: pathPrefix)."""
    resolve_url: Callable[[Metadata], str] | None = None
    """A pure and quick function that returns the ws or wss URL, called before each attempt; it replaces host, port, tls
    and path."""

    auth: Auth | None = None
    """The source of authorizations: `OwnKey`, `AuthEndpoint`, an `AuthResponse`, or a function like the `authorizer` of
    `open_pusher`. None: that authorizer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Additional headers of the upgrade. `User-Agent` replaces the client's."""
    origin: str | None = None
    """The Origin header; Reverb may require one."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Additional query parameters of the upgrade; they override those of `metadata`."""
    metadata: bool = True
    """Whether to add `protocol`, `client` and `version` to the URL; Pusher refuses connections without them."""
    subprotocols: tuple[str, ...] = ()
    """WebSocket subprotocols to offer."""
    compression: bool = False
    """Whether to offer permessage-deflate, so that the server may compress messages: less traffic, but more work and
    32 KiB for each connection. `max_message_size` is the limit after inflating."""
    proxy: Secret | str | None = None
    """A proxy for the server and auth endpoints: `http://user:password@host:port` (CONNECT) or `socks5://...`."""

    connect_timeout: float = 15.0
    """The limit for name lookup, TCP, TLS, upgrade and greeting together."""
    activity_timeout: float = 120.0
    """Silence before a ping; the server's activity_timeout is used if it is smaller."""
    activity_override: float | None = None
    """Silence before a ping, whatever the server's activity_timeout is; None: see `activity_timeout`."""
    ping_interval: float | None = None
    """The longest time between pings, even while data is received, for servers that close connections that only receive
    (laravel-websockets: 30). None: pings after silence only."""
    pong_timeout: float = 30.0
    """Silence after a ping before the connection counts as lost."""
    close_timeout: float = 2.0
    """The limit for an orderly end of each stream."""
    auth_timeout: float = 10.0
    """The limit for one request for an authorization, all attempts together."""
    auth_attempts: int = 3
    """Attempts for one authorization, if the answer is 5xx, 408 or 429, or the network fails."""
    subscribe_timeout: float = 30.0
    """The limit for the server's answer to a subscribe."""
    signin_timeout: float = 10.0
    """The limit for the server's answer to a sign-in; Soketi does not answer when the feature is disabled."""
    catch_up_timeout: float = 60.0
    """The limit for all attempts of a `catch_up` function to close one gap. Live events are held until then."""
    key_refresh: float = 10.0
    """The least time between two requests for a new key of an encrypted channel."""
    unavailable_after: float = 10.0
    """The state becomes UNAVAILABLE after trying to connect for this long."""

    auto_connect: bool = True
    """Whether a client connects when it is opened. If not, call `connect()`."""
    reconnect: bool = True
    """Whether another attempt follows after a lost connection or a failed attempt."""
    max_attempts: int | None = None
    """Attempts without a stable connection after which the client fails; None: no limit."""
    give_up: Literal["at_first", "never", "at_refusal"] = "at_first"
    """When a refusal is final: "at_first", only before the first success (connected, subscribed, signed in);
    "at_refusal", always; "never": slow attempts follow even after a refusal at the start."""
    first_attempts: int = 3
    """Attempts until an upgrade that is answered with 4xx is final, before the first connection."""
    retry_base: float = 1.0
    """The upper limit of the first random delay; it doubles with each further attempt."""
    retry_cap: float = 30.0
    """The longest delay after a failure, except those of the three options below."""
    retry_floor: float = 0.0
    """The shortest delay after a failure, except the first one after the close codes 4200 to 4299."""
    slow_retry: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0)
    """Delays between attempts when a server refuses a client that was connected before; the last one repeats."""
    refused_retry: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    """The same for a channel that was subscribed before, and for a user that was signed in before."""
    capacity_retry: tuple[float, ...] = (60.0, 120.0, 240.0, 480.0, 900.0)
    """The same for a channel that is full or that makes the server end the connection."""
    stable_after: float = 30.0
    """Delays start again with the first one after a connection of this duration."""

    max_message_size: int = 1024 * 1024
    """The limit for one message, in bytes; a longer one ends the connection with 1009."""
    max_fragments: int = 65536
    """The limit for the frames of one message; more end the connection with 1009."""
    control_frame_rate: int = 10_000
    """The limit for WebSocket pings and pongs per second; more end the connection with 1008."""
    max_head: int = 16 * 1024
    """The limit for the head of an HTTP response: to the upgrade, and of an auth endpoint."""
    max_auth_body: int = 64 * 1024
    """The limit for the body of an auth endpoint's response."""
    max_channels: int = 10_000
    """The limit for channels."""
    max_members: int = 100_000
    """The limit for members of one presence channel, and for online users of the watchlist."""
    encrypted_backlog_limit: int = 1000
    """The limit for messages of one encrypted channel that wait for a new key."""
    catch_up_buffer: int = 1000
    """The limit for live events of one channel that are held while missed events are fetched."""
    catch_up_window: int = 10_000
    """How many keys of delivered events are kept for each channel, to drop duplicates; at least `catch_up_buffer`."""
    max_client_event: int = 10 * 1024
    """The limit for the data of a client event, as JSON. Pusher accepts 10 KB; Reverb 10,000 bytes for the message."""
    client_event_rate: int | None = None
    """The limit for client events per second; Pusher refuses more than 10. None: no limit."""
    client_event_overflow: Literal["raise", "wait"] = "raise"
    """The behaviour of `trigger` above that rate: "raise" raises `RateLimited`; "wait" sends the event later, in order,
    while at most `outbox_limit` bytes wait."""
    subscribe_rate: float | None = None
    """The limit for subscribes per second, for servers that limit messages; further ones wait. None: no limit."""
    max_frame: int | None = None
    """The limit for a message to the server: a larger one is not sent; the call raises, or the subscription or sign-in
    fails. None: no limit."""
    backlog_limit: int = 1000
    """How many messages of a channel are kept until a stream or a handler selects them."""
    outbox_limit: int = 1024 * 1024
    """The limit for bytes that wait to be sent; beyond it `trigger` raises `OutboxFull`."""
    receive_buffer: int = 64 * 1024 * 1024
    """The limit for bytes of messages that wait for streams and handlers, each message counted once. Beyond it reading
    pauses until half of them are taken; some servers drop messages then (`ReadingPaused`)."""
    max_authorizing: int = 8
    """The limit for concurrent calls of the application's authorizer, and for those of `catch_up` functions."""
    auth_connections: int = 6
    """The limit for connections to auth endpoints."""
    auth_idle: float = 15.0
    """An idle connection to an auth endpoint is closed after this time."""
    answers_in_order: bool = False
    """Whether the server answers requests in order, as Reverb and Sockudo do. Then an error that names no channel is
    attributed to a request by its position."""
    encrypted_caches: bool = True
    """Whether the server keeps the last event of `private-encrypted-cache-` channels; Reverb does not."""
    several_nodes: bool = False
    """Whether the server is a cluster that takes a moment to remove an ended connection, such as Sockudo on several
    nodes: no attempt follows at once after a connection, `reconnect` unsubscribes from all channels first, and each
    subscribe is sent again a second after its success."""
    strict_names: bool = True
    """Whether channel names must follow Pusher's rules; self-hosted servers may allow more."""
    decrypted_text: Callable[[bytes], str] | Callable[[bytes, str, str], str] | None = None
    """Converts the bytes of a decrypted event to text; None: UTF-8."""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            check_option(spec.name, getattr(self, spec.name), str(spec.type))
        sources = OwnKey | AuthEndpoint | AuthResponse | None
        if not isinstance(self.auth, sources) and not callable(self.auth):
            raise TypeError(
                "Options(auth=...) is an OwnKey, an AuthEndpoint, an AuthResponse or a function, not "
                f"{type(self.auth).__name__}"
            )
        if self.proxy is not None:
            self._hide_proxy(self.proxy)
        for name in ("headers", "query"):  # a copy: it cannot change after the check
            object.__setattr__(self, name, dict(getattr(self, name)))
        if self.retry_floor > self.retry_cap:
            raise ValueError(
                f"Options(retry_floor={self.retry_floor!r}) is more than retry_cap={self.retry_cap!r}"
            )
        if self.resolve_url is None:
            if not self.host:
                raise ValueError(
                    "Options needs a host (or a cluster, or a URL): use Options.from_cluster or the like"
                )
            object.__setattr__(self, "host", check_host(self.host))
            if not self.key or not self.key.isprintable() or " " in self.key:
                raise ValueError(f"not a valid key of an app: {excerpt(self.key, 64)!r}")
        elif self.host:
            raise ValueError("set either resolve_url, or a host, cluster or URL")
        if self.port is not None and not (0 < self.port < 65536):
            raise ValueError(f"a port is a number from 1 to 65535, not {self.port!r}")
        if (
            not self.path.isprintable()
            or not self.path.isascii()
            or " " in self.path
            or "?" in self.path
        ):
            raise ValueError(f"not a valid path of a URL: {excerpt(self.path, 64)!r}")
        check_each_header(self.upgrade_headers())
        for name in self.subprotocols:
            if not is_token(name):
                raise ValueError(f"not a valid subprotocol: {excerpt(name, 64)!r}")
        try:
            app_target("", "", self.query)
        except UnicodeEncodeError:
            raise ValueError("Options(query=...) contains text that is not valid Unicode") from None

    def _hide_proxy(self, proxy: Secret | str) -> None:
        if not isinstance(proxy, str | Secret):
            raise TypeError(f"Options(proxy=...) is a str, not {type(proxy).__name__}")
        object.__setattr__(self, "proxy", Secret(proxy))
        self.parsed_proxy()

    @classmethod
    def from_cluster(
        cls,
        cluster: str,
        *,
        key: str,
        domain: str = "pusher.com",
        port: int | None = None,
        tls: bool = True,
        **more: Unpack[MoreOptions],
    ) -> Self:
        """Return options for a cluster of Pusher, such as "eu" or "us2" (the host `ws-{cluster}.{domain}`)."""
        check_option("cluster", cluster, "str")
        if not re.fullmatch(r"[a-z0-9-]+", cluster):
            raise ValueError(
                f"a cluster is a short name such as 'eu' or 'mt1', not {excerpt(cluster, 64)!r}"
            )
        return cls(host=f"ws-{cluster}.{domain}", key=key, port=port, tls=tls, **more)

    @classmethod
    def from_host(
        cls,
        host: str,
        *,
        key: str,
        port: int | None = None,
        tls: bool = True,
        path: str = "",
        **more: Unpack[MoreOptions],
    ) -> Self:
        """Return options for a self-hosted server: Reverb, Soketi, Sockudo."""
        return cls(host=host, key=key, port=port, tls=tls, path=path, **more)

    @classmethod
    def from_url(cls, url: str, *, key: str | None = None, **more: Unpack[MoreOptions]) -> Self:
        """Return options for `wss://host:port/prefix/app/KEY?query`. `key` overrides the key in the URL."""
        host, port, tls, path, in_url, query = split_app_url(url)
        more["query"] = query | dict(more.get("query", {}))
        key = in_url if key is None else key
        return cls(host=host, port=port, tls=tls, path=path, key=key, **more)

    @classmethod
    def for_reverb(
        cls,
        host: str = "localhost",
        *,
        key: str,
        port: int | None = None,
        tls: bool | None = None,
        path: str = "",
        **more: Unpack[MoreOptions],
    ) -> Self:
        """Return options for Laravel Reverb: REVERB_HOST, _APP_KEY, _PORT, _SCHEME and _SERVER_PATH of its `.env`.

        Defaults: on this machine no TLS and port 8080, elsewhere TLS and port 443. Set `origin` if `allowed_origins` in
        Reverb's configuration is not "*". Client events are limited to 10,000 bytes for the whole message, as in
        Reverb; names of channels are not checked.
        """
        tls = not _is_here(host) if tls is None else tls
        more.setdefault("strict_names", False)
        more.setdefault("answers_in_order", True)
        more.setdefault("encrypted_caches", False)
        more.setdefault("max_client_event", 9500)
        more.setdefault("max_frame", 10_000)
        port = 8080 if port is None and not tls else port
        return cls(host=host, key=key, port=port, tls=tls, path=path, **more)

    @classmethod
    def for_soketi(
        cls,
        host: str = "localhost",
        *,
        key: str,
        port: int | None = None,
        tls: bool | None = None,
        path: str = "",
        **more: Unpack[MoreOptions],
    ) -> Self:
        """Return options for Soketi; `path` is its `pathPrefix`.

        Defaults: on this machine no TLS and port 6001, elsewhere TLS and port 443. The data of client events is limited
        to 100 KB, as in Soketi.
        """
        tls = not _is_here(host) if tls is None else tls
        more.setdefault("max_client_event", 100 * 1024)
        port = 6001 if port is None and not tls else port
        return cls(host=host, key=key, port=port, tls=tls, path=path, **more)

    @classmethod
    def for_sockudo(
        cls,
        host: str = "localhost",
        *,
        key: str,
        port: int | None = None,
        tls: bool | None = None,
        path: str = "",
        **more: Unpack[MoreOptions],
    ) -> Self:
        """Return options for Sockudo; `path` is the prefix that a proxy in front of it adds.

        Defaults: on this machine no TLS and port 6001, elsewhere TLS and port 443. The data of client events is limited
        to 1 MiB; the server may have a lower limit. Set `several_nodes=True` for more than one node.
        """
        tls = not _is_here(host) if tls is None else tls
        more.setdefault("strict_names", False)
        more.setdefault("answers_in_order", True)
        more.setdefault("max_client_event", 1024 * 1024)
        if more.get("several_nodes"):
            more.setdefault("retry_floor", 0.5)
        port = 6001 if port is None and not tls else port
        return cls(host=host, key=key, port=port, tls=tls, path=path, **more)

    @classmethod
    def from_env(cls, env: Mapping[str, str], **more: Unpack[MoreOptions]) -> Self:
        """Return options from `REVERB_*` or `PUSHER_*` variables of `env`, as Laravel names them.

        Reads REVERB_APP_KEY, _APP_SECRET, _HOST, _PORT, _SCHEME, _SERVER_PATH (or _PATH) when REVERB_APP_KEY is set,
        for `for_reverb`; else PUSHER_APP_KEY, _APP_SECRET, _HOST, _PORT, _SCHEME, _PATH, and PUSHER_APP_CLUSTER without
        PUSHER_HOST. If both keys are set, BROADCAST_CONNECTION decides. Without either, SOCKUDO_DEFAULT_APP_KEY and
        _SECRET name the app of a Sockudo on this machine. The default scheme is https. A secret becomes an `OwnKey`.

        Raises ValueError for a missing variable, and for an invalid value: quotes kept by docker, a `${VAR}` that was
        not expanded, a URL or a pattern instead of a host.
        """
        found = service_of(env)
        if found.secret is not None:
            more.setdefault("auth", OwnKey(found.key, found.secret))
        if found.cluster is not None:
            return cls.from_cluster(found.cluster, key=found.key, **more)
        named = {"REVERB_": cls.for_reverb, "SOCKUDO_": cls.for_sockudo}
        make = named.get(found.prefix, cls.from_host)
        return make(
            found.host or "localhost",
            key=found.key,
            port=found.port,
            tls=found.tls,
            path=found.path,
            **more,
        )

    @property
    def url(self) -> str:
        """The URL of the next attempt, with the key of the app, which is not secret, and the query.

        It has the port if `port` is set. Calls `resolve_url` if that is set.
        """
        if self.resolve_url is not None:
            return url_of(self.resolve_url(Metadata(self.key)))
        return self.address().url(with_port=self.port is not None)

    def address(self) -> Address:
        """Return the address of the next attempt. Calls `resolve_url` if that is set, and raises its exceptions."""
        if self.resolve_url is not None:
            return address_of(self.resolve_url(Metadata(self.key)))
        query: dict[str, str] = {}
        if self.metadata:
            query = {"client": CLIENT, "version": __version__, "protocol": str(PROTOCOL)}
        query.update(self.query)
        port = self.port if self.port is not None else (443 if self.tls else 80)
        return Address(self.host, port, self.tls, app_target(self.path, self.key, query))

    def parsed_proxy(self) -> Proxy | None:
        """Return the proxy, or None."""
        return None if self.proxy is None else proxy_of(Secret(self.proxy), self.max_head)

    def upgrade_headers(self) -> list[tuple[str, str]]:
        """Return the headers of the upgrade in addition to those of the handshake."""
        headers = list(self.headers.items())
        if self.origin is not None:
            headers.append(("Origin", self.origin))
        if not any(name.lower() == "user-agent" for name in self.headers):
            # Firewalls of web applications refuse requests without it.
            headers.append(("User-Agent", f"{CLIENT}/{__version__}"))
        return headers

    def __repr__(self) -> str:
        where = (
            "resolve_url=..."
            if self.resolve_url
            else f"{'wss' if self.tls else 'ws'}://{f'[{self.host}]' if ':' in self.host else self.host}"
        )
        if self.port is not None:
            where += f":{self.port}"
        shown = [repr(where), f"key={self.key!r}"]
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if spec.name in ("headers", "query"):
                if value:  # the names help, the values may be tokens
                    shown.append(f"{spec.name}={{{', '.join(f'{name!r}: ***' for name in value)}}}")
            elif isinstance(value, Secret):
                shown.append(f"{spec.name}={shown_url(value.reveal())!r}")
            elif (
                spec.name not in ("key", "host", "port", "tls", "resolve_url")
                and value != spec.default
            ):
                shown.append(f"{spec.name}={value!r}")
        return f"Options({', '.join(shown)})"


def _is_here(host: object) -> bool:
    """Return whether the host is this machine, where servers usually have no certificate."""
    here = ("localhost", "::1", "[::1]")
    return isinstance(host, str) and (host in here or host.startswith("127."))


def with_names(function: DecryptedText | None) -> Callable[[bytes, str, str], str] | None:
    """Return `function` with three parameters: the bytes, the channel and the event's name."""
    if function is None or _takes_names(function):
        return function  # type: ignore[return-value]  # it takes the names
    return lambda data, _, __: function(data)  # type: ignore[call-arg]  # it takes the bytes alone


def _takes_names(function: Callable[..., object]) -> bool:
    """Return whether a function has three required parameters, or `*args`. Built-ins without a signature have one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return True
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in parameters if each.kind in positional and each.default is each.empty]
    return len(needed) == 3
