"""The connections to auth endpoints: a queue of requests over a few kept-alive streams.

Knows HTTP and streams, and nothing of what is asked. A kept connection that dies before the first byte of its
answer is tried once more on a fresh one, because the server may have closed it as idle just then.
"""

from __future__ import annotations

from collections.abc import Callable

from .._base.timers import Timer, Timers
from .._base.urls import Address
from .._transports.transports import Transports
from .._wire.http import HttpConnection, HttpFailed, HttpRequest, HttpResponse
from ..errors import excerpt

__all__ = ["Endpoint"]


class _Job:
    __slots__ = ("address", "number", "request", "retried")

    def __init__(self, number: int, address: Address, request: HttpRequest) -> None:
        self.number = number
        self.address = address
        self.request = request
        self.retried = False


class _Kept:
    __slots__ = ("address", "http", "is_open", "job", "used")

    def __init__(self, address: Address, http: HttpConnection, job: _Job) -> None:
        self.address = address
        self.http = http
        self.job: _Job | None = job
        self.is_open = False
        self.used = 0


class Endpoint:
    """Requests in, outcomes out; at most `connections` streams at once."""

    def __init__(
        self,
        transports: Transports,
        timers: Timers,
        *,
        answered: Callable[[int, HttpResponse | HttpFailed, float], None],
        connections: int,
        idle: float,
        max_head: int,
        max_body: int,
    ) -> None:
        self._answered = answered
        self._transports = transports
        self._timers = timers
        self._connections = connections
        self._idle = idle
        self._max_head = max_head
        self._max_body = max_body
        self._queue: list[_Job] = []
        self._kept: dict[int, _Kept] = {}

    def submit(self, number: int, address: Address, request: HttpRequest, now: float) -> None:
        """Send `request` as soon as a connection is free."""
        self._queue.append(_Job(number, address, request))
        self._fill(now)

    def cancel(self, number: int, now: float) -> None:
        """Forget a request. A connection that it is under way on is of no more use."""
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
        """A stream is open: send the request it was opened for."""
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
        """Fail the request of a stream that ended, or send it once more."""
        kept = self._kept.pop(transport)
        self._timers.stop(Timer.IDLE, transport)
        job = kept.job
        again = False
        if job is not None and kept.is_open and kept.used > 1:
            again = not kept.http.heard and not job.retried
        if job is not None and again:
            job.retried = True
            self._queue.insert(0, job)
        self._fill(now)
        if job is not None and not again:
            self._answered(job.number, self._at_end(kept, reason), now)

    def receive_data(self, transport: int, data: bytes, now: float) -> None:
        """Take bytes of an answer."""
        kept = self._kept[transport]
        if (
            kept.job is None
        ):  # nobody asked anything: an idle connection that talks is not to be trusted
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
            self._timers.set(Timer.IDLE, now + self._idle, transport)
        else:
            self._drop(transport, now, abort=isinstance(outcome, HttpFailed))
        self._fill(now)
        self._answered(number, outcome, now)

    def idle_due(self, transport: int, now: float) -> None:
        """A connection was not needed for long enough."""
        self._drop(transport, now)

    def close(self, now: float) -> None:
        """Forget all requests and end all connections."""
        self._queue.clear()
        for transport, kept in list(self._kept.items()):
            self._drop(transport, now, abort=kept.job is not None)

    def _at_end(self, kept: _Kept, error: str) -> HttpResponse | HttpFailed:
        """Return the outcome of a stream's end: an answer without a length ends with it."""
        if kept.is_open and kept.http.heard:
            try:
                return kept.http.receive_data(b"") or HttpFailed(
                    "the connection ended before the answer did"
                )
            except HttpFailed as failed:
                return failed
        return HttpFailed(excerpt(error) or "the connection ended without an answer")

    def _fill(self, now: float) -> None:
        """Give queued requests to free connections, and open more while there may be more."""
        begun = 0
        for job in self._queue:
            free = self._free(job)
            if free is not None:
                transport, kept = free
                kept.job = job
                self._timers.stop(Timer.IDLE, transport)
                self._send(transport, kept, job)
            elif len(self._kept) < self._connections or self._make_room(now):
                transport = self._transports.open(job.address, self)
                http = HttpConnection(max_head=self._max_head, max_body=self._max_body)
                self._kept[transport] = _Kept(job.address, http, job)
            else:
                break
            begun += 1
        del self._queue[:begun]

    def _free(self, job: _Job) -> tuple[int, _Kept] | None:
        if job.retried:  # a fresh connection, because a kept one died under it
            return None
        for transport, kept in self._kept.items():
            if kept.job is None and kept.address[:3] == job.address[:3]:
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
