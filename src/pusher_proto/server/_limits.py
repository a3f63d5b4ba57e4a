"""The limits of the server on what clients and publishers may send."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerLimits"]


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Sizes in bytes (of text in UTF-8) and counts. The defaults are Pusher's where it has one."""

    head: int = 16 * 1024
    """The head of an HTTP request."""
    body: int = 1024 * 1024
    """The body of an HTTP request, chunk framing included."""
    message: int = 128 * 1024
    """One WebSocket message of a client; above it the connection ends with 1009."""
    event_data: int = 10 * 1024
    """The data of one event, of a client or a publisher."""
    name: int = 200
    """Characters of a channel or a user id."""
    event_name: int = 200
    """Characters of the name of an event."""
    channels_of_event: int = 100
    """Channels that one publishing request may name."""
    batch: int = 10
    """Events of one batch."""
    subscriptions: int = 2000
    """Channels that one connection may be subscribed to."""
    members: int = 100
    """Users of one presence channel."""
    member_size: int = 1024
    """The JSON of one presence member."""
    watchlist: int = 100
    """Users that one user may watch."""
    cached_channels: int = 10_000
    """Cache channels whose last event is kept; the oldest is dropped first."""
    held_answers: int = 1000
    """Answers to one connection that `delay` may hold; above it the connection ends with 4100."""
    connections_a_minute: int | None = None
    """WebSockets that one address may open in a minute; further ones are answered by 429. Sockudo has 20 by default."""
    unsent: int = 64 * 1024 * 1024
    """Bytes for one connection that were not pulled; above it the connection is aborted."""
    unsent_messages: int | None = None
    """Messages for one connection that were not pulled; further ones are dropped. Only Sockudo has this."""
    webhooks: int = 100
    """Batches of webhooks that no receiver has accepted yet; the oldest are dropped first."""
    log: int = 1000
    """Entries of `received`, `published`, `auth_requests` and `webhooks`; the oldest are dropped first."""
