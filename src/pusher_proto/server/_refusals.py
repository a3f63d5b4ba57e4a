"""Reports everything that the server refuses, with hints for the most common mistakes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from logging import INFO
from urllib.parse import unquote

from . import _hints as hints
from ._conversation import Refused
from ._faults import Answers, Refusal
from ._frames import parse_json
from ._http import HttpRequest, HttpResponse
from ._realm import Realm, Socket
from ._reports import Reports

__all__ = ["Refusals"]

_KINDS = {"auth": "authorization refused", "api": "request refused"}


class Refusals:
    """Reports refusals; secrets and signatures are masked."""

    def __init__(self, reports: Reports, realms: Mapping[str, Realm]) -> None:
        self._reports = reports
        self._realms = realms
        self._spoke_tls: set[str | None] = set()

    def bytes_(self, peer: str | None, response: HttpResponse, is_tls: bool, now: float) -> None:
        """Report bytes that are not a request; TLS once for each address."""
        if not is_tls:
            text = f"a request was refused with status {response.status}: {_sentence(response)}"
            self._reports.refusal("request refused", text, now, status=response.status)
        elif peer not in self._spoke_tls:
            self._spoke_tls.add(peer)
            text = f"{peer or 'a client'}: {hints.TLS_ON_A_PLAIN_PORT}"
            self._reports.refusal("tls on a plain port", text, now, peer=peer)

    def request(
        self, what: Answers | None, request: HttpRequest, response: HttpResponse, now: float
    ) -> None:
        """Report an HTTP request that was answered with a failure."""
        # An answer set by `auth_answer` may hold a secret: it is not logged.
        sentence = hints.masked(_sentence(response, whole=what != "auth"))
        hint = None
        if response.status == 401 and "signature" in sentence.lower():
            match = re.search(r"/apps/([^/]+)/", unquote(request.path))
            hint = hints.wrong_secret(match[1] if match else "?")
        elif response.status == 404:
            hint = hints.fallback_transport(request.path) or hints.wrong_endpoint(request)
        self._reports.refusal(
            _KINDS.get(what or "", "refused"),
            _with_hint(
                f"{request.method} {request.path[:200]}: {response.status} {sentence}", hint
            ),
            now,
            method=request.method,
            path=request.path[:200],
            status=response.status,
        )

    def message(self, socket: Socket | None, what: str, refused: Refused, now: float) -> None:
        """Report a message of a client that was answered with an error."""
        if not self._reports.wanted(INFO):
            return
        text = f"{what[:50]} refused: {hints.masked(refused.message)}"
        if refused.code is not None:
            text += f" ({refused.code})"
        is_secret = refused.is_signature and socket is not None
        self._reports.refusal(
            "message refused",
            _with_hint(
                text, hints.wrong_secret(socket.realm.app.id) if is_secret and socket else None
            ),
            now,
            socket_id=None if socket is None else socket.id,
            event=what[:50],
            code=refused.code,
        )

    def connection(self, request: HttpRequest, refusal: Refusal, key: str, now: float) -> None:
        """Report a WebSocket that was refused."""
        code = refusal.code if refusal.response is None else refusal.response.status
        text = f"{request.path[:200]}: connection refused with {code or 'no answer'}"
        if refusal.reason:
            text += f": {refusal.reason}"
        hint = hints.fallback_transport(request.path)
        if hint is None and key and key not in self._realms:
            hint = hints.wrong_key(self._realms)
        self._reports.refusal(
            "connection refused",
            _with_hint(text, hint),
            now,
            path=request.path[:200],
            key=key,
            code=code,
        )


def _with_hint(text: str, hint: str | None) -> str:
    return f"{text} ({hint})" if hint else text


def _sentence(response: HttpResponse, *, whole: bool = True) -> str:
    """Return the sentence of a failure, or, if `whole`, the text of one that has no sentence."""
    value = parse_json(response.body)
    if isinstance(value, dict) and "error" in value:
        return str(value["error"])
    return response.body[:200].decode(errors="replace") if whole else ""
