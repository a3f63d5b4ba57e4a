"""Upgrades one connection to WebSocket (RFC 6455, 4): writes the request, and reads the answer with h11.

An upgrade is freed after its answer: h11's state would be a tenth of an idle client's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import h11
from msgspec import Struct
from wsproto.utilities import generate_accept_token, generate_nonce

from ..errors import LocalProtocolError, excerpt
from .deflate import OFFER, read_agreement
from .items import Violation

__all__ = ["Outcome", "Upgrade", "UpgradeAccepted", "UpgradeRefused", "UpgradeRequest"]

_OUR_HEADERS = frozenset(("host", "connection", "upgrade", "content-length", "transfer-encoding"))


class UpgradeAccepted(Struct, frozen=True):
    """The server answered with a valid 101: messages may be sent."""

    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of arrival."""
    subprotocol: str | None


class UpgradeRefused(Struct, frozen=True):
    """The server answered the upgrade with a status other than 101, and the body was received."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of arrival."""
    body: bytes
    """Its first bytes, at most `body_limit`."""


Outcome: TypeAlias = UpgradeAccepted | UpgradeRefused | Violation


class UpgradeRequest(Struct, frozen=True):
    """The request of an upgrade, without the random key."""

    host: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    """The caller's headers, in addition to those of the upgrade."""
    subprotocols: Sequence[str] = ()
    compression: bool = False
    """Whether permessage-deflate is offered for received messages."""


class Upgrade:
    """One upgrade: send `request`, and give received bytes to `receive_data` until it returns the outcome."""

    def __init__(
        self, request: UpgradeRequest, *, head_limit: int, body_limit: int, nonce: bytes | None
    ) -> None:
        """Raises LocalProtocolError for values that HTTP does not allow and for headers that the upgrade sets."""
        self.rest = b""
        """Bytes that follow the answer: frames, after a 101."""
        self.no_context_takeover: bool | None = None
        """Whether each compressed message starts with an empty window; None without compression."""
        self._nonce = nonce if nonce is not None else generate_nonce()
        self._asked = request
        self._request = _http_request(request, self._nonce)
        # h11 limits incomplete heads only: a long head in one read would pass. So `receive_data` passes it
        # no more bytes than the limit allows, and h11's own limit is never reached.
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=head_limit + body_limit)
        self._limit = self._head_limit = head_limit
        self._size = 0
        self._refusal: h11.Response | None = None
        self._body = bytearray()
        self._body_limit = body_limit

    def request(self) -> bytes:
        """Return the request (RFC 6455, 4.1). Call it once."""
        try:
            return self._http.send(self._request) + self._http.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise LocalProtocolError("the upgrade was requested before") from error

    def receive_data(self, data: bytes) -> Outcome | None:
        """Process received bytes, split anywhere; return the outcome once it is known. Do not call it after that."""
        at = 0
        while at < len(data):
            part = data[at : at + self._limit - self._size]
            at += len(part)
            self._size += len(part)
            self._http.receive_data(part)
            outcome = self._read()
            if outcome is None and self._size == self._limit:
                outcome = self._end(f"the answer's head exceeds {self._head_limit} bytes")
            if outcome is not None:
                self.rest = self._http.trailing_data[0] + data[at:]
                return outcome
        return None

    @property
    def began(self) -> bool:
        """Whether a part of the answer was received."""
        return self._size > 0

    def receive_eof(self) -> Outcome | None:
        """Process the end of the stream. Return the refusal whose body it ends, or None."""
        return self._end("") if self._refusal is not None else None

    def _read(self) -> Outcome | None:
        """Return the outcome when h11 has received enough of the answer, or None."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                return self._end("the answer is not valid HTTP")
            if isinstance(event, h11.InformationalResponse):
                # Any other informational response precedes the answer (RFC 9110, 15.2).
                if event.status_code == 101:
                    return self._check(event)
            elif isinstance(event, h11.Response):
                self._refusal = event
                # Chunk headers count too, so that a body without content cannot be endless.
                self._limit += self._body_limit
                if self._body_limit == 0:
                    return self._end("")
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) >= self._body_limit:
                    return self._end("")
            else:
                return self._end("") if isinstance(event, h11.EndOfMessage) else None

    def _check(self, answer: h11.InformationalResponse) -> UpgradeAccepted | Violation:
        """Check a 101 answer as RFC 6455, 4.1 requires."""
        values: dict[bytes, list[bytes]] = {}
        for name, value in answer.headers:
            values.setdefault(name, []).append(value)
        chosen = [value.decode("latin-1") for value in values.get(b"sec-websocket-protocol", ())]
        upgrades = _tokens(values.get(b"upgrade", ()))
        wrong: str | None
        if len(upgrades) > 1 and b"websocket" in upgrades:
            wrong = "the answer has the header 'Upgrade' more than once: check the proxies in front of the server"
        elif upgrades != [b"websocket"]:
            wrong = "the answer has no header 'Upgrade: websocket'"
        elif b"upgrade" not in _tokens(values.get(b"connection", ())):
            wrong = "the answer has no header 'Connection: Upgrade'"
        elif values.get(b"sec-websocket-accept") != [generate_accept_token(self._nonce)]:
            wrong = "the answer's Sec-WebSocket-Accept does not match our key"
        elif chosen and (len(chosen) > 1 or chosen[0] not in self._asked.subprotocols):
            wrong = "the server chose a subprotocol that was not offered"
        else:
            wrong = self._extend(values.get(b"sec-websocket-extensions", ()))
        if wrong is not None:
            return Violation(None, wrong)
        return UpgradeAccepted(_text(answer.headers), chosen[0] if chosen else None)

    def _extend(self, values: Iterable[bytes]) -> str | None:
        """Store the extension that the server chose; return an error message if it is invalid."""
        if not any(_tokens(values)):
            return None
        if not self._asked.compression:
            return "the server chose an extension that was not offered"
        try:
            self.no_context_takeover = read_agreement(value.decode("latin-1") for value in values)
        except ValueError as error:
            return str(error)
        return None

    def _end(self, wrong: str) -> UpgradeRefused | Violation:
        """Return the refusal with the received part of its body, or a violation without one."""
        answer = self._refusal
        if answer is None:
            return Violation(None, wrong)
        reason = answer.reason.decode("latin-1")
        body = bytes(self._body[: self._body_limit])
        return UpgradeRefused(answer.status_code, reason, _text(answer.headers), body)


def _http_request(request: UpgradeRequest, nonce: bytes) -> h11.Request:
    """Return the request for h11. Raises LocalProtocolError for values that HTTP does not allow."""
    for name, _ in request.headers:
        if name.lower() in _OUR_HEADERS or name.lower().startswith("sec-websocket-"):
            raise LocalProtocolError(f"the header {excerpt(name)} is set by the upgrade itself")
    ours = [
        ("Host", request.host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", nonce.decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    if request.subprotocols:
        ours.append(("Sec-WebSocket-Protocol", ", ".join(request.subprotocols)))
    if request.compression:
        ours.append(("Sec-WebSocket-Extensions", OFFER))
    try:
        return h11.Request(method="GET", target=request.target, headers=[*ours, *request.headers])
    except (h11.LocalProtocolError, UnicodeEncodeError):
        # The messages of these exceptions quote the value, which may be a secret.
        raise LocalProtocolError(
            "the host, the target or a header has characters that HTTP does not allow"
        ) from None


def _tokens(values: Iterable[bytes]) -> list[bytes]:
    """Return the comma-separated tokens of all values of one header, in lower case."""
    return [token.strip().lower() for value in values for token in value.split(b",")]


def _text(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
