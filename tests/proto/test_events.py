"""Events: what their data is in every shape, how they compare, and what they show of themselves."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import json_values, tried
from pusher_proto import events
from pusher_proto._wire.envelope import MAX_DEPTH
from pusher_proto.errors import DataError, SubscriptionError
from pusher_proto.events import (
    USER_SCOPE,
    WIRE_NAMES,
    CacheMiss,
    ChannelEvent,
    Closed,
    ConnectionEstablished,
    ConnectionState,
    Event,
    EventsDropped,
    MemberAdded,
    ServerError,
    StateChanged,
    Subscribed,
    SubscriptionFailed,
    TypedEvent,
    UserEvent,
    decode_as,
    scope_of,
)
from pusher_proto.members import Member


def event(data: Any = None, **more: Any) -> ChannelEvent:
    return ChannelEvent("room", "price", data, **more)


# Data.

DEEP = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)

SHAPES: list[tuple[Any, Any, str]] = [
    # the received data, its value, its text
    (None, None, ""),
    ("", "", ""),
    ({"v": 1}, {"v": 1}, '{"v":1}'),
    ('{"v":1}', {"v": 1}, '{"v":1}'),
    ('{ "v": 1 }', {"v": 1}, '{ "v": 1 }'),
    ('"text"', "text", '"text"'),
    ('"{}"', "{}", '"{}"'),  # decoded once
    ("plain text", "plain text", "plain text"),
    ("{not json", "{not json", "{not json"),
    (7, 7, "7"),
    ("7", 7, "7"),
    (1.5, 1.5, "1.5"),
    (True, True, "true"),
    ("true", True, "true"),
    ("null", None, "null"),
    ([], [], "[]"),
    ("[1,2]", [1, 2], "[1,2]"),
    ("NaN", "NaN", "NaN"),
    ("1e999", "1e999", "1e999"),
    (DEEP, DEEP, DEEP),
    ("1" * 5000, "1" * 5000, "1" * 5000),
]


@pytest.mark.parametrize(("came", "value", "text"), SHAPES)
def test_data_is_decoded_once_and_its_text_is_what_was_received(
    came: Any, value: Any, text: str
) -> None:
    one = event(came)
    assert one.data == value
    assert type(one.data) is type(value)
    assert (one.wire_data, one.raw_data) == (came, text)


def test_data_is_decoded_at_its_first_use_and_kept() -> None:
    one = event('{"v":1}')
    first = one.data
    assert one.data is first
    first["v"] = 2
    assert one.data == {"v": 2}
    assert one.raw_data == '{"v":1}'


@tried
@given(json_values)
def test_an_object_and_the_text_of_it_have_the_same_data(value: Any) -> None:
    as_text = event(json.dumps(value))
    assert as_text.data == value
    if not isinstance(value, str):
        assert event(value).data == value
        assert json.loads(event(value).raw_data or "null") == value


# Decoding to a type.


class Struct(msgspec.Struct):
    v: int


@dataclass
class Class:
    v: int


class Dict(TypedDict):
    v: int


@pytest.mark.parametrize("came", ['{"v":1}', {"v": 1}])
@pytest.mark.parametrize(
    ("type_", "value"),
    [(Struct, Struct(1)), (Class, Class(1)), (Dict, {"v": 1}), (dict[str, int], {"v": 1}), (Any, {"v": 1})],
)  # fmt: skip
def test_data_is_decoded_to_any_type_that_msgspec_knows(
    came: Any, type_: type[Any], value: Any
) -> None:
    assert event(came).decode(type_) == value


@pytest.mark.parametrize(
    ("came", "type_", "value"),
    [
        (None, type(None), None),
        ("null", type(None), None),
        ('"text"', str, "text"),
        ("7", int, 7),
        ([1, 2], list[int], [1, 2]),
        (DEEP, Any, json.loads(DEEP)),
    ],
)
def test_what_is_not_an_object_is_decoded_too(came: Any, type_: type[Any], value: Any) -> None:
    assert event(came).decode(type_) == value


@pytest.mark.parametrize(
    ("came", "why"),
    [
        ('{"v":"1"}', "Expected `int`, got `str` - at `$.v`"),
        ({"v": None}, "Expected `int`, got `null` - at `$.v`"),
        ("{}", "Object missing required field `v`"),
        ("[1]", "Expected `object`, got `array`"),
        (None, "Expected `object`, got `null`"),
        ("", "Expected `object`, got `null`"),
        ("plain text", "JSON is malformed: invalid character (byte 0)"),
    ],
)
def test_data_that_does_not_fit_is_an_error_with_channel_event_and_path(
    came: Any, why: str
) -> None:
    with pytest.raises(DataError) as raised:
        event(came).decode(Struct)
    assert str(raised.value) == f"the data of 'price' on 'room' does not match the type: {why}"
    assert isinstance(raised.value.__cause__, ValueError)


def test_data_that_is_too_deep_for_the_interpreter_does_not_fit() -> None:
    with pytest.raises(DataError, match="does not match the type"):
        event("[" * 100_000 + "]" * 100_000).decode(list[Any])


def test_a_decoder_is_made_once_for_many_events() -> None:
    decoder = msgspec.json.Decoder(Struct)
    assert [decode_as(event({"v": n}), decoder) for n in range(3)] == [Struct(n) for n in range(3)]


def test_a_typed_event_has_the_decoded_value_beside_the_received_data() -> None:
    typed = TypedEvent[Struct]("room", "price", '{"v":1}', None, None, False, Struct(1))
    assert (typed.data, typed.raw_data, typed.decode(Struct)) == (Struct(1), '{"v":1}', Struct(1))


# Comparing and showing.


def test_messages_are_equal_when_everything_received_is() -> None:
    base = event("1", user_id="u", extra={"a": 1}, cached=True)
    assert base == event("1", user_id="u", extra={"a": 1}, cached=True)
    others = [
        ChannelEvent("other", "price", "1", "u", {"a": 1}, True),
        ChannelEvent("room", "other", "1", "u", {"a": 1}, True),
        event(1, user_id="u", extra={"a": 1}, cached=True),
        event("1", extra={"a": 1}, cached=True),
        event("1", user_id="u", cached=True),
        event("1", user_id="u", extra={"a": 1}),
        UserEvent("room", "price", "1", "u", {"a": 1}, True),
    ]
    assert [one for one in others if one == base or base == one] == []
    assert [one for one in others if not (one != base and base != one)] == []
    assert base != "room"
    assert base != CacheMiss("room")


def test_looking_at_the_data_changes_neither_equality_nor_hash() -> None:
    one, two = event("{}"), event("{}")
    before = hash(one)
    assert one.data == {}
    assert one == two
    assert not one != two  # noqa: SIM202 - another method
    assert hash(one) == hash(two) == before


def test_messages_may_be_put_into_sets_whatever_their_data_is() -> None:
    assert {event({"a": []}, extra={"b": {}}), event({"a": []}, extra={"b": {}})} == {
        event({"a": []}, extra={"b": {}})
    }


@tried
@given(st.text(), st.text(), json_values, st.none() | st.text())
def test_equal_messages_have_equal_hashes_and_short_reprs(
    channel: str, name: str, data: Any, user_id: str | None
) -> None:
    one, two = (ChannelEvent(channel, name, data, user_id) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert pickle.loads(pickle.dumps(one)) == one
    assert len(repr(one)) < 300 + 10 * (len(channel) + len(name) + len(user_id or ""))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (event(), "ChannelEvent(channel='room', name='price', data='')"),
        (event({"v": 1}), "ChannelEvent(channel='room', name='price', data='{\"v\":1}')"),
        (event("x", user_id="7"), "ChannelEvent(channel='room', name='price', data='x', user_id='7')"),
        (event("a\n" + "x" * 100), f"ChannelEvent(channel='room', name='price', data='a {'x' * 61}…')"),
        (UserEvent("#server-to-user-7", "hi", "{}"), "UserEvent(channel='#server-to-user-7', name='hi', data='{}')"),
        (TypedEvent("room", "n", "1", None, None, False, 1), "TypedEvent(channel='room', name='n', data='1')"),
        (Closed(), "Closed()"),
    ],
)  # fmt: skip
def test_a_message_shows_the_start_of_its_data(value: Event, shown: str) -> None:
    assert repr(value) == shown


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Closed(), CacheMiss("x")),
        (CacheMiss("x"), CacheMiss("y")),
        (Subscribed("x"), Subscribed("x", offline_for=0.0)),
        (ConnectionEstablished("1.1"), ConnectionEstablished("1.2")),
        (MemberAdded("x", Member("1")), MemberAdded("x", Member("1", {}))),
        (
            StateChanged(ConnectionState.CONNECTING, ConnectionState.CONNECTED),
            StateChanged(ConnectionState.CONNECTING, ConnectionState.FAILED),
        ),
    ],
)
def test_other_events_are_frozen_and_compare_by_what_they_say(one: Event, other: Event) -> None:
    assert one == pickle.loads(pickle.dumps(one))
    assert one != other
    for name in one.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(one, name, None)


def test_messages_are_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        event().name = "other"  # type: ignore[misc]  # frozen: this must raise


# Names and scopes.


def test_every_event_is_exported() -> None:
    classes = [
        name
        for name, one in vars(events).items()
        if inspect.isclass(one) and issubclass(one, Event)
    ]
    assert sorted([*classes, "ConnectionState"]) == sorted(events.__all__)


def test_the_names_under_which_other_clients_hand_out_events_mean_one_class_each() -> None:
    assert len(set(WIRE_NAMES.values())) == len(WIRE_NAMES)
    assert all(issubclass(one, Event) for one in WIRE_NAMES.values())
    assert WIRE_NAMES["pusher:member_added"] is MemberAdded
    assert not any(name.startswith("pusher_internal:") for name in WIRE_NAMES)


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        (event(), "room"),
        (UserEvent("#server-to-user-7", "hi"), USER_SCOPE),
        (TypedEvent("room", "price"), "room"),
        (Subscribed("room"), "room"),
        (SubscriptionFailed("room", SubscriptionError("no", channel="room")), "room"),
        (ServerError(4301, "too much", "room"), "room"),
        (ServerError(4301, "too much"), None),
        (EventsDropped("room", 1), "room"),
        (EventsDropped(None, 1), None),
        (Closed(), None),
        (ConnectionEstablished("1.1"), None),
    ],
)
def test_an_event_belongs_to_a_channel_to_the_user_or_to_the_client(
    value: Event, scope: str | None
) -> None:
    assert scope_of(value) == scope
