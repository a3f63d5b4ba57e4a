"""A session whose one WebSocket has its other side written by hand, to the byte.

The script acts as driver and as server. Each step drains the session, so that `take` and `acts` give what
the steps since the last look brought about: the events, and what the client did, with its bytes decoded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wsproto.utilities import generate_accept_token

from proto.websocket_peer import CLOSE, PING, PONG, TEXT, answer, close, frame, sent
from pusher_proto import (
    Authorize,
    CallApplication,
    CancelCall,
    CloseTransport,
    ConnectionLost,
    Event,
    OpenTransport,
    Options,
    OwnKey,
    RetryScheduled,
    SendData,
    Session,
)

__all__ = [
    "ABORT",
    "HOST",
    "START",
    "Act",
    "Script",
    "called",
    "decoded",
    "greeting",
    "message",
    "upgrade_for",
]

HOST = "ws.test"
START = 100.0
"""When a script begins."""

GREETING = {"socket_id": "1.1", "activity_timeout": 120}

Act = Any
"""An act of a client: an effect, a request line, a message as a dict, `("close", code, reason)` or the like."""

ABORT = "abort"


def options(**more: Any) -> Options:
    more.setdefault("auth", OwnKey("key", "a-secret-of-the-app"))
    return Options.from_host(HOST, key="key", tls=False, **more)


def message(event: str, data: Any = None, channel: str | None = None, **more: Any) -> bytes:
    """Return the text of a server's message; `data` is in it as it is given."""
    fields: dict[str, Any] = {"event": event}
    if data is not None:
        fields["data"] = data
    if channel is not None:
        fields["channel"] = channel
    return json.dumps(fields | more).encode()


def called(effect: CallApplication) -> object:
    """Call the application as an effect says; return the result or the exception."""
    try:
        return effect.function()
    except Exception as error:
        return error


def greeting(data: Any = None) -> bytes:
    """Return a greeting, its data in a string as Pusher writes it."""
    return message("pusher:connection_established", json.dumps(GREETING if data is None else data))


def upgrade_for(request: bytes) -> bytes:
    """Return the 101 that accepts this request for an upgrade."""
    (key,) = (
        line.partition(b": ")[2]
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = generate_accept_token(key).decode()
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept),
    ]
    return answer(headers=headers)


