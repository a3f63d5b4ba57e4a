"""The connections to auth endpoints: a queue of requests over a few kept-alive streams.

Knows HTTP and streams, and nothing of authorizations. When a kept connection ends before the first byte of an answer,
its request is repeated on a new connection: the server may have closed the idle one at the same time.
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
    __slots__ = ("address", "number", "request", "retried", "ssl_context")

    def __init__(
        self, number: int, address: Address, request: HttpRequest, ssl_context: object
    ) -> None:
        self.number = number
        self.address = address
        self.request = request
        self.ssl_context = ssl_context
        self.retried = False

    @property
    def place(self) -> tuple[object, ...]:
        """Jobs of the same place may use the same connection."""
        return *self.address[:3], self.ssl_context


class _Kept:
    __slots__ = ("http", "is_open", "job", "place", "used")

    def __init__(self, http: HttpConnection, job: _Job) -> None:
        self.place = job.place
        self.http = http
        self.job: _Job | None = job
        self.is_open = False
        self.used = 0


class HttpPool:
    """Sends requests over at most `auth_connections` streams. `answered` takes what became of each, by its number."""

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
        self._kept: dict[int, _Kept] = {}

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
        """Forget a request, and abort the connection that it was sent on."""
        self._queue = [job for job in self._queue if job.number != number]
        for transport, kept in list(self._kept.items()):
            if kept.job is not None and kept.job.number == number:
                self._drop(transport, now, abort=True)
        self._fill(now)

    def cancel_all(self, now: float) -> None:
        """Forget all requests, and keep the connections that are idle."""
        self._queue.clear()
        for transport, kept in list(self._kept.items()):
            if kept.job is not None:
                self._drop(transport, now, abort=True)

    def transport_opened(self, transport: int) -> None:
        """Send the request for which the stream was opened."""
        kept = self._kept[transport]
        kept.is_open = True
        assert kept.job is not None  # cancelling it would have given the stream up
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
        """Take bytes of an answer."""
        kept = self._kept[transport]
        if kept.job is None:  # an idle connection that talks is not to be trusted
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
        """End a connection that was not needed for long enough."""
        self._drop(transport, now)

    def close(self, now: float) -> None:
        """Forget all requests and end all connections."""
        self._queue.clear()
        for transport, kept in list(self._kept.items()):
            self._drop(transport, now, abort=kept.job is not None)

    def _at_end(self, kept: _Kept, error: str) -> HttpResponse | HttpFailed:
        """Return the outcome of a stream's end: an answer without a length ends with it."""
        if kept.is_open and kept.http.response_began:
            try:
                return kept.http.receive_data(b"") or HttpFailed(
                    "the connection ended before the answer did"
                )
            except HttpFailed as failed:
                return failed
        return HttpFailed(excerpt(error) or "the connection ended without an answer")

    def _fill(self, now: float) -> None:
        """Give queued requests to free connections, and open more up to the limit."""
        begun = 0
        for job in self._queue:
            free = self._free(job)
            if free is not None:
                transport, kept = free
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
            begun += 1
        del self._queue[:begun]

    def _free(self, job: _Job) -> tuple[int, _Kept] | None:
        if job.retried:  # a fresh connection, because a kept one died under it
            return None
        for transport, kept in self._kept.items():
            if kept.job is None and kept.place == job.place:
                return transport, kept
        return None

    def _make_room(self, now: float) -> bool:
        """End an idle connection in favour of a request that no free one serves."""
        for transport, kept in self._kept.items():
            if kept.job is None:
                self._drop(transport, now)
                return True
        return False

    def _send(self, transport: int, kept: _Kept, job: _Job) -> None:
        kept.used += 1
        self._transports.send(transport, kept.http.send(job.request))

    def _drop(self, transport: int, now: float, *, abort: bool = False) -> None:
        self._kept.pop(transport, None)
        self._timers.stop(Timer.IDLE, transport)
        self._transports.close(transport, now, abort=abort)
