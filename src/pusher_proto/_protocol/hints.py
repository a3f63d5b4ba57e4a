"""What a person can do about a failure: one table, for exceptions, log lines, the live view and `doctor`.

A hint is a clause without a capital or a full stop. It names options of the library; `doctor` puts its own before it.
"""

from __future__ import annotations

from .failures import says_terminated

__all__ = [
    "NO_GREETING",
    "UNGREETED",
    "explained",
    "hint_for",
    "refusal_hint",
    "status_hint",
    "tls_hint",
]

UNGREETED = (
    "Sockudo does so for a key it does not know, a disabled app and an app over max_connections; "
    "check the key"
)
"""The hint for an end after the upgrade and before the greeting."""
NO_GREETING = "this client speaks protocol 7: check that `query` does not ask for another"
"""The hint for something other than a greeting."""

_ORIGIN = "set Options(origin=...) to one that the server allows"
_TERMINATED = "the connections of this user were terminated by the application"

_CODES: dict[int | None, str] = {
    4000: "this app takes TLS only: leave tls=True",
    4001: "check the key and the cluster or host: this server does not know the app",
    4003: "the app is disabled",
    4004: "the app is over its connection quota: raise it, close other clients, or wait until the server has "
    "noticed the loss of a connection",
    4005: "check the path",
    4009: "this app wants a sign-in or a private channel soon after the greeting, signed with its secret",
}

_STATUSES = {
    400: "a proxy in front of the server may drop the upgrade (nginx: proxy_set_header Upgrade, Connection)",
    401: "something in front of the server wants credentials",
    403: "the server, or something in front of it, does not let this client in: check the key, headers and Origin",
    404: "nothing answers at this path: check host, port and path",
    407: "the proxy wants a login: set it in Options(proxy=...)",
    426: "a proxy in front of the server may drop the upgrade (nginx: proxy_set_header Upgrade, Connection)",
    429: "too many connections were opened from this address in a short time",
    500: "the server failed, or a proxy in front of it drops the upgrade (Reverb answers so then): look at their logs",
}


def hint_for(code: int | None, text: str = "") -> str:
    """Return what a person can do about a close code, an error code or a status; `text` are the server's words."""
    if code == 4009:
        words = text.lower()
        if "origin" in words:
            return _ORIGIN
        if says_terminated(text):
            return _TERMINATED
    if code is not None and code < 1000:
        return status_hint(code)
    return _CODES.get(code, "")


_REFUSALS = {
    "missing user_id in channel_data": "this server takes user_id as text only: sign a string",
    "missing channel_data for presence": "sign channel_data; Sockudo has no presence channels with cache- in the name",
}


def refusal_hint(text: str) -> str:
    """Return what a person can do about a refused subscribe; `text` are the server's words."""
    words = text.lower()
    return next((hint for said, hint in _REFUSALS.items() if said in words), "")


def status_hint(status: int) -> str:
    """Return what a person can do about an upgrade that was answered with `status`."""
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        return "the server, or the proxy in front of it, is in trouble: look at its log"
    if 300 <= status < 400:
        return "redirects are not followed: name the place in host, port and path, unless a captive portal sends it"
    if 200 <= status < 300:
        return "a web server answers here, and no Pusher server: check host, port and path"
    return ""


# Numbers of OpenSSL (X509_V_ERR_...).
_NOT_YET_VALID = 9
_ISSUER = (20, 21)
_STRICT = range(80, 95)

_CERTIFICATES = {
    _NOT_YET_VALID: "is the clock of this machine right?",
    10: "renew it at the server; is the clock of this machine right?",
    18: "it is self-signed: trust it with an ssl_context that has loaded it",
    19: "its authority is not known here: trust it with an ssl_context that has loaded it",
    23: "it was revoked: the server needs another",
    62: "connect by a name that the certificate is made for",
    64: "connect by a name that the certificate is made for, or have the address put into it",
}


def tls_hint(verify_code: int | None, authorities: int | None = None) -> str:
    """Return what a person can do about a certificate that was not accepted.

    `verify_code` is OpenSSL's (`SSLCertVerificationError.verify_code`), `authorities` the number of authorities that
    the context knows (`cert_store_stats()["x509_ca"]`).
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
            "Python 3.13 and later verify strictly: have the authority's certificate made again by the standard, or "
            "clear ssl.VERIFY_X509_STRICT in the verify_flags of your ssl_context"
        )
    return _CERTIFICATES.get(verify_code or 0, "")


_NOT_TLS = "the server does not speak TLS on this port: without it connects tls=False, or --no-tls"
# What OpenSSL calls an answer that is no TLS: up to 3.1, and since.
_OPAQUE = {"WRONG_VERSION_NUMBER": _NOT_TLS, "RECORD_LAYER_FAILURE": _NOT_TLS}


def explained(reason: str) -> str:
    """Return why there is no connection, with a hint before the system's words where they do not tell."""
    for words, hint in _OPAQUE.items():
        if words in reason:
            return f"{hint} ({reason})"
    return reason
