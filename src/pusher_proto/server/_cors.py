"""Cross-origin requests of browsers: what a page of another origin may request."""

from __future__ import annotations

from ._http import HttpRequest, HttpResponse

__all__ = ["preflight", "with_cors"]

_DAY = "86400"


def preflight(request: HttpRequest, methods: str) -> HttpResponse | None:
    """Return the answer to the preflight of a request by one of `methods`, or None for any other request."""
    if request.method != "OPTIONS":
        return None
    headers = [("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", _DAY)]
    wanted = request.header_map.get("access-control-request-headers")
    if wanted is not None:
        headers.append(("Access-Control-Allow-Headers", wanted))
    return HttpResponse(204, b"", tuple(headers))


def with_cors(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return an answer that a page of any origin may read, errors included."""
    origin = request.header_map.get("origin")
    headers = [("Vary", "Origin")]
    if origin is not None:
        headers += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
        ]
    given = {name.lower() for name, _ in response.headers}
    headers = [(name, value) for name, value in headers if name.lower() not in given]
    return HttpResponse(
        response.status, response.body, (*response.headers, *headers), response.close
    )
