"""Pysher's names on this client, for programs written for Pysher: `from pusher_sync import pysher`.

The room knows the public names of `pusher_sync` and `pusher_proto` alone. Its modules are named as those of Pysher.
"""

from __future__ import annotations

import sys

from . import channel, connection, pusher
from .channel import Channel
from .connection import Connection
from .pusher import Pusher

__all__ = ["Channel", "Connection", "Pusher", "install"]

_NAMES = ("pysher", "pusherclient")


def install() -> None:
    """Put this package in the place of `pysher` and `pusherclient`, for libraries that import these.

    Raises RuntimeError when one of them is imported already: its classes would be used on.
    """
    ours = sys.modules[__name__]
    for name in _NAMES:
        other = sys.modules.get(name, ours)
        if other is not ours:
            raise RuntimeError(
                f"{name} is imported already ({getattr(other, '__file__', None)}): call install() before any import "
                "of it, at the top of the program"
            )
    for name in _NAMES:
        sys.modules[name] = ours
        for module in (channel, connection, pusher):
            sys.modules[f"{name}.{module.__name__.rpartition('.')[2]}"] = module
