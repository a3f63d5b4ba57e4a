"""The kit for tests of programs that use the clients; the test server itself is in `pusher_proto.server`.

Re-exports the server's public names.
"""

from __future__ import annotations

from .. import server
from ..server import *  # noqa: F403 - the one list of these names has an `__all__`

__all__: list[str] = []
__all__ += server.__all__
