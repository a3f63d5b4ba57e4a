"""The limits of the server: what a client or a publisher may send before it is refused."""

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
    """Characters of a channel, an event or a user id."""
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
    """Cache channels whose last event is kept; the oldest goes first."""
    held_answers: int = 1000
    """Answers to one connection that `delay` may hold; above it the connection ends with 4100."""
    unsent: int = 64 * 1024 * 1024
    """Bytes for one connection that nobody pulled; above it the connection is aborted."""
    log: int = 1000
    """Entries of `received` and of `auth_requests`; the oldest go first."""
