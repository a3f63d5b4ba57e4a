"""The short ways of a message to its event, held against the long one."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto import ChannelEvent, ProtocolMessage
from pusher_proto._protocol import channel_messages
from pusher_proto._protocol.channel_messages import READERS, event_of, read_plain
from pusher_proto._wire.envelope import MAX_DEPTH, BadMessage, decode
from pusher_proto._wire.fast_lane import LONG

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


def without_orjson() -> ModuleType:
    """Return the module as it is where orjson is not installed."""
    spec = importlib.util.spec_from_file_location(
        "pusher_proto._protocol.channel_messages_alone", channel_messages.__file__
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        spec.loader.exec_module(module)
    return module


def plain(text: bytes, module: ModuleType = channel_messages) -> list[ChannelEvent]:
    """Return what a text is read as: as a short one, as a long one, and in a long one's view."""
    events = []
    for read in (
        module.PLAIN.short,
        module.PLAIN.long,
        lambda text: module.PLAIN.long(memoryview(text)),
    ):
        try:
            events.append(read(text))
        except (ValueError, RecursionError):
            pass
    return events


def check_against_the_long_way(text: bytes) -> None:
    try:
        envelope = decode(text)
    except BadMessage:
        assert not plain(text)
        return
    for event in plain(text):
        text.decode()  # what is read is UTF-8
        assert envelope.channel is not None
        assert alike(event) == alike(event_of(envelope.channel, envelope))


@tried
@given(MESSAGES)
@example({"event": "e", "channel": "c", "data": [1]})
@example({"event": "e", "channel": "c", "user_id": 7})
@example({"event": "e", "channel": "c", "cached": True})
def test_what_the_short_ways_take_they_read_as_the_long_way_does(message: dict[str, Any]) -> None:
    check_against_the_long_way(json.dumps(message).encode())


ODD = st.sampled_from(
    [
        *(rb"\ud83d", rb"\ude00", rb"\ud83d\ude00", rb"\u0000", rb"\u00", rb"\x", rb"\/", rb"\b"),
        *(b'\\"', b"\\\\", b'"', b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80"),
        *(b" ", b"\n", b"{", b"}", b"[", b"]", b",", b":", b"1", b"NaN", b"\xef\xbb\xbf"),
        *(
            b'"event":',
            b'"channel":',
            b'"data":',
            b'"ev\\u0065nt":',
            b'"user_id":',
            b"null",
            b'"x",',
        ),
    ]
)


@st.composite
def odd_texts(draw: st.DrawFn) -> bytes:
    """A plain message into which something was put, or from which something was taken."""
    text = b'{"event":"%b","channel":"%b","data":"%b"}'
    strings = st.lists(ODD | st.text(max_size=3).map(str.encode), max_size=4).map(b"".join)
    text %= (draw(strings), draw(strings), draw(strings))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(ODD) + text[at + draw(st.integers(0, 2)) :]
    return text


@tried
@given(odd_texts())
@example(b'{"event":"e","channel":"c","data":"\\ud800"}')
@example(b'{"event":"e","channel":"c","data":"\x1f"}')
@example(b'{"event":1,"channel":"c","data":"d","event":"e"}')
@example(b'{"event":"e","channel":"c","data":"d"}}')
@example(b'["event","channel","data"]')
def test_the_short_ways_agree_on_text_with_something_odd_in_it(text: bytes) -> None:
    check_against_the_long_way(text)


@pytest.mark.parametrize(
    "module", [channel_messages, without_orjson()], ids=["orjson", "msgspec alone"]
)
def test_they_take_what_servers_send_and_nothing_else(module: ModuleType) -> None:
    if module is channel_messages and importlib.util.find_spec("orjson") is None:
        pytest.skip("orjson is not installed (the extra `fast`, which is in `test`)")
    assert (module._loads is None) == (module is not channel_messages)
    text = b'{"event":"e","channel":"c","data":"1"}'
    assert plain(text, module) == [ChannelEvent("c", "e", "1")] * 3
    for other in (b'{"event":"pusher:ping"}', b"[]", b"\xff", b""):
        assert plain(other, module) == []
        assert read_plain(other) is None


@pytest.mark.parametrize("length", [0, LONG - 100, LONG, 3 * LONG])
def test_one_text_is_read_at_any_length(length: int) -> None:
    data = "x" * length
    assert read_plain(b'{"event":"e","channel":"c","data":"%b"}' % data.encode()) == ChannelEvent(
        "c", "e", data
    )


@pytest.mark.parametrize("key", ["extra", "cached", "_data", "name", "wire_data", " "])
@pytest.mark.parametrize("value", [None, True, {}, "text"])
def test_no_message_can_set_what_is_the_clients_own(key: str, value: Any) -> None:
    text = json.dumps({"event": "e", "channel": "c", "data": '"d"', key: value}).encode()
    assert not plain(text)
    event = event_of("c", decode(text))
    assert (event.extra, event.cached, event.data) == ({key: value}, False, "d")


def test_data_that_is_not_a_string_is_measured_where_it_can_be_deep() -> None:
    for levels in (1, 6, 7, MAX_DEPTH - 1, MAX_DEPTH):
        text = b'{"event":"e","channel":"c","data":' + b"[" * levels + b"]" * levels + b"}"
        assert len(plain(text)) == 3 * (levels <= 6)
        if levels == MAX_DEPTH:
            with pytest.raises(BadMessage):
                decode(text)


@pytest.mark.parametrize("name", ["pusher:cache_miss", "pusher_internal:member_added"])
def test_the_reader_for_protocol_messages_leaves_them_and_reads_events(name: str) -> None:
    reader = READERS[ProtocolMessage]

    def text(event: str) -> bytes:
        return json.dumps({"event": event, "channel": "c", "data": "1"}).encode()

    assert reader.short(text("e")) == reader.long(memoryview(text("e"))) == read_plain(text("e"))
    with pytest.raises(ValueError, match=r"^$"):
        reader.short(text(name))
    with pytest.raises(ValueError, match=r"^$"):
        reader.long(memoryview(text(name)))
