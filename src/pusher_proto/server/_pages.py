"""Pages about the server itself: its health and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ._cors import preflight, with_cors
from ._faults import Faults
from ._http import HttpRequest, HttpResponse, failure, json_response

__all__ = ["Pages"]

_HEALTH = ("/up", "/ready", "/health")


class Pages:
    """Answers requests for the health and the statistics of the server."""

    def __init__(
        self, numbers: Callable[[], Mapping[str, int]], faults: Faults, health: HttpResponse | None
    ) -> None:
        self._numbers = numbers
        self._faults = faults
        self._health = health

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """Return a page, or None for another path."""
        if request.path not in ("/", "/stats", *_HEALTH):
            return None
        response = preflight(request, "GET, HEAD")
        if response is None:
            response = self._page(request)
        return with_cors(request, response)

    def _page(self, request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return failure(405, f"{request.path} must be read with GET")
        if request.path == "/":
            text = b"A server for development that speaks the Pusher Channels protocol.\n"
            return HttpResponse(200, text, (("Content-Type", "text/plain"),))
        if request.path == "/stats":
            return json_response(200, self._numbers())
        if self._faults.shutting_down:
            return json_response(503, {"status": "shutting down"})
        return self._health or json_response(200, {"status": "ok"})
