"""One byte stream between a session and the I/O that moves its bytes.

The driver calls `send`, `start_tls` and `close` for the session. The I/O calls `opened`, `received`, `eof`, `written`,
`write_failed` and `failed`, and checks `to_write()`, `wants_data` and `over`. For all drivers, the wire ensures three
lines of the session's contract:

- One answer: whatever both sides do and in any order, the session is notified once that the stream could not be opened,
  or that it was opened and later, once, that it ended. An abort is answered at once, without waiting for the I/O.
- Order: bytes are written in the order of `send`; TLS starts and the stream closes after the data sent before.
- Reading pauses while the session does not want data, and until TLS starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from ..effects import OpenMessages, OpenTransport
from ..session import Session
from .tls import SSLContext, Tls
from .trace import NO_TRACE, NoTrace

__all__ = ["WIRE", "Wire", "WireInput", "WireState"]

PIECE = 4096
"""A write ends when it has at least this many bytes, so that progress is reported often enough."""


class WireState(StrEnum):
    """The state of a wire."""

    DIALING = "dialing"
    SECURING = "securing"
    """TLS is being established; the session was not notified yet that the stream is open."""
    OPEN = "open"
    UPGRADING = "upgrading"
    """TLS will be established on an open stream, after the data sent before."""
    CLOSING = "closing"
    """The data sent before is written; then the wire is over."""
    REFUSING = "refusing"
    """TLS failed; an alert for the server is written; then the wire is over."""
    OVER = "over"


class WireInput(StrEnum):
    """The inputs of a wire."""

    OPENED = "opened"
    OPENED_FOR_TLS = "opened, and TLS has to be established first"
    SECURED = "TLS is established"
    START_TLS = "the session starts TLS"
    CLOSE = "the session closes it after the data sent before"
    TLS_FAILED = "TLS could not be established"
    END = "the end, from either side"


WIRE: Final[dict[tuple[WireState, WireInput], WireState]] = {
    (WireState.DIALING, WireInput.OPENED): WireState.OPEN,
    (WireState.DIALING, WireInput.OPENED_FOR_TLS): WireState.SECURING,
    (WireState.SECURING, WireInput.SECURED): WireState.OPEN,
    (WireState.SECURING, WireInput.TLS_FAILED): WireState.REFUSING,
    (WireState.OPEN, WireInput.START_TLS): WireState.UPGRADING,
    (WireState.OPEN, WireInput.CLOSE): WireState.CLOSING,
    (WireState.UPGRADING, WireInput.SECURED): WireState.OPEN,
    (WireState.UPGRADING, WireInput.TLS_FAILED): WireState.REFUSING,
    **{(state, WireInput.END): WireState.OVER for state in WireState},
}
"""The next state for each state and input. A pair that is not in the table changes nothing."""

_OPEN, _CLOSING, _OVER = WireState.OPEN, WireState.CLOSING, WireState.OVER
_SHAKING_HANDS = (WireState.SECURING, WireState.UPGRADING)


class Wire:
    """One byte stream. `Driver` creates it and passes it to `IO.open`, which dials `host` and `port`.

    `tell(answer, *details)` calls an input of the session with the current time and carries out the effects.
    """

    __slots__ = (
        "_answer", "_context", "_error", "_name", "_outbox", "_piece", "_plain", "_session", "_tell", "_tls",
        "_trace", "effect", "moved_by", "number", "state",
    )  # fmt: skip

    def __init__(
        self,
        effect: OpenTransport | OpenMessages,
        session: Session,
        tell: Callable[..., None],
        trace: NoTrace = NO_TRACE,
    ) -> None:
        self.effect: OpenTransport | OpenMessages = effect
        self.number: int = effect.transport
        self.state: WireState = WireState.DIALING
        self.moved_by: Any = None
        """An object that the I/O stores with the wire."""
        self._session = session
        self._tell = tell
        self._trace = trace
        self._answer: Callable[..., None] = session.transport_failed
        """The input of the session that reports the end."""
        self._name = effect.host if effect.tls else ""
        """The host name for which the certificate must be valid, until TLS starts; "" without TLS."""
        self._context: SSLContext | None = None
        self._tls: Tls | None = None
        self._outbox: list[bytes] = []
        self._piece = b""
        """The bytes that are being written."""
        self._plain = 0
        """How many bytes of `send` they contain, if they are encrypted."""
        self._error: BaseException | str = ""
        """Why no more bytes can be written."""

    @property
    def host(self) -> str:
        """The host to dial."""
        return self.effect.host

    @property
    def port(self) -> int:
        """The port to dial."""
        return self.effect.port

    # Calls for the session.

    def send(self, data: bytes) -> None:
        """Write `data` after the data sent before."""
        if not self._error and self.state is not _OVER:
            self._outbox.append(data)

    def start_tls(self, host: str) -> None:
        """Start TLS after the data sent before, and do not read until then."""
        self._name = host
        self._enter(WireInput.START_TLS)
        self._trace.securing()
        self._begin_tls()

    def close(self, *, abort: bool) -> None:
        """Close after the data sent before, or immediately with `abort` or if the stream is not open yet."""
        if self.state is _OPEN and not abort:
            self._enter(WireInput.CLOSE)
            self._check_output()
        else:
            self._end(self._error or ("given up" if self._is_unknown else ""))

    # The SSL context.

    def secure(self, context: SSLContext) -> None:
        """Use this context for TLS."""
        if self._context is None:
            self._context = context
            self._begin_tls()

    # Calls of the I/O.

    @property
    def over(self) -> bool:
        """Whether to close the stream now, or to stop opening it. Later calls have no effect."""
        return self.state is _OVER

    @property
    def wants_data(self) -> bool:
        """Whether to read from the stream now."""
        if self.state is _OPEN:
            return self._session.wants_data(self.number)
        if self.state in _SHAKING_HANDS:
            return self._tls is not None
        return self.state is _CLOSING

    @property
    def has_to_write(self) -> bool:
        """Whether there are bytes to write."""
        if self._piece or self._outbox:
            return self.state not in _SHAKING_HANDS or self._tls is None or bool(self._piece)
        tls = self._tls
        if tls is None or (self._error and self.state is not WireState.REFUSING):
            return False
        return tls.has_to_send or (self.state is _CLOSING and not tls.parted)

    def to_write(self) -> bytes:
        """Return the bytes to write next. They stay the same until `written` reports some of them as written."""
        if not self._piece and self.has_to_write:
            self._piece = self._next_piece()
        return self._piece

    def resolved(self, infos: Sequence[tuple[Any, ...]]) -> None:
        """Report the result of `socket.getaddrinfo`. Only `on_progress` needs it."""
        self._trace.resolved(infos)

    def opened(self, peer: object = None) -> None:
        """Report that the stream is open. `peer` is its address in the format of sockets, for `on_progress`."""
        if self.state is not WireState.DIALING:
            return
        self._trace.reached(peer, tls=bool(self._name))
        if self._name:
            self._enter(WireInput.OPENED_FOR_TLS)
            self._begin_tls()
            self._tell(_no_input)
        else:
            self._enter(WireInput.OPENED)
            self._tell_opened()

    def received(self, data: bytes) -> None:
        """Process received bytes."""
        tls = self._tls
        if tls is not None:
            self._decrypt(tls, data)
        elif self.state is not _OVER:
            self._tell(self._session.receive_data, self.number, data)

    def eof(self) -> None:
        """Handle the end of the received data."""
        tls = self._tls
        if tls is not None and not self._error:
            tls.cut_off()
            self._error = tls.end or ""
        self._end(self._error)

    def written(self, size: int) -> None:
        """Report that the first `size` bytes of `to_write` were written."""
        self._piece = self._piece[size:]
        if self._tls is not None:
            size, self._plain = (0, self._plain) if self._piece else (self._plain, 0)
        if size and self.state is not _OVER:
            self._tell(self._session.data_sent, self.number, size)
        self._check_output()

    def write_failed(self, error: BaseException | str) -> None:
        """Report that writing failed. Received data is still read: the server may have sent the reason."""
        self._error = self._error or error
        self._forget_output()
        self._check_output()

    def failed(self, error: BaseException | str) -> None:
        """Handle an error of the stream, or the failure to open it."""
        self._end(self._error or error)

    # Steps.

    @property
    def _is_unknown(self) -> bool:
        """Whether the session was not notified yet that the stream is open."""
        return self._answer == self._session.transport_failed

    def _enter(self, given: WireInput) -> None:
        self.state = WIRE.get((self.state, given), self.state)

    def _begin_tls(self) -> None:
        """Start TLS if it is required, there is a context, and the data before it is written."""
        if (
            self.state not in _SHAKING_HANDS
            or not self._name
            or self._context is None
            or self._piece
            or self._outbox
        ):
            return
        self._tls = Tls(self._context, self._name)
        self._name = ""
        self._check_tls(self._tls)

    def _decrypt(self, tls: Tls, data: bytes) -> None:
        data = tls.decrypt(data)
        reported = False
        if tls.established and self.state in _SHAKING_HANDS:
            reported = True
            self._enter(WireInput.SECURED)
            self._trace.secured(tls.describe)
            if self._is_unknown:
                self._tell_opened()
            else:
                self._tell(self._session.tls_started, self.number)
        if data and self.state is not _OVER:
            reported = True
            self._tell(self._session.receive_data, self.number, data)
        self._check_tls(tls)
        if not reported:
            # The handshake, or another record without data, may need an answer.
            self._tell(_no_input)

    def _check_tls(self, tls: Tls) -> None:
        """End the wire if TLS has ended."""
        if tls.end is None:
            return
        self._error = self._error or tls.end
        if tls.established:
            self._end(self._error)
        else:
            self._enter(WireInput.TLS_FAILED)
            self._check_output()

    def _tell_opened(self) -> None:
        self._answer = self._session.transport_closed
        self._tell(self._session.transport_opened, self.number)

    def _next_piece(self) -> bytes:
        tls = self._tls
        if tls is None:
            return self._take()
        if self.state in (_OPEN, _CLOSING):
            data = self._take()
            self._plain += len(data)
            tls.encrypt(data)
            if self.state is _CLOSING and not self._outbox and not tls.parted:
                tls.part()
        return tls.to_send()

    def _take(self) -> bytes:
        """Return the bytes of the next write: everything sent in one turn, but not much more than `PIECE`."""
        count = size = 0
        for data in self._outbox:
            count += 1
            size += len(data)
            if size >= PIECE:
                break
        together = b"".join(self._outbox[:count])
        del self._outbox[:count]
        return together

    def _check_output(self) -> None:
        """Continue with the steps that wait until all output is written."""
        if self.has_to_write:
            return
        if self.state in (_CLOSING, WireState.REFUSING):
            self._end(self._error)
        elif self._name and self.state in _SHAKING_HANDS:
            self._begin_tls()
            self._tell(_no_input)  # reading continues

    def _end(self, error: BaseException | str) -> None:
        if self.state is _OVER:
            return
        self._enter(WireInput.END)
        self._forget_output()
        self._tell(self._answer, self.number, error)

    def _forget_output(self) -> None:
        self._outbox.clear()
        self._piece = b""
        self._plain = 0


def _no_input(**_: Any) -> None:
    """Change nothing: used instead of an input of the session, so that the driver calls `IO.attend`."""
