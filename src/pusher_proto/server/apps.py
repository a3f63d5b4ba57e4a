"""The applications that a server serves, and the keys that are derived from their secrets."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Literal

from ..signing import shared_secret

__all__ = ["DEMO_APP", "App", "MessageRate"]


@dataclass(frozen=True, kw_only=True)
class MessageRate:
    """How many messages of any kind one connection may send."""

    messages: int
    """Messages in one window."""
    seconds: float
    """Length of a window, which starts with its first message."""
    ends: bool = False
    """Whether a message beyond it ends the connection; else it is refused."""


@dataclass(frozen=True, kw_only=True)
class App:
    """One application: its names, secrets and permissions, as on Pusher's dashboard.

    Raises ValueError unless the encryption master key has 32 bytes.
    """

    id: str
    """The app in paths of the HTTP API. The official libraries accept digits only."""
    key: str
    """The app in the URL that clients connect to. Not secret."""
    secret: str = field(repr=False)
    """Signs authorizations and the requests of publishers."""
    enabled: bool = True
    """False: every client is refused (4003)."""
    client_events: bool = True
    """Whether clients may send events to one another."""
    client_events_from: Literal["members", "all"] = "members"
    """"all" forwards client events unchecked, also of connections that are not subscribed; only Reverb has this."""
    encryption_master_key: bytes | None = field(default=None, repr=False)
    """32 bytes that the keys of encrypted channels are derived from; None allows no such channel."""
    user_authentication: bool = True
    """Whether clients may sign in."""
    authentication_timeout: float | None = None
    """Seconds within which a connection must sign in or join a channel that needs an authorization. Else it is closed
    with 4009."""
    subscription_count: bool = True
    """Whether subscribers receive the number of subscribers (never on presence channels)."""
    watchlist: bool = True
    """Whether signed-in users are notified which users of their watchlist are online."""
    client_event_rate: int | None = None
    """Client events that one connection may send in one second. Pusher has 10. None: no limit."""
    message_rate: MessageRate | None = None
    """Messages of any kind that one connection may send; Reverb and Sockudo have such a limit."""
    max_connections: int | None = None
    """Connections at one time; further ones are refused (4004)."""
    origins: tuple[str, ...] = ()
    """Origins that may connect; `*` matches any text. Empty: every origin."""

    def __post_init__(self) -> None:
        if self.encryption_master_key is not None and len(self.encryption_master_key) != 32:
            size = len(self.encryption_master_key)
            raise ValueError(f"an encryption master key has 32 bytes, not {size}")

    def shared_secret(self, channel: str) -> bytes | None:
        """Return the key of an encrypted channel, or None without a master key."""
        if self.encryption_master_key is None:
            return None
        return base64.b64decode(shared_secret(channel, self.encryption_master_key))


DEMO_APP = App(
    id="1",
    key="demo",
    secret="demo-secret",  # noqa: S106 - it is for tests
    encryption_master_key=bytes(range(32)),
)
"""The default app. Its secrets are public: for demonstrations and tests."""
