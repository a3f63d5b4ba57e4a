"""The steps of connecting, as `open_pusher(options, on_progress=...)` reports them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

__all__ = ["ConnectStep", "OnProgress", "Progress", "ProgressState"]


class ConnectStep(StrEnum):
    """A step of an attempt to connect, in this order."""

    LOOKUP = "name lookup"
    """The addresses of the host, or of the proxy, are looked up."""
    TCP = "TCP"
    """The host or the proxy is dialed: all addresses, until the first one answers."""
    PROXY = "proxy"
    """The proxy opens the way to the host. Only with a proxy."""
    TLS = "TLS"
    """TLS is established and the certificate is checked."""
    UPGRADE = "upgrade"
    """The server is asked for a WebSocket."""
    GREETING = "greeting"
    """The server checks the key and sends the socket id."""


class ProgressState(StrEnum):
    """What became of a step."""

    BEGAN = "began"
    ENDED = "ended"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There is nothing to do: TLS that is not wanted, the name lookup where `connect` opens the stream."""


class Progress(Struct, frozen=True):
    """A step of connecting began, ended, failed or was skipped."""

    step: ConnectStep
    """The step."""
    state: ProgressState
    """What became of it."""
    seconds: float = 0.0
    """How long the step took; 0 when it began or was skipped."""
    detail: str = ""
    """The result, for people: addresses, the address that answered, the certificate, the socket id."""
    error: BaseException | None = None
    """Why the step failed; None also when the application ended the attempt."""


OnProgress = Callable[[Progress], object]
"""Called for each step at once. It must not wait; its exceptions are logged."""
