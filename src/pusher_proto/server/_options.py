"""The options of a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ._auth_endpoint import AuthUser
from ._limits import ServerLimits
from ._webhooks import Webhook

__all__ = ["ServerOptions"]

_DIALECTS = ("pusher", "reverb", "sockudo")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a `Server` behaves. The apps themselves, and what each may do, are in `App`.

    Raises ValueError for an unknown dialect.
    """

    dialect: Literal["pusher", "reverb", "sockudo"] = "pusher"
    """The server to imitate: Pusher, Laravel Reverb 1.10 or Sockudo 5.2."""
    limits: ServerLimits | None = None
    """By default the limits of the dialect."""
    activity_timeout: int | None = None
    """Seconds in the greeting, by default the dialect's. The server itself does not act on them; see `ping_after`."""
    ping_after: float | None = None
    """Seconds of silence after which the server sends a `pusher:ping`. Without an answer within 30 seconds it closes
    the connection with 4201. None never pings."""
    path_prefix: str | None = None
    """The path before `/app/<key>`, such as "/ws". None accepts any."""
    auth_user: AuthUser | None = field(default=None, repr=False)
    """The user of a request to the auth endpoint. By default the `user_id`, `user_info` and `watchlist` of the request,
    or else the user `user-<n>` for the n-th connection of the server."""
    auth_token: str | None = field(default=None, repr=False)
    """Requests to the auth endpoint need the header `Authorization: Bearer <auth_token>`. None accepts any."""
    webhooks: Sequence[Webhook] = ()
    """Where to send webhooks: each batch of events becomes a `ServerRequest`."""
    control: bool | str = field(default=False, repr=False)
    """Whether the server has a control API at `/control`: True for clients on this machine, a text for clients that
    send it as bearer token."""

    def __post_init__(self) -> None:
        if self.dialect not in _DIALECTS:
            raise ValueError(f"no dialect {self.dialect!r}: there are {', '.join(_DIALECTS)}")
