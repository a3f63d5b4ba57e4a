"""A scripted client: wsproto's client half, joined to a `Server` in memory without time passing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from pusher_proto.signing import sign_channel, sign_user
from pusher_proto.testing import DEMO_APP, App, Server, ServerClose, ServerSend

DEFAULT_TARGET = "/app/demo?protocol=7&client=test&version=1.0.0"


class World:
    """A server, its clients, a clock, and the wires between them."""

    def __init__(self, server: Server | None = None) -> None:
        self.server = server or Server()
        self.now = 0.0
        self.wires: dict[int, Wire] = {}
        self._next = 0

    def carry(self) -> None:
        """Deliver what the server says."""
        while (effect := self.server.next_effect()) is not None:
            wire = self.wires[effect.connection]
            match effect:
                case ServerSend():
                    assert wire.closed is None, "data after the close"
                    wire.receive(effect.data)
                case ServerClose():
                    assert wire.closed is None, "closed twice"
                    wire.closed = "abort" if effect.abort else "end"

    def pass_time(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline of the server."""
        end = self.now + seconds
        while (due := self.server.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.server.handle_timeout(now=self.now)
            self.carry()
            after = self.server.next_deadline()
            assert after is None or after > self.now
        self.now = end
        self.server.handle_timeout(now=self.now)
        self.carry()

    def wire(self) -> Wire:
        """Open a connection and say nothing on it yet."""
        self._next += 1
        self.wires[self._next] = wire = Wire(self, self._next)
        self.server.connection_opened(self._next, now=self.now)
        self.carry()
        return wire

    def client(self, target: str = DEFAULT_TARGET, **options: Any) -> Client:
        """Open a WebSocket; the greeting, if there is one, is taken out of `frames`."""
        client = Client(self.wire(), target, **options)
        client.take_greeting()
        return client

    def http(self, data: bytes) -> tuple[int, Any]:
        """Make one request on a new connection; return status and decoded body."""
        wire = self.wire()
        wire.send(data)
        return parse_response(bytes(wire.raw))

    def do(self, control: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Move a control that takes the time."""
        result = control(*args, now=self.now, **kwargs)
        self.carry()
        return result


class Wire:
    """One connection: what the client sends, and what has come."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.raw = bytearray()
        self.closed: str | None = None
        self.on_data: Callable[[bytes], None] | None = None

    def receive(self, data: bytes) -> None:
        self.raw += data
        if self.on_data is not None:
            self.on_data(data)

    def send(self, data: bytes) -> None:
        self.world.server.receive_data(self.number, data, now=self.world.now)
        self.world.carry()

    def hang_up(self) -> None:
        self.world.server.connection_closed(self.number, now=self.world.now)
        self.world.carry()


class Client:
    """A Pusher client that says exactly what a test tells it to."""

    def __init__(
        self, wire: Wire, target: str = DEFAULT_TARGET, headers: list[tuple[str, str]] | None = None
    ) -> None:
        self.wire = wire
        self.frames: list[Any] = []
        """Decoded messages that came and were not taken."""
        self.close: tuple[int, str | None] | None = None
        self.rejected: int | None = None
        self.pongs: list[bytes] = []
        self.socket_id = ""
        self.answer_close = True
        self._ws = WSConnection(ConnectionType.CLIENT)
        extra = [(name.encode(), value.encode()) for name, value in headers or []]
        wire.on_data = self._receive
        self.send_event(ws.Request(host="test", target=target, extra_headers=extra))

    def send_event(self, event: ws.Event) -> None:
        self.wire.send(self._ws.send(event))

    def text(self, text: str) -> None:
        self.send_event(ws.TextMessage(data=text))

    def say(self, event: str, data: Any = None, channel: str | None = None) -> None:
        message = {"event": event, "data": {} if data is None else data}
        if channel is not None:
            message["channel"] = channel
        self.text(json.dumps(message))

    def take(self) -> list[Any]:
        """Return what has come since, with JSON texts in `data` decoded."""
        taken, self.frames = self.frames, []
        return taken

    def take_greeting(self) -> None:
        if self.frames and self.frames[0]["event"] == "pusher:connection_established":
            self.socket_id = json.loads(self.frames.pop(0)["data"])["socket_id"]

    def subscribe(
        self, channel: str, channel_data: Any = None, app: App = DEMO_APP, **fields: Any
    ) -> list[Any]:
        """Subscribe, signed as the channel needs it; return the messages received."""
        data = {"channel": channel}
        if channel_data is not None:
            data["channel_data"] = json.dumps(channel_data)
        if channel.startswith(("private-", "presence-")):
            data["auth"] = sign_channel(
                app.key, app.secret, self.socket_id, channel, data.get("channel_data")
            )
        self.say("pusher:subscribe", data | fields)
        return self.take()

    def sign_in(self, user: Any, app: App = DEMO_APP) -> list[Any]:
        user_data = json.dumps(user)
        auth = sign_user(app.key, app.secret, self.socket_id, user_data)
        self.say("pusher:signin", {"auth": auth, "user_data": user_data})
        return self.take()

    def _receive(self, data: bytes) -> None:
        self._ws.receive_data(data)
        for event in self._ws.events():
            match event:
                case ws.TextMessage():
                    assert event.message_finished
                    self.frames.append(json.loads(event.data))
                case ws.CloseConnection():
                    self.close = (int(event.code), event.reason)
                    if self.answer_close and self._ws.state.name == "REMOTE_CLOSING":
                        self._reply = self._ws.send(event.response())
                        self.wire.send(self._reply)
                case ws.RejectConnection():
                    self.rejected = event.status_code
                case ws.Pong():
                    self.pongs.append(bytes(event.payload))
                case _:
                    pass


def parse_response(raw: bytes) -> tuple[int, Any]:
    """Return the status and the body of one whole answer; JSON bodies are decoded."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    return status, json.loads(body) if body and b"application/json" in head else body


def request(
    method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def form(target: str, headers: dict[str, str] | None = None, **fields: str) -> bytes:
    """Return a request that posts a form."""
    from urllib.parse import urlencode

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return request("POST", target, urlencode(fields).encode(), kind | (headers or {}))
