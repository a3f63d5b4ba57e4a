"""The kit for tests of programs that use the clients.

The test server itself is in `pusher_proto.server`; this package re-exports its public names.
"""

from __future__ import annotations

from .. import server
from ..server import *  # noqa: F403 - its `__all__` is the one list of these names

__all__: list[str] = []
__all__ += server.__all__
