"""Hints for the most common mistakes: which setting to change, and where."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ._http import HttpRequest, parse_form

__all__ = [
    "TLS_ON_A_PLAIN_PORT",
    "fallback_transport",
    "masked",
    "wrong_endpoint",
    "wrong_key",
    "wrong_secret",
]

TLS_ON_A_PLAIN_PORT = (
    "a client speaks TLS to this plain port: set forceTLS: false in pusher-js and Echo, useTLS: false or "
    "scheme http in back ends; or serve with --tls-cert and --tls-key"
)
_FALLBACK = re.compile(r"/pusher/app/|/sockjs|/xhr_(streaming|polling)|/jsonp")
_ENDPOINTS = "/pusher/auth and /pusher/user-auth, or /broadcasting/auth and /broadcasting/user-auth"


def wrong_key(keys: Iterable[str]) -> str:
    """Return what to do about an unknown key."""
    known = ", ".join(keys)
    return (
        f"the keys here are {known}: set one of them as the key in pusher-js and Echo, and as PUSHER_APP_KEY or "
        "REVERB_APP_KEY in back ends"
    )


def wrong_secret(app_id: str) -> str:
    """Return what to do about a wrong signature."""
    return (
        f"it is not signed with the secret of app {app_id}: set PUSHER_APP_SECRET or REVERB_APP_SECRET "
        "in the back end that signs"
    )


def fallback_transport(path: str) -> str | None:
    """Return what to do about a client that tries another transport than WebSocket, or None."""
    if _FALLBACK.search(path) is None:
        return None
    return (
        "fallback transports (sockjs, xhr_streaming, xhr_polling) and JSONP are not served: set "
        "enabledTransports: ['ws', 'wss'] in pusher-js and Echo"
    )


def wrong_endpoint(request: HttpRequest) -> str | None:
    """Return what to do about a request for an authorization at the wrong path, or None."""
    fields = parse_form(request.body.decode("utf-8", "replace")) or {}
    if request.method != "POST" or not ("socket_id" in fields or b'"socket_id"' in request.body):
        return None
    return (
        f"the auth endpoints here are {_ENDPOINTS}: set channelAuthorization.endpoint and "
        "userAuthentication.endpoint in pusher-js, authEndpoint in Echo"
    )


def masked(message: str) -> str:
    """Return an error message without the signature in it."""
    return re.sub(r"(but (?:got|you sent)) .*", r"\1 ***", message, flags=re.DOTALL)
