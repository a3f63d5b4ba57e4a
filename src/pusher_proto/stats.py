"""Counts of a session, for metrics and health checks."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Stats"]


class Stats(Struct, frozen=True):
    """Counts since the session was created."""

    bytes_received: int
    """Bytes received on all streams, including those to the auth endpoint."""
    bytes_sent: int
    """Bytes that the driver reported as written."""
    messages_received: int
    """Received messages, of the protocol and of applications."""
    connections: int
    """How many connections were established."""
    attempts: int
    """How many attempts to connect were started."""
    violations: int
    """How many received messages violated the protocol."""
    round_trip: float | None
    """Seconds from the last answered ping to its pong."""
    dropped: int = 0
    """Events that streams dropped because they were not read fast enough. A session itself drops none."""
    reading_paused: int = 0
    """How often reading was paused because `Options.receive_buffer` was full; `ReadingPaused` reports long pauses."""
    roster_drifts: int = 0
    """Messages that contradicted a list of members: a join of a listed member, or a leave of an unlisted one. A few are
    normal while many members join and leave; many mean that a list is wrong (`refresh_members`)."""
    client_events_waiting: int = 0
    """Client events that wait for the subscription of their channel or for `Options.client_event_rate`."""
    client_events_dropped: int = 0
    """Client events that waited longer than `max_age`, or whose channel was unsubscribed."""
    client_events_replaced: int = 0
    """Waiting client events that were replaced by a newer one of the same name, with `keep="latest"`."""
    calls_hanging: int = 0
    """Calls of the application's functions that did not return within `auth_timeout` or `catch_up_timeout`."""
    gaps_closed: int = 0
    """How many gaps were closed by a `catch_up` function, including the first one of each channel."""
    gaps_not_closed: int = 0
    """How many `GapNotClosed` were emitted."""
    duplicates_dropped: int = 0
    """Events that were dropped because an event with the same key had been delivered (`subscribe(key=...)`)."""
