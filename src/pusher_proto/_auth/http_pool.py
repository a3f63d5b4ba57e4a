"""A pool of HTTP connections to auth endpoints: sends queued requests over a few kept-alive streams.

Knows HTTP and streams, but not authorizations. When a kept connection ends before the first byte of a response, repeats
the request on a new connection: the server may have closed the idle one just before the request.
"""

from __future__ import annotations

from collections.abc import Callable

from .._base.timers import Timer, Timers
from .._base.urls import Address
from .._transports.transports import Transports
from .._wire.http import HttpConnection, HttpFailed, HttpRequest, HttpResponse
from ..errors import excerpt
from ..options import Options

__all__ = ["HttpPool"]


class _Job:
    """One request."""

    __slots__ = ("address", "number", "request", "retried", "ssl_context")

    def __init__(
        self, number: int, address: Address, request: HttpRequest, ssl_context: object
    ) -> None:
        self.number = number
        self.address = address
        self.request = request
        self.ssl_context = ssl_context
        self.retried = False
        """Whether it is sent again, because the kept connection ended before the response."""

    @property
    def place(self) -> tuple[object, ...]:
        """The key of the connections that can serve this job: host, port, TLS and SSL context."""
        return *self.address[:3], self.ssl_context


class _Kept:
    """One connection; `job` is None while it is idle."""

    __slots__ = ("http", "is_open", "job", "place", "used")

    def __init__(self, http: HttpConnection, job: _Job) -> None:
        self.place = job.place
        self.http = http
        self.job: _Job | None = job
        self.is_open = False
        self.used = 0
        """How many requests were sent on it."""


class HttpPool:
    """Sends requests over at most `auth_connections` streams; calls `answered` with the number and outcome of each."""

    __slots__ = ("_answered", "_kept", "_options", "_queue", "_timers", "_transports")

    def __init__(
        self,
        transports: Transports,
        timers: Timers,
        options: Options,
        answered: Callable[[int, HttpResponse | HttpFailed, float], None],
    ) -> None:
        self._transports = transports
        self._timers = timers
        self._options = options
        self._answered = answered
        self._queue: list[_Job] = []
        """The requests that wait for a connection."""
        self._kept: dict[int, _Kept] = {}
        """The connections, by the number of their transport."""

    def submit(
        self,
        number: int,
        address: Address,
        request: HttpRequest,
        now: float,
        ssl_context: object = None,
    ) -> None:
        """Send `request` as soon as a connection is free."""
        self._queue.append(_Job(number, address, request, ssl_context))
        self._fill(now)

    def cancel(self, number: int, now: float) -> None:
        """Drop a request, and abort the connection on which it was sent."""
        self._queue = [job for job in self._queue if job.number != number]
        for transport, kept in list(self._kept.items()):
            if kept.job is not None and kept.job.number == number:
                self._drop(transport, now, abort=True)
        self._fill(now)

    def cancel_all(self, now: float) -> None:
        """Drop all requests, and keep the idle connections."""
        self._queue.clear()
        for transport, kept in list(self._kept.items()):
            if kept.job is not None:
                self._drop(transport, now, abort=True)

    def transport_opened(self, transport: int) -> None:
        """Send the request for which the stream was opened."""
        kept = self._kept[transport]
        kept.is_open = True
        assert kept.job is not None  # cancelling the job would have closed the stream
        self._send(transport, kept, kept.job)

    def transport_closed(
        self,
        transport: int,
        error: BaseException | str | None,  # noqa: ARG002 - the signature of Owner
        reason: str,
        now: float,
    ) -> None:
        """Fail the request of a stream that ended, or repeat it."""
        kept = self._kept.pop(transport)
        self._timers.stop(Timer.IDLE, transport)
        job = kept.job
        again = False
        if job is not None and kept.is_open and kept.used > 1:
            again = not kept.http.response_began and not job.retried
        if job is not None and again:
            job.retried = True
            self._queue.insert(0, job)
        self._fill(now)
        if job is not None and not again:
            self._answered(job.number, self._at_end(kept, reason), now)

    def receive_data(self, transport: int, data: bytes, now: float) -> None:
        """Process bytes of a response."""
        kept = self._kept[transport]
        if kept.job is None:  # bytes without a request would be taken for the next response
            self._drop(transport, now, abort=True)
            return
        number = kept.job.number
        outcome: HttpResponse | HttpFailed | None
        try:
            outcome = kept.http.receive_data(data)
        except HttpFailed as failed:
            outcome = failed
        if outcome is None:
            return
        kept.job = None
        if kept.http.reusable and isinstance(outcome, HttpResponse):
            self._timers.set(Timer.IDLE, now + self._options.auth_idle, transport)
        else:
            self._drop(transport, now, abort=isinstance(outcome, HttpFailed))
        self._fill(now)
        self._answered(number, outcome, now)

    def idle_due(self, transport: int, now: float) -> None:
        """Close a connection that was idle for `auth_idle`."""
        self._drop(transport, now)

    def close(self, now: float) -> None:
        """Drop all requests and close all connections."""
        self._queue.clear()
        for transport, kept in list(self._kept.items()):
            self._drop(transport, now, abort=kept.job is not None)

    def _at_end(self, kept: _Kept, error: str) -> HttpResponse | HttpFailed:
        """Return the outcome of the request on a stream that ended: the end completes a response without a length."""
        if kept.is_open and kept.http.response_began:
            try:
                return kept.http.receive_data(b"") or HttpFailed(
                    "the connection ended before the answer did"
                )
            except HttpFailed as failed:
                return failed
        return HttpFailed(excerpt(error) or "the connection ended without an answer")

    def _fill(self, now: float) -> None:
        """Send queued requests on idle connections, and open connections up to the limit."""
        sent = 0
        for job in self._queue:
            idle = self._idle_for(job)
            if idle is not None:
                transport, kept = idle
                kept.job = job
                self._timers.stop(Timer.IDLE, transport)
                self._send(transport, kept, job)
            elif len(self._kept) < self._options.auth_connections or self._make_room(now):
                transport = self._transports.open(job.address, self, job.ssl_context)
                options = self._options
                http = HttpConnection(max_head=options.max_head, max_body=options.max_auth_body)
                self._kept[transport] = _Kept(http, job)
            else:
                break
            sent += 1
        del self._queue[:sent]

    def _idle_for(self, job: _Job) -> tuple[int, _Kept] | None:
        """Return an idle connection for the job, or None."""
        if job.retried:  # on a new connection only: a kept one has ended during this job
            return None
        for transport, kept in self._kept.items():
            if kept.job is None and kept.place == job.place:
                return transport, kept
        return None

    def _make_room(self, now: float) -> bool:
        """Close an idle connection to another address, if there is one, and return whether it was closed."""
        for transport, kept in self._kept.items():
            if kept.job is None:
                self._drop(transport, now)
                return True
        return False

    def _send(self, transport: int, kept: _Kept, job: _Job) -> None:
        kept.used += 1
        self._transports.send(transport, kept.http.send(job.request))

    def _drop(self, transport: int, now: float, *, abort: bool = False) -> None:
        """Remove a connection and close its stream."""
        self._kept.pop(transport, None)
        self._timers.stop(Timer.IDLE, transport)
        self._transports.close(transport, now, abort=abort)
