"""What those who wait look at: whether it is there, and whether it can come at all.

A check returns what is waited for, or `PENDING`, or raises why it will not come. Nothing here waits.
"""

from __future__ import annotations

from ..errors import ClientClosed, LocalProtocolError, NotSubscribed, excerpt
from ..events import USER_SCOPE
from ..states import ChannelState, UserState
from .consumers import PENDING, Pending, fresh
from .delivery import Delivery

__all__ = ["Waits"]


class Waits(Delivery):
    """The checks of a client."""

    def _check_signed_in(self) -> str | Pending:
        user = self._session.user
        if user.id is not None:
            return user.id
        self._check_alive()
        if user.state is UserState.FAILED:
            assert user.last_error is not None
            raise fresh(user.last_error)
        if not self._session.wants_user:
            raise LocalProtocolError("nobody is to be signed in: call signin() first")
        return PENDING

    def _check_closed(self) -> bool | Pending:
        return True if self._session.closed else PENDING

    def _check_open(self) -> None:
        if self._session.closed:
            raise ClientClosed("this client is closed: open another with open_pusher")

    def _check_alive(self) -> None:
        """Raise when what is waited for cannot come any more: the reason rather than the end that followed."""
        error = self._terminal_error
        if error is not None:
            raise fresh(error)
        self._check_open()

    def _check_scope(self, scope: str | None) -> None:
        """Raise when events of a channel, of the user, or of the client (None) cannot come."""
        if scope == USER_SCOPE:
            self._check_signed_in()
        elif scope is not None:
            self._check_channel(scope)

    def _check_channel(self, name: str) -> None:
        """Raise when the channel was refused or is not wanted, or nothing can come at all."""
        self._check_alive()
        snapshot = self._session.channel(name)
        if snapshot.state in (ChannelState.UNSUBSCRIBED, ChannelState.UNSUBSCRIBING):
            raise NotSubscribed(f"{excerpt(name, 64)!r} is not wanted: subscribe to it first")
        if snapshot.state in (ChannelState.FAILED, ChannelState.TIMED_OUT):
            assert snapshot.last_error is not None
            raise fresh(snapshot.last_error)

    def _check_connected(self) -> str | Pending:
        socket_id = self._session.socket_id
        if socket_id is not None:
            return socket_id
        self._check_alive()
        return PENDING

    def _check_run(self) -> bool | Pending:
        if self._session.closed and self._terminal_error is None:
            return True
        self._check_alive()
        return PENDING

    def _why_not(self, what: str, timeout: float | None) -> str:
        """Return the message of a timeout."""
        last = self._session.last_loss
        return f"{what} within {timeout or 0:g} s" + (f"; the last attempt: {last}" if last else "")
