"""Makes the client's options from a URL and from Pysher's arguments for its socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pusher_proto import PROTOCOL, Options, proxy_from_env

__all__ = ["PROXY", "options_for"]

PROXY = ("http_proxy_host", "http_proxy_port", "http_no_proxy", "http_proxy_auth")
_KNOWN = {*PROXY, "proxy_type", "origin", "ping_timeout"}
"""What can be in `socket_kwargs`. `ping_timeout` has no effect: in Pysher it has none either."""
_OF_PUSHER = (".pusher.com", ".pusherapp.com")


def options_for(
    url: str, interval: float, pings: tuple[float, float], socket_kwargs: Mapping[str, Any]
) -> Options:
    """Return the options of a connection. Raises TypeError and ValueError for an argument that is not supported, with
    what to do instead.

    `interval` is the longest time in seconds between two attempts; `pings` the silence before a ping and after it.
    """
    for name in socket_kwargs.keys() - _KNOWN:
        what = "is for websocket-client, which is not used here: see the arguments of open_pusher"
        raise TypeError(f"socket_kwargs[{name!r}] {what}")
    if type(interval) not in (int, float) or not interval >= 0:
        raise ValueError(f"reconnect_interval is a number of seconds, not {interval!r}")
    parts, cap = urlsplit(url), interval or 1.0
    # websocket-client sends this header; Reverb may demand it.
    origin = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
    return Options.from_url(
        url, query={"protocol": str(PROTOCOL)}, origin=socket_kwargs.get("origin") or origin,
        proxy=_proxy(url, socket_kwargs), strict_names=(parts.hostname or "").endswith(_OF_PUSHER),
        retry_base=min(1.0, cap), retry_cap=cap, activity_timeout=pings[0], pong_timeout=pings[1],
        auto_connect=False,
    )  # fmt: skip


def _proxy(url: str, socket_kwargs: Mapping[str, Any]) -> str | None:
    """Return the proxy of the arguments, or of the environment variables that websocket-client reads."""
    env = dict(os.environ)
    host, port, exceptions, login = (socket_kwargs.get(name) for name in PROXY)
    if host and not port:
        raise ValueError("http_proxy_host needs http_proxy_port")
    if host:
        at = ":".join(quote(part, safe="") for part in login) + "@" if login else ""
        kind = socket_kwargs.get("proxy_type") or "http"
        env["ws_proxy"] = env["wss_proxy"] = f"{kind}://{at}{host}:{port}"
    if exceptions:
        if isinstance(exceptions, str):
            raise TypeError("http_no_proxy is a list of host names")
        env["no_proxy"] = ",".join(exceptions)
    return proxy_from_env(env, url)
