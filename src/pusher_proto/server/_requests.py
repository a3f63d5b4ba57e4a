"""Turns bytes into whole HTTP requests and answers into bytes, with h11.

The result does not depend on how the bytes were split: h11 receives only whole heads, and every limit counts the bytes
of the peer, however they were split.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import h11

from ._http import HttpRequest, HttpResponse, failure
from ._limits import ServerLimits

__all__ = ["RequestHabits", "RequestReader"]

_END_OF_HEAD = re.compile(rb"\n\r?\n")  # the end of a head, as h11 sees it
_TLS_HANDSHAKE = 0x16
_NO_BODY = frozenset({204, 304})


class RequestHabits(Protocol):
    """The properties of requests that a dialect decides."""

    @property
    def too_large(self) -> HttpResponse | None:
        """The answer, or None."""

    @property
    def body_limit_counts_head(self) -> bool:
        """Whether the head counts for the limit of the body too."""


class RequestReader:
    """The server's half of HTTP/1.1 on one connection, one request at a time.

    Call `next_request` until None, and `respond` after each request before asking for the next.
    """

    def __init__(
        self, limits: ServerLimits, send_interim: Callable[[bytes], None], habits: RequestHabits
    ) -> None:
        self._limits = limits
        self._habits = habits
        self._send_interim = send_interim
        self._incoming = bytearray()
        self._searched = 0
        self._http: h11.Connection | None = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._room = 0
        self.speaks_tls = False
        """Whether the first bytes were the hello of TLS."""

    @property
    def waiting(self) -> int:
        """Bytes that belong to no request yet."""
        return len(self._incoming)

    def receive_data(self, data: bytes) -> None:
        """Buffer bytes for `next_request`."""
        self._incoming += data

    def take_rest(self) -> bytes:
        """Return and remove the bytes after the request, which belong to another protocol."""
        rest = bytes(self._incoming)
        self._incoming.clear()
        return rest

    def next_request(self) -> HttpRequest | HttpResponse | None:
        """Return the next whole request, or the answer that ends the connection."""
        if self._http is None and (refusal := self._read_head()) is not None:
            return refusal
        if self._http is None or self._request is None:
            return None
        if (refusal := self._read_body(self._http)) is not None:
            return refusal
        if self._http.their_state is h11.SEND_BODY:
            return None
        request = self._request
        self._incoming[:0] = self._http.trailing_data[0]
        path, _, query = request.target.decode("ascii").partition("?")
        upgrade = next((value for name, value in request.headers if name == b"upgrade"), b"")
        return HttpRequest(
            method=request.method.decode("ascii"),
            path=path,
            query=query,
            headers=list(request.headers),
            body=bytes(self._body),
            upgrade=request.method == b"GET" and upgrade.lower() == b"websocket",
        )

    def respond(self, response: HttpResponse, *, close: bool = False) -> tuple[bytes, bool]:
        """Return the bytes of an answer, and whether another request may follow."""
        http = self._http or h11.Connection(h11.SERVER)
        without_body = self._request is not None and self._request.method == b"HEAD"
        data = http.send(response.head(close=close))
        if not without_body and response.status not in _NO_BODY:
            data += http.send(h11.Data(data=response.body))
        data += http.send(h11.EndOfMessage())
        self._http = self._request = None
        return data, http.our_state is h11.DONE

    def start_stream(self, response: HttpResponse) -> bytes:
        """Return the head of an answer whose body of pieces lasts until the connection ends."""
        assert self._http is not None
        headers = [*response.headers, ("Transfer-Encoding", "chunked")]
        return self._http.send(
            h11.Response(status_code=response.status, headers=headers, reason="OK")
        )

    def piece(self, data: bytes) -> bytes:
        """Return the bytes of one piece."""
        assert self._http is not None
        return self._http.send(h11.Data(data=data))

    def _read_head(self) -> HttpResponse | None:
        if not self._incoming:
            return None
        if self._incoming[0] < 0x21:
            # No request line starts like this: refuse it without waiting for the rest.
            self.speaks_tls = self._incoming[0] == _TLS_HANDSHAKE
            return failure(400, "not HTTP")
        end = _END_OF_HEAD.search(self._incoming, max(0, self._searched - 2))
        self._searched = len(self._incoming)
        size = end.end() if end else self._searched
        if size > self._limits.head:
            return self._too_large(431, "head")
        if end is None:
            return None
        self._searched = 0
        # h11's own limit measures its buffer, which depends on how the bytes were split.
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=2**62)
        http.receive_data(bytes(self._incoming[:size]))
        del self._incoming[:size]
        try:
            request = http.next_event()
        except h11.RemoteProtocolError as wrong:
            return failure(wrong.error_status_hint, "the request is malformed")
        assert isinstance(request, h11.Request)
        self._http, self._request = http, request
        self._body.clear()
        self._room = self._limits.body - (size if self._habits.body_limit_counts_head else 0)
        length = next((value for name, value in request.headers if name == b"content-length"), b"0")
        if int(length) > self._room:
            return self._too_large(413, "body")
        if http.they_are_waiting_for_100_continue:
            self._send_interim(http.send(h11.InformationalResponse(status_code=100, headers=[])))
        return None

    def _read_body(self, http: h11.Connection) -> HttpResponse | None:
        data = bytes(self._incoming[: self._room])
        del self._incoming[: len(data)]
        self._room -= len(data)
        if data:
            # An empty call would tell h11 that the peer has closed.
            http.receive_data(data)
        try:
            while isinstance(event := http.next_event(), h11.Data):
                self._body += event.data
        except h11.RemoteProtocolError as wrong:
            return failure(wrong.error_status_hint, "the body is malformed")
        if event is h11.NEED_DATA and self._incoming:
            return self._too_large(413, "body")
        return None

    def _too_large(self, status: int, part: str) -> HttpResponse:
        known = self._habits.too_large
        return known or failure(status, f"the {part} of the request is too large")
