"""Obtains authorizations: signs them, requests them from an endpoint, or calls the application's function.

Each request is for one channel (or the sign-in) on one socket id, and ends with one answer; the loss of the connection
drops all of them. A job makes one request, or as many as the endpoint accepts together. At most `auth_connections` jobs
to endpoints are in progress, and the timeout of a request starts with its job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from .._base.backoff import Rng, delay_before
from .._base.logs import logger
from .._base.timers import Timer, Timers
from .._transports.transports import Transports
from .._wire.http import HttpFailed, HttpResponse
from ..auth import Auth, AuthEndpoint, AuthRequest, AuthResponse, OwnKey
from ..effects import Authorize, AuthorizeMany, CallApplication
from ..errors import AuthorizationError, excerpt
from ..options import Options
from ..states import AuthInput, AuthState
from .batches import batch_fields, split_answer
from .calls import Calls, Purpose
from .endpoint_format import (
    caused_by,
    check_authorization,
    fields_for,
    read_answer,
    request_with,
    url_for,
)
from .http_pool import HttpPool
from .jobs import Job, Request

__all__ = ["AuthRequests"]

S, G = AuthState, AuthInput

Result = AuthResponse | AuthorizationError

_WAITS_FOR = {
    S.CALLING: "the authorizer",
    S.PREPARING: "the function of AuthEndpoint.headers or params",
    S.ASKING: "the auth endpoint",
    S.REFRESHING: "AuthEndpoint.refresh",
}
"""The party whose answer a request waits for, by its state; in other states the auth endpoint has failed before."""

_log = logger("auth")


class AuthRequests:
    """The pending requests. Calls `deliver` with the answer to each, unless `start` returned it."""

    __slots__ = (
        "_answers", "_at_endpoint", "_calls", "_deliver", "_gathered", "_last", "_many", "_options",
        "_pool", "_queue", "_refreshing", "_requests", "_rng", "_timers",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        timers: Timers,
        rng: Rng,
        transports: Transports,
        deliver: Callable[[AuthRequest, Result, float], None],
        *,
        many: bool,
    ) -> None:
        self._options = options
        self._timers = timers
        self._rng = rng
        self._deliver = deliver
        self._many = many
        self._pool = HttpPool(transports, timers, options, self._pool_answered)
        self._calls = Calls(
            "for authorizations",
            options.max_authorizing,
            options.auth_timeout,
            timers,
            Timer.CALL,
            transports.effects.append,
        )
        self._requests: dict[int, Request] = {}
        """All pending requests, by number."""
        self._gathered: list[Request] = []
        """The requests of this turn that are sent together, and canceled ones."""
        self._queue: dict[int, Job] = {}
        """The jobs for endpoints that wait, by number."""
        self._at_endpoint: dict[int, Job] = {}
        """The jobs for endpoints that are in progress: prepared, sent, or refreshing the token."""
        self._refreshing: dict[int, list[Job]] = {}
        """The jobs that wait for a new token, by the `id` of their endpoint."""
        self._answers: list[tuple[Request, Result]] = []
        """The answers that `_flush` delivers at the end of the current input."""
        self._last = 0
        """The number of the last request or call."""

    def use(self, options: Options) -> None:
        """Use other options from the next request on."""
        self._options = options

    def start(self, details: AuthRequest, auth: Auth | None, now: float) -> int | Result:
        """Request an authorization; return the answer if it is known at once, else the number of the request."""
        source = auth if auth is not None else self._options.auth
        if isinstance(source, AuthResponse):
            return self._checked_key(details, check_authorization(source, details.channel))
        if isinstance(source, OwnKey):
            return self._checked_key(details, self._signed(source, details))
        request = Request(self.new_number(), details, source)
        self._requests[request.number] = request
        self._enqueue(request, now)
        if self._answers and self._answers[-1][0] is request:
            return self._answers.pop()[1]
        return request.number

    def cancel(self, number: int, now: float) -> None:
        """Drop a request whose answer is no longer needed."""
        request = self._requests.get(number)
        if request is not None:
            self._forget(request, now)
            self._start_waiting(now)
            if self._answers:
                # A request that started instead failed at once. Deliver that after the command that cancels this one.
                self._timers.set(Timer.GATHER, now)

    def drop_all(self, now: float) -> None:
        """Drop all requests, as their connection has ended. The refresh of a token continues."""
        self._pool.cancel_all(now)
        for request in list(self._requests.values()):
            self._forget(request, now)
        self._calls.start_waiting(now)

    def close(self, now: float) -> None:
        """Drop all requests and calls, and close the connections to endpoints."""
        self._pool.close(now)
        for request in list(self._requests.values()):
            self._forget(request, now)
        self._calls.cancel_all()

    # Inputs.

    def call_ended(self, number: int, result: object, now: float) -> None:
        """Process the result of a function of the application, or the exception that it raised."""
        self._calls.answered(number, result, now)
        self._start_waiting(now)
        self._flush(now)

    def call_due(self, number: int, now: float) -> None:
        """Handle a call of the application that did not return in time."""
        self._calls.due(number, now)
        self._start_waiting(now)
        self._flush(now)

    def request_due(self, number: int, now: float) -> None:
        """Fail a request: `auth_timeout` has passed."""
        request = self._requests[number]
        what = _WAITS_FOR.get(request.state, "the auth endpoint")
        message = f"{what} did not answer within {self._options.auth_timeout:g} s"
        channel = request.details.channel
        self._finish(request, AuthorizationError(message, channel=channel, temporary=True), now)
        self._start_waiting(now)
        self._flush(now)

    def retry_due(self, number: int, now: float) -> None:
        """Repeat a request: the delay after a temporary failure is over."""
        self._enqueue(self._requests[number], now)
        self._flush(now)

    def gather_due(self, now: float) -> None:
        """Make the requests of one turn together, in batches."""
        gathered = [one for one in self._gathered if one.state is S.GATHERED]
        self._gathered = []
        groups: dict[int, list[Request]] = {}
        for request in gathered:
            groups.setdefault(id(request.source), []).append(request)
        for group in groups.values():
            source = group[0].source
            size = source.batch if isinstance(source, AuthEndpoint) else len(group)
            for start in range(0, len(group), size):
                self._put(Job(group[start : start + size]), now)
        self._start_waiting(now)
        self._flush(now)

    def idle_due(self, transport: int, now: float) -> None:
        """Close a connection to an endpoint that was idle for `auth_idle`."""
        self._pool.idle_due(transport, now)

    # Queries.

    def hanging(self, now: float) -> list[float]:
        """Return the ages in seconds of the calls that did not return within `auth_timeout`, the oldest first."""
        return self._calls.hanging(now)

    def hanging_text(self, now: float) -> str:
        """Return a message about calls that did not return in time, or ""."""
        return self._calls.hanging_text(now)

    # Jobs.

    def _enqueue(self, request: Request, now: float) -> None:
        source = request.source
        together = source is None and self._many
        if isinstance(source, AuthEndpoint):
            together = source.batch > 1 and request.details.channel is not None
        if together:
            request.move(G.GATHER)
            self._gathered.append(request)
            self._timers.set(Timer.GATHER, now)
            return
        self._put(Job([request]), now)
        self._start_waiting(now)

    def _put(self, job: Job, now: float) -> None:
        """Queue a job for an endpoint, or submit the call of the application."""
        job.move(G.QUEUE)
        if isinstance(job.source, AuthEndpoint):
            self._queue[job.number] = job
            return
        if self._many and job.source is None:
            effect: Authorize | AuthorizeMany = AuthorizeMany(
                tuple(request.number for request in job.requests), tuple(job.details)
            )
        else:
            effect = Authorize(job.number, job.requests[0].details, job.source)
        self._call(job, effect, partial(self._called, job), self._authorized, now)

    def _call(
        self,
        job: Job,
        effect: Authorize | AuthorizeMany | CallApplication,
        begun: Callable[[float], None],
        ended: Callable[[int, object, float], None],
        now: float,
    ) -> None:
        subjects = tuple(details.channel for details in job.details)
        endpoint = id(job.source) if isinstance(job.source, AuthEndpoint) else None
        job.call = self._calls.submit(effect, Purpose(subjects, begun, ended, endpoint), now)

    def _called(self, job: Job, now: float) -> None:
        """Start the timeout of the requests: the application's function is called now."""
        job.move(G.CALL)
        self._start_timeout(job, now)

    def _authorized(self, number: int, result: object, now: float) -> None:
        """Process the application's answer to one request."""
        request = self._requests.get(number)
        if request is None:
            return
        channel = request.details.channel
        outcome: Result
        match result:
            case AuthorizationError():
                outcome = result
            case BaseException():
                outcome = caused_by(result, "the authorizer raised", channel)
            case _:
                outcome = check_authorization(result, channel)
        self._finish(request, outcome, now)

    def _start_waiting(self, now: float) -> None:
        """Start jobs and calls that wait, as far as the limits allow."""
        while self._queue and len(self._at_endpoint) < self._options.auth_connections:
            job = self._queue.pop(next(iter(self._queue)))
            self._at_endpoint[job.number] = job
            self._prepare(job, now)
        self._calls.start_waiting(now)

    def _start_timeout(self, job: Job, now: float) -> None:
        """Set the timer of each request, unless it is set."""
        for request in job.requests:
            if not self._timers.is_set(Timer.AUTH, request.number):
                self._timers.set(Timer.AUTH, now + self._options.auth_timeout, request.number)

    def _prepare(self, job: Job, now: float) -> None:
        """Get headers and params of the endpoint again: they may contain a new token."""
        job.outdated = False
        job.headers, job.params = job.endpoint.headers, job.endpoint.params
        job.move(G.PREPARE)
        self._prepare_next(job, now)

    def _prepare_next(self, job: Job, now: float) -> None:
        """Call the next function that returns headers or params, or send the request when none is left."""
        for name in ("headers", "params"):
            function: Any = getattr(job, name)
            if callable(function):
                effect = CallApplication(self.new_number(), function)
                begun = partial(self._start_timeout, job)
                self._call(job, effect, begun, partial(self._prepared, job, name), now)
                return
        job.call = None
        self._start_timeout(job, now)
        try:
            endpoint = job.endpoint
            single = job.requests[0].details
            fields = (
                batch_fields(endpoint, job.details)
                if self._goes_as_batch(job)
                else fields_for(single)
            )
            address, outgoing = request_with(
                endpoint, url_for(endpoint, single), fields, job.headers, job.params
            )
        except Exception as error:  # a header or parameter that is invalid in a request
            self._fail(job, error, "the request for the auth endpoint cannot be made", now)
            return
        job.move(G.SEND)
        self._pool.submit(job.number, address, outgoing, now, job.endpoint.ssl_context)

    def _goes_as_batch(self, job: Job) -> bool:
        return job.endpoint.batch > 1 and job.requests[0].details.channel is not None

    def _prepared(self, job: Job, name: str, _number: int, result: object, now: float) -> None:
        """Process the result of a function that returns headers or params."""
        if isinstance(result, BaseException):
            self._fail(job, result, f"AuthEndpoint.{name} raised", now)
            return
        if not isinstance(result, Mapping):
            wrong = TypeError(f"a mapping was expected, not {type(result).__name__}")
            self._fail(job, wrong, f"AuthEndpoint.{name} returned an invalid value", now)
            return
        setattr(job, name, result)
        self._prepare_next(job, now)

    def _pool_answered(self, number: int, outcome: HttpResponse | HttpFailed, now: float) -> None:
        job = self._at_endpoint[number]
        self._answered(job, outcome, now)
        self._start_waiting(now)
        self._flush(now)

    def _answered(self, job: Job, outcome: HttpResponse | HttpFailed, now: float) -> None:
        """Process the answer of the endpoint to a job."""
        endpoint = job.endpoint
        refused = isinstance(outcome, HttpResponse) and outcome.status in (401, 403, 419)
        if refused and endpoint.refresh is not None and not any(r.refreshed for r in job.requests):
            self._refresh(job, now)
            return
        outcomes: list[HttpResponse | HttpFailed] = [outcome]
        if self._goes_as_batch(job):
            outcomes = split_answer(endpoint, job.details, outcome)
            endpoint = replace(endpoint, parse=None)  # it has parsed the whole answer
        for request, one in zip(list(job.requests), outcomes, strict=True):
            result = read_answer(endpoint, request.details.channel, one)
            self._finish_or_retry(request, result, now)

    def _finish_or_retry(self, request: Request, result: Result, now: float) -> None:
        """Finish the request, or plan to repeat it after a temporary failure."""
        again = isinstance(result, AuthorizationError) and result.temporary
        if not again or request.attempt >= self._options.auth_attempts:
            self._finish(request, result, now)
            return
        delay = delay_before(request.attempt, self._rng)
        _log.info("%s; next request in %.1f s", result, delay)
        request.attempt += 1
        self._leave_job(request, now)
        request.move(G.PAUSE)
        self._timers.set(Timer.AUTH_RETRY, now + delay, request.number)

    # Refreshing a token.

    def _refresh(self, job: Job, now: float) -> None:
        """Call the refresh function, once for all jobs refused with the old token, and then repeat the jobs."""
        endpoint = job.endpoint
        for request in job.requests:
            request.refreshed = True
        if job.outdated:
            self._prepare(job, now)
            return
        job.move(G.REFRESH)
        key = id(endpoint)
        waiting = self._refreshing.get(key)
        if waiting is not None:
            waiting.append(job)
            return
        self._refreshing[key] = [job]
        assert endpoint.refresh is not None  # checked by the caller
        purpose = Purpose((), _ignore, partial(self._refreshed, endpoint), key)
        self._calls.submit(CallApplication(self.new_number(), endpoint.refresh), purpose, now)

    def _refreshed(self, endpoint: AuthEndpoint, _number: int, result: object, now: float) -> None:
        waiting = self._refreshing.pop(id(endpoint))
        if isinstance(result, BaseException):
            for job in waiting:
                self._fail(job, result, "AuthEndpoint.refresh raised", now)
            return
        for other in self._at_endpoint.values():
            other.outdated = other.outdated or other.source is endpoint
        for job in waiting:
            if job.requests:
                self._prepare(job, now)

    # Answers.

    def _signed(self, own: OwnKey, details: AuthRequest) -> Result:
        try:
            response = own.authorization(details, strict_names=self._options.strict_names)
        except AuthorizationError as error:
            return error
        except Exception as error:  # a bad socket id, or the application's `member` function
            return caused_by(error, "signing failed", details.channel)
        return check_authorization(response, details.channel)

    def _fail(self, job: Job, error: BaseException, what: str, now: float) -> None:
        for request in list(job.requests):
            self._finish(request, caused_by(error, what, request.details.channel), now)

    def _finish(self, request: Request, result: Result, now: float) -> None:
        """End a request with its answer. `_flush` delivers it after the input is processed."""
        self._forget(request, now)
        self._answers.append((request, self._checked_key(request.details, result)))

    def _flush(self, now: float) -> None:
        while self._answers:
            request, result = self._answers.pop(0)
            self._deliver(request.details, result, now)

    def _checked_key(self, details: AuthRequest, result: Result) -> Result:
        """Log a warning when an authorization is for another app; the server decides about it."""
        ours = self._options.key
        if isinstance(result, AuthResponse) and ours and not result.auth.startswith(f"{ours}:"):
            who = "signing in" if details.channel is None else excerpt(details.channel, 64)
            _log.warning("the authorization for %s has another app key than this client", who)
        return result

    def _forget(self, request: Request, now: float) -> None:
        del self._requests[request.number]
        self._leave_job(request, now)
        request.move(G.END)
        self._timers.stop(Timer.AUTH, request.number)
        self._timers.stop(Timer.AUTH_RETRY, request.number)

    def _leave_job(self, request: Request, now: float) -> None:
        """Remove a request from its job; cancel the job when it was the last one."""
        job, request.job = request.job, None
        if job is None:
            return
        job.requests.remove(request)
        if job.call is not None:
            self._calls.withdraw(job.call, request.number, last=not job.requests)
        if job.requests:
            return
        self._queue.pop(job.number, None)
        if self._at_endpoint.pop(job.number, None) is not None:
            self._pool.cancel(job.number, now)

    def new_number(self) -> int:
        """Return a new number for a request or a call."""
        self._last += 1
        return self._last


def _ignore(_now: float) -> None:
    """Do nothing: the timeout of the requests has started before."""
