"""The whole session, with any sequence of inputs and any bytes from servers.

The bytes choose inputs: commands of the application, the success or failure of transports and requests, the passing of
time, and data of the server and the auth endpoint (raw bytes, text messages, or valid answers). Then: no input raises
except for wrong local use, which changes nothing; a drained session has no further effect; no transport is used before
it is open or after its end; due timers fire, and none stays due; without a connection no authorization and no
subscription is left; and the session can be closed. While the application does not stall, splitting the received data
changes no event and no effect.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from fuzz.source import Source
from proto.inputs import Sequence, Step
from proto.play import Play, Played, Stream, comparable
from proto.websocket_peer import frame
from pusher_proto import ChannelState, CloseTransport, OpenTransport, SendData

__all__ = ["fuzz_one"]

_AUTHS = ("application", "endpoint", "batches", "own key")
_KINDS = (
    *("connect", "subscribe", "unsubscribe", "trigger", "signin", "ping", "wrong", "answer"),
    *(
        "go",
        "go",
        "go",
        "due",
        "pass",
        "open",
        "fail",
        "end",
        "clog",
        "sent",
        "serve",
        "disconnect",
    ),
    *("close", "stall", "pull", "raw", "text", "text"),
)
_MOST = 200
"""The most steps of one input."""


class _Input(NamedTuple):
    kind: str
    which: int
    what: int
    data: bytes = b""


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: a byte of choices, then steps."""
    source = Source(data)
    choices = source.number()
    stalls = not choices & 4
    sequence = Sequence(_AUTHS[choices & 3], choices >> 3, [])
    steps = []
    # Connect first, so that more inputs reach a connected session.
    if choices & 64:
        steps = [_Input("connect", 0, 0), *[_Input("go", 0, 2)] * 3]
    while source and len(steps) < _MOST:
        kind = source.one_of(_KINDS)
        if kind in ("raw", "text"):
            steps.append(_Input(kind, source.number(), 0, source.blob()))
        else:
            steps.append(_Input(kind, source.number(), source.number(2)))
    whole = _played(sequence, steps, stalls=stalls)
    if not stalls:
        cut = random.Random(len(data))
        split = _played(sequence, steps, stalls=False, cut=cut)
        assert [comparable(step) for step in split] == [comparable(step) for step in whole]


def _played(sequence: Sequence, steps: list[_Input], **how: Any) -> list[Played]:
    seen = opened = 0

    def after(play: Play) -> None:
        nonlocal seen, opened
        fresh, seen = play.effects[seen:], len(play.effects)
        session = play.session
        assert session.next_effect() is None
        for effect in fresh:
            match effect:
                case OpenTransport():
                    opened += 1
                    assert effect.transport == opened
                case SendData():
                    assert play.streams[effect.transport].opened
                    assert not play.streams[effect.transport].ended
                case CloseTransport():
                    assert not play.streams[effect.transport].ended
        deadline = session.next_deadline()
        if play.last == "handle_timeout":
            assert deadline is None or deadline > play.latest
        if session.socket_id is None:
            states = {session.channel(name).state for name in session.channels()}
            assert states <= {ChannelState.PENDING}
            assert session._auth_requests._requests == {}

    play = _Play(sequence, hostile=True, after_input=after, **how)
    played = [play.take(step) for step in steps]
    play.finish()
    assert play.session.closed
    assert play.session.next_deadline() is None
    assert all(stream.ended for stream in play.streams.values())
    return played


class _Play(Play):
    """A play whose steps may contain data of the server."""

    def take(self, given: _Input) -> Played:
        """Play one step."""
        self.data = given.data
        return self.play(Step(given.kind, given.which, given.what))

    def _raw(self, which: int, what: int) -> None:
        """Send the bytes of this step from the server."""
        self._send(which, self.data)

    def _text(self, which: int, what: int) -> None:
        """Send the bytes of this step from the server, as a text message."""
        self._send(which, frame(self.data))

    def _send(self, which: int, data: bytes) -> None:
        live: list[tuple[int, Stream]] = [
            (number, stream) for number, stream in self._live(opened=True) if not stream.reported
        ]
        if live and data:
            self.receive(live[which % len(live)][0], data)
