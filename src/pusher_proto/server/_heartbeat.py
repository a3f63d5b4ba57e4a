"""Pings to silent clients, and the end of connections that do not answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from ._connection import Connection
from ._dialect import Dialect, Ending
from ._realm import Socket
from ._timers import Timers

__all__ = ["Heartbeat"]

_PONG_TIMEOUT = 30.0


class Heartbeat:
    """Pings a connection after a silence, and ends it when the answer is missing.

    For Pusher each connection has its own timer. A dialect with a `tick` checks all connections that are subscribed to
    a channel at each tick: it ends connections without an answer to the last ping, then pings the silent ones.
    """

    def __init__(
        self,
        dialect: Dialect,
        timers: Timers,
        ping_after: float,
        sockets: Callable[[], Iterable[Socket]],
        finish: Callable[[Connection, Ending, float], None],
    ) -> None:
        self._dialect = dialect
        self._timers = timers
        self._ping_after = ping_after
        self._sockets = sockets
        self._finish = finish
        self._pinged: dict[Connection, float] = {}

    def start(self, now: float) -> None:
        """Start the ticks, which continue until a tick finds no connection."""
        if self._dialect.tick is not None and "tick" not in self._timers:
            self._timers.set("tick", now + self._dialect.tick, self._tick)

    def watch(self, connection: Connection, now: float) -> None:
        """Watch a connection that was just greeted."""
        if self._dialect.tick is None:
            self._sleep(connection, now + self._ping_after)

    def forget(self, connection: Connection) -> None:
        """Stop watching a connection."""
        self._pinged.pop(connection, None)
        self._timers.cancel(("ping", connection))

    def _sleep(self, connection: Connection, due: float) -> None:
        self._timers.set(("ping", connection), due, partial(self._ping, connection))

    def _ping(self, connection: Connection, now: float) -> None:
        silent_since = now if connection.silent else connection.last_received
        if silent_since + self._ping_after > now:
            self._sleep(connection, silent_since + self._ping_after)
            return
        connection.send_text(self._dialect.ping)
        self._await_pong(connection, now, now + min(self._ping_after, _PONG_TIMEOUT))

    def _await_pong(self, connection: Connection, pinged: float, due: float) -> None:
        missed = partial(self._missed_pong, connection, pinged)
        self._timers.set(("ping", connection), due, missed)

    def _missed_pong(self, connection: Connection, pinged: float, now: float) -> None:
        if connection.last_received >= pinged or connection.silent:
            self._ping(connection, now)
        elif now < pinged + _PONG_TIMEOUT:
            self._await_pong(connection, pinged, pinged + _PONG_TIMEOUT)
        else:
            self._finish(connection, self._dialect.pong_missed, now)

    def _tick(self, now: float) -> None:
        assert self._dialect.tick is not None
        sockets = list(self._sockets())
        if sockets:
            self._timers.set("tick", now + self._dialect.tick, self._tick)
        connections = [socket.connection for socket in sockets if socket.channels]
        for connection in connections:
            pinged = self._pinged.pop(connection, None)
            if pinged is not None and connection.last_received < pinged and not connection.silent:
                self._finish(connection, self._dialect.pong_missed, now)
        for connection in connections:
            if connection.is_websocket and connection.last_received + self._ping_after <= now:
                self._pinged[connection] = now
                if connection.uses_control_frames:
                    connection.send_ping()
                else:
                    connection.send_text(self._dialect.ping)
