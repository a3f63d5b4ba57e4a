"""JSON text and envelopes: what is a message, what is none, and what is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.strategies import json_objects, json_values, tried
from pusher_proto._wire.envelope import (
    MAX_DEPTH,
    BadMessage,
    Envelope,
    decode,
    encode,
    loads,
    text_of,
    value_of,
)
from pusher_proto.errors import LocalProtocolError
from pusher_proto.events import ChannelEvent

KNOWN = ("event", "channel", "data", "user_id")

unknown_keys = json_objects.map(
    lambda fields: {name: value for name, value in fields.items() if name not in KNOWN}
)


def nested(levels: int, open_: str = "[", close: str = "]") -> str:
    return open_ * levels + close * levels


def deep_in_the_stack(frames: int, then: Callable[[], Any]) -> Any:
    return then() if not frames else deep_in_the_stack(frames - 1, then)


def refusal(text: bytes | str) -> str:
    with pytest.raises(BadMessage) as raised:
        decode(text if isinstance(text, bytes) else text.encode())
    assert raised.value.__cause__ is None
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) <= 128
    return str(raised.value)


# Decoding.


@pytest.mark.parametrize(
    ("text", "envelope"),
    [
        ('{"event":"a"}', Envelope("a")),
        ('{"event":""}', Envelope("")),
        (' {"data" : {} ,"event":"a"}\n', Envelope("a", data={})),
        ('{"event":"a","channel":null,"data":null,"user_id":null}', Envelope("a")),
        ('{"event":"a","channel":"x","data":"{}"}', Envelope("a", "x", "{}")),
        ('{"event":"a","data":[1,2.5,"é",null,true]}', Envelope("a", data=[1, 2.5, "é", None, True])),
        ('{"event":"a","user_id":"10"}', Envelope("a", user_id="10")),
        ('{"event":"a","user_id":10}', Envelope("a", user_id=10)),
        # An invalid id counts as none: the event is still valid.
        ('{"event":"a","user_id":1.5}', Envelope("a")),
        ('{"event":"a","user_id":1.0}', Envelope("a")),
        ('{"event":"a","user_id":true}', Envelope("a")),
        ('{"event":"a","user_id":["10"]}', Envelope("a")),
        ('{"event":"a","user_id":{}}', Envelope("a")),
        # Unknown keys are kept.
        ('{"event":"a","tags":{"x":1},"serial":7}', Envelope("a", extra={"tags": {"x": 1}, "serial": 7})),
        ('{"event":"a","channel":"x","data":1,"user_id":2,"z":3}', Envelope("a", "x", 1, 2, {"z": 3})),
        ('{"event":"a","extra":{"b":1}}', Envelope("a", extra={"extra": {"b": 1}})),
        ('{"event":"a","extra":null}', Envelope("a", extra={"extra": None})),
        ('{"event":"a"," ":{"b":1}}', Envelope("a", extra={" ": {"b": 1}})),
        ('{"event":"a","extra":7}', Envelope("a", extra={"extra": 7})),
        ('{"event":"a","Event":"b"}', Envelope("a", extra={"Event": "b"})),
        # Of duplicate keys the last counts.
        ('{"event":"a","event":"b"}', Envelope("b")),
        ('{"event":1,"event":"b"}', Envelope("b")),
        ('{"event":"a","channel":"x","channel":null}', Envelope("a")),
        ('{"event":"a","x":1,"x":2}', Envelope("a", extra={"x": 2})),
        # An escaped NUL is a character like any other.
        ('{"event":"a\\u0000"}', Envelope("a\0")),
        # Integers stay exact.
        ('{"event":"a","data":123456789012345678901234567890}', Envelope("a", data=123456789012345678901234567890)),
    ],
)  # fmt: skip
def test_a_message_is_an_object_with_an_event(text: str, envelope: Envelope) -> None:
    assert decode(text.encode()) == envelope


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "a message is a JSON object, not list"),
        ('"s"', "a message is a JSON object, not str"),
        ("null", "a message is a JSON object, not NoneType"),
        ("42", "a message is a JSON object, not int"),
        ("4.2", "a message is a JSON object, not float"),
        ("true", "a message is a JSON object, not bool"),
        ("{}", "its `event` is missing or not a string"),
        ('{"data":{}}', "its `event` is missing or not a string"),
        ('{"event":null}', "its `event` is missing or not a string"),
        ('{"event":7,"x":1}', "its `event` is missing or not a string"),
        ('{"event":"a","event":7}', "its `event` is missing or not a string"),
        ('{"event":"a","channel":7}', "its `channel` is not a string"),
        ('{"event":"a","channel":["x"]}', "its `channel` is not a string"),
    ],
)
def test_json_that_is_not_a_message_is_reported_with_the_reason(text: str, why: str) -> None:
    assert refusal(text) == why


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"hello",
        b"{",
        b'{"event":"a"',
        b'{"event":"a"}x',
        b'{"event":"a"}{"event":"b"}',
        b"{'event':'a'}",
        b'{"event":"a",}',
        b"\xef\xbb\xbf" + b'{"event":"a"}',  # a byte order mark
        b'{"event":"a\0"}',
        b'\0{"event":"a"}',
        b'{"event":"a","data":NaN}',
        b'{"event":"a","data":Infinity}',
        b'{"event":"a","data":-Infinity}',
        b'{"event":"a","data":1e999}',
        b'{"event":"a","data":[-1e999]}',
        b'{"event":"a","x":1e999}',
        b'{"event":"\\ud800"}',
        b'{"event":"a","data":"\\udfff"}',
        b'{"event":"a","\\ud800":1}',
        b'{"event":"\xff"}',
        b'{"event":"a","data":"\xed\xa0\x80"}',
        b'{"event":"a","\xff":1}',
        b'{"event":"a","data":"\xc3"}',
        b'{"event":"a","data":' + b"1" * 5000 + b"}",
        b'{"event":"a","user_id":' + b"1" * 5000 + b"}",
        b'{"event":"a","x":-' + b"1" * 5000 + b"}",
        '{"event":"a"}'.encode("utf-16"),
    ],
)
def test_text_that_is_not_json_is_refused(text: bytes) -> None:
    assert refusal(text)


def test_it_is_reported_where_text_is_not_json() -> None:
    assert refusal('{"event":"a",}').startswith("JSON is malformed: ")
    assert refusal('{"event":"a",}').endswith(" (byte 13)")


@tried
@given(
    st.binary()
    | st.text().map(str.encode)
    | json_values.map(msgspec.json.encode)
    | st.dictionaries(st.sampled_from(KNOWN), json_values).map(msgspec.json.encode)
)
@example(b'{"event":"a"}')
def test_any_bytes_are_an_envelope_or_a_bad_message_and_nothing_else(text: bytes) -> None:
    try:
        envelope = decode(text)
    except BadMessage:
        return
    assert isinstance(envelope, Envelope)
    assert isinstance(envelope.event, str)


@tried
@given(json_objects, st.data())
def test_a_message_with_a_byte_changed_is_an_envelope_or_a_bad_message(
    fields: dict[str, Any], data: st.DataObject
) -> None:
    text = bytearray(json.dumps({"event": "a", "channel": "x", **fields}).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode(bytes(text)), Envelope)
    except BadMessage:
        pass


@tried
@given(
    st.text(),
    st.none() | st.text(),
    json_values,
    st.none() | st.text() | st.integers(),
    unknown_keys,
)
def test_every_key_is_kept_in_its_place(
    event: str, channel: str | None, data: Any, user_id: str | int | None, more: dict[str, Any]
) -> None:
    fields = {"event": event, "channel": channel, "data": data, "user_id": user_id, **more}
    text = json.dumps(fields, ensure_ascii=False).encode()
    assert decode(text) == Envelope(event, channel, data, user_id, more or None)


# Depth.


@pytest.mark.parametrize("more", ["", ',"unknown":1', ',"user_id":true'])
@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"k":', "}")])
def test_a_message_is_nested_as_deep_as_the_limit_and_no_deeper(
    more: str, open_: str, close: str
) -> None:
    def message(levels: int) -> bytes:
        within = levels - 1  # the envelope is one
        return f'{{"event":"a","data":{open_ * within}1{close * within}{more}}}'.encode()

    assert decode(message(MAX_DEPTH)).event == "a"
    assert refusal(message(MAX_DEPTH + 1)) == f"nested more than {MAX_DEPTH} levels deep"


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 2000, 100_000])
@pytest.mark.parametrize(
    "text",
    ["{}", '{{"event":"a","data":{}}}', '{{"event":"a","x":{}}}', '{{"event":"a","user_id":{}}}'],
)
def test_deeper_text_is_refused_with_the_same_words_on_every_interpreter(
    levels: int, text: str
) -> None:
    assert refusal(text.format(nested(levels))) == f"nested more than {MAX_DEPTH} levels deep"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    text = json.dumps({"event": "a", "data": [[] for _ in range(10_000)]})
    assert len(decode(text.encode()).data) == 10_000
    text = json.dumps({"event": "a", "data": "[" * 10_000})
    assert decode(text.encode()).data == "[" * 10_000
    text = json.dumps({"event": "a", "data": {"k": "[" * 10_000}})
    assert decode(text.encode()).data == {"k": "[" * 10_000}


@pytest.mark.parametrize("left", [20, 100, 300, 600])
def test_a_caller_deep_in_its_stack_gets_an_envelope_or_a_bad_message(left: int) -> None:
    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]  # None is only below the first frame
    frames = sys.getrecursionlimit() - used - left
    text = f'{{"event":"a","data":{nested(400)}}}'.encode()

    def attempt() -> str:
        try:
            return type(decode(text)).__name__
        except BadMessage as error:
            return str(error)

    outcome = deep_in_the_stack(frames, attempt)
    assert outcome in ("Envelope", f"nested more than {MAX_DEPTH} levels deep")


# Values.


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (None, None),
        ("", ""),
        ("plain text", "plain text"),
        ("{", "{"),
        ("{}", {}),
        ('{"a":1}', {"a": 1}),
        ("[1]", [1]),
        ('"text"', "text"),
        ('"{}"', "{}"),  # decoded once
        ("123", 123),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ('"\\ud800"', '"\\ud800"'),
        ("\ufeff{}", "\ufeff{}"),
        ("1" * 5000, "1" * 5000),
        (nested(MAX_DEPTH + 1), nested(MAX_DEPTH + 1)),
        (nested(100_000), nested(100_000)),
        ({"a": "1"}, {"a": "1"}),
        ([1], [1]),
        (7, 7),
        (False, False),
    ],
)
def test_a_string_of_json_has_its_value_and_everything_else_is_one(data: Any, value: Any) -> None:
    assert value_of(data) == value
    assert type(value_of(data)) is type(value)


@tried
@given(json_values)
def test_a_value_is_decoded_from_its_text_unchanged(value: Any) -> None:
    text = json.dumps(value)
    assert value_of(text) == value
    assert loads(text) == loads(text.encode()) == value
    if not isinstance(value, str):
        assert loads(text_of(value) or "null") == value


@tried
@given(
    st.integers(0, 12),
    st.sampled_from(["[%s]", '{"a":%s}', '[1,{"b":null},%s]', '{"a":1,"a":%s}']),
    json_values.map(json.dumps)
    | st.from_regex(r"-?\d{1,25}(\.\d{1,3})?([eE][+-]?\d{1,3})?", fullmatch=True),
)
def test_text_is_read_alike_however_deep_it_is_nested(levels: int, shape: str, text: str) -> None:
    for _ in range(levels):
        text = shape % text
    try:
        expected = loads(text)
    except BadMessage:
        expected = text
    assert repr(value_of(text)) == repr(expected)
    assert repr(ChannelEvent("c", "e", text).data) == repr(expected)


@tried
@given(st.text(st.characters()))
def test_any_text_has_a_value(text: str) -> None:
    try:
        expected = loads(text)
    except BadMessage:
        expected = text
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, ""),
        ("", ""),
        ("plain", "plain"),
        ('{"a": 1}', '{"a": 1}'),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ([], "[]"),
        (0, "0"),
        (False, "false"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_the_text_of_data_is_the_received_string_or_the_json_of_the_value(
    data: Any, text: str
) -> None:
    assert text_of(data) == text


# Encoding.


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (encode("pusher:ping", {}), '{"event":"pusher:ping","data":{}}'),
        (encode("a"), '{"event":"a"}'),
        (encode("a", None), '{"event":"a","data":null}'),
        (encode("a", 0, "x"), '{"event":"a","channel":"x","data":0}'),
        (encode("a", "é€😀", ""), '{"event":"a","channel":"","data":"é€😀"}'),
        (encode("a", [1, (2, {"b": None})]), '{"event":"a","data":[1,[2,{"b":null}]]}'),
        (encode("a", 2**70), '{"event":"a","data":1180591620717411303424}'),
    ],
)
def test_a_message_is_written_compactly_without_what_is_absent(written: bytes, text: str) -> None:
    assert written.decode() == text


@tried
@given(st.text(), json_values, st.none() | st.text())
def test_what_is_written_is_read_again(event: str, data: Any, channel: str | None) -> None:
    assert decode(encode(event, data, channel)) == Envelope(event, channel, data)


class Price(msgspec.Struct):
    value: float


@dataclass
class Reading:
    value: float


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda number: number,
        lambda number: [number],
        lambda number: (1, {"a": [number]}),
        lambda number: {number},
        lambda number: Price(number),
        lambda number: [Reading(number)],
        lambda number: {"a": Price(number)},
    ],
    ids=["bare", "list", "nested", "set", "struct", "dataclass", "struct in a dict"],
)
def test_no_number_that_json_lacks_is_written(
    wrapped: Callable[[float], object], number: float
) -> None:
    with pytest.raises(LocalProtocolError) as raised:
        encode("client-x", wrapped(number))
    assert str(raised.value) == f"this data cannot be written as JSON: {number} is not JSON"


@pytest.mark.parametrize(
    "data",
    [
        object(),
        {"a": object()},
        lambda: 1,
        "\ud800",
        {"\udfff": 1},
        {(1, 2): 3},
        CIRCLE,
        msgspec.UNSET,
        [msgspec.UNSET],
    ],
    ids=lambda data: type(data).__name__,
)
def test_data_that_json_cannot_hold_is_a_local_error(data: object) -> None:
    if data is msgspec.UNSET:
        assert encode("a", data) == b'{"event":"a"}'
        return
    with pytest.raises(LocalProtocolError, match="this data cannot be written as JSON: "):
        encode("client-x", data)


def test_a_name_that_is_not_unicode_is_a_local_error() -> None:
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        encode("\ud800", {})
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        encode("a", {}, "\ud800")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Price(1.5), '{"value":1.5}'),
        (Reading(1.5), '{"value":1.5}'),
        ({1.5}, "[1.5]"),
        ({1: "a"}, '{"1":"a"}'),
        (b"\0", '"AA=="'),
        (msgspec.Raw(b'{"a": 1}'), '{"a": 1}'),
        ([Price(1.5), msgspec.Raw(b"[ ]")], '[{"value":1.5},[ ]]'),
    ],
)
def test_what_msgspec_knows_is_written_as_it_writes_it(data: object, text: str) -> None:
    assert encode("a", data) == f'{{"event":"a","data":{text}}}'.encode()
