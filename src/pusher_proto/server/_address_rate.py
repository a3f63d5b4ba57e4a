"""How often one address may open a WebSocket: Sockudo allows 20 in a minute by default."""

from __future__ import annotations

from ._http import HttpResponse, json_response

__all__ = ["AddressRate"]

_WINDOW = 60.0
_MOST = 10_000
"""Addresses that are remembered; windows that are over are forgotten first."""


class AddressRate:
    """Counts in windows of a minute, which begin with the first WebSocket of an address."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._windows: dict[str, tuple[float, int]] = {}
        """The beginning of the window of each address, and its WebSockets since."""

    def refuse(self, peer: str | None, now: float) -> HttpResponse | None:
        """Count a WebSocket; return the answer to one that is too many. An address that is not known is not counted."""
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
