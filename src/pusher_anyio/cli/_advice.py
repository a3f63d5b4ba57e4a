"""The advice for each failure that `doctor` distinguishes."""

from __future__ import annotations

import os
import socket
import ssl
from typing import assert_never

from pusher_proto import (
    AuthorizationError,
    ConnectionLost,
    ConnectionUnsafe,
    ConnectStep,
    PusherError,
    SubscriptionError,
)
from pusher_proto.closing import hint_for, status_hint, tls_hint
from pusher_proto.names import kind_of

from ._arguments import Arguments

__all__ = ["ALL_IS_WELL", "about_channel", "about_connection", "what_happened"]

ALL_IS_WELL = (
    "Everything works up to the events. If none are received, compare the app (key and cluster), the\n"
    "channel's name and the event's name with those of the publisher. `pusher-proto listen` prints\n"
    "every event."
)


def what_happened(lost: ConnectionLost) -> str:
    """Return the error message of the system, or else the session's reason."""
    match lost.error:
        case ConnectionUnsafe():
            return str(lost.error)
        case ssl.SSLError(reason=str(reason)):
            return reason.lower().replace("_", " ")
        case socket.gaierror(strerror=str(text)):
            return text
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            return lost.reason


def about_connection(
    step: ConnectStep | None, lost: ConnectionLost, arguments: Arguments, *, timed_out: bool
) -> str:
    """Return what to do when the connection ended in this step; None: after the steps of connecting."""
    match step:
        case ConnectStep.LOOKUP:
            what = "--cluster" if arguments.cluster else "the host"
            what = "--proxy" if arguments.proxy else what
            return f"Check {what} for a typing error, and that this machine can look up names."
        case ConnectStep.TCP:
            return _about_tcp(lost, arguments, timed_out)
        case ConnectStep.PROXY:
            if lost.code == 407:
                return "Give the login of the proxy: --proxy http://USER:PASSWORD@HOST:PORT."
            return (
                "Check --proxy (http://HOST:PORT or socks5://HOST:PORT), and what the proxy allows."
            )
        case ConnectStep.TLS:
            return _about_tls(lost, timed_out)
        case ConnectStep.UPGRADE:
            return _about_upgrade(lost, timed_out)
        case ConnectStep.GREETING:
            return _sentence(_about_key(lost, timed_out))
        case None:
            return "The connection ended during the test. A client would reconnect by itself: try again."
        case _:
            assert_never(step)


def _about_key(lost: ConnectionLost, timed_out: bool) -> str:
    if lost.code == 4001:
        return "check --key, and --cluster or --host: a key is known in one place only"
    if lost.code == 4009 and "origin" in lost.reason.lower():
        return "give --origin URL, with one that the server allows"
    if timed_out:
        return "the server accepted the connection, but sent no greeting: look at its log"
    default = "look at the server's log: it accepted the connection, then ended it"
    return lost.hint or hint_for(lost.code, lost.reason) or default


def _about_tcp(lost: ConnectionLost, arguments: Arguments, timed_out: bool) -> str:
    if arguments.proxy and isinstance(lost.error, ConnectionRefusedError):
        return "Nothing listens there: check --proxy."
    if isinstance(lost.error, ConnectionRefusedError):
        return "Nothing listens there: start the server, or check --host and --port (Reverb: 8080, Soketi: 6001)."
    if timed_out or isinstance(lost.error, TimeoutError):
        return "Nothing answers: check the host and the port; a firewall may drop the packets."
    return "This machine has no route there: check its network and the address."


_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's numbers for a certificate that signs itself, or whose authority is not known."""


def _about_tls(lost: ConnectionLost, timed_out: bool) -> str:
    if isinstance(lost.error, ConnectionUnsafe):
        error = lost.error
        if error.verify_code in _UNKNOWN_AUTHORITY and error.authorities != 0:
            return (
                "If you know who made the certificate, trust that authority with --ca FILE (PEM)."
            )
        return _sentence(
            tls_hint(error.verify_code, error.authorities) or "look at the certificate"
        )
    if timed_out:
        return "The server does not seem to speak TLS on this port: try --no-tls, or another port."
    return "The server does not speak TLS on this port: try --no-tls, or another port."


def _about_upgrade(lost: ConnectionLost, timed_out: bool) -> str:
    code = lost.code
    if timed_out:
        return (
            "The program on this port does not answer HTTP requests: check the host and the port. A proxy must pass "
            "the upgrade on with its Connection header, in HTTP/1.1 (nginx: proxy_http_version 1.1)."
        )
    if code is None or code >= 1000:
        return "This port has no WebSocket server, or expects TLS (leave out --no-tls): check the port."
    if 300 <= code < 400:
        return "Redirects are not followed: give their target in --host, --port and --path."
    if code < 300 or code == 404:
        return "A web server answers here, not a Pusher server: check --host, --port and --path."
    return _sentence(status_hint(code) or "check the host, the port and the path")


def about_channel(error: PusherError, channel: str, *, signed_here: bool, timed_out: bool) -> str:
    """Return what to do when a channel could not be subscribed."""
    if isinstance(error, AuthorizationError) and not signed_here:
        return _about_endpoint(error, timed_out)
    if timed_out:
        return "The server does not answer for this channel: look at its log."
    if not kind_of(channel).needs_authorization:
        return "The server refuses every client on this channel: look at its log."
    code = error.code if isinstance(error, SubscriptionError) else None
    if code == 4100:
        return "The channel is full: raise the limit of the server, or wait until members leave."
    if code is not None and code not in _OF_SIGNATURES:
        return "The signature is not the problem: see the server's message, or its log."
    if signed_here:
        return "Check --secret: it must be the secret of the app with this key."
    return "Check that the auth endpoint signs with the key and the secret of this app."


_OF_SIGNATURES = (401, 403, 4009)
"""Codes with which servers refuse a signature; Soketi and older servers send an HTTP status, or no code."""

_ENDPOINT = {
    401: "Say who you are: --header 'Authorization: Bearer TOKEN', or --header 'Cookie: ...'.",
    403: "Check the rule for this channel (Laravel: routes/channels.php), and whose token it is.",
    404: "Check --auth-url: the application has nothing at its path (Laravel: /broadcasting/auth).",
    405: "Check --auth-url: the endpoint must take POST.",
    419: "Use a route with a bearer token (Laravel: auth:sanctum); this one requires a CSRF token.",
}


def _about_endpoint(error: AuthorizationError, timed_out: bool) -> str:
    status = error.status
    if timed_out:
        return "The auth endpoint does not answer in time: look at the application's log."
    if status is None:
        return "Check --auth-url, and that the application is running there."
    if 300 <= status < 400:
        return "The redirect probably leads to a login page: say who you are with --header, or correct --auth-url."
    if status >= 500:
        return "The application failed: look at its log."
    if 200 <= status < 300:
        if error.body:
            return "The answer is a web page, probably a login: say who you are with --header, and check --auth-url."
        return """The endpoint must answer JSON such as {"auth": "KEY:SIGNATURE"}: look at what it answers."""
    return _ENDPOINT.get(status, "The application refuses the request: look at its log.")


def _sentence(hint: str) -> str:
    return f"{hint[0].upper()}{hint[1:]}" + ("" if hint.endswith("?") else ".")
