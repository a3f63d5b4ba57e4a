"""An HTTP/1.1 client for one connection to an auth endpoint, one request at a time.

h11 parses and writes HTTP; this module limits the size of responses and returns each as one value. Redirects are not
followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import h11
from msgspec import Struct

from .http_head import HeadReader, HeadTooLarge

__all__ = ["Headers", "HttpConnection", "HttpFailed", "HttpRequest", "HttpResponse"]


class HttpFailed(Exception):
    """The response is not valid HTTP, is too large, or ended early; the message says which."""


class HttpRequest(Struct, frozen=True):
    """A POST request. Host and Content-Length are added to `headers`."""

    target: str
    authority: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class Headers(dict[str, str]):
    """Headers by their names in lower case. The last of several with one name wins; `all` has every one, in order."""

    __slots__ = ("all",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.all = tuple(pairs)
        super().__init__(self.all)


class HttpResponse(Struct, frozen=True):
    """A complete response."""

    status: int
    headers: Headers
    body: bytes


class HttpConnection:
    """The client side of one connection."""

    def __init__(self, *, max_head: int, max_body: int) -> None:
        self._reader = HeadReader(max_head)
        self._h11 = self._reader.http
        self._max_head = max_head
        self._max_body = max_body
        self._surplus = False
        """Whether bytes follow the response."""
        self._head: h11.Response | None = None
        """The head of the response, once it is complete."""
        self._body = bytearray()
        self.response_began = False
        """Whether a part of the response to the current request was received."""

    def send(self, request: HttpRequest) -> bytes:
        """Return the bytes of `request`. The connection must be new or `reusable`."""
        if self._h11.our_state is h11.DONE:
            self._reader.next_cycle()
        self._head, self._body, self.response_began = None, bytearray(), False
        head = h11.Request(
            method="POST",
            target=request.target,
            headers=[
                ("Host", request.authority),
                *request.headers,
                ("Content-Length", str(len(request.body))),
            ],
        )
        parts = (head, h11.Data(data=request.body), h11.EndOfMessage())
        return b"".join(self._h11.send(part) or b"" for part in parts)

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: request and response are complete, and neither side closes.

        False when bytes follow the response: they would be taken for the response to the next request.
        """
        both_done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        return both_done and not self._surplus

    def receive_data(self, data: bytes) -> HttpResponse | None:
        """Process received bytes (b"" at the end of the stream) and return the response once it is complete.

        Raises `HttpFailed`.
        """
        self.response_began = self.response_began or bool(data)
        try:
            return self._receive(data)
        except HeadTooLarge:
            raise HttpFailed(
                f"the head of the answer is larger than {self._max_head} bytes"
            ) from None
        except h11.RemoteProtocolError:
            # h11's message quotes received bytes, which may contain cookies, and depends on how they were split.
            raise HttpFailed("the answer is not HTTP") from None

    def _receive(self, data: bytes) -> HttpResponse | None:
        """Read the head, and then pass all other bytes to h11."""
        rest = data
        if self._head is None:
            head, rest = self._reader.receive_data(data)
            if head is None:
                return None if data else self._next_response()
            # h11 refuses a 101 to a request without `Upgrade`.
            assert isinstance(head, h11.Response)
            self._head = head
        if rest or not data:
            self._h11.receive_data(rest)
        return self._next_response()

    def _next_response(self) -> HttpResponse | None:
        """Return the response when h11 has received all of its body, or None."""
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Data):
                if len(self._body) + len(event.data) > self._max_body:
                    raise HttpFailed(f"the answer is larger than {self._max_body} bytes")
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                self._surplus = bool(self._h11.trailing_data[0])
                headers = [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in self._head.headers
                ]
                return HttpResponse(self._head.status_code, Headers(headers), bytes(self._body))
            elif isinstance(event, h11.ConnectionClosed):
                raise HttpFailed("the connection ended before the answer did")
            else:  # NEED_DATA, or PAUSED because bytes follow the response
                return None
