"""Describes errors of the operating system and of TLS."""

from __future__ import annotations

from .._protocol.hints import explained
from ..errors import excerpt

__all__ = ["in_words"]


def in_words(error: BaseException, where: str, proxy: object, *, opening: bool) -> str:
    """Return a description of an error with the address `where`, and with the proxy if the error is about opening."""
    said = getattr(error, "strerror", None) or str(error)
    if isinstance(error, TimeoutError) and not said:
        said = "timed out"
    if isinstance(error, ConnectionRefusedError):  # asyncio says "Connect call failed (host, port)"
        said = "connection refused"
    if type(error).__name__ == "gaierror":
        said = f"name not found ({said})" if said else "name not found"
    said = said or type(error).__name__
    if not opening:
        return excerpt(f"the connection to {where} broke: {said}", 200)
    way = "" if proxy is None else f" through {proxy}"
    return excerpt(f"could not reach {where}{way}: {explained(said)}", 256)
