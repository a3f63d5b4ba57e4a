"""Limits how many WebSockets one address may open in a minute, as Sockudo does."""

from __future__ import annotations

from ._http import HttpResponse, json_response

__all__ = ["AddressRate"]

_WINDOW = 60.0
_MOST = 10_000
"""The most addresses to remember. Expired windows are dropped first."""


class AddressRate:
    """Counts the WebSockets of each address, in windows of one minute that begin with its first WebSocket."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._windows: dict[str, tuple[float, int]] = {}
        """The start of the window of each address, and the number of its WebSockets in it."""

    def refuse(self, peer: str | None, now: float) -> HttpResponse | None:
        """Count a WebSocket; return the answer that refuses it if it is one too many. Ignore a client without an
        address."""
        if self._limit is None or peer is None:
            return None
        began, count = self._windows.get(peer, (now, 0))
        if now >= began + _WINDOW:
            began, count = now, 0
        self._windows[peer] = began, count + 1
        if len(self._windows) > _MOST:
            self._forget(now)
        if count < self._limit:
            return None
        left = str(int(began + _WINDOW - now))
        return json_response(
            429,
            {
                "error": "Too Many Requests",
                "message": "Rate limit exceeded. Please try again later.",
            },
            {
                "x-ratelimit-limit": str(self._limit),
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": left,
                "retry-after": left,
            },
        )

    def _forget(self, now: float) -> None:
        over = [peer for peer, (began, _) in self._windows.items() if now >= began + _WINDOW]
        for peer in over or [next(iter(self._windows))]:
            del self._windows[peer]
