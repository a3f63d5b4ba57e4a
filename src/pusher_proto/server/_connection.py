"""One client's connection: bytes to HTTP requests and WebSocket messages, and back.

It knows neither events nor channels nor routes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Protocol, TypeAlias, assert_never

import msgspec

from ._effects import ServerClose, ServerEffect, ServerSend
from ._http import HttpRequest, HttpResponse
from ._limits import ServerLimits
from ._requests import RequestHabits, RequestReader
from ._websocket import BinaryMessage, Broken, PeerClosed, Ping, Pong, WebSocket, text_frame

__all__ = ["Connection", "Item", "Left", "State"]


class State(Enum):
    """The state of a connection."""

    READING = auto()
    """Waiting for a request, or for the rest of one."""
    ANSWERING = auto()
    """A request has no answer yet; bytes after it are kept."""
    STREAMING = auto()
    """An answer of many pieces is being sent; bytes from the client are ignored."""
    OPEN = auto()
    """An open WebSocket."""
    CLOSING = auto()
    """The close frame was sent; waiting for the client's."""
    OVER = auto()
    """Nothing more is read; the client is expected to disconnect."""
    ENDED = auto()
    """Nothing more is read or sent."""


class Habits(RequestHabits, Protocol):
    """The properties of connections that a dialect decides."""

    @property
    def ends_at_once(self) -> bool:
        """Whether the stream ends right after a close frame."""

    @property
    def reply_to_broken(self) -> Callable[[int, str], tuple[int, str] | None]:
        """The close frame after a violation of the protocol, or None."""


class Left(msgspec.Struct, frozen=True):
    """The WebSocket has ended: the peer closed it, or violated the protocol."""


Item: TypeAlias = HttpRequest | str | BinaryMessage | Left


