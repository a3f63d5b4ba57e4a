"""The steps of connecting, as `open_pusher(options, on_progress=...)` reports them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

__all__ = ["ConnectStep", "OnProgress", "Progress", "ProgressState"]


class ConnectStep(StrEnum):
    """A step of an attempt to connect. The steps have this order."""

    LOOKUP = "name lookup"
    """Look up the addresses of the host or the proxy."""
    TCP = "TCP"
    """Connect to the host or the proxy: try its addresses until one answers."""
    PROXY = "proxy"
    """Open a tunnel through the proxy. Only with a proxy."""
    TLS = "TLS"
    """Establish TLS and verify the certificate."""
    UPGRADE = "upgrade"
    """Upgrade the connection to WebSocket."""
    GREETING = "greeting"
    """Wait for the greeting of the server, which has the socket id."""


class ProgressState(StrEnum):
    """The state of a step."""

    BEGAN = "began"
    ENDED = "ended"
    FAILED = "failed"
    SKIPPED = "skipped"
    """The step is not needed: TLS with `tls=False`, or the name lookup when `connect` opens the stream."""


class Progress(Struct, frozen=True):
    """A step of connecting began, ended, failed or was skipped."""

    step: ConnectStep
    """The step."""
    state: ProgressState
    """Its state."""
    seconds: float = 0.0
    """The duration of the step; 0 when it began or was skipped."""
    detail: str = ""
    """A description of the result: the addresses, the address that answered, the certificate, the socket id."""
    error: BaseException | None = None
    """Why the step failed; None if the application canceled the attempt."""


OnProgress = Callable[[Progress], object]
"""Called immediately for each change. It must return quickly; its exceptions are logged."""
