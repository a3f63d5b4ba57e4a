"""A connection that carries whole messages, opened by the application: the wire between it and a session.

The application's object does the framing: a WebSocket of another library or of a browser, or a queue in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .._protocol.control import read_retry_after
from ..effects import OpenMessages
from ..errors import ConnectionEnded, ConnectionUnsafe
from ..session import Session
from .application import check_methods
from .wire import Wire, WireState

__all__ = ["MessageWire", "checked_connection", "checked_message", "connection_errors"]


class MessageWire(Wire):
    """One connection that carries whole messages. `Driver` creates it and passes it to `IO.open`, like any `Wire`.

    The I/O opens the connection to `host`, `port`, `effect.tls` and `effect.target`. `to_write` returns one message in
    UTF-8, and `received` processes one message. When the wire is `over`, the I/O closes the connection with the code
    and the reason in `goodbye`, within `effect.close_timeout` seconds.
    """

    __slots__ = ("goodbye",)

    effect: OpenMessages

    def __init__(self, effect: OpenMessages, session: Session, tell: Callable[..., None]) -> None:
        super().__init__(effect, session, tell)
        self._name = ""  # the application's object does TLS
        self.goodbye: tuple[int, str] = (1000, "")
        """Code and reason of the close frame."""

    def part(self, code: int, reason: str) -> None:
        """Close after the data sent before, with a close frame of `code` and `reason`."""
        self.goodbye = code, reason
        self.close(abort=False)

    def received(self, data: str | bytes) -> None:
        """Process a message: text, or the bytes of a binary message."""
        if self.state is not WireState.OVER:
            self._tell(self._session.receive_message, self.number, data)

    def failed(self, error: BaseException | str) -> None:
        """Handle the end of the connection, or the failure to open it. A close code overrides other errors."""
        self._end(error if isinstance(error, ConnectionEnded) else self._error or error)

    def _take(self) -> bytes:
        """Return the next message."""
        return self._outbox.pop(0)


def checked_connection(connection: object) -> None:
    """Raise TypeError for an object that is not a connection."""
    what = "connect_messages= returns an object with send, receive and close"
    check_methods(what, connection, "send", "receive", "close")


def checked_message(connection: object, message: object) -> str | bytes | None:
    """Return the result of `receive`; None is the end. Raises `ConnectionEnded` if the connection has a close code.

    Raises TypeError for a result of another type.
    """
    if message is None:
        ended = _ended(connection, None)
        if ended is not None:
            raise ended
    elif not isinstance(message, str | bytes):
        raise TypeError(f"receive() returns text, or None at the end, not {type(message).__name__}")
    return message


@contextmanager
def connection_errors(connection: object = None) -> Iterator[None]:
    """Convert exceptions of the block to those of a session, with the original exception as the cause.

    Raises `ConnectionEnded` if there is a close code or an HTTP status in the exception, or else in the attributes
    `close_code` and `close_reason` of the connection; it has the seconds of Retry-After in the headers of a refusal.
    Raises `ConnectionUnsafe` for a certificate that was not accepted. Does not change other exceptions. Supports the
    exceptions of websockets, aiohttp, trio-websocket and httpx-ws.
    """
    try:
        yield
    except (ConnectionEnded, ConnectionUnsafe):
        raise
    except Exception as error:
        known = _unsafe(error) or _ended(connection, error)
        if known is None:
            raise
        raise known from error


def _unsafe(error: BaseException | None) -> ConnectionUnsafe | None:
    """Return the exception for a certificate that was not accepted, from an exception or its causes; or None."""
    while error is not None:
        code = getattr(error, "verify_code", None)
        if isinstance(code, int):  # an SSLCertVerificationError
            said = getattr(error, "verify_message", "") or str(error)
            return ConnectionUnsafe(f"the certificate is invalid: {said}", verify_code=code)
        error = error.__cause__
    return None


def _ended(connection: object, error: Exception | None) -> ConnectionEnded | None:
    """Return the exception for a close code or an HTTP status, if there is one."""
    for code, reason in _codes(connection, error):
        if isinstance(code, int) and (100 <= code < 600 or 1000 <= code < 5000):
            text = reason if isinstance(reason, str) else ""
            return ConnectionEnded(code, text, retry_after=_retry_after(error))
    return None


def _retry_after(error: Exception | None) -> float | None:
    """Return the seconds of Retry-After in the headers that an exception has, itself or in its response."""
    for place in (getattr(error, "response", None), error):
        for name in ("headers", "resp_headers"):
            for header, value in _pairs(getattr(place, name, None)):
                if _text(header).lower() == "retry-after":
                    return read_retry_after(_text(value))
    return None


def _pairs(headers: Any) -> list[tuple[object, object]]:
    """Return headers as pairs, from a mapping or from pairs; nothing from an object that is neither."""
    items = getattr(headers, "raw_items", None) or getattr(headers, "items", None)
    try:
        return [(name, value) for name, value in (headers if items is None else items())]
    except Exception:  # another library's object, of an unknown kind
        return []


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


_PLACES = (
    # Where exceptions keep a code and its reason. In an attribute:
    ("response", "status_code", "reason_phrase"),
    ("reason", "code", "reason"),
    # In the exception itself; where aiohttp has a `status`, its `code` gives a DeprecationWarning:
    ("", "status", "message"),
    ("", "code", "reason"),
    ("", "status_code", "reason"),
)


def _codes(connection: object, error: Exception | None) -> Iterator[tuple[object, object]]:
    """Yield possible codes and their reasons, the most likely first."""
    if hasattr(error, "rcvd"):  # websockets; its own `code` gives a DeprecationWarning
        frame = getattr(error, "rcvd", None)
        yield getattr(frame, "code", None), getattr(frame, "reason", None)
    elif error is not None:
        for within, code, reason in _PLACES:
            place = getattr(error, within, None) if within else error
            yield getattr(place, code, None), getattr(place, reason, None)
    yield getattr(connection, "close_code", None), getattr(connection, "close_reason", None)
