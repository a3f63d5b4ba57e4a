"""All that can be set, in one frozen object, and the addresses that follow from it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, Unpack

from ._base.checks import check_header, check_option, is_token
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
"""The version of the protocol that is spoken."""
CLIENT = "pusher-proto-python"
"""How this client introduces itself."""


DecryptedText = Callable[[bytes], str] | Callable[[bytes, str, str], str]
"""Makes text of the bytes of a decrypted event. It takes the bytes, or the bytes, the channel and the event's name. The
client calls it inline: it has to be pure and quick."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The argument of `Options.resolve_url`: everything that belongs to the URL of a server."""

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
    """The settings of a session. Made by `from_cluster`, `from_host`, `from_url`, `from_env`, or with `resolve_url`.

    Times are in seconds, sizes in bytes. Wrong values raise ValueError or TypeError here, not later.
    """

    key: str = ""
    """The key of the app. It is public."""
    host: str = ""
    """The host name or address of the server; not needed with `resolve_url`."""
    port: int | None = None
    """443 with TLS and 80 without, when None."""
    tls: bool = True
    """Whether the connection uses TLS (wss)."""
    path: str = ""
    """The part of the path before `/app/KEY` (Reverb: REVERB_SERVER_PATH, Soketi: pathPrefix)."""
    resolve_url: Callable[[Metadata], str] | None = None
    """Called before each attempt instead of host, port, tls and path; returns the whole ws or wss URL."""

    auth: Auth | None = None
    """How authorizations are got: a function is asked as the `authorizer` of `open_pusher` is, which None
    leaves it to."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the upgrade."""
    origin: str | None = None
    """The Origin header; Reverb may demand one."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Further query parameters of the upgrade; they win over those of `metadata`."""
    metadata: bool = True
    """Whether `protocol`, `client` and `version` are in the URL; Pusher refuses connections without them."""
    subprotocols: tuple[str, ...] = ()
    """WebSocket subprotocols to offer."""
    compression: bool = False
    """Whether the server may compress messages (permessage-deflate), if it can: less traffic for more work and
    32 KiB a connection. `max_message_size` counts decompressed bytes."""
    proxy: Secret | str | None = None
    """`http://user:password@host:port` (CONNECT) or `socks5://...`: the way to the server and to auth endpoints."""

    connect_timeout: float = 15.0
    """Name lookup, TCP, TLS, upgrade and greeting together."""
    activity_timeout: float = 120.0
    """Silence before a ping; the server's own number counts when it is smaller."""
    activity_override: float | None = None
    """Silence before a ping whatever the server says, for networks that need more or less; None: see above."""
    ping_interval: float | None = None
    """A ping each so many seconds whatever is received, for servers that drop connections which only receive
    (laravel-websockets: 30). None: pings after silence only."""
    pong_timeout: float = 30.0
    """Silence after a ping before the connection counts as lost."""
    close_timeout: float = 2.0
    """An orderly end takes no longer."""
    auth_timeout: float = 10.0
    """One request for an authorization."""
    auth_attempts: int = 3
    """How often an authorization is requested if the answer is 5xx, 408 or 429, or the network fails."""
    subscribe_timeout: float = 30.0
    """The server's answer to a subscribe."""
    signin_timeout: float = 10.0
    """The server's answer to a sign-in; Soketi gives none when sign-in is switched off."""
    catch_up_timeout: float = 60.0
    """All attempts of a `catch_up` function to close one gap; live events are held for so long."""
    key_refresh: float = 10.0
    """At most one new key of an encrypted channel is requested in this time."""
    unavailable_after: float = 10.0
    """Trying for longer than this is called UNAVAILABLE."""

    auto_connect: bool = True
    """Whether a client connects when it is opened. Otherwise it waits for `connect()`."""
    reconnect: bool = True
    """Whether a lost connection, or an attempt that failed, is followed by another."""
    max_attempts: int | None = None
    """Attempts in a row without a stable connection before giving up; None never gives up."""
    give_up: Literal["at_first", "never", "at_refusal"] = "at_first"
    """When a refusal is final: "at_first", before the same thing was ever good (connected, subscribed, signed in);
    "at_refusal", always; "never", so that a refusal at the very start is followed by slow attempts as well."""
    first_attempts: int = 3
    """Attempts before an upgrade that is answered with 4xx is final, where no connection was good before."""
    retry_base: float = 1.0
    """The first delay is uniform between 0 and this; each further one doubles the upper end."""
    retry_cap: float = 30.0
    """No delay after a failure is longer, but those of the three options below."""
    retry_floor: float = 0.0
    """No delay is shorter, but the first after the close codes 4200 to 4299."""
    slow_retry: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0)
    """Delays before a connection is tried again that was good once and is refused now; the last one repeats."""
    refused_retry: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    """The same for a channel that was subscribed once, and for a user who was signed in."""
    capacity_retry: tuple[float, ...] = (60.0, 120.0, 240.0, 480.0, 900.0)
    """The same for a channel that is full, or that makes the server end the connection."""
    stable_after: float = 30.0
    """Being connected this long makes the delays start again from the first."""

    max_message_size: int = 1024 * 1024
    """Of one message, all its frames together, before decoding; a longer one ends the connection with 1009."""
    max_fragments: int = 65536
    """Frames of one message; more end the connection with 1009."""
    control_frame_rate: int = 10_000
    """WebSocket pings and pongs in a second; more end the connection with 1008."""
    max_head: int = 16 * 1024
    """The head of an HTTP answer: to the upgrade, and of an auth endpoint."""
    max_auth_body: int = 64 * 1024
    """The answer of an auth endpoint without its head."""
    max_channels: int = 10_000
    """How many channels may be subscribed at once."""
    max_members: int = 100_000
    """Of one presence channel, and users of the watchlist who are online."""
    encrypted_backlog_limit: int = 1000
    """Messages of one encrypted channel that wait while its key is refreshed."""
    catch_up_buffer: int = 1000
    """Live events of one channel that are held while the application fetches the missed ones."""
    catch_up_window: int = 10_000
    """Keys of delivered events of one channel that are kept, to drop duplicates; `catch_up_buffer` if that is more."""
    max_client_event: int = 10 * 1024
    """The data of a client event, as JSON. Pusher takes 10 KB; Reverb 10,000 bytes for the whole message."""
    client_event_rate: int | None = None
    """Client events in a second; Pusher refuses more than 10. None: no limit here."""
    client_event_overflow: Literal["raise", "wait"] = "raise"
    """What `trigger` does past that rate: "raise" raises `RateLimited`, "wait" sends the event as soon as it may go,
    in order; up to `outbox_limit` bytes wait."""
    subscribe_rate: float | None = None
    """Subscribes in a second, where the server limits messages; more wait. None: no limit."""
    max_frame: int | None = None
    """The largest message that the server takes: a larger one is not sent, and raises or fails. None: no limit."""
    backlog_limit: int = 1000
    """Messages that a channel keeps until a stream or a handler asks for them."""
    outbox_limit: int = 1024 * 1024
    """Bytes that may wait to be sent before `trigger` raises `OutboxFull`."""
    receive_buffer: int = 64 * 1024 * 1024
    """Bytes of messages that may wait for streams and handlers, each message counted once. When as much waits, reading
    pauses, until half of it is taken; some servers then drop messages (`ReadingPaused`)."""
    max_authorizing: int = 8
    """Calls of the application's authorizer at the same time, and of `catch_up` functions."""
    auth_connections: int = 6
    """Connections to an auth endpoint at once."""
    auth_idle: float = 15.0
    """A connection to the auth endpoint is kept this long for the next request."""
    answers_in_order: bool = False
    """Whether the server is known to answer in the order of asking, as Reverb and Sockudo do. An error that names no
    channel is then put down by its place."""
    encrypted_caches: bool = True
    """Whether the server keeps the last event of `private-encrypted-cache-` channels; Reverb does not."""
    several_nodes: bool = False
    """Whether the server is a cluster that needs a moment to forget a connection, as Sockudo on several nodes: no
    attempt follows a connection at once, `reconnect` leaves the channels first, and each subscribe is repeated a second
    after its success."""
    strict_names: bool = True
    """Whether channel names must follow Pusher's rules; self-hosted servers may allow more."""
    decrypted_text: Callable[[bytes], str] | Callable[[bytes, str, str], str] | None = None
    """Makes text of the bytes of a decrypted event; UTF-8 when None."""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            check_option(spec.name, getattr(self, spec.name), str(spec.type))
        ways = OwnKey | AuthEndpoint | AuthResponse | None
        if not isinstance(self.auth, ways) and not callable(self.auth):
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
                raise ValueError(f"not the key of an app: {excerpt(self.key, 64)!r}")
        elif self.host:
            raise ValueError("give either resolve_url or a host, cluster or URL")
        if self.port is not None and not (0 < self.port < 65536):
            raise ValueError(f"a port is a number from 1 to 65535, not {self.port!r}")
        if (
            not self.path.isprintable()
            or not self.path.isascii()
            or " " in self.path
            or "?" in self.path
        ):
            raise ValueError(f"not the path of a URL: {excerpt(self.path, 64)!r}")
        for name, value in self.upgrade_headers():
            check_header(name, value)
        for name in self.subprotocols:
            if not is_token(name):
                raise ValueError(f"not a subprotocol: {excerpt(name, 64)!r}")
        try:
            app_target("", "", self.query)
        except UnicodeEncodeError:
            raise ValueError("Options(query=...) holds text that is not Unicode") from None

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
        """Return options for a cluster of Pusher's own, such as "eu" or "us2" (the host `ws-{cluster}.{domain}`)."""
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
        """Return options for `wss://host:port/prefix/app/KEY`; query parameters in it are kept. `key` wins over it."""
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

        On this machine it is taken to speak without TLS on port 8080, elsewhere with TLS on 443. `origin` is needed
        where `allowed_origins` names any, such as "https://example.com". Client events are held to Reverb's limit of
        10,000 bytes for a whole message; it has no rules for the names of channels.
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

        On this machine it is taken to speak without TLS on port 6001, elsewhere with TLS on 443. Client events may be
        as large as Soketi takes them, 100 KB.
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
        """Return options for Sockudo; `path` is what a proxy in front of it adds.

        On this machine it is taken to speak without TLS on port 6001, elsewhere with TLS on 443. Client events may be
        as large as the server is configured to take them. Set `several_nodes=True` for more than one node.
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

        REVERB_APP_KEY, _APP_SECRET, _HOST, _PORT, _SCHEME, _SERVER_PATH (or _PATH) are read when REVERB_APP_KEY is
        set, for `for_reverb`; else PUSHER_APP_KEY, _APP_SECRET, _HOST, _PORT, _SCHEME, _PATH, and PUSHER_APP_CLUSTER
        where there is no PUSHER_HOST. Where both are set, BROADCAST_CONNECTION decides. Without either,
        SOCKUDO_DEFAULT_APP_KEY and _SECRET name the app of a Sockudo on this machine. A scheme that is not set means
        https. A secret becomes `OwnKey`.

        Raises ValueError for a variable that is missing, and for a value that cannot be right: quotes kept by docker,
        a `${VAR}` that was not expanded, a URL or a pattern instead of a host.
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
        """The URL of the next attempt, with the key of the app, which is public, and the query.

        The port is in it when it was given. `resolve_url` is called where there is one.
        """
        if self.resolve_url is not None:
            return url_of(self.resolve_url(Metadata(self.key)))
        return self.address().url(with_port=self.port is not None)

    def address(self) -> Address:
        """Return where the next attempt goes. Asks `resolve_url` where there is one; what that raises comes out."""
        if self.resolve_url is not None:
            return address_of(self.resolve_url(Metadata(self.key)))
        query: dict[str, str] = {}
        if self.metadata:
            query = {"client": CLIENT, "version": __version__, "protocol": str(PROTOCOL)}
        query.update(self.query)
        port = self.port if self.port is not None else (443 if self.tls else 80)
        return Address(self.host, port, self.tls, app_target(self.path, self.key, query))

    def parsed_proxy(self) -> Proxy | None:
        """Return the proxy that all streams go through, or None."""
        return None if self.proxy is None else proxy_of(Secret(self.proxy), self.max_head)

    def upgrade_headers(self) -> list[tuple[str, str]]:
        """Return the headers of the upgrade beyond those of the handshake itself."""
        headers = list(self.headers.items())
        if self.origin is not None:
            headers.append(("Origin", self.origin))
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


def _is_here(host: str) -> bool:
    """Return whether a host is this machine, for which there are no certificates."""
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def with_names(function: DecryptedText | None) -> Callable[[bytes, str, str], str] | None:
    """Return `function` as one that takes the bytes, the channel and the event's name."""
    if function is None or _takes_names(function):
        return function  # type: ignore[return-value]  # it takes the names
    return lambda data, _, __: function(data)  # type: ignore[call-arg]  # it takes the bytes alone


def _takes_names(function: Callable[..., object]) -> bool:
    """Return whether a function takes three arguments; classes and built-ins are called with one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have none
        return False
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return True
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in parameters if each.kind in positional and each.default is each.empty]
    return len(needed) == 3
