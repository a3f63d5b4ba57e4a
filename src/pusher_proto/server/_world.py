"""The state of the server: connections, sockets, apps, deadlines, and the queue of effects.

It ends connections and delays answers; `_server` decides on the answers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import msgspec

from ..errors import LocalProtocolError
from ._auth_endpoint import AuthRequest
from ._connection import Connection, State
from ._dialect import Dialect, Ending, Manner
from ._effects import ServerClose, ServerEffect, ServerRequest, ServerSend
from ._faults import Answers, Faults
from ._frames import ClientMessage, Json, parse_json
from ._heartbeat import Heartbeat
from ._limits import ServerLimits
from ._realm import Realm, Shared, Socket
from ._reports import Reports
from ._timers import Timers
from ._webhooks import SentWebhook, Webhooks
from .apps import App

__all__ = ["PublishedEvent", "ReceivedMessage", "ServerStats", "World"]

# Seconds that a client may take to disconnect after the close frames.
_CLOSE_TIMEOUT = 5.0


class ReceivedMessage(NamedTuple):
    """A message that a client sent."""

    connection: int
    """The number of the connection."""
    event: str
    """The name of the event."""
    channel: str | None
    """The channel; of a subscribe or unsubscribe the one in its data."""
    data: Json
    """The decoded data, or None if there was none."""


class PublishedEvent(NamedTuple):
    """An event that a publisher sent."""

    app: str
    """The key of the app."""
    event: str
    """The name of the event."""
    channel: str
    """The name of the channel."""
    data: str
    """As it was published."""
    exclude_socket_id: str | None
    """The socket id of the connection that was left out, or None."""


@dataclass
class ServerStats:
    """Counters since the server was made."""

    connections: int = 0
    """Connections opened, of any kind."""
    websockets: int = 0
    """WebSockets accepted."""
    refused: int = 0
    """WebSockets refused."""
    requests: int = 0
    """HTTP requests, upgrades included."""
    messages: int = 0
    """Text messages received."""
    published: int = 0
    """Events published, counted once for each channel."""


class World:
    """The state that the controls and the machine share."""

    def __init__(
        self,
        apps: Sequence[App],
        *,
        dialect: Dialect,
        rng: random.Random,
        limits: ServerLimits,
    ) -> None:
        if not apps:
            raise ValueError("a server needs at least one app")
        if len({app.key for app in apps}) < len(apps) or len({app.id for app in apps}) < len(apps):
            raise ValueError("two apps have the same id or key")
        self.received: deque[ReceivedMessage] = deque(maxlen=limits.log)
        """Messages of clients, the newest last; also while they were muted."""
        self.published: deque[PublishedEvent] = deque(maxlen=limits.log)
        """Events published over the HTTP API or by `publish`, the newest last, one for each channel."""
        self.auth_requests: deque[AuthRequest] = deque(maxlen=limits.log)
        """Requests to the auth endpoint, the newest last."""
        self.stats: ServerStats = ServerStats()
        self.limits: ServerLimits = limits
        """The limits on what clients and publishers may send."""
        self._reports = Reports()
        self._webhooks: Webhooks | None = None
        self._no_webhooks: deque[SentWebhook] = deque()
        self._dialect = dialect
        self._limits = limits
        self._timers = Timers()
        self._faults = Faults()
        later = partial(self._after, "cache")
        shared = Shared(dialect, rng, limits, self._timers, self._reports, later)
        self._realms = {app.key: Realm(app, shared) for app in apps}
        self._connections: dict[int, Connection] = {}
        self._sockets: dict[Connection, Socket] = {}
        self._effects: deque[tuple[Connection | None, ServerEffect]] = deque()
        self._ended: deque[Connection] = deque()
        self._heartbeat: Heartbeat | None = None
        self._ghosts: dict[Connection, float] = {}
        """Connections that have ended and whose sockets stay until a time."""
        self._held = 0
        self._now = float("-inf")

    # ---- time

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` must be called if nothing else happens, or None."""
        return self._timers.next_due()

    def _advance(self, now: float) -> float:
        """Return the time, which never goes back."""
        if now > self._now:
            self._now = now
        return self._now

    def _after(
        self,
        what: Answers,
        connection: Connection,
        action: Callable[[float], None],
        now: float,
    ) -> None:
        """Call `action` now, or when answers of this kind are due."""
        delay = self._faults.delay_of(what)
        if delay <= 0:
            action(now)
        elif len(connection.held) >= self._limits.held_answers:
            self._close(connection, 4100, "Too many answers are held back", now)
        else:
            self._held += 1
            timer = ("held", self._held)
            connection.held[timer] = None
            self._timers.set(timer, now + delay, partial(self._release, connection, timer, action))

    def _release(
        self,
        connection: Connection,
        timer: Hashable,
        action: Callable[[float], None],
        now: float,
    ) -> None:
        del connection.held[timer]
        if not connection.silent:
            action(now)

    # ---- effects

    def next_effect(self) -> ServerEffect | None:
        """Return the next effect, or None."""
        if not self._effects:
            return None
        connection, effect = self._effects.popleft()
        if isinstance(effect, ServerSend) and connection is not None:
            connection.unsent -= len(effect.data)
        return effect

    def _emit(self, connection: Connection, effect: ServerEffect) -> None:
        self._effects.append((connection, effect))
        if isinstance(effect, ServerClose):
            self._connections.pop(connection.number, None)
            self._ended.append(connection)
            return
        assert isinstance(effect, ServerSend)
        connection.unsent += len(effect.data)
        if connection.unsent > self._limits.unsent:
            connection.end(abort=True)

    def _request_sent(self, request: ServerRequest) -> None:
        self._effects.append((None, request))

    # ---- ends

    def _close(self, connection: Connection, code: int, reason: str, now: float) -> None:
        """Close a WebSocket with a close frame; end any other connection."""
        connection.close(code, reason)
        self._forget(connection, now)
        self._await_end(connection, now)

    def _finish(self, connection: Connection, ending: Ending, now: float) -> None:
        """End a connection as the dialect does it."""
        manner = ending.manner
        if manner in (Manner.CLOSE, Manner.END, Manner.STAY):
            connection.send_text(self._dialect.error(ending.code, ending.message))
        if manner is Manner.STAY:
            return
        if manner in (Manner.CLOSE, Manner.FRAME):
            connection.close(ending.code, ending.message)
        else:
            connection.end(abort=False)
        self._forget(connection, now)
        self._await_end(connection, now)

    def _await_end(self, connection: Connection, now: float) -> None:
        """Abort a connection that is over if the client does not disconnect in time."""
        state = connection.state
        over = state is State.CLOSING or (state is State.OVER and not connection.silent)
        if over and ("end", connection) not in self._timers:
            end = partial(self._give_up, connection)
            self._timers.set(("end", connection), now + _CLOSE_TIMEOUT, end)

    def _give_up(self, connection: Connection, _now: float) -> None:
        connection.end(abort=True)

    def _forget(self, connection: Connection, now: float) -> None:
        """Take the socket of a connection out of its app, which notifies the others."""
        if (due := self._ghosts.pop(connection, None)) is not None:
            self._timers.set(("ghost", connection), due, partial(self._forget, connection))
            return
        if ("ghost", connection) in self._timers:
            return
        if self._heartbeat is not None:
            self._heartbeat.forget(connection)
        self._timers.cancel(("authentication", connection))
        for timer in connection.held:
            self._timers.cancel(timer)
        connection.held.clear()
        socket = self._sockets.pop(connection, None)
        if socket is not None:
            socket.realm.leave(socket, now)

    def _settle(self, now: float) -> None:
        """Forget connections that ended; the messages to others may end more."""
        while self._ended:
            connection = self._ended.popleft()
            self._timers.cancel(("end", connection))
            self._forget(connection, now)

    # ---- events

    def _publish(
        self, realm: Realm, channel: str, event: str, data: str, but: str | None, now: float
    ) -> int:
        self.stats.published += 1
        self.published.append(PublishedEvent(realm.app.key, event, channel, data, but))
        return realm.publish(channel, event, data, but=but, now=now)

    # ---- helpers of both

    def _realms_in_order(self) -> list[Realm]:
        return list(self._realms.values())

    def _realm(self, app: str | None) -> Realm:
        key = next(iter(self._realms)) if app is None else app
        if key not in self._realms:
            raise LocalProtocolError(f"no app has the key {key!r}")
        return self._realms[key]

    def _known(self, connection: int) -> Connection:
        if connection not in self._connections:
            raise LocalProtocolError(f"there is no connection {connection}")
        return self._connections[connection]

    def _log(self, connection: Connection, message: ClientMessage) -> None:
        data: Json = None
        if message.data is not msgspec.UNSET:
            value = parse_json(message.data)
            # Text that JSON allows and msgspec does not read is forwarded unchanged.
            data = bytes(message.data).decode() if value is msgspec.UNSET else value
        channel = message.channel
        if channel is None and isinstance(data, dict):
            named = data.get("channel")
            channel = named if isinstance(named, str) else None
        self.received.append(ReceivedMessage(connection.number, message.event, channel, data))
