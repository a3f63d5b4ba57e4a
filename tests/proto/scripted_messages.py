"""The script of `scripted`, for a session over whole messages; and both kinds under the same commands."""

from __future__ import annotations

import json
import random
from typing import Any

from proto.scripted import Script, Stream, decoded, options
from proto.websocket_peer import BINARY, answer, close, frame
from pusher_proto import (
    CloseMessages,
    ConnectionEnded,
    OpenMessages,
    Options,
    SendData,
    SendMessage,
    Session,
)

__all__ = ["ByteScript", "MessageScript", "greeted"]


class _Quiet(random.Random):
    """Draws nothing for masks, which only one of the two kinds of connection has."""

    def randbytes(self, n: int) -> bytes:
        return bytes(n)


class ByteScript(Script):
    """A session over bytes, whose server answers close frames."""

    def __init__(self, given: Options | None = None, **more: Any) -> None:
        super().__init__(given or options(**more))
        self.session = Session(self.session.options, rng=_Quiet(1))
        self._closing: list[int] = []
        """Transports whose close frame is to be answered."""

    def binary(self, data: bytes) -> Script:
        return self.receive(frame(data, BINARY))

    def accept(self) -> Script:
        """Open the transport and accept the upgrade."""
        return self.open().upgrade()

    def refuse(self, status: int, reason: str, retry_after: int | None = None) -> Script:
        """Answer the upgrade by an HTTP status."""
        headers = [] if retry_after is None else [("Retry-After", str(retry_after))]
        return self.open().receive(answer(f"{status} {reason}", headers))

    def pump(self) -> None:
        super().pump()
        while self._closing:
            number = self._closing.pop()
            if number in self.streams:
                self.do(self.session.receive_data, number, close(1000))

    def _carry_out(self, effect: Any) -> None:
        super()._carry_out(effect)
        acts = decoded(effect.data) if isinstance(effect, SendData) else []
        if any(isinstance(act, tuple) and act[0] == "close" for act in acts):
            self._closing.append(effect.transport)


class MessageScript(Script):
    """A session over whole messages."""

    def __init__(self, given: Options | None = None, **more: Any) -> None:
        super().__init__(given or options(**more))
        self.session = Session(self.session.options, rng=_Quiet(1), messages=True)

    def upgrade(self) -> Script:
        """There is none."""
        return self

    def text(self, text: bytes | str) -> Script:
        whole = text if isinstance(text, str) else text.decode()
        return self.do(self.session.receive_message, self.transport, whole)

    def binary(self, data: bytes) -> Script:
        return self.do(self.session.receive_message, self.transport, data)

    def accept(self) -> Script:
        """Open the connection."""
        return self.open()

    def refuse(self, status: int, reason: str, retry_after: int | None = None) -> Script:
        """Report that the attempt was answered by an HTTP status."""
        text = f"the upgrade was answered with HTTP {status} {reason}"
        return self.fail(ConnectionEnded(status, text, retry_after=retry_after))

    def close(self, code: int | None, reason: str = "") -> Script:
        return self.eof(ConnectionEnded(1005 if code is None else code, reason))

    def _carry_out(self, effect: Any) -> None:
        match effect:
            case OpenMessages():
                self.transport = effect.transport
                self.streams[effect.transport] = Stream()
                self._acts.append(effect)
            case SendMessage():
                self._acts.append(json.loads(effect.text))
                if self.writes:
                    size = len(effect.text.encode())
                    self.session.data_sent(effect.transport, size, now=self.now)
            case CloseMessages():
                self._acts.append(("close", effect.code, effect.reason))
                if self.answers:
                    del self.streams[effect.transport]
                    self.session.transport_closed(effect.transport, None, now=self.now)
            case _:
                super()._carry_out(effect)


def greeted(*channels: str, **more: Any) -> MessageScript:
    """Return a connected script over messages with these channels confirmed, looks taken."""
    script = MessageScript(**more)
    script.connect().greet().subscribe(*channels)
    for channel in channels:
        script.send("pusher_internal:subscription_succeeded", "{}", channel)
    script.take()
    script.acts()
    return script
