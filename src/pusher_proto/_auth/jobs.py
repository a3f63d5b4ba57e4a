"""Requests for authorizations, and jobs, which make one or several of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..auth import AuthEndpoint, AuthRequest
from ..states import AUTH_REQUEST, AuthInput, AuthState, advance
from .calls import Call

__all__ = ["Job", "Request"]


class Request:
    """A pending request for one authorization."""

    __slots__ = ("attempt", "details", "job", "number", "refreshed", "source", "state")

    def __init__(
        self, number: int, details: AuthRequest, source: AuthEndpoint | Callable[..., object] | None
    ) -> None:
        self.number = number
        self.details = details
        self.source = source
        """The endpoint or the function that answers it; None: the authorizer of `open_pusher`."""
        self.state = AuthState.NEW
        self.job: Job | None = None
        """The job that makes it; None while it is gathered or paused."""
        self.attempt = 1
        self.refreshed = False
        """Whether the token was refreshed for it: that is done once."""

    def move(self, given: AuthInput) -> None:
        """Advance the state."""
        self.state = advance(AUTH_REQUEST, self.state, given)


class Job:
    """Requests to one endpoint, or to the application, that are made together."""

    __slots__ = ("call", "headers", "number", "outdated", "params", "requests", "source")

    def __init__(self, requests: list[Request]) -> None:
        self.number = requests[0].number
        self.source = requests[0].source
        self.requests = requests
        """Its pending requests. A request that ends or pauses leaves the job."""
        self.call: Call | None = None
        """The call of a function of the application, if it waits for one."""
        self.headers: Any = None
        """The headers of the endpoint, or the function that has to be called for them."""
        self.params: Any = None
        """The same for the params."""
        self.outdated = False
        """Whether the token was refreshed for another job since this one was prepared."""
        for request in requests:
            request.job = self

    @property
    def endpoint(self) -> AuthEndpoint:
        """The endpoint of a job that has one."""
        assert isinstance(self.source, AuthEndpoint)
        return self.source

    @property
    def details(self) -> list[AuthRequest]:
        """The socket id and the channel of each request."""
        return [request.details for request in self.requests]

    def move(self, given: AuthInput) -> None:
        """Advance the state of each request."""
        for request in self.requests:
            request.move(given)
