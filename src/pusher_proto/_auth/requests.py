"""How an authorization is got: signed here, asked for over HTTP, or asked of the application.

Each request is for one channel (or the sign-in) on one socket id, and ends in one answer; losing the
connection drops them all. Only so many are under way at once, and the time of one runs from when its turn has
come. A request in which the endpoint fails for the moment is made again, a bounded number of times and within
auth_timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .._base.backoff import Rng, delay_before
from .._base.logs import logger
from .._base.timers import Timer, Timers
from .._wire.http import HttpFailed, HttpResponse
from ..auth import Auth, AuthEndpoint, AuthRequest, AuthResponse, OwnKey
from ..effects import Authorize, AuthorizeMany
from ..errors import AuthorizationError, excerpt
from ..options import Options
from .batches import batch_request_for, split_answer
from .endpoint_format import caused_by, check_authorization, read_answer, request_for
from .http_pool import Endpoint
from .turns import Turns

__all__ = ["Answer", "AuthRequests"]

Answer = tuple[AuthRequest, AuthResponse | AuthorizationError]

_log = logger("auth")


class _Request:
    __slots__ = ("attempt", "details", "outdated", "refreshed", "source")

    def __init__(
        self, details: AuthRequest, source: AuthEndpoint | Callable[..., object] | None
    ) -> None:
        self.details = details
        self.source = source
        self.attempt = 1
        self.refreshed = False
        self.outdated = False
        """Whether `refresh` was called since it was made, for another request."""


class AuthRequests:
    """The requests under way. `ask_application` puts an Authorize effect out."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        rng: Rng,
        endpoint: Endpoint,
        ask_application: Callable[[Authorize | AuthorizeMany], None],
        *,
        many: bool,
    ) -> None:
        self._options = options
        self._timers = timers
        self._rng = rng
        self._endpoint = endpoint
        self._ask_application = ask_application
        self._requests: dict[int, _Request] = {}
        self._many = many
        self._gathered: list[int] = []
        self._batches: dict[int, list[int]] = {}
        self._at_endpoint = Turns(options.auth_connections)
        self._at_application = Turns(options.max_authorizing)
        self._last = 0

    def ask(
        self, details: AuthRequest, auth: Auth | None, now: float
    ) -> int | AuthResponse | AuthorizationError:
        """Begin to get an authorization: return it, or why there is none, or the number under which the answer
        will come."""
        source = auth if auth is not None else self._options.auth
        if isinstance(source, AuthResponse):
            return self._seen(details, check_authorization(source, details.channel))
        if isinstance(source, OwnKey):
            try:
                authorization = source.authorization(
                    details, strict_names=self._options.strict_names
                )
                return self._seen(details, check_authorization(authorization, details.channel))
            except AuthorizationError as error:
                return error
            except Exception as error:  # a bad socket id, or the application's `member` function
                return caused_by(error, "signing failed", details.channel)
        self._last += 1
        number = self._last
        request = self._requests[number] = _Request(details, source)
        if self._goes_with_others(request):
            self._gather(number, now)
            return number
        if not isinstance(source, AuthEndpoint):
            self._at_application.wait(number)
            self._go_on(now)
            return number
        self._at_endpoint.wait(number)
        if self._at_endpoint.next() is not None:  # nobody else waits where there is room
            self._limit(number, now)
            failed = self._submit(number, request, source, now)
            if failed is not None:
                self._forget(number)
                return failed
        return number

    def cancel(self, number: int, now: float) -> None:
        """Forget a request whose answer is of no more use."""
        if number in self._requests:
            self._forget(number)
            self._endpoint.cancel(number, now)
            self._drop_empty_batches(now)
            self._go_on(now)

    def drop_all(self, now: float) -> None:
        """Forget all requests: they were for a connection that is gone."""
        for number in list(self._requests):
            self._forget(number)
        self._endpoint.cancel_all(now)
        self._batches.clear()

    def gather_due(self, now: float) -> list[Answer]:
        """One turn is over: ask together for what was wanted in it."""
        numbers, self._gathered = [n for n in self._gathered if n in self._requests], []
        groups: dict[int, list[int]] = {}
        for number in numbers:
            groups.setdefault(id(self._requests[number].source), []).append(number)
        answers: list[Answer] = []
        for group in groups.values():
            source = self._requests[group[0]].source
            for number in group:
                self._limit(number, now)
            if isinstance(source, AuthEndpoint):
                for start in range(0, len(group), source.batch):
                    answers += self._submit_batch(source, group[start : start + source.batch], now)
            else:
                details = tuple(self._requests[number].details for number in group)
                self._ask_application(AuthorizeMany(tuple(group), details))
        return answers

    def answered(self, number: int, outcome: HttpResponse | HttpFailed, now: float) -> list[Answer]:
        """Take what the endpoint answered; return the answers to the requests that it settles."""
        batch = self._batches.pop(number, None)
        if batch is None:
            answer = self._answered(number, outcome, now)
            return [] if answer is None else [answer]
        return self._batch_answered(batch, outcome, now)

    def _answered(
        self, number: int, outcome: HttpResponse | HttpFailed, now: float
    ) -> Answer | None:
        request = self._requests.get(number)
        if request is None or not isinstance(request.source, AuthEndpoint):
            return None
        result = read_answer(request.source, request.details.channel, outcome)
        if _wants_refresh(request.source, outcome) and not request.refreshed:
            error = self._refresh(request.source, [request])
            if error is not None:
                return self._failed(number, error, "AuthEndpoint.refresh raised", now)
            return self._submit_again(number, request, now)
        return self._take(number, request, result, now)

    def _take(
        self, number: int, request: _Request, result: AuthResponse | AuthorizationError, now: float
    ) -> Answer | None:
        """Settle the request, or make it again after a while when what failed may mend itself."""
        again = isinstance(result, AuthorizationError) and result.temporary
        if not again or request.attempt >= self._options.auth_attempts:
            return self._settle(number, result, now)
        delay = delay_before(request.attempt, self._rng)
        _log.info("%s; asking again in %.1f s", result, delay)
        request.attempt += 1
        self._at_endpoint.end(number)  # others need not wait for its delay
        self._timers.set(Timer.GRANT_RETRY, now + delay, number)
        self._go_on(now)
        return None

    def retry_due(self, number: int, now: float) -> Answer | None:
        """The turn of a request has come, or its delay after a failure for the moment is over."""
        if self._goes_with_others(self._requests[number]):
            self._gather(number, now)
            return None
        return self._submit_again(number, self._requests[number], now)

    def authorization_due(self, number: int, now: float) -> Answer:
        """auth_timeout is over: that is the answer."""
        request = self._requests[number]
        who = "auth endpoint" if isinstance(request.source, AuthEndpoint) else "authorizer"
        message = f"the {who} did not answer within {self._options.auth_timeout:g} s"
        self._endpoint.cancel(number, now)
        channel = request.details.channel
        error = AuthorizationError(message, channel=channel, temporary=True)
        answer = self._settle(number, error, now)
        self._drop_empty_batches(now)
        return answer

    def authorized(self, number: int, result: object, now: float) -> Answer | None:
        """Take what the application's function returned or raised; None when nobody waits for it any more."""
        request = self._requests.get(number)
        if request is None or isinstance(request.source, AuthEndpoint):
            return None
        if number in self._at_application or number in self._gathered:
            return None  # it was not asked for yet
        outcome: AuthResponse | AuthorizationError
        match result:
            case AuthorizationError():
                outcome = result
            case BaseException():
                outcome = caused_by(result, "the authorizer raised", request.details.channel)
            case _:
                outcome = check_authorization(result, request.details.channel)
        return self._settle(number, outcome, now)

    def _goes_with_others(self, request: _Request) -> bool:
        if request.source is None:
            return self._many
        several = isinstance(request.source, AuthEndpoint) and request.source.batch > 1
        return several and request.details.channel is not None

    def _gather(self, number: int, now: float) -> None:
        self._gathered.append(number)
        self._timers.set(Timer.GATHER, now)

    def _submit_batch(self, source: AuthEndpoint, group: list[int], now: float) -> list[Answer]:
        for number in group:
            self._requests[number].outdated = False
        details = [self._requests[number].details for number in group]
        try:
            address, outgoing = batch_request_for(source, details)
        except Exception as error:  # a bad header, or the application's functions
            what = "the request for the auth endpoint cannot be made"
            return [self._failed(number, error, what, now) for number in group]
        self._last += 1
        self._batches[self._last] = group
        self._endpoint.submit(self._last, address, outgoing, now)
        return []

    def _batch_answered(
        self, batch: list[int], outcome: HttpResponse | HttpFailed, now: float
    ) -> list[Answer]:
        live = [number for number in batch if number in self._requests]
        requests = [self._requests[number] for number in live]
        assert live  # a request that nobody waits for any more was given up
        source = requests[0].source
        assert isinstance(source, AuthEndpoint)
        if _wants_refresh(source, outcome) and not any(one.refreshed for one in requests):
            for number in live:
                self._gather(number, now)
            error = self._refresh(source, requests)
            if error is not None:
                what = "AuthEndpoint.refresh raised"
                return [self._failed(number, error, what, now) for number in live]
            return []
        outcomes = split_answer(source, [one.details for one in requests], outcome)
        plain = replace(source, parse=None)  # it has had its turn
        answers: list[Answer] = []
        for number, request, one in zip(live, requests, outcomes, strict=True):
            result = read_answer(plain, request.details.channel, one)
            answer = self._take(number, request, result, now)
            if answer is not None:
                answers.append(answer)
        return answers

    def _refresh(self, source: AuthEndpoint, requests: list[_Request]) -> Exception | None:
        """Have the token renewed that these were made with; return what the application's function raised.

        Nothing is to be done when it was renewed since: of many requests with an old token, one renews it for all.
        """
        renewed = any(request.outdated for request in requests)
        for request in requests:
            request.refreshed = True
        if not renewed:
            try:
                source.refresh()  # type: ignore[misc]  # _wants_refresh has seen that there is one
            except Exception as error:
                return error
            for other in self._requests.values():
                other.outdated = other.source is source
        return None

    def _drop_empty_batches(self, now: float) -> None:
        """Give up requests to the endpoint that nobody waits for any more."""
        for number, batch in list(self._batches.items()):
            if not any(one in self._requests for one in batch):
                del self._batches[number]
                self._endpoint.cancel(number, now)

    def _go_on(self, now: float) -> None:
        """Begin with those whose turn has come."""
        while (number := self._at_application.next()) is not None:
            request = self._requests[number]
            assert not isinstance(request.source, AuthEndpoint)
            self._limit(number, now)
            self._ask_application(Authorize(number, request.details, request.source))
        while (number := self._at_endpoint.next()) is not None:
            self._limit(number, now)
            self._timers.set(Timer.GRANT_RETRY, now, number)  # which can tell when it fails at once

    def _limit(self, number: int, now: float) -> None:
        """Let the time of a request run, if it does not run already."""
        if not self._timers.is_set(Timer.GRANT, number):
            self._timers.set(Timer.GRANT, now + self._options.auth_timeout, number)

    def _submit_again(self, number: int, request: _Request, now: float) -> Answer | None:
        assert isinstance(request.source, AuthEndpoint)
        failed = self._submit(number, request, request.source, now)
        return self._settle(number, failed, now) if failed is not None else None

    def _submit(
        self, number: int, request: _Request, source: AuthEndpoint, now: float
    ) -> AuthorizationError | None:
        request.outdated = False
        try:
            address, outgoing = request_for(source, request.details)
        except Exception as error:  # a bad URL or header, or the application's functions
            return caused_by(
                error, "the request for the auth endpoint cannot be made", request.details.channel
            )
        self._endpoint.submit(number, address, outgoing, now)
        return None

    def _settle(self, number: int, result: AuthResponse | AuthorizationError, now: float) -> Answer:
        details = self._requests[number].details
        self._forget(number)
        self._go_on(now)
        return details, self._seen(details, result)

    def _failed(self, number: int, error: Exception, what: str, now: float) -> Answer:
        """Settle a request that failed by what a function of the application raised."""
        failed = caused_by(error, what, self._requests[number].details.channel)
        return self._settle(number, failed, now)

    def _seen(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError
    ) -> AuthResponse | AuthorizationError:
        """Say so when an authorization is another app's; it is used as it is, for the server to judge."""
        ours = self._options.key
        if isinstance(result, AuthResponse) and ours and not result.auth.startswith(f"{ours}:"):
            who = "signing in" if details.channel is None else excerpt(details.channel, 64)
            _log.warning("the authorization for %s is not for the key of this client", who)
        return result

    def _forget(self, number: int) -> None:
        del self._requests[number]
        self._at_endpoint.end(number)
        self._at_application.end(number)  # it may still be at work, but not for us
        self._timers.stop(Timer.GRANT, number)
        self._timers.stop(Timer.GRANT_RETRY, number)


def _wants_refresh(source: AuthEndpoint, outcome: HttpResponse | HttpFailed) -> bool:
    """Return whether the endpoint did not know who asks, and there is a way to mend that."""
    refused = isinstance(outcome, HttpResponse) and outcome.status in (401, 403)
    return refused and source.refresh is not None
