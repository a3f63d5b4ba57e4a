"""The client side of one WebSocket connection (RFC 6455): bytes in, whole text messages out.

A pure machine: it knows no socket, no clock and nothing of Pusher. The upgrade is here, its answer
read by h11; the frames that follow are in `_frames`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import TypeAlias

import h11
from msgspec import Struct
from wsproto.utilities import generate_accept_token, generate_nonce

from ._deflate import OFFER, read_agreement
from ._frame_items import BinaryReceived, FrameItem, PeerClosed, PongReceived, Violation
from ._frames import Frames
from .errors import LocalProtocolError, excerpt

__all__ = [
    "BinaryReceived",
    "Item",
    "PeerClosed",
    "PongReceived",
    "UpgradeAccepted",
    "UpgradeRefused",
    "Violation",
    "WebSocket",
]

_OUR_HEADERS = frozenset(("host", "connection", "upgrade", "content-length", "transfer-encoding"))


class UpgradeAccepted(Struct, frozen=True):
    """The server answered 101 as it must: text may be sent."""

    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of arrival."""
    subprotocol: str | None


class UpgradeRefused(Struct, frozen=True):
    """The server answered the upgrade with a status other than 101, and the body is there."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of arrival."""
    body: bytes
    """What arrived of it, at most `body_limit` bytes."""


Item: TypeAlias = FrameItem | UpgradeAccepted | UpgradeRefused
"""What receiving gives. Bytes are one whole text message, checked to be UTF-8."""


class _State(Enum):
    UPGRADING = auto()
    UPGRADED = auto()
    ENDED = auto()


