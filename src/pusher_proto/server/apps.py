"""The applications that a server serves, and what a key of theirs signs or opens."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from ..signing import shared_secret

__all__ = ["DEMO_APP", "App"]


@dataclass(frozen=True, kw_only=True)
class App:
    """One application: its names, its secrets and what it allows, as on Pusher's dashboard.

    Raises ValueError when the encryption master key is not of 32 bytes.
    """

    id: str
    """What publishers put into the path of the HTTP API; digits, for the official libraries."""
    key: str
    """What clients put into the address they connect to. Not secret."""
    secret: str = field(repr=False)
    """What authorizations and publishers' requests are signed with."""
    client_events: bool = True
    """Whether clients may send events to one another."""
    encryption_master_key: bytes | None = field(default=None, repr=False)
    """32 bytes that the keys of encrypted channels are made from; None allows no such channel."""
    user_authentication: bool = True
    """Whether clients may sign in."""
    subscription_count: bool = True
    """Whether subscribers are told how many they are (never on presence channels)."""
    watchlist: bool = True
    """Whether signed-in users are told who of their watchlist comes and goes."""
    client_event_rate: int | None = None
    """Client events that one connection may send in one second; None sets no limit. Pusher: 10."""

    def __post_init__(self) -> None:
        if self.encryption_master_key is not None and len(self.encryption_master_key) != 32:
            raise ValueError("an encryption master key has 32 bytes")

    def shared_secret(self, channel: str) -> bytes | None:
        """Return the key of an encrypted channel, or None when the app has no master key."""
        if self.encryption_master_key is None:
            return None
        return base64.b64decode(shared_secret(channel, self.encryption_master_key))


DEMO_APP = App(
    id="1",
    key="demo",
    secret="demo-secret",  # noqa: S106 - it is for tests
    encryption_master_key=bytes(range(32)),
)
"""The app of a server that was given none. Its secrets are public: for demonstrations and tests."""
