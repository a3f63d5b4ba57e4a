"""One connection to the server, from opening its transport to its end.

Converts bytes, or whole messages, into items: messages for the rest of the session, and items about the connection
itself (the upgrade, the greeting, errors, the end). Answers pings. The connector decides what follows an end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from .._base.checks import is_number
from .._base.logs import logger
from .._base.timers import Timers
from .._base.urls import Address
from .._protocol.channel_messages import READERS, event_of, read_plain
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
from .._protocol.hints import ENDED_IN_ANSWER, ENDED_UNOPENED, NO_GREETING, UNGREETED
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
from ..events import Message
from ..options import Options
from .liveness import Liveness

__all__ = ["Link"]

_ESTABLISHED = "pusher:connection_established"
_PONG = encode("pusher:pong", {})
_PING = encode("pusher:ping", {})

_log = logger("connection")
_frames = logger("protocol")

_STANDS_FOR_A_CODE = range(4100, 4300)
"""Codes of errors that replace a missing close code when they are the last message (Reverb, Soketi)."""


class LinkOwner(Protocol):
    """The machine that a link reports to, even after `close`."""

    wants_texts: type[Message] | None
    """The class of the messages whose text the link also reports; `ProtocolMessage`: of all but plain events."""

    def link_opened(self) -> None:
        """Handle that the transport is open."""

    def upgraded(self) -> None:
        """Handle that a connection that carries whole messages is open: it has no upgrade."""

    def link_pinged(self, now: float) -> None:
        """Handle that a ping was sent."""

    def link_received(self, items: Iterator[Run | LinkItem], now: float) -> None:
        """Process received items. Process each one before getting the next."""

    def link_closed(
        self, link: Link, error: BaseException | str | None, reason: str, now: float
    ) -> None:
        """Handle the end of the transport."""


class Link:
    """One attempt to connect, and the connection that it results in."""

    __slots__ = (
        "_began", "_close_frame", "_closing", "_error", "_liveness", "_options", "_owner", "_second",
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
        """`randbytes` draws the key and the masks of a WebSocket; None for a connection that carries whole messages."""
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
        """The last error, unless another message followed it."""
        self._closing = False
        self._second = 0.0
        """When the current second of the limit on pings and pongs started."""
        self._began: tuple[int | None, float] = (None, 0.0)
        """The number of the incomplete message, and when its first bytes were received."""
        self._close_frame = 1000, ""
        """Code and reason of our close frame."""

    @property
    def round_trip(self) -> float | None:
        """Seconds from the last answered ping to its pong."""
        return self._liveness.round_trip if self._liveness else None

    @property
    def inflated(self) -> int:
        """The total size of compressed messages after inflating, in bytes."""
        return self._websocket.inflated

    def transport_opened(self, transport: int) -> None:
        """Send the request for the upgrade; a connection that carries whole messages has none."""
        self._owner.link_opened()
        request = self._websocket.open()
        if request:
            self._transports.send(transport, request)
        else:
            self._owner.upgraded()

    def receive_data(self, transport: int, data: bytes, now: float) -> None:  # noqa: ARG002 - the signature of Owner
        """Pass the items in received bytes to the owner."""
        self._owner.link_received(self._items(data, now), now)

    def receive_message(self, message: str | bytes, now: float) -> None:
        """Pass the items of a received message to the owner."""
        self._owner.link_received(self._items(message, now), now)

    def transport_closed(
        self,
        transport: int,  # noqa: ARG002 - the signature of Owner
        error: BaseException | str | None,
        reason: str,
        now: float,
    ) -> None:
        """Report the end of the stream to the owner."""
        self._owner.link_closed(self, error, reason, now)

    def _items(self, data: Any, now: float) -> Iterator[Run | LinkItem]:
        """Process received bytes, or a whole message, and yield the items in order. `Ended` is the last one.

        Yields consecutive messages of channels together, as one `Run`: a step for each would dominate their cost.
        Process each item before getting the next, so that the result does not depend on how bytes were split.
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
            self._send_close(1008)
            yield Ended(1008, "the server takes too long to complete a message", Cause.VIOLATION)

    def _received(self, data: Any, now: float) -> Iterable[object]:
        """Return the items of the WebSocket: plain messages as events, or as texts if texts are logged or reported."""
        if self._liveness is not None:
            self._liveness.received(now, len(data))
        if now - self._second >= 1.0:
            self._second = now
            self._websocket.another_second()
        logs = _frames.isEnabledFor(logging.DEBUG)
        wanted = self._owner.wants_texts
        reader = NO_READER if logs or self._liveness is None else READERS[wanted]
        items = self._websocket.receive_data(data, reader)
        return self._watched(items, logs) if items and (logs or wanted is not None) else items

    def _watched(self, items: Iterable[object], logs: bool) -> list[object]:
        """Log texts, and insert a `TextReceived` before each if the owner wants it."""
        found: list[object] = []
        for item in items:
            if type(item) is bytes:
                if logs:
                    _frames.debug("<- %s", shown_frame(item))
                if self._owner.wants_texts is not None:
                    found.append(TextReceived(item))
            found.append(item)
        return found

    def stream_ended(self, reason: str) -> Ended:
        """Return the item for the end of a stream, or for the failure to open it, without a close code."""
        was_open, answer_began = self._websocket.is_open, self._websocket.answer_began
        if self._liveness is not None:  # `receive_eof` drops an incomplete message
            self._liveness.received_at = self.received_at(self._liveness.received_at)
        self._websocket.receive_eof()
        if not was_open:
            ended = ENDED_IN_ANSWER if answer_began else ENDED_UNOPENED
            return Ended(None, reason or ended, Cause.NO_NETWORK)
        return self._end_without_code(1006, reason or "the connection ended without a close frame")

    def closed_by_server(self, error: ConnectionEnded, now: float) -> Ended:
        """Return the item for the end of a connection that carries whole messages, by close code or HTTP status."""
        code, reason = error.code, error.reason
        was_open = self._websocket.is_open
        if code is None or code == 1006 or not (was_open or 100 <= code < 600):
            return self.stream_ended(shown(reason))
        self._websocket.receive_eof()
        if was_open:
            if self._liveness is not None:
                self._liveness.received(now)  # a close frame shows that the server is alive
            return self._closed(code, reason)
        reason = shown(reason) or f"the upgrade was answered with HTTP {code}"
        return Ended(code, reason, cause_of_status(code), error.retry_after)

    def received_at(self, now: float) -> float:
        """Return when the last fresh byte was received; `now` before the connection is established.

        During an incomplete message return when it began: the message and all later ones are missing.
        """
        if self._liveness is None or self._websocket.incomplete is None:
            return now if self._liveness is None else self._liveness.fresh_at
        return min(self._liveness.fresh_at, self._began[1])

    def send(self, text: bytes) -> None:
        """Send one message. Does nothing once either side has begun to close."""
        if self._websocket.is_open:
            if _frames.isEnabledFor(logging.DEBUG):
                _frames.debug("-> %s", shown_frame(text))
            self._transports.send(self.transport, self._websocket.send_text(text))

    def ping(self, now: float, *, demanded: bool = True) -> None:
        """Send a ping and expect a pong. `demanded` is false for a ping that a received message caused."""
        if self._liveness is not None:
            self.send(_PING)
            self._owner.link_pinged(now)
            self._liveness.ping_sent(now, demanded=demanded)

    def ping_refused(self, now: float) -> None:
        """Count an error that answered a ping as its pong."""
        assert self._liveness is not None  # before the greeting no ping is sent
        self._liveness.pong(now)

    def activity_due(self, now: float) -> None:
        """Ping the server if it has been silent for the activity timeout."""
        if self._liveness is not None and self._liveness.activity_due(now):
            self.ping(now)

    def one_way_due(self, now: float) -> bool:
        """Return whether the server no longer receives: a pong is missing, and nothing can have delayed it."""
        return self._liveness is not None and self._liveness.one_way_due(now)

    def reading(self, reads: bool, now: float) -> None:
        """Suspend the deadlines while reading is paused, or resume them."""
        assert self._liveness is not None  # before the greeting everything is read
        self._liveness.reading(reads, now)
        self._began = (None, now)

    def missing_at(self, limit: float, now: float) -> float:
        """Return when an answer that is due now counts as missing: later, if it may be among unread data."""
        assert self._liveness is not None  # before the greeting nothing is requested
        return self._liveness.missing_at(limit, now)

    def stop(self) -> None:
        """Stop watching whether the server is alive."""
        if self._liveness is not None:
            self._liveness.stop()

    def close(self, now: float, *, abort: bool = False) -> None:
        """Close the connection: by a closing handshake if the WebSocket is open, else by closing the transport."""
        if abort or not self._websocket.is_open or isinstance(self._websocket, Messages):
            self._transports.close(self.transport, now, abort=abort)
            return
        self._closing = True
        self._transports.send(self.transport, self._websocket.send_close(1000))
        self._transports.linger(self.transport, now)

    def dropped(self, now: float, *, abort: bool) -> None:
        """Close the stream of a connection that the server has closed."""
        code, reason = self._close_frame
        self._transports.close(self.transport, now, abort=abort, code=code, reason=reason)

    def forget_error(self) -> None:
        """Forget the last error: it was about a channel, so it does not explain the end of the connection."""
        self._error = None

    def _takes_too_long(self, incomplete: int, now: float) -> bool:
        """Return whether the incomplete message is too old: parts of one must not keep a connection alive for ever."""
        if incomplete != self._began[0]:
            self._began = (incomplete, now)
        return self._liveness is not None and now - self._began[1] > self._liveness.message_limit

    def _end_without_code(self, code: int, reason: str) -> Ended:
        """Return the item for an end without one of Pusher's close codes, never final once connected."""
        if self._liveness is None:
            why = "the server accepted the upgrade and ended the connection before its greeting"
            why += f" ({reason})" if reason else ""
            return Ended(code, f"{why}: {UNGREETED}", Cause.UNGREETED)
        error = self._error
        if error is None or error.code not in _STANDS_FOR_A_CODE:
            return Ended(code, reason, Cause.ENDED)
        return Ended(error.code, error.message or reason)

    def _await_end(self, data: bytes, now: float) -> None:
        """Close the stream when the server's close frame arrives, after our own; ignore everything else."""
        if any(isinstance(i, PeerClosed | Violation) for i in self._websocket.receive_data(data)):
            self._transports.close(self.transport, now)

    def _send_close(self, code: int) -> None:
        """Send the pongs that are due and our close frame. The caller does not wait for the server's."""
        self._flush()
        self._close_frame = code, ""
        self._transports.send(self.transport, self._websocket.send_close(code))

    def _flush(self) -> None:
        """Send the pongs and close frames that are due."""
        data = self._websocket.data_to_send()
        if data and not (self._clogged and self._websocket.is_open):
            self._transports.send(self.transport, data)

    @property
    def _clogged(self) -> bool:
        """Whether more than `outbox_limit` is unsent: then pongs are left out, as the server does not read them."""
        return self._transports.unsent(self.transport) > self._options.outbox_limit

    def _read(self, item: object) -> Run | None:
        """Return a plain message that the fast lane did not decode, or None."""
        if type(item) is bytes and self._liveness is not None:
            event = read_plain(item)
            if event is not None:
                return Run([event], alike=True)
        return None

    def _text(self, text: bytes, now: float) -> Run | LinkItem | None:
        """Process a message that is not plain, or that was received before the greeting."""
        try:
            envelope = decode(text)
        except BadMessage as error:
            return Malformed(f"not a message: {error}", shown(text[:256].decode(errors="replace")))
        # Errors and pings of the connection have no channel.
        if envelope.channel is None or self._liveness is None:
            return self._control(envelope, now)
        self._error = None
        return Run([event_of(envelope.channel, envelope)], alike=True)

    def _other(self, item: object) -> LinkItem | None:
        """Process an item of the WebSocket that is not a text."""
        match item:
            case UpgradeAccepted():
                return Upgraded()
            case UpgradeRefused():
                return read_refused_upgrade(item)
            case PeerClosed():
                return self._closed(item.code, item.reason)
            case Violation():
                self._close_frame = item.code or 1000, item.reason
                return Ended(item.code, item.reason, Cause.VIOLATION, abort=item.code is None)
            case TextReceived():
                return item
            case BinaryReceived():
                return Malformed(
                    f"a binary message of {item.size} bytes: the protocol has none", ""
                )
            case _:  # a WebSocket pong: `_received` counted its bytes for liveness
                return None

    def _closed(self, code: int, reason: str) -> Ended:
        """Return the item for a close frame."""
        reason = shown(reason)
        if code < 4000:
            return self._end_without_code(code, reason)
        # Soketi sends the reason in an error, and closes with the code only.
        return Ended(code, reason or (self._error.message if self._error else ""))

    def _control(self, envelope: Envelope, now: float) -> LinkItem | None:
        """Process a message that has no channel, or that was received before the greeting."""
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
            # An error before the greeting refuses the connection. Reverb sends it and leaves the stream open.
            self._send_close(1000)
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
        """Process the first message, which has to be the greeting."""
        read = read_greeting(envelope) if envelope.event == _ESTABLISHED else None
        if read is None:
            what = envelope.event
            if what == _ESTABLISHED:
                what = "a greeting without a socket id"
            self._send_close(1002)
            reason = f"expected a greeting, got {excerpt(what, 64)}"
            return Ended(1002, reason, Cause.NO_GREETING, hint=NO_GREETING)
        socket_id, server_timeout = read
        activity, pong = self._activity(server_timeout), self._options.pong_timeout
        interval = self._options.ping_interval
        self._liveness = Liveness(
            self._timers, activity=activity, pong=pong, now=now, interval=interval
        )
        return Greeted(socket_id)

    def _activity(self, server_timeout: Any) -> float:
        """Return the smaller of the server's activity_timeout and ours, in seconds; ours if the server's is invalid."""
        ours = self._options.activity_timeout
        if self._options.activity_override is not None:
            return self._options.activity_override
        if not is_number(server_timeout) or not server_timeout > 0:
            _log.warning(
                "the server's activity_timeout is invalid: pinging it after %g s of silence instead",
                ours,
            )
            return ours
        return min(ours, max(1.0, float(min(server_timeout, ours))))


def _websocket(options: Options, address: Address, randbytes: Callable[[int], bytes]) -> WebSocket:
    """Return the WebSocket for a connection with these options."""
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
        ),
        randbytes=randbytes,
    )
