"""Reads Pysher's arguments for a proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pusher_proto import proxy_from_env

__all__ = ["PROXY", "proxy_for"]

PROXY = ("http_proxy_host", "http_proxy_port", "http_no_proxy", "http_proxy_auth")


def proxy_for(url: str, socket_kwargs: Mapping[str, Any]) -> str | None:
    """Return the proxy of the arguments, or of the environment variables that websocket-client reads, or None."""
    host, port, exceptions, login = (socket_kwargs.get(name) for name in PROXY)
    env = dict(os.environ)
    if host:
        at = ":".join(quote(part, safe="") for part in login) + "@" if login else ""
        kind = socket_kwargs.get("proxy_type") or "http"
        env["ws_proxy"] = env["wss_proxy"] = f"{kind}://{at}{host}:{port}"
    if exceptions:
        env["no_proxy"] = exceptions if isinstance(exceptions, str) else ",".join(exceptions)
    return proxy_from_env(env, url)
