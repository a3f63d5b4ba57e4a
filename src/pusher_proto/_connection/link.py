"""One connection to the server, from the request for its transport to its end.

Turns bytes, or whole messages, into items: messages for the rest of the session, and the few things that concern the
connection itself (the upgrade, the greeting, errors, the end). Answers pings. What follows an end is decided elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from .._base.logs import logger
from .._base.timers import Timers
from .._base.urls import Address
from .._protocol.channel_messages import PLAIN, event_of, read_plain
from .._protocol.control import (
    Ended,
    ErrorReceived,
    Greeted,
    LinkItem,
    Malformed,
    Ponged,
    TextReceived,
    Upgraded,
    read_error,
    read_greeting,
    read_refused_upgrade,
    shown,
    shown_frame,
)
from .._protocol.failures import Cause, cause_of_status
from .._protocol.hints import NO_GREETING, UNGREETED
from .._transports.transports import Transports
from .._wire.envelope import BadMessage, Envelope, decode, encode, text_of
from .._wire.fast_lane import NO_READER, Run
from .._wire.messages import Messages
from .._wire.websocket import (
    BinaryReceived,
    PeerClosed,
    UpgradeAccepted,
    UpgradeRefused,
    UpgradeRequest,
    Violation,
    WebSocket,
    WebSocketLimits,
)
from ..errors import ConnectionEnded, excerpt
from ..options import Options
from .liveness import Liveness

__all__ = [
    "Ended",
    "ErrorReceived",
    "Greeted",
    "Link",
    "LinkItem",
    "Malformed",
    "Upgraded",
    "read_error",
]

_ESTABLISHED = "pusher:connection_established"
_PONG = encode("pusher:pong", {})
_PING = encode("pusher:ping", {})

_log = logger("connection")
_frames = logger("protocol")

_STANDS_FOR_A_CODE = range(4100, 4300)
"""Errors that stand for the close code of an end without one, when nothing follows them (Reverb, Soketi)."""


class LinkOwner(Protocol):
    """The machine that a link reports to, also after `close`."""

    wants_texts: bool
    """Whether every message is to be reported as it was received, too."""

    def link_opened(self) -> None:
        """Note that the transport is open."""

    def upgraded(self) -> None:
        """Note that a connection that carries messages is open: it has no upgrade."""

    def link_pinged(self, now: float) -> None:
        """Note that a ping was sent."""

    def link_received(self, items: Iterator[Run | LinkItem], now: float) -> None:
        """Handle each item before asking for the next."""

    def link_closed(
        self, link: Link, error: BaseException | str | None, reason: str, now: float
    ) -> None:
        """Handle the end of the transport."""


class Link:
    """One attempt, and the connection that it becomes."""

    __slots__ = (
        "_began", "_closing", "_error", "_goodbye", "_liveness", "_options", "_owner", "_second",
        "_timers", "_transports", "_websocket", "transport",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        address: Address,
        transports: Transports,
        timers: Timers,
        owner: LinkOwner,
        randbytes: Callable[[int], bytes] | None,
    ) -> None:
        """`randbytes` draws what a WebSocket needs; without it the connection carries whole messages."""
        self._options = options
        self._owner = owner
        self._transports = transports
        self._timers = timers
        self._websocket: WebSocket | Messages
        self.transport: int
        if randbytes is None:
            self._websocket = Messages(max_message_size=options.max_message_size)
            self.transport = transports.open_messages(address, self)
        else:
            self._websocket = _websocket(options, address, randbytes)
            self.transport = transports.open(address, self)
        self._liveness: Liveness | None = None
        self._error: ErrorReceived | None = None
        """The error that was received last, with no message after it."""
        self._closing = False
        self._second = 0.0
        """When the limit on pings last started to count from zero."""
        self._began: tuple[int | None, float] = (None, 0.0)
        """The incomplete message, and when its first bytes were seen."""
        self._goodbye = 1000, ""
        """Code and reason of our close frame, where a violation or a refusal decided it."""

    @property
    def round_trip(self) -> float | None:
        """Seconds from the last answered ping to its pong."""
        return self._liveness.round_trip if self._liveness else None

    @property
    def inflated(self) -> int:
        """How many bytes compressed messages had after inflating."""
        return self._websocket.inflated

    def transport_opened(self, transport: int) -> None:
        """Send the request for the upgrade, if there is one."""
        self._owner.link_opened()
        request = self._websocket.open()
        if request:
            self._transports.send(transport, request)
        else:
            self._owner.upgraded()

    def receive_data(self, transport: int, data: bytes, now: float) -> None:  # noqa: ARG002 - the signature of Owner
        """Hand the meaning of received bytes to the owner."""
        self._owner.link_received(self._items(data, now), now)

    def receive_message(self, message: str | bytes, now: float) -> None:
        """Hand the meaning of a received message to the owner."""
        self._owner.link_received(self._items(message, now), now)

    def transport_closed(
        self,
        transport: int,  # noqa: ARG002 - the signature of Owner
        error: BaseException | str | None,
        reason: str,
        now: float,
    ) -> None:
        """Report the end of the stream."""
        self._owner.link_closed(self, error, reason, now)

    def _items(self, data: Any, now: float) -> Iterator[Run | LinkItem]:
        """Take bytes, or a whole message, and yield their meaning, in order. Nothing follows `Ended`.

        Consecutive messages that name a channel are yielded together, as one `Run`: a step for each would dominate
        their cost. Handle each item before asking for the next, so that joining reads changes nothing.
        """
        if self._closing:
            self._await_end(data, now)
            return
        run: Run | None = None
        for item in self._received(data, now):
            fresh = item if type(item) is Run else self._read(item)
            if fresh is not None:
                run = fresh if run is None else run.followed_by(fresh)
                continue
            if run is not None:
                self._error = None
                yield run
                run = None
            meant = self._text(item, now) if type(item) is bytes else self._other(item)
            if meant is not None:
                if type(meant) is Ended:
                    self._flush()
                    yield meant
                    return
                yield meant
        if run is not None:
            self._error = None
            yield run
        if self._websocket.output:
            self._flush()
        incomplete = self._websocket.incomplete
        if incomplete is not None and self._takes_too_long(incomplete, now):
            self._say_goodbye(1008)
            yield Ended(1008, "the server takes too long to end a message", Cause.VIOLATION)

    def _received(self, data: Any, now: float) -> Iterable[object]:
        """Return the items of the WebSocket; plain messages as events, unless each text is wanted."""
        if self._liveness is not None:
            self._liveness.heard(now, len(data))
        if now - self._second >= 1.0:
            self._second = now
            self._websocket.another_second()
        logs = _frames.isEnabledFor(logging.DEBUG)
        whole = logs or self._owner.wants_texts
        reader = NO_READER if whole or self._liveness is None else PLAIN
        items = self._websocket.receive_data(data, reader)
        return self._watched(items, logs) if whole else items

    def _watched(self, items: Iterable[object], logs: bool) -> list[object]:
        """Log messages, and put a `TextReceived` before each if it is selected."""
        found: list[object] = []
        for item in items:
            if type(item) is bytes:
                if logs:
                    _frames.debug("<- %s", shown_frame(item))
                if self._owner.wants_texts:
                    found.append(TextReceived(item))
            found.append(item)
        return found

    def gone(self, reason: str) -> Ended:
        """Return the meaning of a stream that ended or broke, or could not be opened."""
        was_open, answer_began = self._websocket.is_open, self._websocket.answer_began
        if self._liveness is not None:  # the WebSocket forgets what is incomplete
            self._liveness.heard_at = self.heard_at(self._liveness.heard_at)
        self._websocket.receive_eof()
        if not was_open:
            where = "within the answer to the upgrade" if answer_began else "before it was open"
            return Ended(None, reason or f"the connection ended {where}", Cause.NO_NETWORK)
        return self._bare_end(1006, reason or "the connection ended without a close frame")

    def closed_by_server(self, error: ConnectionEnded, now: float) -> Ended:
        """Return the meaning of the end of a connection that carries messages, by a close code or an HTTP status."""
        code, reason = error.code, error.reason
        was_open = self._websocket.is_open
        if code is None or code == 1006 or not (was_open or 100 <= code < 600):
            return self.gone(shown(reason))
        self._websocket.receive_eof()
        if was_open:
            if self._liveness is not None:
                self._liveness.heard(now)  # a close frame is a sign of life
            return self._closed(code, reason)
        reason = shown(reason) or f"HTTP {code} in place of a connection"
        return Ended(code, reason, cause_of_status(code), error.retry_after)

    def heard_at(self, now: float) -> float:
        """Return when the last byte of an established connection was received; else `now`.

        An incomplete message counts from its first bytes: it and everything behind it are missing.
        """
        if self._liveness is None:
            return now
        heard_at, incomplete = self._liveness.heard_at, self._websocket.incomplete
        return heard_at if incomplete is None else min(heard_at, self._began[1])

    def send(self, text: bytes) -> None:
        """Send one message; do nothing once either side has begun to close."""
        if self._websocket.is_open:
            if _frames.isEnabledFor(logging.DEBUG):
                _frames.debug("-> %s", shown_frame(text))
            self._transports.send(self.transport, self._websocket.send_text(text))

    def ping(self, now: float, *, demanded: bool = True) -> None:
        """Send a ping and expect a pong. `demanded` is False for a ping that a message caused."""
        if self._liveness is not None:
            self.send(_PING)
            self._owner.link_pinged(now)
            self._liveness.asked(now, demanded=demanded)

    def ping_refused(self, now: float) -> None:
        """Note that an error was the answer to a ping."""
        assert self._liveness is not None  # before the greeting no ping is sent
        self._liveness.pong(now)

    def activity_due(self, now: float) -> None:
        """Ping the server if it has been silent for the activity timeout."""
        if self._liveness is not None and self._liveness.activity_due(now):
            self.ping(now)

    def one_way_due(self, now: float) -> bool:
        """Return whether the way to the server is lost: a pong is missing, and nothing can have held it up."""
        return self._liveness is not None and self._liveness.one_way_due(now)

    def reading(self, reads: bool, now: float) -> None:
        """Suspend the deadlines while the session wants no data, or resume them."""
        assert self._liveness is not None  # before the greeting everything is read
        self._liveness.reading(reads, now)
        self._began = (None, now)

    def missing_at(self, limit: float, now: float) -> float:
        """Return when an answer that was due by now counts as missing: later, if it may not have been read yet."""
        assert self._liveness is not None  # before the greeting nothing is requested
        return self._liveness.missing_at(limit, now)

    def stop(self) -> None:
        """Stop watching whether the server is alive."""
        if self._liveness is not None:
            self._liveness.stop()

    def close(self, now: float, *, abort: bool = False) -> None:
        """End the connection; in order, by close frames of both sides, once the WebSocket is open."""
        if abort or not self._websocket.is_open or isinstance(self._websocket, Messages):
            self._transports.close(self.transport, now, abort=abort)
            return
        self._closing = True
        self._transports.send(self.transport, self._websocket.send_close(1000))
        self._transports.linger(self.transport, now)

    def dropped(self, now: float, *, abort: bool) -> None:
        """End the stream of a connection that the server has ended."""
        code, reason = self._goodbye
        self._transports.close(self.transport, now, abort=abort, code=code, reason=reason)

    def forget_error(self) -> None:
        """Forget the last error: it was about a channel, and cannot stand for a close code."""
        self._error = None

    def _takes_too_long(self, incomplete: int, now: float) -> bool:
        """Return whether the incomplete message is too old. Bytes keep a connection alive, but must make messages."""
        if incomplete != self._began[0]:
            self._began = (incomplete, now)
        return self._liveness is not None and now - self._began[1] > self._liveness.message_limit

    def _bare_end(self, code: int, reason: str) -> Ended:
        """Return the meaning of an end without a code of Pusher's.

        Never final once the connection is established, whatever was said before: errors close nothing on most servers.
        """
        if self._liveness is None:
            why = "the server took the upgrade and ended the connection before greeting"
            why += f" ({reason})" if reason else ""
            return Ended(code, f"{why}: {UNGREETED}", Cause.UNGREETED)
        error = self._error
        if error is None or error.code not in _STANDS_FOR_A_CODE:
            return Ended(code, reason, Cause.ENDED)
        return Ended(error.code, error.message or reason)

    def _await_end(self, data: bytes, now: float) -> None:
        """Wait for the server's close frame after our own, and ignore everything else."""
        if any(isinstance(i, PeerClosed | Violation) for i in self._websocket.receive_data(data)):
            self._transports.close(self.transport, now)

    def _say_goodbye(self, code: int) -> None:
        """Send our close frame, after the pongs that are due; nothing waits for the server's."""
        self._flush()
        self._goodbye = code, ""
        self._transports.send(self.transport, self._websocket.send_close(code))

    def _flush(self) -> None:
        """Send the pongs and close frames that are due."""
        data = self._websocket.data_to_send()
        if data and not (self._clogged and self._websocket.is_open):
            self._transports.send(self.transport, data)

    @property
    def _clogged(self) -> bool:
        """Whether so much is unsent that pongs are left out: a server that reads nothing misses none."""
        return self._transports.unsent(self.transport) > self._options.outbox_limit

    def _read(self, item: object) -> Run | None:
        """Return a plain message that the fast lane did not take."""
        if type(item) is bytes and self._liveness is not None:
            event = read_plain(item)
            if event is not None:
                return Run([event], alike=True)
        return None

    def _text(self, text: bytes, now: float) -> Run | LinkItem | None:
        """Handle a message that is not plain, or that came before the greeting."""
        try:
            envelope = decode(text)
        except BadMessage as error:
            start = text[:256].decode(errors="replace")
            return Malformed(f"not a message: {error}", shown(start))
        # Errors and pings of the connection have no channel.
        if envelope.channel is None or self._liveness is None:
            return self._control(envelope, now)
        self._error = None
        return Run([event_of(envelope.channel, envelope)], alike=True)

    def _other(self, item: object) -> LinkItem | None:
        match item:
            case UpgradeAccepted():
                return Upgraded()
            case UpgradeRefused():
                return read_refused_upgrade(item)
            case PeerClosed():
                return self._closed(item.code, item.reason)
            case Violation():
                fault = item.code is None
                self._goodbye = item.code or 1000, item.reason
                return Ended(item.code, item.reason, Cause.VIOLATION, at_fault=fault)
            case TextReceived():
                return item
            case BinaryReceived():
                what = f"a binary message of {item.size} bytes; the protocol has none"
                return Malformed(what, "")
            case _:  # a WebSocket pong, which was noted as a sign of life
                return None

    def _closed(self, code: int, reason: str) -> Ended:
        """Return the meaning of a close frame."""
        reason = shown(reason)
        if code < 4000:
            return self._bare_end(code, reason)
        # Soketi says why in the error, and closes with the code alone.
        return Ended(code, reason or (self._error.message if self._error else ""))

    def _control(self, envelope: Envelope, now: float) -> LinkItem | None:
        """Handle a message that has no channel, or that came before the greeting."""
        event, liveness = envelope.event, self._liveness
        if event == "pusher:ping":
            if not self._clogged:
                self.send(_PONG)
            return None
        if event == "pusher:error":
            error = read_error(envelope.data, envelope.channel)
            self._error = error
            if liveness is not None:
                return error
            # The verdict on this attempt; Reverb sends it and leaves the socket open.
            self._say_goodbye(1000)
            return Ended(error.code, error.message)
        self._error = None
        if liveness is None:
            return self._greeting(envelope, now)
        if event == "pusher:pong":
            liveness.pong(now)
            return Ponged()
        if event == _ESTABLISHED:
            return Malformed("a second greeting", shown(text_of(envelope.data)))
        return envelope

    def _greeting(self, envelope: Envelope, now: float) -> Greeted | Ended:
        read = read_greeting(envelope) if envelope.event == _ESTABLISHED else None
        if read is None:
            what = envelope.event
            if what == _ESTABLISHED:
                what = "a greeting without a socket id"
            self._say_goodbye(1002)
            reason = f"expected a greeting, got {excerpt(what, 64)}"
            return Ended(1002, reason, Cause.NO_GREETING, hint=NO_GREETING)
        socket_id, said = read
        activity, pong = self._activity(said), self._options.pong_timeout
        interval = self._options.ping_interval
        self._liveness = Liveness(
            self._timers, activity=activity, pong=pong, now=now, interval=interval
        )
        return Greeted(socket_id)

    def _activity(self, said: Any) -> float:
        """Return the smaller one of the server's activity_timeout and ours; ours, if the server's is invalid."""
        ours = self._options.activity_timeout
        if self._options.activity_override is not None:
            return self._options.activity_override
        if isinstance(said, bool) or not isinstance(said, int | float) or not said > 0:
            _log.warning(
                "the server's activity_timeout is invalid; it is pinged after %g s of silence",
                ours,
            )
            return ours
        return min(ours, max(1.0, float(min(said, ours))))


def _websocket(options: Options, address: Address, randbytes: Callable[[int], bytes]) -> WebSocket:
    return WebSocket(
        UpgradeRequest(
            address.authority,
            address.target,
            options.upgrade_headers(),
            options.subprotocols,
            options.compression,
        ),
        WebSocketLimits(
            options.max_message_size,
            options.max_fragments,
            options.control_frame_rate,
            options.max_head,
            body=0,  # a refusal is known by its status, and its body may never come
        ),
        randbytes=randbytes,
    )