class Connection:
    """HTTP and WebSocket on one connection. Feed it bytes, pull items until None, answer each request."""

    def __init__(
        self,
        number: int,
        limits: ServerLimits,
        emit: Callable[[Connection, ServerEffect], None],
        habits: Habits,
    ) -> None:
        self.number = number
        self._habits = habits
        self.state: State = State.READING
        self.silent = False
        """Whether the connection is muted: nothing is sent, and messages of the client are read and ignored."""
        self.unsent = 0
        """Bytes in effects that the caller has not taken yet."""
        self.held: dict[Hashable, None] = {}
        """The timers of delayed answers."""
        self.last_received: float = 0.0
        """When the client last sent anything."""
        self.peer: str | None = None
        """The address of the client, where the caller gave it."""
        self.rejected: tuple[HttpResponse, bool] | None = None
        """The answer to bytes that are not HTTP, and whether they were a TLS hello."""
        self.uses_control_frames: bool = False
        """Whether the client has sent a ping or a pong of the WebSocket protocol."""
        self._limits = limits
        self._emit = emit
        self._http = RequestReader(limits, self._send_unless_silent, habits)
        self._websocket: WebSocket | None = None

    @property
    def is_websocket(self) -> bool:
        """Whether this is a WebSocket on which messages can still be sent."""
        return self.state is State.OPEN

    @property
    def is_streaming(self) -> bool:
        """Whether pieces of an answer can still be sent."""
        return self.state is State.STREAMING

    def receive_data(self, data: bytes) -> None:
        """Buffer bytes of the client for `next_item`."""
        if self.state in (State.OVER, State.ENDED):
            return
        if self._websocket is not None:
            self._websocket.receive_data(data)
        else:
            self._http.receive_data(data)

    def next_item(self) -> Item | None:
        """Return the next complete request or message, if it may be handled now."""
        match self.state:
            case State.OPEN | State.CLOSING:
                return self._next_message()
            case State.READING:
                return self._next_request()
            case State.ANSWERING:
                self._limit_waiting()
                return None
            case State.STREAMING:
                self._http.take_rest()
                return None
            case State.OVER | State.ENDED:
                return None
            case _:
                assert_never(self.state)

    def answer(self, response: HttpResponse, *, close: bool = False) -> None:
        """Answer the last request."""
        data, reusable = self._http.respond(response, close=close)
        self.state = State.READING
        self._send(data)
        if not reusable:
            self.end(abort=False)

    def start_stream(self, response: HttpResponse) -> None:
        """Answer the last request with a body of pieces that lasts until the connection ends."""
        self.state = State.STREAMING
        self._send(self._http.start_stream(response))

    def stream(self, data: bytes) -> None:
        """Send a piece of the answer."""
        if self.state is State.STREAMING:
            self._send(self._http.piece(data))

    def upgrade(self, request: HttpRequest) -> bool:
        """Accept the upgrade and return True; refuse an invalid one and return False."""
        accepted = WebSocket.accept(request, self._limits.message)
        if isinstance(accepted, HttpResponse):
            self.answer(accepted)
            return False
        self._websocket, data = accepted
        self._websocket.receive_data(self._http.take_rest())
        self.state = State.OPEN
        self._send(data)
        return True

    def send_text(self, text: str, *, force: bool = False) -> None:
        """Send one text message. Does nothing without an open WebSocket, or while muted unless `force` is true."""
        if self.state is State.OPEN and (force or not self.silent):
            self._send(text_frame(text))

    def send_frame(self, frame: bytes) -> None:
        """Send one text message, given as a frame. Does nothing without an open WebSocket or while it is muted."""
        if self.state is State.OPEN and not self.silent:
            self._send(frame)

    def send_ping(self) -> None:
        """Send a ping of the WebSocket protocol. Does nothing without an open WebSocket or while it is muted."""
        if self.state is State.OPEN and self._websocket is not None:
            self._send_unless_silent(self._websocket.ping())

    def send_bytes(self, data: bytes) -> None:
        """Send raw bytes."""
        self._send(data)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the peer's; without a WebSocket end the connection at once."""
        if self.state is State.OPEN and self._websocket is not None:
            self.state = State.CLOSING
            self._send(self._websocket.close(code, reason))
            if self._habits.ends_at_once:
                self.end(abort=False)
        elif self.state is not State.CLOSING:
            self.end(abort=False)

    def end(self, *, abort: bool) -> None:
        """End the connection."""
        if self.state is not State.ENDED:
            self.state = State.ENDED
            self._emit(self, ServerClose(self.number, abort))

    def _next_request(self) -> HttpRequest | None:
        request = self._http.next_request()
        if isinstance(request, HttpResponse):
            self.rejected = (request, self._http.speaks_tls)
            if self.silent:
                self.state = State.OVER
            else:
                self.answer(request, close=True)
            return None
        if request is not None:
            self.state = State.ANSWERING
        return request

    def _limit_waiting(self) -> None:
        if self.silent:
            self._http.take_rest()
        elif self._http.waiting > self._limits.head + self._limits.body:
            self.end(abort=True)

    def _next_message(self) -> str | BinaryMessage | Left | None:
        assert self._websocket is not None
        while (message := self._websocket.next_message()) is not None:
            if self.state is State.CLOSING:
                if isinstance(message, PeerClosed | Broken):
                    self.end(abort=False)
                    return None
                continue
            match message:
                case Ping():
                    self.uses_control_frames = True
                    self._send_unless_silent(message.pong)
                case Pong():
                    self.uses_control_frames = True
                case PeerClosed():
                    self.state = State.OVER
                    if not self.silent:
                        self._send(message.reply)
                        self.end(abort=False)
                    return Left()
                case Broken():
                    self._answer_broken(self._websocket, message)
                    return Left()
                case _:
                    return message
        return None

    def _answer_broken(self, websocket: WebSocket, broken: Broken) -> None:
        self.state = State.OVER
        reply = self._habits.reply_to_broken(broken.code, broken.reason)
        if reply is not None:
            self._send_unless_silent(websocket.close(*reply))
        if not self.silent and (reply is None or self._habits.ends_at_once):
            self.end(abort=False)

    def _send_unless_silent(self, data: bytes) -> None:
        if not self.silent:
            self._send(data)

    def _send(self, data: bytes) -> None:
        self._emit(self, ServerSend(self.number, data))
