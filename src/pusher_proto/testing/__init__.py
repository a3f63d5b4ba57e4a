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
    PublishedEvent,
    ReceivedMessage,
    Report,
    SentWebhook,
    Server,
    ServerClose,
    ServerEffect,
    ServerLimits,
    ServerOptions,
    ServerRequest,
    ServerSend,
    ServerStats,
    Shape,
    Webhook,
    WebhookKind,
)

__all__ = [
    "DEMO_APP",
    "Answers",
    "App",
    "AuthRequest",
    "AuthUser",
    "MessageRate",
    "PublishedEvent",
    "ReceivedMessage",
    "Report",
    "SentWebhook",
    "Server",
    "ServerClose",
    "ServerEffect",
    "ServerLimits",
    "ServerOptions",
    "ServerRequest",
    "ServerSend",
    "ServerStats",
    "Shape",
    "Webhook",
    "WebhookKind",
]
