"""What to do about what went wrong: a sentence for each failure that `doctor` can tell apart."""

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
    "Nothing is wrong on the way to the events. When none come, compare what is published with what is\n"
    "listened to: the app (key and cluster), the channel's name, the event's name. `pusher-proto listen`\n"
    "prints every event."
)


def what_happened(lost: ConnectionLost) -> str:
    """Return what the system said, in its words, or else the session's reason."""
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
        return "the server took the connection and never greeted: look at its log"
    default = "look at the server's log: it took the connection and ended it"
    return lost.hint or hint_for(lost.code, lost.reason) or default


def _about_tcp(lost: ConnectionLost, arguments: Arguments, timed_out: bool) -> str:
    if arguments.proxy and isinstance(lost.error, ConnectionRefusedError):
        return "Nothing listens there: check --proxy."
    if isinstance(lost.error, ConnectionRefusedError):
        return "Nothing listens there: start the server, or check --host and --port (Reverb: 8080, Soketi: 6001)."
    if timed_out or isinstance(lost.error, TimeoutError):
        return "Nothing answers: check the host and the port; a firewall may swallow what is sent there."
    return "This machine finds no way there: check its network and the address."


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
        return "The server does not speak TLS on this port, as it seems: try --no-tls, or another port."
    return "The server does not speak TLS on this port: try --no-tls, or another port."


def _about_upgrade(lost: ConnectionLost, timed_out: bool) -> str:
    code = lost.code
    if timed_out:
        return "What listens there does not answer a web request: check the host and the port."
    if code is None or code >= 1000:
        return "What listens there is no WebSocket server, or wants TLS (leave out --no-tls): check the port."
    if 300 <= code < 400:
        return "Name the place that it leads to in --host, --port and --path; redirects are not followed."
    if code < 300 or code == 404:
        return "A web server answers here, and no Pusher server: check --host, --port and --path."
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
        return "This is not about the signature: the server's words say why, or its log."
    if signed_here:
        return "Check --secret: it must be the secret of the very app that the key belongs to."
    return "Check that the auth endpoint signs with the key and the secret of this very app."


_OF_SIGNATURES = (401, 403, 4009)
"""Codes with which servers refuse a signature; Soketi and older servers send an HTTP status, or no code."""

_ENDPOINT = {
    401: "Say who you are: --header 'Authorization: Bearer TOKEN', or --header 'Cookie: ...'.",
    403: "Check the rule for this channel (Laravel: routes/channels.php), and whose token it is.",
    404: "Check --auth-url: nothing answers at its path (Laravel: /broadcasting/auth).",
    405: "Check --auth-url: the endpoint must take POST.",
    419: "Use a route with a bearer token (Laravel: auth:sanctum); this one wants a CSRF token.",
}


def _about_endpoint(error: AuthorizationError, timed_out: bool) -> str:
    status = error.status
    if timed_out:
        return "The auth endpoint does not answer in time: look at the application's log."
    if status is None:
        return "Check --auth-url, and that the application is running there."
    if 300 <= status < 400:
        return "A redirect is mostly to a login page: say who you are with --header, or name the right --auth-url."
    if status >= 500:
        return "The application fails: look at its log."
    if 200 <= status < 300:
        if error.body:
            return (
                "A web page is mostly a login: say who you are with --header, and check --auth-url."
            )
        return """The endpoint must answer JSON such as {"auth": "KEY:SIGNATURE"}: look at what it answers."""
    return _ENDPOINT.get(status, "The application refuses the request: look at its log.")


def _sentence(hint: str) -> str:
    return f"{hint[0].upper()}{hint[1:]}" + ("" if hint.endswith("?") else ".")