class WebSocket:
    """One connection, from the upgrade request to the close frames.

    Send what `open` returns, give every byte received to `receive_data`, and after each call send
    what `data_to_send` returns; call `another_second` when one has passed. The limits count bytes
    before decoding, those of a compressed message once they are inflated, and a message of exactly
    the limit passes. `compression` offers permessage-deflate for what is received. `fast=False`
    sends every frame through wsproto, for tests.
    """

    def __init__(
        self,
        *,
        host: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        compression: bool = False,
        max_message_size: int = 1024 * 1024,
        max_fragments: int = 65536,
        control_frame_rate: int = 10_000,
        head_limit: int = 16 * 1024,
        body_limit: int = 65536,
        fast: bool = True,
        nonce: bytes | None = None,
    ) -> None:
        """Raises LocalProtocolError for what HTTP does not allow or the upgrade itself sets.

        `nonce` is the key of the upgrade, 16 bytes in base64; without one it is drawn.
        """
        self._state = _State.UPGRADING
        self._nonce = nonce if nonce is not None else generate_nonce()
        self._subprotocols = tuple(subprotocols)
        self._compression = compression
        self._request = _upgrade_request(
            host, target, headers, self._subprotocols, self._nonce, OFFER if compression else ""
        )
        # h11 measures only what is incomplete: a long head that comes in one read would pass. So it
        # is given no more bytes than the limit, and its own limit is out of reach.
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=head_limit + body_limit)
        self._http_limit = self._head_limit = head_limit
        self._http_size = 0
        self._refusal: h11.Response | None = None
        self._body = bytearray()
        self._body_limit = body_limit
        self._frames = Frames(
            max_message_size=max_message_size,
            max_fragments=max_fragments,
            control_frame_rate=control_frame_rate,
            fast=fast,
        )

    def open(self) -> bytes:
        """Return the upgrade request (RFC 6455, 4.1). To be called once."""
        try:
            return self._http.send(self._request) + self._http.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise LocalProtocolError("the upgrade was requested before") from error

    def send_text(self, text: str | bytes) -> bytes:
        """Return `text` as one masked text frame (RFC 6455, 5.6).

        Raises ValueError when it is not UTF-8 or holds lone surrogates, LocalProtocolError while
        the connection is not open.
        """
        self._require_upgraded("a message")
        return self._frames.send_text(text)

    def send_ping(self, payload: bytes = b"") -> bytes:
        """Return a ping (RFC 6455, 5.5.2).

        Raises ValueError past 125 bytes, LocalProtocolError while the connection is not open.
        """
        self._require_upgraded("a ping")
        return self._frames.send_ping(payload)

    def send_close(self, code: int = 1000, reason: str = "") -> bytes:
        """Return our close frame (RFC 6455, 5.5.1), or b"" when it was sent or cannot be sent yet.

        From then on messages and pongs are dropped and pings stay unanswered; what ends the
        connection, a `PeerClosed` or a `Violation`, is still reported. A reason longer than the 123
        bytes that fit is cut. Raises ValueError for a code that may not be sent (RFC 6455, 7.4).
        """
        if self._state is _State.UPGRADED:
            return self._frames.send_close(code, reason)
        return b""

    def receive_data(self, data: bytes) -> list[Item]:
        """Take bytes of any shape and return what they complete.

        Nothing that a server sends makes it raise. Of many pings in one call only the last few are
        answered; RFC 6455, 5.5.3 allows to answer just one.
        """
        items: list[Item] = []
        if self._state is _State.UPGRADING:
            data = self._receive_answer(data, items)
        if self._state is _State.UPGRADED:
            items += self._frames.receive_data(data)
        return items

    def receive_eof(self) -> list[Item]:
        """Take the end of the stream: it ends the body of a refusal, else nothing is reported."""
        items: list[Item] = []
        if self._refusal is not None and self._state is _State.UPGRADING:
            self._end_upgrade("", items)
        self._state = _State.ENDED
        self._frames.end()
        return items

    def data_to_send(self) -> bytes:
        """Return, once, the pongs and close frames that receiving made due."""
        data = bytes(self._frames.output)
        self._frames.output.clear()
        return data

    def another_second(self) -> None:
        """Take `control_frame_rate` pings and pongs from now on; one more is a `Violation` (1008)."""
        self._frames.another_second()

    @property
    def under_way(self) -> int | None:
        """A number for the message that has begun and not ended: the same until it ends. Else None."""
        return self._frames.under_way

    @property
    def is_open(self) -> bool:
        """True from the accepted upgrade until a close frame was sent or received."""
        return self._state is _State.UPGRADED and self._frames.is_open

    def _receive_answer(self, data: bytes, items: list[Item]) -> bytes:
        """Read the answer to the upgrade; return what came behind it: frames, after a 101."""
        at = 0
        while at < len(data) and self._state is _State.UPGRADING:
            part = data[at : at + self._http_limit - self._http_size]
            at += len(part)
            self._http_size += len(part)
            self._http.receive_data(part)
            self._read_answer(items)
            if self._http_size == self._http_limit and self._state is _State.UPGRADING:
                self._end_upgrade(f"the answer's head exceeds {self._head_limit} bytes", items)
        return self._http.trailing_data[0] + data[at:]

    def _read_answer(self, items: list[Item]) -> None:
        while self._state is _State.UPGRADING:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self._end_upgrade("the answer is not valid HTTP", items)
                return
            if isinstance(event, h11.InformationalResponse):
                # Any other than 101 only announces the answer (RFC 9110, 15.2).
                if event.status_code == 101:
                    self._check_upgrade(event, items)
            elif isinstance(event, h11.Response):
                self._refusal = event
                # The headers of chunks count too, so that a body of nothing else ends as well.
                self._http_limit += self._body_limit
                if self._body_limit == 0:
                    self._end_upgrade("", items)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) >= self._body_limit:
                    self._end_upgrade("", items)
            else:
                if isinstance(event, h11.EndOfMessage):
                    self._end_upgrade("", items)
                return

    def _check_upgrade(self, answer: h11.InformationalResponse, items: list[Item]) -> None:
        """Check the 101 as RFC 6455, 4.1 says a client must."""
        values: dict[bytes, list[bytes]] = {}
        for name, value in answer.headers:
            values.setdefault(name, []).append(value)
        chosen = [value.decode("latin-1") for value in values.get(b"sec-websocket-protocol", ())]
        if _tokens(values.get(b"upgrade", ())) != [b"websocket"]:
            self._end_upgrade("the answer has no header 'Upgrade: websocket'", items)
        elif b"upgrade" not in _tokens(values.get(b"connection", ())):
            self._end_upgrade("the answer has no header 'Connection: Upgrade'", items)
        elif values.get(b"sec-websocket-accept") != [generate_accept_token(self._nonce)]:
            self._end_upgrade("the answer's Sec-WebSocket-Accept does not fit our key", items)
        elif (wrong := self._extend(values.get(b"sec-websocket-extensions", ()))) is not None:
            self._end_upgrade(wrong, items)
        elif chosen and (len(chosen) > 1 or chosen[0] not in self._subprotocols):
            self._end_upgrade("the server chose a subprotocol that was not offered", items)
        else:
            self._state = _State.UPGRADED
            items.append(UpgradeAccepted(_text(answer.headers), chosen[0] if chosen else None))

    def _extend(self, values: Iterable[bytes]) -> str | None:
        """Use the extension that the server chose; return what is wrong with it, if anything is."""
        if not any(_tokens(values)):
            return None
        if not self._compression:
            return "the server chose an extension that was not offered"
        try:
            forgets = read_agreement(value.decode("latin-1") for value in values)
        except ValueError as error:
            return str(error)
        self._frames.inflate(forgets=forgets)
        return None

    def _end_upgrade(self, wrong: str, items: list[Item]) -> None:
        """Report the refusal with what came of its body, or else what was wrong."""
        answer = self._refusal
        if answer is None:
            items.append(Violation(None, wrong))
        else:
            reason = answer.reason.decode("latin-1")
            body = bytes(self._body[: self._body_limit])
            items.append(UpgradeRefused(answer.status_code, reason, _text(answer.headers), body))
        self._state = _State.ENDED

    def _require_upgraded(self, what: str) -> None:
        if self._state is not _State.UPGRADED:
            raise LocalProtocolError(f"{what} cannot be sent: the WebSocket is not open")


def _upgrade_request(
    host: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    subprotocols: Sequence[str],
    nonce: bytes,
    extension: str,
) -> h11.Request:
    for name, _ in headers:
        if name.lower() in _OUR_HEADERS or name.lower().startswith("sec-websocket-"):
            raise LocalProtocolError(f"the header {excerpt(name)} is set by the upgrade itself")
    ours = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", nonce.decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    if subprotocols:
        ours.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    if extension:
        ours.append(("Sec-WebSocket-Extensions", extension))
    try:
        return h11.Request(method="GET", target=target, headers=[*ours, *headers])
    except (h11.LocalProtocolError, UnicodeEncodeError):
        # Their texts quote the value, which may be a secret.
        raise LocalProtocolError("the host, target or a header is not legal in HTTP") from None


def _tokens(values: Iterable[bytes]) -> list[bytes]:
    return [token.strip().lower() for value in values for token in value.split(b",")]


def _text(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
