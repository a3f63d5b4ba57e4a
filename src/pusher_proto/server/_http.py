"""HTTP requests and answers as values, without bytes on a wire and without routes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import h11
import msgspec

from ._frames import json_text

__all__ = ["HttpRequest", "HttpResponse", "failure", "json_response", "parse_form"]

# h11 writes no reason, and clients print it.
_REASONS = {
    200: "OK", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 413: "Content Too Large",
    422: "Unprocessable Content", 426: "Upgrade Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
}  # fmt: skip


class HttpRequest(msgspec.Struct, frozen=True):
    """One request with its body."""

    method: str
    path: str
    """As it was sent, without decoding."""
    query: str
    headers: list[tuple[bytes, bytes]]
    """Names are in lower case."""
    body: bytes
    upgrade: bool
    """Whether it asks for a WebSocket."""

    @property
    def header_map(self) -> dict[str, str]:
        """The headers by their lower-case names; repeated ones are joined by commas."""
        result: dict[str, str] = {}
        for raw_name, raw_value in self.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            result[name] = f"{result[name]}, {value}" if name in result else value
        return result


class HttpResponse(msgspec.Struct, frozen=True):
    """One answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False
    """Whether the connection ends after this answer."""

    def head(self, *, close: bool = False) -> h11.Response:
        """Return the head for h11. Raises ValueError for what HTTP does not allow."""
        headers = [*self.headers]
        if self.status not in (204, 304):
            headers.append(("Content-Length", str(len(self.body))))
        if close or self.close:
            headers.append(("Connection", "close"))
        try:
            return h11.Response(
                status_code=self.status, headers=headers, reason=_REASONS.get(self.status, "")
            )
        except h11.LocalProtocolError as wrong:
            raise ValueError(f"not a valid HTTP response: {wrong}") from wrong


def json_response(
    status: int, value: object, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return an answer with `value` as JSON."""
    return HttpResponse(
        status,
        json_text(value).encode(),
        (("Content-Type", "application/json"), *(headers or {}).items()),
    )


def failure(status: int, message: str) -> HttpResponse:
    """Return the answer to a wrong request, with a sentence that says why."""
    return json_response(status, {"error": message})


def parse_form(text: str) -> dict[str, str] | None:
    """Return the fields of a query or a form, the last one of each name, or None when there are too many."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return None
