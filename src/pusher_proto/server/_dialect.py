"""The type of a dialect: the texts of its messages, and how it ends connections.

The dialects are in `_conversation` (Pusher's), `_reverb` and `_sockudo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from ._channels import Channel
from ._frames import encode, json_text
from ._http import HttpResponse
from ._limits import ServerLimits
from ._names import Kind, is_cache, kind_of
from ._users import Users

__all__ = ["Dialect", "Ending", "Manner"]


class Manner(Enum):
    """The ways in which a server ends a connection."""

    CLOSE = "a `pusher:error`, then a close frame with the same code"
    FRAME = "a close frame"
    END = "a `pusher:error`, then the end of the stream"
    SILENT = "the end of the stream"
    STAY = "a `pusher:error`; the connection stays open and can be used"


@dataclass(frozen=True)
class Ending:
    """Why and how a connection ends."""

    code: int
    message: str
    manner: Manner = Manner.CLOSE


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One server's habits. The defaults are Pusher's."""

    name: str
    activity_timeout: int = 120
    """Seconds that the greeting names."""
    socket_id_limits: tuple[int, int] = (10**6, 10**9)
    """The two numbers of a socket id are smaller than these."""
    limits: ServerLimits = field(default_factory=ServerLimits)
    """The limits of a server that is given none."""

    # Messages
    error_data_is_text: bool = False
    """Whether the data of a `pusher:error` is JSON in a string; Pusher sends an object."""
    pong: str = encode("pusher:pong", data="{}")
    ping: str = encode("pusher:ping", data="{}")
    cache_miss_data: str | None = "{}"
    """The data of a `pusher:cache_miss`, or None for none."""
    subscription_count: bool = True
    """Whether the server knows `subscription_count` at all."""
    binary_is_text: bool = False
    """Whether a binary message is read as if it were text."""
    reply_to_broken: Callable[[int, str], tuple[int, str] | None] = lambda code, reason: (
        code,
        reason,
    )
    """The close frame after a violation of the WebSocket protocol; None ends the stream without one."""
    ends_at_once: bool = False
    """Whether the server ends the stream right after its close frame, without awaiting the client's."""

    # Channels
    kind: Callable[[str], Kind] = kind_of
    cached: Callable[[str], bool] = is_cache
    """Whether the last event of a channel of this name is kept."""
    channel: type[Channel] = Channel
    users: type[Users] = Users
    users_by_presence: bool = False
    """Whether events for a user, and `terminate`, reach presence members with that id as well as signed-in sockets."""
    cache_lifetime: float = 30 * 60.0
    cache_ends_with_channel: bool = False
    """Whether a cached event is forgotten when the last subscriber leaves."""
    caches_everything: bool = False
    """Whether client events and `member_removed` replace the cached event too."""

    # Connecting
    checks_query: bool = True
    """Whether the protocol and the version in the query are checked, with 4006 to 4008."""
    reads_protocol: bool = False
    """Whether a `protocol` that is not a number up to 255 is answered by 400."""
    origin_is_host: bool = False
    """Whether only the host of an origin is compared; else scheme and port too."""
    counts_subscribed: bool = False
    """Whether only connections with a subscription count for `App.max_connections`."""
    wrong_path: Ending | HttpResponse = Ending(4005, "Path not found")
    unknown_app: Ending = Ending(4001, "App key {key} not in this cluster")
    disabled_app: Ending = Ending(4003, "Application disabled")
    over_quota: Ending = Ending(4004, "Application is over connection quota")
    wrong_origin: Ending = Ending(4009, "Origin not allowed")

    # Ends
    terminated: Ending = Ending(4009, "You got disconnected by the app.", Manner.FRAME)
    pong_missed: Ending = Ending(4201, "Pong reply not received", Manner.FRAME)
    not_authorized: Ending = Ending(4009, "Connection not authorized within timeout")
    shut_down: Ending = Ending(4200, "Server is shutting down")
    message_rate: Ending = Ending(4301, "Rate limit exceeded")
    """The end of a connection that sends more than `App.message_rate` allows."""
    message_refused: str = "Rate limit exceeded"
    """The text of the error that refuses a message beyond `App.message_rate`."""
    message_rate_errors: int = 1
    """How many errors are sent when the rate ends the connection."""
    tick: float | None = None
    """Seconds between two checks of all connections for silence. None: each connection has its own timer."""

    # HTTP
    plain_get: HttpResponse | None = None
    """The answer to a GET of `/app/KEY` without an upgrade. None: status 426."""
    other_method: HttpResponse | None = None
    """The answer to another method on `/app/KEY`."""
    not_found: HttpResponse | None = None
    health: HttpResponse | None = None
    """The answer to a health check; None is `{"status": "ok"}`."""
    too_large: HttpResponse | None = None
    """The answer to a request that is too large; None is 431 for its head and 413 for its body."""
    body_limit_counts_head: bool = False
    """Whether the head of a request counts for `ServerLimits.body` too."""
    published: Mapping[str, object] = field(default_factory=dict)
    """The answer of the HTTP API to an event without `info`."""
    checks_published: bool = True
    """Whether the HTTP API refuses the names that Pusher refuses."""

    def error(self, code: int | None, message: str, *, channel: str | None = None) -> str:
        """Return a `pusher:error`."""
        data: object = {"code": code, "message": message}
        if self.error_data_is_text:
            data = json_text(data)
        return encode("pusher:error", channel=channel, data=data)

    def cache_miss(self, channel: str) -> str:
        """Return a `pusher:cache_miss`."""
        if self.cache_miss_data is None:
            return encode("pusher:cache_miss", channel=channel)
        return encode("pusher:cache_miss", channel=channel, data=self.cache_miss_data)