def decoded(data: bytes) -> list[Act]:
    """Return what a client's bytes say: the request line of an upgrade, each POST with its body, each frame."""
    acts: list[Act] = []
    while data.startswith((b"GET ", b"POST ", b"CONNECT ")):
        head, _, data = data.partition(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        if line.startswith("GET "):
            acts.append(line)
        elif line.startswith("CONNECT "):
            acts.append(("tunnel", line.split(" ")[1]))
        else:
            (size,) = (int(h[15:]) for h in headers if h.lower().startswith("content-length:"))
            acts.append((line, data[:size].decode()))
            data = data[size:]
    for opcode, payload in sent(data):
        match opcode:
            case 0x1:
                acts.append(json.loads(payload))
            case 0x8:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                acts.append(("close", code, payload[2:].decode()))
            case 0x9:
                acts.append(("ping", payload))
            case _:
                acts.append(("pong", payload))
    return acts


@dataclass
class Stream:
    """One transport as the driver knows it."""

    opened: bool = False
    sent: bytes = b""


class Script:
    """A session, its driver and its server. `answers` False: the driver never confirms an end by itself."""

    def __init__(
        self, given: Options | None = None, *, seed: int = 1, answers: bool = True, **more: Any
    ) -> None:
        self.session = Session(given or options(**more), rng=random.Random(seed))
        self.now = START
        self.answers = answers
        self.writes = True
        """Whether the driver's writes get through: it says `data_sent` for them."""
        self.pulls = True
        """Whether the application takes its events."""
        self.streams: dict[int, Stream] = {}
        self.asked: list[Authorize] = []
        self.transport = 0
        """The number of the transport that was requested last."""
        self._events: list[Event] = []
        self._acts: list[Act] = []

    # The application

    def do(self, command: Callable[..., None], *args: Any, **kw: Any) -> Script:
        """Give the session an input, now, and carry out what follows."""
        command(*args, now=self.now, **kw)
        self.pump()
        return self

    def connect(self) -> Script:
        return self.do(self.session.connect)

    def disconnect(self) -> Script:
        return self.do(self.session.disconnect)

    def end(self) -> Script:
        """Close the session."""
        return self.do(self.session.close)

    def subscribe(self, *channels: str, **kw: Any) -> Script:
        for channel in channels:
            self.do(self.session.subscribe, channel, **kw)
        return self

    # The network

    def open(self) -> Script:
        """Let the transport be open."""
        self.streams[self.transport].opened = True
        return self.do(self.session.transport_opened, self.transport)

    def fail(self, error: BaseException | str = "connection refused") -> Script:
        """Let the transport not open."""
        del self.streams[self.transport]
        return self.do(self.session.transport_failed, self.transport, error)

    def eof(self, error: BaseException | str | None = None) -> Script:
        """Let the stream end, or break with `error`."""
        del self.streams[self.transport]
        return self.do(self.session.transport_closed, self.transport, error)

    def wait(self, seconds: float) -> Script:
        """Let time pass, stopping at each deadline."""
        end = self.now + seconds
        while (due := self.session.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.do(self.session.handle_timeout)
        self.now = end
        return self

    def retry(self) -> Script:
        """Let the delay before the next attempt pass."""
        at = self.session.retry_at
        assert at is not None, "no attempt is planned"
        return self.wait(max(0.0, at - self.now))

    # The server

    def receive(self, data: bytes) -> Script:
        """Let these bytes arrive, as they are."""
        return self.do(self.session.receive_data, self.transport, data)

    def upgrade(self) -> Script:
        """Accept the upgrade."""
        return self.receive(upgrade_for(self.streams[self.transport].sent))

    def greet(self, data: Any = None) -> Script:
        """Open the transport and accept the upgrade as far as it was not done, then send a greeting."""
        if not self.streams[self.transport].opened:
            self.open().upgrade()
        return self.text(greeting(data))

    def text(self, text: bytes) -> Script:
        """Send one text frame."""
        return self.receive(frame(text, TEXT))

    def send(self, event: str, data: Any = None, channel: str | None = None, **more: Any) -> Script:
        """Send a message."""
        return self.text(message(event, data, channel, **more))

    def error(self, code: int | None, text: str = "why") -> Script:
        """Send a `pusher:error`."""
        return self.text(error_message(code, text))

    def close(self, code: int | None, reason: str = "") -> Script:
        """Send a close frame, an empty one without a code."""
        return self.receive(close(code, reason.encode()) if code is not None else frame(b"", CLOSE))

    def ping(self, payload: bytes = b"") -> Script:
        return self.receive(frame(payload, PING))

    def pong(self) -> Script:
        return self.receive(frame(b"", PONG))

    # Looks

    def take(self, *kinds: type[Event]) -> list[Event]:
        """Return the events since the last call, or those of these classes."""
        taken, self._events = self._events, []
        return [event for event in taken if not kinds or isinstance(event, kinds)]

    def acts(self) -> list[Act]:
        """Return what the client did since the last call."""
        taken, self._acts = self._acts, []
        return taken

    def frames(self) -> list[Act]:
        """Return the frames that the client sent since the last call."""
        kinds = (OpenTransport, CloseTransport, Authorize, str)
        return [act for act in self.acts() if not isinstance(act, kinds)]

    def lost(self) -> tuple[int | None, str, bool] | None:
        """Return code, reason and will_retry of the one loss since the last look, if there was one."""
        losses = [event for event in self.take() if isinstance(event, ConnectionLost)]
        assert len(losses) <= 1
        return (losses[0].code, losses[0].reason, losses[0].will_retry) if losses else None

    def delay(self) -> float | None:
        """Return the delay of the one retry that was scheduled since the last look, if one was."""
        plans = [event for event in self.take() if isinstance(event, RetryScheduled)]
        assert len(plans) <= 1
        return plans[0].delay if plans else None

    # Within

    def pump(self) -> None:
        """Carry out all effects and take the events."""
        while (effect := self.session.next_effect()) is not None:
            self._carry_out(effect)
        if self.pulls:
            while (event := self.session.next_event()) is not None:
                self._events.append(event)

    def _carry_out(self, effect: Any) -> None:
        match effect:
            case OpenTransport():
                self.transport = effect.transport
                self.streams[effect.transport] = Stream()
                self._acts.append(effect)
            case SendData():
                self.streams[effect.transport].sent += effect.data
                self._acts += decoded(effect.data)
                if self.writes:
                    self.session.data_sent(effect.transport, len(effect.data), now=self.now)
            case CloseTransport():
                self._acts.append(effect)
                if self.answers and effect.transport in self.streams:
                    stream = self.streams.pop(effect.transport)
                    tell = (
                        self.session.transport_closed
                        if stream.opened
                        else self.session.transport_failed
                    )
                    tell(effect.transport, "given up", now=self.now)
            case CallApplication():
                self.session.call_ended(effect.request, called(effect), now=self.now)
            case CancelCall():
                pass  # what is called has returned
            case Authorize():
                self.asked.append(effect)
                self._acts.append(effect)


def error_message(code: int | None, text: str = "why", channel: str | None = None) -> bytes:
    return message("pusher:error", {"code": code, "message": text}, channel)


def connecting(given: Options | None = None, **more: Any) -> Script:
    """Return a script whose transport is being opened."""
    return forgetful(Script(given, **more).connect())


def upgrading(given: Options | None = None, **more: Any) -> Script:
    """Return a script that has asked for the upgrade."""
    return forgetful(Script(given, **more).connect().open())


def upgraded(given: Options | None = None, **more: Any) -> Script:
    """Return a script that waits for the greeting."""
    return forgetful(Script(given, **more).connect().open().upgrade())


def connected(given: Options | None = None, **more: Any) -> Script:
    """Return a script whose connection is established, its acts and events so far taken."""
    return forgetful(Script(given, **more).connect().greet())


def forgetful(script: Script) -> Script:
    script.take()
    script.acts()
    return script
