"""The order and the delay in which the addresses of a host are tried ("Happy Eyeballs", RFC 8305)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

__all__ = ["STAGGER", "in_turns", "peer_of"]

STAGGER = 0.25
"""Seconds before the next address is tried as well (section 5)."""


def in_turns(infos: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield the addresses of alternating families, and of each family in the system's order.

    `infos` is what `socket.getaddrinfo` returned.
    """
    families: dict[int, list[tuple[Any, ...]]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    for group in zip_longest(*families.values()):
        yield from filter(None, group)


def peer_of(sock: Any) -> object:
    """Return the address that a socket is connected to, or None if it does not say: for `Wire.opened`."""
    try:
        return sock.getpeername()
    except (OSError, AttributeError):
        return None
