"""The test server, with any bytes from any clients.

Clients connect, send raw bytes or events, and disconnect; time passes; controls are called. Then: no input from a
client makes the server raise; nothing is sent on a connection after its end; after the due deadlines have fired, none
is due; the memory kept for a connection is bounded; after all clients have disconnected, no subscription and no
deadline is left; and splitting the received data changes no byte of the answers.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from fuzz.source import Source, splits
from pusher_proto.testing import Server, ServerClose, ServerLimits, ServerOptions, ServerSend
from server.frames import UPGRADE, frame

__all__ = ["fuzz_one"]

LIMITS = ServerLimits(head=400, body=200, message=300, held_answers=5, unsent=20_000, log=20)
_KINDS = ("upgrade", "text", "text", "raw", "event", "gone", "time", "control")
_EVENTS = (
    b'{"event":"pusher:ping"}',
    b'{"event":"pusher:subscribe","data":{"channel":"room"}}',
    b'{"event":"pusher:subscribe","data":{"channel":"cache-room"}}',
    b'{"event":"pusher:unsubscribe","data":{"channel":"room"}}',
    b'{"event":"pusher:subscribe","data":{"channel":"private-x","auth":"demo:0"}}',
    b'{"event":"client-x","channel":"room","data":{}}',
)
_MOST = 60
_DIALECTS: tuple[Literal["pusher", "reverb", "sockudo"], ...] = ("pusher", "reverb", "sockudo")


class _Step(NamedTuple):
    kind: str
    which: int
    data: bytes


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: steps, each with its connection."""
    source = Source(data)
    dialect: Literal["pusher", "reverb", "sockudo"] = source.one_of(_DIALECTS)
    steps: list[_Step] = []
    while source and len(steps) < _MOST:
        kind, which = source.one_of(_KINDS), source.number()
        steps.append(_Step(kind, which, source.blob() if kind in ("text", "raw") else b""))
    whole = _Run(dialect, steps, None).outcome()
    for way in range(3):
        assert _Run(dialect, steps, way).outcome() == whole, "splitting changed an answer"


class _Run:
    """One server, on which all steps are carried out."""

    def __init__(
        self,
        dialect: Literal["pusher", "reverb", "sockudo"],
        steps: list[_Step],
        way: int | None,
    ) -> None:
        self.server = Server(
            options=ServerOptions(dialect=dialect, limits=LIMITS, ping_after=100.0)
        )
        self.now = 0.0
        self.output: dict[int, bytearray] = {}
        self.ended: dict[int, Any] = {}
        self._way = way
        for step in steps:
            getattr(self, f"_{step.kind}")(step)
            self._drain()

    def outcome(self) -> tuple[Any, ...]:
        """Disconnect all clients; return what they received."""
        for number in self.output:
            self.server.connection_closed(number, now=self.now)
            self._drain()
        # The last tick of Reverb and the ghost members of Sockudo end by themselves.
        for _ in range(len(self.output) + 1):
            if (due := self.server.next_deadline()) is not None:
                self.server.handle_timeout(now=due)
                self._drain()
        assert self.server.connections == {}
        assert self.server.channels() == []
        assert self.server.users() == {}
        assert self.server.next_deadline() is None
        return self.output, self.ended, list(self.server.received), self.server.stats

    def _live(self, which: int) -> int:
        """Return the number of an open connection, or of a new one."""
        live = [number for number in self.output if number not in self.ended]
        if not live or which > 250:
            number = len(self.output) + 1
            self.output[number] = bytearray()
            self.server.connection_opened(number, now=self.now)
            return number
        return live[which % len(live)]

    def _send(self, which: int, data: bytes) -> None:
        number = self._live(which)
        pieces = [data] if self._way is None else list(splits(data))[self._way]
        for piece in pieces:
            self.server.receive_data(number, piece, now=self.now)
            self._drain()
            known = self.server._connections.get(number)
            if known is not None:
                assert known.unsent <= LIMITS.unsent
                assert len(known.held) <= LIMITS.held_answers

    def _upgrade(self, step: _Step) -> None:
        self._send(255, UPGRADE)

    def _text(self, step: _Step) -> None:
        self._send(step.which, frame(step.data))

    def _raw(self, step: _Step) -> None:
        self._send(step.which, step.data)

    def _event(self, step: _Step) -> None:
        self._send(step.which >> 4, frame(_EVENTS[step.which % len(_EVENTS)]))

    def _gone(self, step: _Step) -> None:
        number = self._live(step.which)
        self.ended[number] = "gone"
        self.server.connection_closed(number, now=self.now)

    def _time(self, step: _Step) -> None:
        end = self.now + step.which**2 / 100
        while (due := self.server.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.server.handle_timeout(now=self.now)
            self._drain()
            after = self.server.next_deadline()
            assert after is None or after > self.now
        self.now = end

    def _control(self, step: _Step) -> None:
        server, now = self.server, self.now
        match step.which % 9:
            case 0:
                server.drop(4200, "again", now=now)
            case 1:
                server.drop(now=now)
            case 2:
                server.mute(now=now)
            case 3:
                server.unmute(now=now)
            case 4:
                server.delay(step.which / 100, now=now)
            case 5:
                server.publish(["room", "cache-room"], "news", {"n": step.which}, now=now)
            case 6:
                server.refuse(code=4100, times=1, now=now)
            case 7:
                server.auth_answer(500, "no", times=1, now=now)
            case _:
                server.delay(0, now=now)

    def _drain(self) -> None:
        while (effect := self.server.next_effect()) is not None:
            assert effect.connection not in self.ended, "an effect after the end of its connection"
            if isinstance(effect, ServerSend):
                self.output[effect.connection] += effect.data
            else:
                assert isinstance(effect, ServerClose)
                self.ended[effect.connection] = effect.abort
