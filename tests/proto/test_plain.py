"""The short way of a message to its event, held against the long one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto import ChannelEvent
from pusher_proto._frame_items import PongReceived
from pusher_proto._messages import MAX_DEPTH, BadMessage, decode
from pusher_proto._plain import decode_plain, envelope_of, event_of

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)
KEYS = st.sampled_from(
    ["event", "channel", "data", "user_id", "name", "wire_data", "extra", "cached", "_data", " "]
)
MESSAGES = st.dictionaries(KEYS, VALUES) | st.fixed_dictionaries(
    {"event": st.text(), "channel": st.text()},
    optional={"data": st.text() | VALUES, "user_id": st.text() | st.integers(), "cached": VALUES},
)


def alike(event: ChannelEvent) -> tuple[Any, ...]:
    """Return all that an event holds, and of which class it is."""
    return (type(event), *event._key(), event.data)


def plain(text: bytes) -> list[ChannelEvent]:
    """Return the event of a text that is a plain message, or nothing."""
    events: list[ChannelEvent] = []
    decode_plain(iter([text]), events)
    return events


@tried
@given(MESSAGES)
@example({"event": "e", "channel": "c", "data": [1]})
@example({"event": "e", "channel": "c", "user_id": 7})
@example({"event": "e", "channel": "c", "cached": True})
def test_what_the_short_way_takes_it_reads_as_the_long_way_does(message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    events = plain(text)
    if not events:
        return
    envelope = decode(text)
    assert envelope.channel is not None
    assert envelope_of(events[0]) == envelope
    assert alike(events[0]) == alike(event_of(envelope.channel, envelope))


def test_it_takes_what_servers_send_and_stops_where_something_else_stands() -> None:
    texts = [b'{"event":"e","channel":"c","data":"%d"}' % number for number in range(3)]
    for other in (b'{"event":"pusher:ping"}', b"\xff", b"", PongReceived()):
        events: list[ChannelEvent] = []
        rest = iter([*texts, other, *texts])
        decode_plain(rest, events)
        assert events == [ChannelEvent("c", "e", str(number)) for number in range(3)]
        assert list(rest) == texts


@pytest.mark.parametrize("key", ["extra", "cached", "_data", "name", "wire_data", " "])
@pytest.mark.parametrize("value", [None, True, {}, "text"])
def test_no_message_can_set_what_is_the_clients_own(key: str, value: Any) -> None:
    text = json.dumps({"event": "e", "channel": "c", "data": '"d"', key: value}).encode()
    assert not plain(text)
    event = event_of("c", decode(text))
    assert (event.extra, event.cached, event.data) == ({key: value}, False, "d")


def test_data_that_is_no_string_is_measured_where_it_can_be_deep() -> None:
    for levels in (1, 6, 7, MAX_DEPTH - 1, MAX_DEPTH):
        text = b'{"event":"e","channel":"c","data":' + b"[" * levels + b"]" * levels + b"}"
        assert len(plain(text)) == (levels <= 6)
        if levels == MAX_DEPTH:
            with pytest.raises(BadMessage):
                decode(text)
