"""The order and the delay in which the addresses of a host are tried ("Happy Eyeballs", RFC 8305)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

__all__ = ["STAGGER", "in_turns", "peer_of"]

STAGGER = 0.25
"""The delay in seconds before the next address is tried, while the earlier ones have not answered (section 5)."""


def in_turns(infos: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield the addresses with alternating families; those of one family in the order of the system.

    `infos` is the result of `socket.getaddrinfo`.
    """
    families: dict[int, list[tuple[Any, ...]]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    for group in zip_longest(*families.values()):
        yield from filter(None, group)


def peer_of(sock: Any) -> object:
    """Return the address of a socket's peer, or None if it is not known: for `Wire.opened`."""
    try:
        return sock.getpeername()
    except (OSError, AttributeError):
        return None
