"""Counts of a session, for metrics and health checks."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Stats"]


class Stats(Struct, frozen=True):
    """Counts since the session began."""

    bytes_received: int
    """Bytes read from all streams, the auth endpoint's included."""
    bytes_sent: int
    """Bytes that the driver reported as written."""
    messages_received: int
    """Messages of the protocol and of applications."""
    connections: int
    """How often a connection was established."""
    attempts: int
    """How often a connection was attempted."""
    violations: int
    """Messages that the protocol does not allow."""
    round_trip: float | None
    """Seconds from the last answered ping to its pong."""
    dropped: int = 0
    """Events that streams dropped because they were not read fast enough; a session drops none."""
    reading_paused: int = 0
    """How often reading was paused because `Options.receive_buffer` was full; `ReadingPaused` reports long pauses."""
    roster_drifts: int = 0
    """Messages about members that contradicted a roster: a join of a member that was listed, a leave of one that was
    not. A few are normal while many members come and go; many mean that a list is wrong (`refresh_members`)."""
    client_events_waiting: int = 0
    """Client events that wait now: for the subscription of their channel, or for `Options.client_event_rate`."""
    client_events_dropped: int = 0
    """Client events that waited longer than `max_age`, or whose channel was left."""
    client_events_replaced: int = 0
    """Client events that a newer one of the same name replaced while they waited, with `keep="latest"`."""
    calls_hanging: int = 0
    """Calls of the application's functions that have not returned in time: `auth_timeout`, `catch_up_timeout`."""
    gaps_closed: int = 0
    """How often a `catch_up` function closed a gap, the first one of each channel included."""
    gaps_not_closed: int = 0
    """How many `GapNotClosed` were emitted."""
    duplicates_dropped: int = 0
    """Events that were dropped because an event with the same key had been delivered (`subscribe(key=...)`)."""
