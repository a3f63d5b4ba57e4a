"""The I/O of the blocking client: one thread for each client, which moves the bytes of its wires.

Knows `pusher_proto.driving` and itself, and nothing of the client.
"""

from threading import current_thread

from ._loop import IO, Connect, Loop
from ._messages import ConnectMessages, MessageConnection

__all__ = ["IO", "Connect", "ConnectMessages", "Loop", "MessageConnection", "current_thread"]
