"""The connection of the moment, and what follows when it ends: the session's state, attempts and delays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .._base.backoff import Rng, delay_before
from .._base.logs import logger
from .._base.timers import Timer, Timers
from .._protocol.close_codes import Next, explained, hint_for
from .._protocol.control import LinkItem
from .._transports.transports import Transports
from .._version import __version__
from .._wire.fast_lane import Run
from .._wire.proxy import ProxyFailed
from ..errors import ConnectionFailed, ConnectionUnsafe, describe, excerpt
from ..events import (
    Closed,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    Event,
    RetryScheduled,
    StateChanged,
)
from ..options import Options
from ..states import SESSION, SessionInput, SessionState, advance
from .ledger import Asked, Ledger
from .link import Ended, Link

__all__ = ["Connector", "Reports"]

S, G = SessionState, SessionInput
_TRYING = (S.OPENING, S.UPGRADING, S.GREETING, S.WAITING)
_PUBLIC = {
    S.IDLE: ConnectionState.INITIALIZED,
    S.CONNECTED: ConnectionState.CONNECTED,
    S.FAILED: ConnectionState.FAILED,
    S.DISCONNECTED: ConnectionState.DISCONNECTED,
    S.CLOSING: ConnectionState.DISCONNECTED,
    S.CLOSED: ConnectionState.DISCONNECTED,
}
_PHASES = {
    S.OPENING: "name lookup, TCP or TLS",
    S.UPGRADING: "the upgrade",
    S.GREETING: "the greeting",
}

_log = logger("connection")


class Reports(NamedTuple):
    """What the connector calls: the rest of the session."""

    emit: Callable[[Event], None]
    """Takes events for the application."""
    established: Callable[[str, float], None]
    """Takes the socket id of a new connection, and the time."""
    lost: Callable[[float], None]
    """Takes the time when a connection or attempt is over."""
    received: Callable[[Iterator[Run | LinkItem], float], None]
    """Takes what a link received, item by item."""


class Connector:
    """Opens links, one at a time, and decides what follows the end of one."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        transports: Transports,
        rng: Rng,
        reports: Reports,
    ) -> None:
        self._options = options
        self._timers = timers
        self._transports = transports
        self._rng = rng
        self._emit = self.emit = reports.emit
        self._tell_established = reports.established
        self._tell_lost = reports.lost
        self.link_received = reports.received
        self._state = S.IDLE
        self._attempt = 0
        self._tries = 0
        """Attempts since the last stable connection; one more than `_attempt` while the first is under way."""
        self._lost_at: float | None = None
        self.ledger = Ledger(in_order=options.answers_in_order)
        """What was asked on the connection and not answered yet."""
        self.link: Link | None = None
        self.socket_id: str | None = None
        self.failure: ConnectionFailed | None = None
        self.last_loss = ""
        self.attempts = 0
        self.connections = 0
        _log.info("pusher-proto %s, %r", __version__, options)

    @property
    def public_state(self) -> ConnectionState:
        """The state as the application sees it. Trying is called UNAVAILABLE once its timer has fired."""
        if self._state in _TRYING:
            fresh = self._timers.is_set(Timer.UNAVAILABLE)
            return ConnectionState.CONNECTING if fresh else ConnectionState.UNAVAILABLE
        return _PUBLIC[self._state]

    @property
    def ending(self) -> bool:
        """Whether close() was called: no command counts any more."""
        return self._state in (S.CLOSING, S.CLOSED)

    @property
    def closed(self) -> bool:
        """Whether the end is reached."""
        return self._state is S.CLOSED

    # Commands

    def connect(self, now: float) -> None:
        """Begin an attempt now, unless one is under way or has succeeded."""
        if (self._state, G.CONNECT) in SESSION:
            self._attempt = self._tries = 0
            self.failure = None
            self._open(G.CONNECT, now)

    def disconnect(self, now: float) -> None:
        """End the connection, or the attempts."""
        if (self._state, G.DISCONNECT) in SESSION:
            self._leave(now)
            self._move(G.DISCONNECT, "disconnect() was called")

    def close(self, now: float) -> None:
        """End for good, unless `ending`; `finish_closing` says when it is done."""
        self._leave(now)
        self._move(G.CLOSE, "close() was called")

    def finish_closing(self) -> None:
        """Say `Closed` once no transport is left."""
        if self._state is S.CLOSING and not len(self._transports):
            self._move(G.GONE)
            self._timers.clear()
            self._emit(Closed())

    def request(self, frame: bytes, kind: Asked, channel: str | None, now: float) -> None:
        """Send a message that the server may answer or refuse, and note it in the ledger."""
        assert self.link is not None  # it belongs to a connection
        self.ledger.asked(kind, channel, now)
        self.link.send(frame)

    def ping(self, now: float) -> None:
        """Send a ping, if there is a connection."""
        if self.link is not None:
            self.link.ping(now)

    # What the link said

    def link_pinged(self, now: float) -> None:
        """Note that the link sent a ping."""
        self.ledger.asked(Asked.PING, now=now)

    def link_opened(self, link: Link) -> None:
        """Note that the transport of the link is open."""
        if link is self.link:
            self._move(G.OPENED)

    def upgraded(self) -> None:
        """The WebSocket is open."""
        self._move(G.UPGRADED)

    def greeted(self, socket_id: str, now: float) -> None:
        """The connection is established."""
        self.socket_id = socket_id
        self.connections += 1
        self._timers.stop(Timer.OPEN)
        self._move(G.GREETED)
        self._timers.set(Timer.STABLE, now + self._options.stable_after)
        offline_for = None if self._lost_at is None else now - self._lost_at
        _log.info("connected, socket id %s", excerpt(socket_id, 64))
        self._emit(ConnectionEstablished(socket_id, offline_for))
        self._tell_established(socket_id, now)

    def ended(self, ended: Ended, now: float) -> None:
        """The server ended the connection, or broke the protocol so that it must end."""
        link = self.link
        assert link is not None  # it said so
        self._end(ended, now)
        link.dropped(now, abort=ended.at_fault)

    def link_closed(
        self, link: Link, error: BaseException | str | None, reason: str, now: float
    ) -> None:
        """Decide what follows the end of the link's transport; nothing, when the link was told to end."""
        if link is not self.link:
            return
        if isinstance(error, ConnectionUnsafe):
            self._end(Ended(None, reason, Next.REFUSE), now)
        elif isinstance(error, ProxyFailed):
            follows = Next.REFUSE if error.refused else Next.BACK_OFF
            self._end(Ended(error.status, reason, follows), now)
        else:
            self._end(link.transport_gone(explained(reason), now), now)

    # Deadlines

    def open_due(self, now: float) -> None:
        """connect_timeout is over."""
        limit, phase = self._options.connect_timeout, _PHASES[self._state]
        self._abort(
            f"no connection within {limit:g} s: {phase} did not end", None, Next.BACK_OFF, now
        )

    def activity_due(self, now: float) -> None:
        """The server was silent for long, perhaps."""
        assert self.link is not None  # the deadline ends with the link
        self.link.activity_due(now)

    def pong_due(self, now: float) -> None:
        """pong_timeout is over."""
        self._abort("the server did not answer a ping", 1006, Next.AT_ONCE, now)

    def retry_due(self, now: float) -> None:
        """The delay is over."""
        self._open(G.RETRY, now)

    def stable_due(self) -> None:
        """Connected for long enough: the next loss is a first one again."""
        self._attempt = self._tries = 0

    def unavailable_due(self) -> None:
        """Trying for so long has another name."""
        self._tell(ConnectionState.CONNECTING, "not connected for long")

    # Within

    def _open(self, by: SessionInput, now: float) -> None:
        self._timers.stop(Timer.RETRY)
        self.attempts += 1
        self._tries += 1
        self._begin_trying(now)
        self._move(by, "connecting")
        try:
            address = self._options.address()
            # All is drawn from the session's own rng, so that the same inputs give the same bytes.
            draw = self._rng.randbytes
            self.link = Link(self._options, address, self._transports, self._timers, self, draw)
        except Exception as error:  # Options.resolve_url is the application's
            why = describe(error)
            ended = Ended(None, f"no URL to connect to: {why}", Next.WAIT)
            self._end(ended, now, pause=1.0)  # whatever the options: it fails within this call
            return
        self._timers.set(Timer.OPEN, now + self._options.connect_timeout)

    def _begin_trying(self, now: float) -> None:
        """Start the timer of UNAVAILABLE, unless it runs or has fired for this spell already."""
        if self._state not in _TRYING:
            self._timers.set(Timer.UNAVAILABLE, now + self._options.unavailable_after)

    def _end(self, ended: Ended, now: float, *, pause: float = 0.0) -> None:
        """The connection, or the attempt, is over: decide what follows."""
        unstable = self._timers.is_set(Timer.STABLE)
        before = self.public_state
        self._forget_link(now)
        reason = self.last_loss = excerpt(ended.reason, 256)
        self._attempt += 1
        limit = self._options.max_attempts
        given_up = not self._options.reconnect or (limit is not None and self._tries >= limit)
        if ended.next is Next.REFUSE or given_up:
            self.failure = ConnectionFailed(ended.code, reason, hint_for(ended.code))
            _log.error("%s", self.failure)
            self._move(G.REFUSED, reason, before)
            self._emit(ConnectionLost(ended.code, reason, will_retry=False))
            return
        delay = max(pause, self._delay(ended, unstable))
        why = ", ".join(filter(None, (f"code {ended.code}" if ended.code else "", reason)))
        _log.warning("no connection (%s); next attempt in %.2f s", why, delay)
        self._begin_trying(now)
        self._move(G.LOST, reason, before)
        self._timers.set(Timer.RETRY, now + delay)
        self._emit(ConnectionLost(ended.code, reason, will_retry=True))
        self._emit(RetryScheduled(self._attempt, delay))

    def _delay(self, ended: Ended, unstable: bool) -> float:
        if ended.next is Next.AT_ONCE and self._attempt == 1:
            return 0.0
        patient = ended.next is not Next.BACK_OFF or (unstable and self._attempt > 1)
        options = self._options
        delay = delay_before(
            self._attempt,
            self._rng,
            base=options.retry_base,
            cap=options.retry_cap,
            at_least=1.0 if patient else 0.0,
        )
        return max(delay, min(ended.retry_after or 0.0, options.retry_cap))

    def _leave(self, now: float) -> None:
        """The application wants no connection: end the one there is, and plan no other."""
        link = self.link
        self._forget_link(now)
        self.failure = None
        self._timers.stop(Timer.RETRY)
        if link is not None:
            link.close(now)

    def _abort(self, reason: str, code: int | None, next_: Next, now: float) -> None:
        link = self.link
        assert link is not None  # its deadline has come
        self._end(Ended(code, reason, next_), now)
        link.close(now, abort=True)

    def _forget_link(self, now: float) -> None:
        if self._state is S.CONNECTED:
            self._lost_at = now
        if self.link is not None:
            self.link.stop()
        self.link = self.socket_id = None
        self._timers.stop(Timer.OPEN)
        self._timers.stop(Timer.STABLE)
        self._tell_lost(now)

    def _move(
        self, given: SessionInput, reason: str = "", before: ConnectionState | None = None
    ) -> None:
        before = before if before is not None else self.public_state
        self._state = advance(SESSION, self._state, given)
        if self._state not in _TRYING:
            self._timers.stop(Timer.UNAVAILABLE)
        self._tell(before, reason)

    def _tell(self, before: ConnectionState, reason: str) -> None:
        if self.public_state is not before:
            _log.info(
                "%s, was %s%s", self.public_state.value, before.value, reason and f": {reason}"
            )
            self._emit(StateChanged(before, self.public_state, reason))
