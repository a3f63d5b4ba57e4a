"""Which machine hears of which deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from ._auth.http_pool import Endpoint
from ._auth.requests import Answer, AuthRequests
from ._base.timers import Timer, Timers
from ._channels.subscriptions import Subscriptions
from ._channels.user import User
from ._connection.connector import Connector
from ._transports.transports import Transports
from .options import Options

__all__ = ["Clockwork"]


class Clockwork:
    """Fires the timers of a session, in the order of their deadlines. `answer` takes what becomes of authorizations."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        transports: Transports,
        connector: Connector,
        subscriptions: Subscriptions,
        user: User,
        authorizations: AuthRequests,
        endpoint: Endpoint,
        answer: Callable[[Answer | None], None],
    ) -> None:
        self._options = options
        self._timers = timers
        self._transports = transports
        self._connector = connector
        self._subscriptions = subscriptions
        self._user = user
        self._auth_requests = authorizations
        self._endpoint = endpoint
        self._answer = answer

    def fire(self, now: float) -> None:
        """See to all deadlines that have come, those that firing sets for now included."""
        while (due := self._timers.pop_due(now)) is not None:
            self._fire(*due, now)

    def _fire(self, timer: Timer, of: Any, now: float) -> None:
        """See to one deadline: of a transport, a request or a channel, or of the connection."""
        connector = self._connector
        match timer:
            case Timer.OPEN:
                connector.open_due(now)
            case Timer.ACTIVITY:
                connector.activity_due(now)
            case Timer.PONG:
                connector.pong_due(now)
            case Timer.RETRY:
                connector.retry_due(now)
            case Timer.STABLE:
                connector.stable_due()
            case Timer.UNAVAILABLE:
                connector.unavailable_due()
            case Timer.CLOSE:
                self._transports.close_due(of)
                connector.finish_closing()
            case Timer.IDLE:
                self._endpoint.idle_due(of, now)
            case Timer.GRANT:
                self._answer(self._auth_requests.authorization_due(of, now))
            case Timer.GATHER:
                for answer in self._auth_requests.gather_due(now):
                    self._answer(answer)
            case Timer.GRANT_RETRY:
                self._answer(self._auth_requests.retry_due(of, now))
            case Timer.REGRANT:
                self._subscriptions.reauthorize_due(of, now)
            case Timer.SUBSCRIBE:
                if not self._may_come(timer, of, self._options.subscribe_timeout, now):
                    self._subscriptions.subscribe_due(of, now)
            case Timer.SIGN_IN:
                if not self._may_come(timer, of, self._options.signin_timeout, now):
                    self._user.signin_due(now)
            case Timer.SIGN_IN_RETRY:
                self._user.retry_due(now)
            case _:
                assert_never(timer)

    def _may_come(self, timer: Timer, of: Any, limit: float, now: float) -> bool:
        """Wait longer for an answer on the WebSocket that may be there and was not read: too much else waited."""
        link = self._connector.link
        assert link is not None  # what is asked for on a connection is forgotten with it
        missing_at = link.missing_at(limit, now)
        if missing_at <= now:
            return False
        self._timers.set(timer, missing_at, of)
        return True
