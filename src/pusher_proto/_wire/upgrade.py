"""Upgrades one connection to WebSocket (RFC 6455, 4): writes the request, and reads the head of the answer with h11.

The body of a refusal is not read: the status is enough, and the body may never be complete.

An upgrade is freed after its answer: h11's state would be a tenth of an idle client's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import h11
from msgspec import Struct
from wsproto.utilities import generate_accept_token, generate_nonce

from ..errors import LocalProtocolError
from .deflate import OFFER, read_agreement
from .http_head import HeadReader, HeadTooLarge
from .items import Violation

__all__ = ["NOT_HTTP", "Outcome", "Upgrade", "UpgradeAccepted", "UpgradeRefused", "UpgradeRequest"]


NOT_HTTP = "the answer is not valid HTTP"
"""The reason of a violation by something other than an HTTP response."""


class UpgradeAccepted(Struct, frozen=True):
    """The server answered with a valid 101: messages may be sent."""


class UpgradeRefused(Struct, frozen=True):
    """The server answered the upgrade with a status other than 101."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of arrival."""


Outcome: TypeAlias = UpgradeAccepted | UpgradeRefused | Violation


class UpgradeRequest(Struct, frozen=True):
    """The request of an upgrade, without the random key."""

    host: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    """Further headers, of which none is one of the upgrade's own (`_base.checks.check_header`)."""
    subprotocols: Sequence[str] = ()
    compression: bool = False
    """Whether permessage-deflate is offered for received messages."""


class Upgrade:
    """One upgrade: send `request`, and give received bytes to `receive_data` until it returns the outcome."""

    def __init__(
        self, request: UpgradeRequest, *, head_limit: int, nonce: bytes | None = None
    ) -> None:
        """`nonce` is the value of Sec-WebSocket-Key. Raises LocalProtocolError for values that HTTP does not allow."""
        self.rest = b""
        """Bytes that follow the answer: frames, after a 101."""
        self.no_context_takeover: bool | None = None
        """Whether each compressed message starts with an empty window; None without compression."""
        self._nonce = nonce if nonce is not None else generate_nonce()
        self._asked = request
        self._request = _http_request(request, self._nonce)
        self._head_limit = head_limit
        self._reader = HeadReader(head_limit)

    def request(self) -> bytes:
        """Return the request (RFC 6455, 4.1). Call it once."""
        http = self._reader.http
        try:
            return http.send(self._request) + http.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise LocalProtocolError("the upgrade was requested before") from error

    def receive_data(self, data: bytes) -> Outcome | None:
        """Process received bytes, split anywhere; return the outcome once it is known. Do not call it after that."""
        try:
            head, rest = self._reader.receive_data(data)
        except HeadTooLarge:
            return Violation(None, f"the answer's head exceeds {self._head_limit} bytes")
        except h11.RemoteProtocolError:
            return Violation(None, NOT_HTTP)
        if head is None:
            return None
        if isinstance(head, h11.Response):
            reason = head.reason.decode("latin-1")
            return UpgradeRefused(head.status_code, reason, _text(head.headers))
        self.rest = self._reader.http.trailing_data[0] + rest
        return self._check(head)

    @property
    def began(self) -> bool:
        """Whether a part of the answer was received."""
        return self._reader.began

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
        return UpgradeAccepted()

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


def _http_request(request: UpgradeRequest, nonce: bytes) -> h11.Request:
    """Return the request for h11. Raises LocalProtocolError for values that HTTP does not allow."""
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
