"""A connected session whose requests for authorizations are answered by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from proto.scripted import called, greeting, upgrade_for
from proto.websocket_peer import frame
from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    CallApplication,
    CancelCall,
    ChannelState,
    CloseTransport,
    OpenTransport,
    Options,
    SendData,
    Session,
)

__all__ = ["Post", "ScriptedEndpoint"]


@dataclass
class Post:
    """A request that the client made."""

    transport: int
    head: bytes
    body: bytes

    def form(self) -> dict[str, str]:
        """Return the fields of a form."""
        return dict(parse_qsl(self.body.decode()))


class ScriptedEndpoint:
    """Drives the session: its WebSocket is open and greeted, and each POST waits for `answer`."""

    def __init__(
        self, endpoint: AuthEndpoint | None = None, session: Session | None = None
    ) -> None:
        options = Options.from_host("ws.test", key="key", tls=False, auth=endpoint)
        self.session = session or Session(options)
        self.now = 100.0
        self._open: list[Post] = []
        self._waiting: list[Post] = []
        self._closed = 0
        self._effects: list[Any] = []
        self._link = 0
        self.session.connect(now=self.now)
        self._drain()
        self.session.receive_data(self._link, frame(greeting()), now=self.now)

    def subscribe(self, *channels: str) -> None:
        """Want channels, all in one turn."""
        for channel in channels:
            self.session.subscribe(channel, now=self.now)
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        self._drain()
        self.now += seconds
        self.session.handle_timeout(now=self.now)
        self._drain()

    def effects(self) -> list[Any]:
        """Return the effects since the last call other than bytes and streams."""
        self._drain()
        effects, self._effects = self._effects, []
        return effects

    def posts(self) -> list[Post]:
        """Return the requests that wait for an answer and were not seen before."""
        self.pass_time(0)
        new, self._open = self._open, []
        self._waiting += new
        return new

    def answer(self, status: int, body: bytes) -> None:
        """Answer the oldest request that waits."""
        post = self._waiting.pop(0)
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.session.receive_data(post.transport, head + body, now=self.now)
        self._drain()

    def subscribed(self) -> list[str]:
        """Return the channels whose subscribe was sent."""
        self._drain()
        session = self.session
        return [
            n for n in session.channels() if session.channel(n).state is ChannelState.SUBSCRIBING
        ]

    def error(self, channel: str) -> AuthorizationError:
        """Return why the channel has no authorization."""
        error = self.session.channel(channel).last_error
        assert isinstance(error, AuthorizationError)
        return error

    def status(self, channel: str) -> int | None:
        """Return the HTTP status that refused the channel."""
        return self.error(channel).status

    def closed(self) -> int:
        """Return how many streams to the endpoint were given up in the midst of a request."""
        self._drain()
        return self._closed

    def _drain(self) -> None:
        while (effect := self.session.next_effect()) is not None:
            match effect:
                case OpenTransport():
                    self._link = self._link or effect.transport
                    self.session.transport_opened(effect.transport, now=self.now)
                case SendData() if effect.data.startswith(b"GET "):
                    answer = upgrade_for(effect.data)
                    self.session.receive_data(effect.transport, answer, now=self.now)
                case SendData() if effect.data.startswith(b"POST "):
                    head, _, body = effect.data.partition(b"\r\n\r\n")
                    self._open.append(Post(effect.transport, head, body))
                case SendData():
                    pass  # frames
                case CloseTransport():
                    self._closed += effect.abort and effect.transport != self._link
                    self.session.transport_closed(effect.transport, now=self.now)
                case CallApplication():
                    self.session.call_ended(effect.request, called(effect), now=self.now)
                case CancelCall():
                    pass  # what is called has returned
                case _:
                    self._effects.append(effect)
        while self.session.next_event() is not None:
            pass
