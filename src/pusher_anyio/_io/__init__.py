"""The I/O of the async client: dialing, moving bytes, ringing at a time, tasks and threads, on asyncio and trio.

Knows `pusher_proto.driving` and nothing of the client or the protocol.
"""

from __future__ import annotations

import sys

from ._loop import Body, Connect, Loop
from ._messages import ConnectMessages, MessageConnection

__all__ = ["Body", "Connect", "ConnectMessages", "Loop", "MessageConnection", "current_loop"]


def current_loop() -> Loop:
    """Return the I/O for the event loop that is running."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        from ._trio import TrioLoop

        return TrioLoop()
    from ._asyncio import AsyncioLoop

    return AsyncioLoop()
