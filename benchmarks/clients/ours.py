"""The options of both of this project's clients."""

from __future__ import annotations

import ssl
from typing import Any

from benchmarks.meter import Meter
from benchmarks.payloads import KEY, SECRET
from pusher_proto import AuthEndpoint, Options, OwnKey

__all__ = ["context_of", "options_of"]


def options_of(meter: Meter) -> Options:
    """Return the options for a workload."""
    auth: Any = OwnKey(KEY, SECRET)
    if meter.kind == "reconnect":
        auth = AuthEndpoint(f"http://127.0.0.1:{meter.port}/auth")
    more = {"max_members": 20_000} if meter.kind == "roster" else {}
    return Options.from_host(
        meter.host, key=KEY, port=meter.port, tls=meter.tls, auth=auth, max_channels=20_000, **more
    )


def context_of(meter: Meter) -> ssl.SSLContext | None:
    """Return a TLS context for streams over TLS; None for the default one. SSL_CERT_FILE names the authority."""
    return ssl.create_default_context() if meter.tls and meter.kind == "stream" else None
