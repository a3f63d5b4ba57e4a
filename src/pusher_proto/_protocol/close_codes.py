"""A close code, or the code of the `pusher:error` that stands for one: what to do next.

Classified by range, as the protocol document says, so that a code nobody has heard of is treated as its
neighbours are: https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/#error-codes
"""

from __future__ import annotations

from enum import Enum

__all__ = ["Next", "explained", "hint_for", "next_after", "next_after_status"]


class Next(Enum):
    """What follows the end of a connection."""

    REFUSE = "refuse"
    """Never again with the same options."""
    BACK_OFF = "back off"
    """Again after a delay that grows."""
    WAIT = "wait"
    """The same, and no sooner than a second."""
    AT_ONCE = "at once"
    """Again immediately the first time; back off when that keeps happening."""


def next_after(code: int | None) -> Next:
    """Return what follows a connection that ended with `code`; None is an end without any code."""
    if code is None or code < 4000 or code >= 4400:
        return Next.BACK_OFF
    if code < 4100:
        return Next.REFUSE
    if code < 4200:
        return Next.WAIT
    if code < 4300:
        return Next.AT_ONCE
    # 4300-4399 belong in pusher:error and close nothing on Pusher; as close codes pusher-js gives up on them
    # and the Java and Swift clients retry. Only servers that limit something send them: come back slowly.
    return Next.WAIT


def next_after_status(status: int) -> Next:
    """Return what follows an upgrade that was answered with the HTTP `status` in place of 101."""
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Next.REFUSE
    # 5xx and the three above pass. 200 and 3xx: a captive portal or a proxy in the way, which goes away again.
    return Next.WAIT


_HINTS: dict[int | None, str] = {
    4000: "this app takes TLS only: leave tls=True",
    4001: "check the key and the cluster or host: this server does not know the app",
    4003: "the app is disabled",
    4004: "the app is over its connection quota",
    4005: "check the path",
    4009: "the connection was not authorized or was terminated by the application",
    401: "something in front of the server wants credentials",
    403: "the server, or something in front of it, does not let this client in: check the key, headers and Origin",
    404: "nothing answers at this path: check host, port and path",
}


def hint_for(code: int | None) -> str:
    """Return what a person can do about `code`, or an empty text."""
    return _HINTS.get(code, "")


_NOT_TLS = "the server does not speak TLS on this port: without it connects tls=False, or --no-tls"
_OPAQUE = {  # what OpenSSL calls an answer that is no TLS: up to 3.1, and since
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
}


def explained(reason: str) -> str:
    """Return why no connection came about, with what a person can do where the system's words do not tell."""
    for words, hint in _OPAQUE.items():
        if words in reason:
            return f"{hint} ({reason})"
    return reason
