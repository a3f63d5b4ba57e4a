"""The checks of each wait: is the result there, and can it still arrive?

A check returns the result, or `PENDING`, or raises the reason why there will be no result. Nothing here waits. A check
raises final failures; during failures that will be retried it returns `PENDING`. Streams follow the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ClientClosed, LocalProtocolError, NotSubscribed, PusherError, excerpt
from ..events import USER_SCOPE
from ..session import Session
from ..states import ChannelState, UserState
from .delivery import Delivery
from .driver_calls import DriverCalls
from .pending import PENDING, Pending, fresh

__all__ = ["Checks"]

_UNWANTED = (ChannelState.IDLE, ChannelState.UNSUBSCRIBED, ChannelState.UNSUBSCRIBING)
_FAILED = (ChannelState.FAILED, ChannelState.TIMED_OUT)


class Checks:
    """The checks of a client."""

    __slots__ = ("_delivery", "_driver", "_session")

    def __init__(self, session: Session, delivery: Delivery, driver: DriverCalls) -> None:
        self._session = session
        self._delivery = delivery
        self._driver = driver

    def connected(self) -> str | Pending:
        """Return the socket id."""
        socket_id = self._session.socket_id
        if socket_id is not None:
            return socket_id
        self.alive()
        return PENDING

    def signed_in(self) -> str | Pending:
        """Return the user's id, once messages to the user arrive."""
        user = self._session.user
        if user.id is not None:
            return user.id if self._session.user_reachable else PENDING
        self.alive()
        refused = self._refused(USER_SCOPE)
        if refused is not None:
            raise fresh(refused)
        if not self._session.wants_user:
            raise LocalProtocolError("no sign-in was requested: call signin() first")
        return PENDING

    def disconnected(self) -> bool | Pending:
        """Return True when `disconnect` or `close` was called and the connection has ended."""
        return True if self._session.disconnected else PENDING

    def all_subscribed(self, names: Iterable[str]) -> bool | Pending:
        """Return True when all these channels are subscribed. Raises the reason if one of them will not be."""
        found = [self.subscribed(name) for name in names]
        return PENDING if PENDING in found else True

    def subscribed(self, name: str) -> bool | Pending:
        """Return True when the channel is subscribed."""
        if self._session.channel(name).state is ChannelState.SUBSCRIBED:
            return True
        self.scope(name)
        return PENDING

    def run(self) -> bool | Pending:
        """Return True when the client was closed."""
        if self._session.closed and self._delivery.terminal_error is None:
            return True
        self.alive()
        return PENDING

    def closed(self) -> bool | Pending:
        """Return True when the client is closed."""
        return True if self._session.closed else PENDING

    def open(self) -> None:
        """Raise `ClientClosed` when the client is closed, or the error that ended its driver."""
        self._driver.usable()
        if self._session.closed:
            raise ClientClosed("this client is closed: open another with open_pusher")

    def alive(self) -> None:
        """Raise if no event can arrive any longer: the final failure, or else `ClientClosed`."""
        error = self._delivery.terminal_error
        if error is not None:
            raise fresh(error)
        self.open()

    def scope(self, scope: str | None) -> None:
        """Raise the reason if events of a channel, of the user, or of the client (None) cannot arrive."""
        if scope == USER_SCOPE:
            self.signed_in()
            return
        self.alive()
        if scope is None:
            return
        if self._session.channel(scope).state in _UNWANTED:
            raise NotSubscribed(f"{excerpt(scope, 64)!r} is not subscribed: call subscribe() first")
        refused = self._refused(scope)
        if refused is not None:
            raise fresh(refused)

    def any_possible(self, scopes: Iterable[str | None]) -> None:
        """Raise the error of one of these channels if no further attempt is planned for any of them."""
        refused = [None if scope is None else self._refused(scope) for scope in scopes]
        if refused and refused[0] is not None and all(refused):
            raise fresh(refused[0])

    def awaited(self, scope: str | None) -> None:
        """Do the same as `scope` for a wait that started while the client was open."""
        if self._session.closed and self._delivery.terminal_error is None:
            raise ClientClosed("the client was closed during the wait for an event")
        self.scope(scope)

    def end_of(self, scope: str | None) -> bool:
        """Return whether a stream of this scope has ended. Raises the reason if that is an error.

        It has not ended while the channel is unsubscribed or the user is signed out: that may change.
        """
        error = self._delivery.terminal_error
        if error is not None:
            raise fresh(error)
        if self._session.closed:
            return True
        refused = None if scope is None or self._session.events else self._refused(scope)
        if refused is not None:
            raise fresh(refused)
        return False

    def why_not(self, what: str, timeout: float | None) -> str:
        """Return the message of a timeout, with the probable reason."""
        session = self._session
        text = f"{what} within {timeout or 0:g} s"
        for name in session.channels():
            error = session.channel(name).last_error if what.startswith(repr(name)) else None
            if error is not None:
                text += f"; it failed and will be tried again: {error}"
        if session.last_loss:
            text += f"; the last attempt: {session.last_loss}"
        text += session.unplaced_error
        return f"{text}; {session.hanging_calls}" if session.hanging_calls else text

    def _refused(self, scope: str) -> PusherError | None:
        """Return the error of a channel or of the sign-in if no further attempt is planned, else None."""
        if scope == USER_SCOPE:
            user = self._session.user
            failed = user.state is UserState.FAILED and user.retry_at is None
            return user.last_error if failed else None
        channel = self._session.channel(scope)
        failed = channel.state in _FAILED and channel.retry_at is None
        return channel.last_error if failed else None
