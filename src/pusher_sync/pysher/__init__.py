"""Pysher's names on this client, for programs written for Pysher: `from pusher_sync import pysher`.

It uses only public names of `pusher_sync` and `pusher_proto`. Its modules have the names of Pysher's modules.
"""

from __future__ import annotations

import sys

from . import channel, connection, pusher
from .pusher import Channel, Connection, Pusher

__all__ = ["Channel", "Connection", "Pusher", "install"]

_NAMES = ("pysher", "pusherclient")


def install() -> None:
    """Replace `pysher` and `pusherclient` with this package, for libraries that import these.

    Raises RuntimeError if one of them is imported already: its classes would stay in use.
    """
    ours = sys.modules[__name__]
    for name in _NAMES:
        if sys.modules.get(name, ours) is not ours:
            why = "is imported already: call install() before any import of it, at the top of the program"
            raise RuntimeError(f"{name} {why}")
    for name in _NAMES:
        sys.modules[name] = ours
        for module in (channel, connection, pusher):
            sys.modules[module.__name__.replace(__name__, name)] = module
