"""Describes errors of the operating system and of TLS, and the phases of an attempt to connect."""

from __future__ import annotations

from .._protocol.hints import explained
from ..errors import excerpt, message_of
from ..states import SessionState

__all__ = ["PHASES", "error_text"]

PHASES = {
    SessionState.OPENING: "name lookup, TCP or TLS",
    SessionState.UPGRADING: "the upgrade",
    SessionState.GREETING: "the greeting",
}
"""The phase in which each state is."""


def error_text(error: BaseException, where: str, proxy: object, *, opening: bool) -> str:
    """Return a description of an error with the address `where`, and with the proxy if the error is about opening."""
    text = getattr(error, "strerror", None) or message_of(error)
    if isinstance(error, TimeoutError) and not text:
        text = "timed out"
    if isinstance(error, ConnectionRefusedError):  # asyncio says "Connect call failed (host, port)"
        text = "connection refused"
    if type(error).__name__ == "gaierror":
        text = f"name not found ({text})" if text else "name not found"
    text = text or type(error).__name__
    if not opening:
        return excerpt(f"the connection to {where} broke: {text}", 200)
    way = "" if proxy is None else f" through {proxy}"
    return excerpt(f"could not reach {where}{way}: {explained(text)}", 256)
