"""Hints: what the user can do about a failure. One table for exceptions, log lines, the live view and `doctor`.

A hint is a clause that starts in lower case and has no full stop. It names options of the library; `doctor` puts
options of the command line before it.
"""

from __future__ import annotations

from .._wire.upgrade import NOT_HTTP
from .failures import says_terminated

__all__ = [
    "ENDED_IN_ANSWER",
    "ENDED_UNOPENED",
    "NOT_YET_VALID",
    "NO_GREETING",
    "UNGREETED",
    "explained",
    "hint_for",
    "refusal_hint",
    "status_hint",
    "tls_hint",
]

UNGREETED = (
    "Sockudo does so for an unknown key, a disabled app and an app over max_connections; "
    "check the key"
)
"""The hint for an end after the upgrade and before the greeting."""
NO_GREETING = "this client speaks protocol 7: check that `query` does not request another"
"""The hint for something other than a greeting."""

_ORIGIN = "set Options(origin=...) to one that the server allows"
_TERMINATED = "the connections of this user were terminated by the application"

_CODES = {
    4000: "this app accepts TLS only: set tls=True",
    4001: "check the key and the cluster or host: this server does not know the app",
    4003: "the app is disabled",
    4004: "the app is over its connection quota: raise it, close other clients, or wait until the server has "
    "noticed the loss of a connection",
    4005: "check the path",
    4009: "this app requires a sign-in or a private channel soon after the greeting, signed with its secret",
}

_STATUSES = {
    400: "a proxy in front of the server may drop the upgrade (nginx: proxy_set_header Upgrade, Connection); if tls is "
    "False, the port may be for TLS",
    401: "a proxy in front of the server requires credentials",
    403: "the server, or a proxy in front of it, rejects this client: check key, headers and Origin",
    404: "there is no Pusher server at this path: check host, port and path",
    407: "the proxy requires a login: set it in Options(proxy=...)",
    426: "a proxy in front of the server may drop the upgrade (nginx: proxy_set_header Upgrade, Connection)",
    429: "too many connections were opened from this address in a short time",
    500: "the server failed, or a proxy in front of it drops the upgrade (then Reverb answers 500): look at their logs",
}


ENDED_UNOPENED = "the connection ended before it was open"
"""The reason when a stream ends before any answer."""
ENDED_IN_ANSWER = "the connection ended within the answer to the upgrade"
"""The reason when a stream ends within the head of the answer."""

_OTHER_SERVICE = "another service answers on this port, or it is one for TLS and tls is False: check host and port"
_REASONS = {
    NOT_HTTP: _OTHER_SERVICE,
    ENDED_IN_ANSWER: _OTHER_SERVICE,
    ENDED_UNOPENED: "if tls is False: the server may expect TLS on this port",
}


def hint_for(code: int | None, text: str = "") -> str:
    """Return the hint for a close code, an error code or an HTTP status, or ""; `text` is the server's message.

    Without a code `text` is the reason of an end.
    """
    if code is None:
        return _REASONS.get(text, "")
    if code == 4009:
        words = text.lower()
        if "origin" in words:
            return _ORIGIN
        if says_terminated(text):
            return _TERMINATED
    if code < 1000:
        return status_hint(code)
    return _CODES.get(code, "")


_REFUSALS = {
    "missing user_id in channel_data": "this server accepts user_id as a string only: sign a string",
    "missing channel_data for presence": "sign channel_data; Sockudo has no presence channels with cache- in the name",
}


def refusal_hint(text: str) -> str:
    """Return the hint for a refused subscribe, or ""; `text` is the server's message."""
    words = text.lower()
    return next((hint for said, hint in _REFUSALS.items() if said in words), "")


def status_hint(status: int) -> str:
    """Return the hint for an upgrade answered with an HTTP status other than 101, or ""."""
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        return "the server, or the proxy in front of it, failed: look at its log"
    if 300 <= status < 400:
        return "redirects are not followed: set host, port and path to its target, unless a captive portal sent it"
    if 200 <= status < 300:
        return "a web server answers here, not a Pusher server: check host, port and path"
    return ""


# Numbers of OpenSSL (X509_V_ERR_...).
NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID."""
_ISSUER = (20, 21)
_STRICT = range(80, 95)

_CERTIFICATES = {
    NOT_YET_VALID: "is the clock of this machine right?",
    10: "renew it at the server; is the clock of this machine right?",
    18: "it is self-signed: trust it with an ssl_context that has loaded it",
    19: "its authority is not known here: trust it with an ssl_context that has loaded it",
    23: "it was revoked: the server needs a new one",
    62: "connect by a host name that is in the certificate",
    64: "connect by a host name that is in the certificate, or issue one for the IP address",
}


def tls_hint(verify_code: int | None, authorities: int | None = None) -> str:
    """Return the hint for a certificate that failed verification, or "".

    `verify_code` is OpenSSL's (`SSLCertVerificationError.verify_code`), `authorities` the number of authorities in the
    SSL context (`cert_store_stats()["x509_ca"]`).
    """
    if verify_code in (*_ISSUER, 19) and authorities == 0:
        return (
            "this machine seems to have no certificate authorities: install them (Debian: apt install ca-certificates; "
            "python.org on macOS: run Install Certificates.command)"
        )
    if verify_code in _ISSUER:
        return (
            "the server leaves out an intermediate certificate, or its authority is private: trust that with an "
            "ssl_context that has loaded it"
        )
    if verify_code in _STRICT:
        return (
            "Python 3.13 and later verify strictly: issue the authority's certificate again as RFC 5280 requires, or "
            "clear ssl.VERIFY_X509_STRICT in the verify_flags of your ssl_context"
        )
    return _CERTIFICATES.get(verify_code or 0, "")


_NOT_TLS = (
    "the server does not speak TLS on this port: to connect without it set tls=False, or --no-tls"
)
# OpenSSL's errors for an answer that is not TLS: up to 3.1, and since then.
_OPAQUE = {"WRONG_VERSION_NUMBER": _NOT_TLS, "RECORD_LAYER_FAILURE": _NOT_TLS}


def explained(reason: str) -> str:
    """Return the reason of a failed connection; put a hint before an OpenSSL error that does not explain itself."""
    for words, hint in _OPAQUE.items():
        if words in reason:
            return f"{hint} ({reason})"
    return reason
