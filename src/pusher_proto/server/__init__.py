"""The server side of the protocol as a machine, for tests, simulations and demonstrations.

It is a server for development: no clustering, no persistence, no protection against abuse. It imports only `errors`
and `signing` of the client's core.
"""

from __future__ import annotations

from ._auth_endpoint import AuthRequest, AuthUser
from ._effects import ServerClose, ServerEffect, ServerRequest, ServerSend
from ._faults import Answers, Shape
from ._limits import ServerLimits
from ._options import ServerOptions
from ._reports import Report
from ._server import Server
from ._webhooks import SentWebhook, Webhook, WebhookKind
from ._world import PublishedEvent, ReceivedMessage, ServerStats
from .apps import DEMO_APP, App, MessageRate

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
