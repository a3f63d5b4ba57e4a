"""Text messages, and the functions that read their contents.

For any text: decoding gives an envelope or raises BadMessage with a short text; an envelope has the same
values as the JSON decoded by the standard library, and encoding and decoding it again gives an equal one; every
function that reads its data returns, or raises only its documented exception. And a connected session receives the text
as one frame, in fragments, and byte by byte, without raising and with the same events and frames.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from fuzz.source import Source, splits
from proto.bad_server import CHANNELS, authorization_for
from proto.scripted import Script, connected, message
from proto.websocket_peer import CONTINUATION, TEXT, frame
from pusher_proto import LocalProtocolError, Options
from pusher_proto._channels.error_attribution import read_refusal
from pusher_proto._channels.roster import BadPresence, Roster
from pusher_proto._protocol.channel_messages import event_of
from pusher_proto._protocol.control import read_error, read_greeting
from pusher_proto._wire.envelope import BadMessage, Envelope, decode, encode, text_of, value_of

__all__ = ["fuzz_one"]


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: a byte that says whether a session receives it too, then the text."""
    source = Source(data)
    with_session = source.number() % 4 == 0
    text = source.rest()
    envelope = _decoded(text)
    if envelope is not None:
        _compare(envelope, text)
        _read(envelope)
    if with_session:
        _receive_all_ways(text)


def _decoded(text: bytes) -> Envelope | None:
    try:
        return decode(text)
    except BadMessage as error:
        assert len(str(error)) < 200
        return None


def _compare(envelope: Envelope, text: bytes) -> None:
    parsed = json.loads(text)
    assert envelope.event == parsed["event"]
    assert envelope.channel == parsed.get("channel")
    assert _same(envelope.data, parsed.get("data"))
    try:
        written = encode(envelope.event, envelope.data, envelope.channel)
    except LocalProtocolError:
        return
    again = decode(written)
    assert (again.event, again.channel) == (envelope.event, envelope.channel)
    assert _same(again.data, envelope.data)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return one == float(other) or math.isclose(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _read(envelope: Envelope) -> None:
    value_of(envelope.data)
    assert isinstance(text_of(envelope.data), str)
    error = read_error(envelope.data, envelope.channel)
    assert len(error.message) < 1200
    greeting = read_greeting(envelope)
    assert greeting is None or greeting[0]
    read_refusal(event_of(envelope.channel or "", envelope))
    for take in (_replace, Roster.add, Roster.remove):
        roster = Roster("presence-a", 3)
        for _ in range(2):
            try:
                take(roster, envelope.data)
            except BadPresence as wrong:
                assert len(str(wrong)) < 200
            assert len(roster.members) <= 3


def _replace(roster: Roster, data: Any) -> None:
    for _ in roster.replace(data):
        pass


def _receive_all_ways(text: bytes) -> None:
    whole = _outcome(lambda script: script.receive(frame(text)))
    for pieces in splits(text):
        if len(text) < 60_000:
            fragments = [
                frame(piece, CONTINUATION if at else TEXT, fin=at == len(pieces) - 1)
                for at, piece in enumerate(pieces)
            ]
            assert _outcome(partial(_receive, fragments or [frame(b"")])) == whole
        assert _outcome(partial(_receive, next(splits(frame(text))))) == whole


def _receive(pieces: list[bytes], script: Script) -> None:
    for piece in pieces:
        script.receive(piece)


def _outcome(receive: Callable[[Script], object]) -> tuple[Any, ...]:
    """Return the events, acts and states of a session with a channel of each kind after `receive`."""
    options = Options.from_host(
        "ws.test", key="key", tls=False, max_members=3, encrypted_backlog_limit=2
    )
    script = connected(options)
    for channel in CHANNELS:
        script.subscribe(channel)
    while script.asked:
        asked = script.asked.pop(0)
        script.do(script.session.authorized, asked.request, authorization_for(asked.details))
    for channel in CHANNELS[:-1]:
        roster = {"presence": {"ids": ["me"], "hash": {"me": {}}, "count": 1}}
        data = json.dumps(roster if channel.startswith("presence-") else {})
        script.receive(frame(message("pusher_internal:subscription_succeeded", data, channel)))
    script.take()
    script.acts()
    receive(script)
    events = [repr(event) for event in script.take()]
    return events, script.acts(), script.session.channels(), script.session.state
