"""A client of a `Server` that exchanges whole messages with it over a WebSocket in memory."""

from __future__ import annotations

from collections import deque

from .._wire.websocket import PeerClosed, UpgradeRefused, UpgradeRequest, Violation, WebSocket
from ..errors import ConnectionEnded

__all__ = ["MessageClient"]


class MessageClient:
    """The client's end of one WebSocket. Pass the server's bytes to `received`, and send `to_server` to the server.

    `messages` are the texts that the server sent, in order; take them with `popleft`.
    """

    def __init__(self, host: str, target: str) -> None:
        self._websocket = WebSocket(UpgradeRequest(host, target))
        self.to_server: bytes = self._websocket.open()
        """The bytes for `Server.receive_data`; clear it after the call."""
        self.messages: deque[str] = deque()
        self.end: ConnectionEnded | None = None
        """How the server ended or refused the connection: the close code or the HTTP status. None while it has not."""

    @property
    def is_open(self) -> bool:
        """Whether the server has accepted the connection and neither side has begun to close it."""
        return self._websocket.is_open

    def received(self, data: bytes) -> None:
        """Process bytes of the server."""
        for item in self._websocket.receive_data(data):
            match item:
                case bytes():
                    self.messages.append(item.decode())
                case PeerClosed() | Violation():
                    self.end = ConnectionEnded(item.code, item.reason)
                case UpgradeRefused():
                    text = f"the upgrade was answered with HTTP {item.status} {item.reason}"
                    self.end = ConnectionEnded(item.status, text.rstrip())
        self.to_server += self._websocket.data_to_send()

    def send(self, text: str) -> None:
        """Send a message to the server. Raises `LocalProtocolError` while the connection is not open."""
        self.to_server += self._websocket.send_text(text)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, if none was sent or received."""
        self.to_server += self._websocket.send_close(code, reason)
