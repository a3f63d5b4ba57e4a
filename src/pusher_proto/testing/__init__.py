"""The kit for tests of programs that use the clients; the test server itself is in `pusher_proto.server`.

Re-exports the server's public names.
"""

from __future__ import annotations

from ..server import (
    DEMO_APP,
    Answers,
    App,
    AuthRequest,
    AuthUser,
    MessageRate,
    ReceivedMessage,
    Server,
    ServerClose,
    ServerEffect,
    ServerLimits,
    ServerSend,
    ServerStats,
    Shape,
)

__all__ = [
    "DEMO_APP",
    "Answers",
    "App",
    "AuthRequest",
    "AuthUser",
    "MessageRate",
    "ReceivedMessage",
    "Server",
    "ServerClose",
    "ServerEffect",
    "ServerLimits",
    "ServerSend",
    "ServerStats",
    "Shape",
]
