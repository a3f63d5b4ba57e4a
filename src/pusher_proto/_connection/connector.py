"""Connects a session and reconnects it: owns the state, the attempts, and the events about both.

There is one connection at a time: a `Link`, which no other module uses. The table in `_protocol/failures` decides which
step follows a failure, and `Attempts` decides when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .._base.backoff import Rng
from .._base.logs import logger
from .._base.timers import Timer, Timers
from .._protocol.control import Ended, LinkItem
from .._protocol.failures import Cause, cause_of_close
from .._protocol.hints import NOT_YET_VALID, hint_for, tls_hint
from .._transports.transports import Transports
from .._version import __version__
from .._wire.fast_lane import Run
from .._wire.proxy import ProxyFailed
from ..errors import ConnectionEnded, ConnectionFailed, ConnectionUnsafe, describe, excerpt
from ..events import (
    Closed,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    Event,
    Message,
    RetryScheduled,
    StateChanged,
)
from ..options import Options
from ..states import SESSION, SessionInput, SessionState, Watcher, advance, unwatched
from .attempts import Attempts
from .ledger import Ledger, RequestKind
from .link import Link
from .reports import Reports
from .wording import PHASES, error_text

__all__ = ["Connector"]

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
_log = logger("connection")


class Connector:
    """Opens one link at a time, and decides what follows its end."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        transports: Transports,
        rng: Rng,
        reports: Reports,
        *,
        messages: bool = False,
    ) -> None:
        """`messages`: connections carry whole messages instead of bytes."""
        self._options = options
        self._timers = timers
        self._transports = transports
        self._randbytes = None if messages else rng.randbytes
        """Draws keys and masks; None for connections that carry whole messages."""
        self._reports = reports
        self.emit: Callable[[Event], None] = reports.emit
        self.link_received: Callable[[Iterator[Run | LinkItem], float], None]
        """Processes the items of a link at a time. The session sets it: the dispatch needs the connector."""
        self._state = S.IDLE
        self._attempts = Attempts(options, rng)
        self._link: Link | None = None
        self._ended_transport: int | None = None
        """The transport of the connection that the application closed last."""
        self._where = ""
        """Host and port of the current or last attempt."""
        self._established_at = 0.0
        self._lost_at: float | None = None
        """When the last byte of the last established connection was received."""
        self.wants_texts: type[Message] | None = None
        """The class of the messages whose text the link also reports."""
        self.reading_paused: bool = False
        """Whether reading of the current connection is paused."""
        self._paused_at = 0.0
        self.pauses: int = 0
        """How often reading was paused."""
        self.compressed: bool = options.compression
        """Whether the current or last connection may receive compressed messages."""
        self._inflated = 0
        """The value of `Link.inflated` at the last `take_inflated`."""
        self.ledger: Ledger = Ledger(in_order=options.answers_in_order)
        """The unanswered requests of the connection."""
        self.socket_id: str | None = None
        """The socket id of the current connection; None until it is established."""
        self.failure: ConnectionFailed | None = None
        """Why the state is FAILED, or None."""
        self.last_loss: str = ""
        """The reason of the last end."""
        self.last_error: BaseException | None = None
        """Why there is no connection; None before the first failure and while connected."""
        self.last_end: Ended | None = None
        """How the last connection or attempt ended; None when the application closed it."""
        self.connections: int = 0
        """How many connections were established."""
        self._watcher: Watcher = unwatched
        self._good_from = 0
        """The value of `connections` when the current options were set."""
        _log.info("pusher-proto %s, %r", __version__, options)

    @property
    def public_state(self) -> ConnectionState:
        """The state for the application: CONNECTING becomes UNAVAILABLE when that timer fires."""
        if self._state in _TRYING:
            fresh = self._timers.is_set(Timer.UNAVAILABLE)
            return ConnectionState.CONNECTING if fresh else ConnectionState.UNAVAILABLE
        return _PUBLIC[self._state]

    @property
    def ending(self) -> bool:
        """Whether close() was called: commands no longer have an effect."""
        return self._state in (S.CLOSING, S.CLOSED)

    @property
    def closed(self) -> bool:
        """Whether close() was called and all transports have ended."""
        return self._state is S.CLOSED

    @property
    def attempts(self) -> int:
        """How many attempts to connect were started."""
        return self._attempts.total

    @property
    def disconnected(self) -> bool:
        """Whether the application closed the connection, and its transport has ended."""
        gone = self._ended_transport is None or self._ended_transport not in self._transports
        return self.closed or (self._state is S.DISCONNECTED and gone)

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` at every change of the state."""
        self._watcher = watcher

    # Commands.

    def connect(self, now: float) -> None:
        """Start an attempt now or when the limit on their rate allows; do nothing while connecting or connected."""
        if (self._state, G.CONNECT) not in SESSION:
            return
        at = self._attempts.earliest(now)
        if self._state is not S.WAITING:
            self._attempts.renew(now)
        self._attempts.hurry()
        self.failure = None
        if at <= now:
            self._open(G.CONNECT, now)
            return
        planned = self._timers.at(Timer.RETRY)
        self._timers.set(Timer.RETRY, at if planned is None else min(at, planned))
        self._begin_trying(now)
        self._move(G.CONNECT_LATER, "connecting")

    def use(self, options: Options) -> None:
        """Use other options from the next attempt on. Until it succeeds, the client counts as never connected."""
        self._options = options
        self._attempts.use(options)
        self._good_from = self.connections

    def disconnect(self, now: float) -> None:
        """Close the connection, or cancel the attempts."""
        if (self._state, G.DISCONNECT) in SESSION:
            self._stop(now)
            self._move(G.DISCONNECT, "disconnect() was called")

    def close(self, now: float) -> None:
        """Close permanently. Do not call it when `ending`; call `finish_closing` after each end of a transport."""
        self._stop(now)
        self._move(G.CLOSE, "close() was called")

    def finish_closing(self) -> None:
        """Emit `Closed` once no transport is left."""
        if self._state is S.CLOSING and not len(self._transports):
            self._move(G.GONE)
            self._timers.clear()
            self.emit(Closed())

    # The current connection.

    def request(self, frame: bytes, kind: RequestKind, channel: str | None, now: float) -> None:
        """Send a message that the server may answer or refuse, and record it in the ledger."""
        assert self._link is not None  # a message belongs to a connection
        self.ledger.sent(kind, channel, now)
        self._link.send(frame)

    @property
    def unsent(self) -> int:
        """How many bytes of the current connection the driver has not written yet."""
        return 0 if self._link is None else self._transports.unsent(self._link.transport)

    def ping(self, now: float, *, demanded: bool = False) -> None:
        """Send a ping, if there is a connection. `demanded` is false for a ping that a received message caused."""
        if self._link is not None:
            self._link.ping(now, demanded=demanded)

    def pause_reading(self, now: float) -> None:
        """Pause reading, unless the connection is not established yet."""
        if not self.reading_paused and self._link is not None and self.socket_id is not None:
            self.reading_paused = True
            self._paused_at = now
            self.pauses += 1
            self._link.reading(False, now)

    def resume_reading(self, now: float) -> float:
        """Resume reading; return for how many seconds it was paused."""
        if not self.reading_paused:
            return 0.0
        assert self._link is not None  # reading is paused on a connection only
        self.reading_paused = False
        self._link.reading(True, now)
        return now - self._paused_at

    def take_inflated(self) -> int:
        """Return the size of compressed messages after inflating, in bytes, since the last call."""
        now = 0 if self._link is None else self._link.inflated
        new, self._inflated = now - self._inflated, now
        return max(new, 0)

    def wants_data(self, transport: int) -> bool:
        """Return whether the driver should read from this stream now."""
        link = self._link
        return link is None or not self.reading_paused or link.transport != transport

    def postponed(self, timer: Timer, of: str | None, limit: float, now: float) -> bool:
        """Set `timer` again if the answer due now, after `limit` seconds, may be unread; return whether it was set."""
        assert self._link is not None  # requests are dropped with their connection
        missing_at = self._link.missing_at(limit, now)
        if missing_at > now:
            self._timers.set(timer, missing_at, of)
        return missing_at > now

    def forget_error(self) -> None:
        """Forget the last error: it was about a channel, so it does not explain the end of the connection."""
        assert self._link is not None  # it reported the error
        self._link.forget_error()

    @property
    def round_trip(self) -> float | None:
        """Seconds from the last answered ping of the current connection to its pong."""
        return None if self._link is None else self._link.round_trip

    # Reports of the link.

    def ping_refused(self, now: float) -> None:
        """Count an error that answered a ping as its pong."""
        assert self._link is not None  # it sent the ping
        self._link.ping_refused(now)

    def link_pinged(self, now: float) -> None:
        """Record in the ledger that the link sent a ping."""
        self.ledger.sent(RequestKind.PING, now=now)

    def link_opened(self) -> None:
        """Advance the state: the transport is open."""
        self._move(G.OPENED)

    def upgraded(self) -> None:
        """Advance the state: the WebSocket is open."""
        self._move(G.UPGRADED)

    def greeted(self, socket_id: str, now: float) -> None:
        """Handle the greeting: the connection is established."""
        self.socket_id = socket_id
        self.connections += 1
        self.last_error = None
        self._established_at = now
        self._timers.stop(Timer.OPEN)
        self._move(G.GREETED)
        self._timers.set(Timer.STABLE, now + self._options.stable_after)
        offline_for = None if self._lost_at is None else now - self._lost_at
        _log.info("connected, socket id %s", excerpt(socket_id, 64))
        self.emit(ConnectionEstablished(socket_id, offline_for))
        self._reports.established(now)

    def ended(self, ended: Ended, now: float) -> None:
        """Handle a close by the server, or a violation of the protocol that ends the connection."""
        link = self._link
        assert link is not None  # it reported the end
        self._end(ended, now)
        link.dropped(now, abort=ended.abort)

    def link_closed(
        self, link: Link, error: BaseException | str | None, reason: str, now: float
    ) -> None:
        """Handle the end of the link's transport. Does nothing when this connector closed the link."""
        if link is not self._link:
            return
        match error:
            case ConnectionUnsafe():
                early = error.verify_code == NOT_YET_VALID
                cause = Cause.CERTIFICATE_EARLY if early else Cause.CERTIFICATE
                hint = tls_hint(error.verify_code, error.authorities)
                ended = Ended(None, str(error), cause, hint=hint)
            case ProxyFailed():
                cause = Cause.PROXY_REFUSED if error.refused else Cause.NO_NETWORK
                ended = Ended(error.status, reason, cause, hint=error.hint)
            case ConnectionEnded():  # from a connection that carries whole messages
                ended = link.closed_by_server(error, now)
            case BaseException():
                opening = self._state is S.OPENING
                proxy = None if self._randbytes is None else self._options.parsed_proxy()
                ended = link.stream_ended(error_text(error, self._where, proxy, opening=opening))
            case _:
                ended = link.stream_ended(reason)
        self._end(ended, now, error if isinstance(error, BaseException) else None)

    # Deadlines.

    def open_due(self, now: float) -> None:
        """Fail the attempt: `connect_timeout` has passed."""
        limit, phase = self._options.connect_timeout, PHASES[self._state]
        reason = f"no connection within {limit:g} s: {phase} did not end"
        hint = f"check that a server listens at {self._where}, and that it speaks TLS if tls=True"
        self._abort(Ended(None, reason, Cause.NO_NETWORK, hint=hint), now)

    def activity_due(self, now: float) -> None:
        """Ping the server if it was silent for the activity timeout."""
        assert self._link is not None  # the deadline ends with the link
        self._link.activity_due(now)

    def pong_due(self, now: float) -> None:
        """End the connection: it was silent for `pong_timeout` after a ping."""
        self._abort(Ended(1006, "the server did not answer a ping", Cause.SILENCE), now)

    def one_way_due(self, now: float) -> None:
        """End the connection if the server sends data but does not answer pings."""
        assert self._link is not None  # the deadline ends with the link
        if self._link.one_way_due(now):
            limit = 2 * self._options.pong_timeout
            reason = f"the server sends data, but did not answer a ping within {limit:g} s: it no longer receives"
            self._abort(Ended(1006, reason, Cause.SILENCE), now)

    def retry_due(self, now: float) -> None:
        """Start the next attempt: the delay is over."""
        self._open(G.RETRY, now)

    def stable_due(self) -> None:
        """Count attempts from 0 again: the connection was established for `stable_after`."""
        self._attempts.stable()

    def unavailable_due(self) -> None:
        """Report UNAVAILABLE: there was no connection for `unavailable_after`."""
        limit = self._options.unavailable_after
        self._report_state(ConnectionState.CONNECTING, f"no connection for {limit:g} s")

    def _open(self, by: SessionInput, now: float) -> None:
        """Start an attempt: open a link to the address of the options."""
        self._timers.stop(Timer.RETRY)
        self._attempts.begin(now)
        self._begin_trying(now)
        self._move(by, "connecting")
        try:
            address = self._options.address()
        except Exception as error:  # Options.resolve_url is a function of the application
            reason = f"no URL to connect to: {describe(error)}"
            self._end(Ended(None, reason, Cause.NO_URL), now, error)
            return
        self._where = f"{address.host}:{address.port}"
        self.compressed = self._options.compression
        # The link draws from the session's own rng, so that the same inputs give the same bytes.
        draw = self._randbytes
        self._link = Link(self._options, address, self._transports, self._timers, self, draw)
        self._timers.set(Timer.OPEN, now + self._options.connect_timeout)
        self._watcher(self._state, self._link.transport)

    def _begin_trying(self, now: float) -> None:
        """Start the timer of UNAVAILABLE, unless the client is already trying to connect."""
        if self._state not in _TRYING:
            self._timers.set(Timer.UNAVAILABLE, now + self._options.unavailable_after)

    def _end(self, ended: Ended, now: float, error: BaseException | None = None) -> None:
        """Handle the end of the connection or attempt: plan the next attempt, or fail."""
        before = self.public_state
        cause, good = self._judge(ended, now)
        unstable = self._timers.is_set(Timer.STABLE)
        self.last_end = ended
        self._forget_link(now)
        reason = self.last_loss = excerpt(ended.reason, 256)
        hint = ended.hint or hint_for(ended.code, reason)
        if error is None or isinstance(error, ConnectionEnded):  # the driver's has no hint
            cause_of_error = None if error is None else error.__cause__
            error = ConnectionEnded(ended.code, reason, hint, ended.retry_after)
            error.__cause__ = cause_of_error
        self.last_error = error
        delay = self._attempts.failed(
            cause, now, good=good, unstable=unstable, retry_after=ended.retry_after
        )
        if delay is None:
            self.failure = ConnectionFailed(ended.code, reason, hint)
            self.failure.__cause__ = error
            self.last_error = self.failure
            _log.error("%s", self.failure)
            self._move(G.REFUSED, reason, before)
            self.emit(ConnectionLost(ended.code, reason, False, error=error, hint=hint))
            return
        why = ", ".join(filter(None, (f"code {ended.code}" if ended.code else "", reason)))
        _log.warning(
            "no connection (%s); next attempt in %.2f s", f"{why}; {hint}" if hint else why, delay
        )
        self._begin_trying(now)
        self._move(G.LOST, reason, before)
        self._timers.set(Timer.RETRY, now + delay)
        self.emit(ConnectionLost(ended.code, reason, True, delay, error=error, hint=hint))
        self.emit(RetryScheduled(self._attempts.failures, delay))

    def _judge(self, ended: Ended, now: float) -> tuple[Cause, bool]:
        """Return the cause of an end, and whether the client was connected before with the current options."""
        connected = self._state is S.CONNECTED
        cause = ended.cause or cause_of_close(
            ended.code,
            ended.reason,
            connected_for=now - self._established_at if connected else None,
            authorizing=self._reports.authorizing(),
        )
        # A 4009 within seconds of the greeting: this connection does not count as a success.
        counted = self.connections - (connected and cause is Cause.UNAUTHORIZED)
        return cause, counted > self._good_from

    def _stop(self, now: float) -> None:
        """Close the connection or cancel the attempt, and plan no other."""
        link, self.last_end = self._link, None
        self._forget_link(now)
        self.failure = self.last_error = None
        self._timers.stop(Timer.RETRY)
        self._ended_transport = None if link is None else link.transport
        if link is not None:
            link.close(now)

    def _abort(self, ended: Ended, now: float) -> None:
        """Handle the end of the connection, and abort its transport."""
        link = self._link
        assert link is not None  # the deadline ends with the link
        self._end(ended, now)
        link.close(now, abort=True)

    def received_at(self, now: float) -> float:
        """Return when the last byte was read: messages that the server sent since then may be unread or lost."""
        at = self._paused_at if self.reading_paused else now
        return at if self._link is None else min(at, self._link.received_at(now))

    def _forget_link(self, now: float) -> None:
        """Reset the state of the connection, and notify the rest of the session."""
        received_at = self.received_at(now)
        if self._link is not None:
            self._link.stop()
        if self._state is S.CONNECTED:
            self._lost_at = received_at
        self._link = self.socket_id = None
        self.reading_paused = False
        self._timers.stop(Timer.OPEN)
        self._timers.stop(Timer.STABLE)
        self._reports.lost(now, received_at)

    def _move(
        self, given: SessionInput, reason: str = "", before: ConnectionState | None = None
    ) -> None:
        """Advance the state, and emit its change. `before` is the public state that the change starts from."""
        before = before if before is not None else self.public_state
        self._state = advance(SESSION, self._state, given)
        if self._state not in _TRYING:
            self._timers.stop(Timer.UNAVAILABLE)
        self._watcher(self._state, None)
        self._report_state(before, reason)

    def _report_state(self, before: ConnectionState, reason: str) -> None:
        """Log and emit a change of the public state, if it changed."""
        if self.public_state is not before:
            state = self.public_state
            because = f": {reason}" if reason not in ("", state.value) else ""
            _log.info("%s, was %s%s", state.value, before.value, because)
            self.emit(StateChanged(before, state, reason))
