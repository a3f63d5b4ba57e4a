"""The conditions that the client's waiting calls check. A driver adds the waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from .flush import Flush
from .host import Host
from .pending import Pending
from .signal import Signal

__all__ = ["Goal", "Goals"]

T = TypeVar("T")


class Goal(NamedTuple, Generic[T]):
    """The condition of one waiting call."""

    check: Callable[[], T | Pending]
    """Returns the result of the call, or `PENDING`. Raises if there will be no result."""
    signal: Signal
    """Notified when it is time to check again."""
    what: str = ""
    """The start of the message of a timeout."""


class Goals:
    """The goals of the waiting methods of a client."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def connected(self) -> Goal[str]:
        """Return the goal of a wait for a connection; the result is the socket id."""
        return Goal(self._host.checks.connected, self._host.delivery.lifecycle, "not connected")

    def subscribed(self, name: str) -> Goal[bool]:
        """Return the goal of a wait for the subscription of one channel."""
        check, what = self._host.checks.subscribed, f"{name!r} was not subscribed"
        return Goal(lambda: check(name), self._host.delivery.lifecycle, what)

    def all_subscribed(self, names: Iterable[str] | None) -> Goal[bool]:
        """Return the goal of a wait for the subscriptions of these channels; by default of all of the client's."""
        names = list(self._host.client.channels if names is None else names)
        check = self._host.checks.all_subscribed
        what = "not all channels were subscribed"
        return Goal(lambda: check(names), self._host.delivery.lifecycle, what)

    def disconnected(self) -> Goal[bool]:
        """Return the goal of a wait for the end of the connection after `disconnect` or `close`."""
        return Goal(self._host.checks.disconnected, self._host.delivery.turns, "not disconnected")

    def flushed(self) -> Goal[bool]:
        """Return the goal of a wait until the server has received all triggered events."""
        return Goal(Flush(self._host).check, self._host.delivery.turns, "not flushed")

    def signed_in(self) -> Goal[str]:
        """Return the goal of a wait for the sign-in; the result is the user's id."""
        return Goal(self._host.checks.signed_in, self._host.delivery.turns, "not signed in")

    def closed(self) -> Goal[bool]:
        """Return the goal of a wait until the client is closed. Raises the error of a client that failed."""
        return Goal(self._host.checks.run, self._host.delivery.lifecycle)
