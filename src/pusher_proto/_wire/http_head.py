"""Reads the head of an HTTP response with h11, up to a limit: for the upgrade, proxies and auth endpoints."""

from __future__ import annotations

import h11

__all__ = ["HeadReader", "HeadTooLarge"]


class HeadTooLarge(Exception):
    """The heads of a response, informational ones included, are larger than the limit."""


class HeadReader:
    """An h11 client whose heads are limited. h11 limits incomplete heads only: a large one in one read would pass."""

    __slots__ = ("_limit", "_room", "http")

    def __init__(self, limit: int) -> None:
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limit)
        self._limit = self._room = limit

    @property
    def began(self) -> bool:
        """Whether a part of the response was received."""
        return self._room < self._limit

    def next_cycle(self) -> None:
        """Prepare for the next request on the same connection."""
        self.http.start_next_cycle()
        self._room = self._limit

    def receive_data(
        self, data: bytes
    ) -> tuple[h11.Response | h11.InformationalResponse | None, bytes]:
        """Process received bytes (b"" at the end of the stream); return the head once it is complete.

        The head is that of the final response or of a 101; other informational responses precede it (RFC 9110, 15.2).
        The second value has the bytes that were not passed to h11; `http` may hold further bytes after the head. Raises
        `HeadTooLarge`, and h11's RemoteProtocolError.
        """
        part, rest = data[: self._room], data[self._room :]
        self._room -= len(part)
        # Behind its first byte, which h11 checks, a head can only end with a line.
        incomplete = bool(part) and b"\n" not in part and self.http.trailing_data[0] != b""
        self.http.receive_data(part)
        if incomplete and self._room:
            return None, rest
        event = self.http.next_event()
        # h11's events are abstract classes, on which isinstance() takes ten times as long.
        while type(event) is h11.InformationalResponse and event.status_code != 101:
            event = self.http.next_event()
        if type(event) is h11.Response or type(event) is h11.InformationalResponse:
            return event, rest
        if not self._room:
            raise HeadTooLarge
        return None, rest
