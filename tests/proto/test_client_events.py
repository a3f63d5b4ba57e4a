"""Client events: what is refused before anything is sent, what is sent, and its result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_proto import (
    ChannelEvent,
    InvalidName,
    LocalProtocolError,
    NotSubscribed,
    OutboxFull,
    ServerError,
    UnsupportedFeature,
)
from pusher_proto._base.timers import Timers
from pusher_proto._channels.channel import Channel, ChannelSnapshot
from pusher_proto._channels.client_events import ClientEvents
from pusher_proto._connection.connector import Connector
from pusher_proto._connection.ledger import Ledger
from pusher_proto.names import kind_of
from pusher_proto.options import Options
from pusher_proto.states import ChannelState
from pusher_proto.testing import DEMO_APP
from simulation import Device, World

ROOM = "private-room"


class Wire:
    """Stands for a connection: notes what is sent on it."""

    unsent = 0
    socket_id = "1.2"

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ledger = Ledger(in_order=False)

    def request(self, frame: bytes, *_: object) -> None:
        self.sent.append(frame)


class Guards:
    """The guards of client events, on their own wire."""

    def __init__(self, **options: Any) -> None:
        self.wire = Wire()
        self.timers = Timers()
        settings = Options.from_host("pusher.test", key="key", **options)
        self.events = ClientEvents(
            settings, self.timers, cast("Connector", self.wire), lambda _: ChannelState.SUBSCRIBED
        )

    def frame(self, name: str, channel: Channel | None, event: str, data: Any, now: float) -> bytes:
        """Trigger an event and return the frame that was sent."""
        known = ChannelSnapshot(name, kind_of(name), ChannelState.IDLE)
        self.events.trigger(channel.snapshot() if channel else known, event, data, None, now)
        return self.wire.sent.pop()


def guards(**options: Any) -> Guards:
    return Guards(**options)


def subscribed(name: str = ROOM) -> Channel:
    channel = Channel(name, 10)
    channel.state = ChannelState.SUBSCRIBED
    return channel


def frame(data: Any, event: str = "client-x", name: str = ROOM, **options: Any) -> bytes:
    return guards(**options).frame(name, subscribed(name), event, data, 0.0)


def on(world: World, name: str = ROOM, user: str = "ada", **options: Any) -> Device:
    auth = world.own_key(member={"user_id": user})
    device = world.connected(world.options(auth=auth, **options))
    device.subscribe(name)
    world.run(1)
    device.take()
    world.heard()
    return device


# Guards.


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"x": 1}, b'{"x":1}'),
        ([], b"[]"),
        ("text", b'"text"'),
        (None, b"null"),
        (0, b"0"),
        (False, b"false"),
        ("wörld", '"wörld"'.encode()),
    ],
)
def test_the_frame_has_the_data_as_it_is(data: Any, text: bytes) -> None:
    assert frame(data) == b'{"event":"client-x","channel":"private-room","data":' + text + b"}"


@pytest.mark.parametrize(
    "event",
    [
        "",
        "typing",
        "client",
        "client-",
        "Client-x",
        "pusher:x",
        "client-x\n",
        "client-" + "x" * 194,
    ],
)
def test_a_name_that_is_not_a_client_event_is_refused(event: str) -> None:
    with pytest.raises(InvalidName):
        frame({}, event)


def test_a_name_of_200_characters_passes_and_without_strictness_any_length_does() -> None:
    assert frame({}, "client-" + "x" * 193)
    assert frame({}, "client-" + "x" * 500, strict_names=False)


def test_a_name_that_is_not_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="an event name is a str, not int"):
        frame({}, 5)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("room", "public"),
        ("cache-room", "public"),
        ("private-encrypted-room", "encrypted"),
        ("private-encrypted-cache-room", "encrypted"),
        ("#server-to-user-1", "user"),
    ],
)
def test_only_private_and_presence_channels_have_client_events(name: str, kind: str) -> None:
    with pytest.raises(UnsupportedFeature, match=f"private and presence channels.*is {kind}$"):
        frame({}, name=name)


@pytest.mark.parametrize(
    "name", ["private-room", "presence-room", "private-cache-room", "presence-cache-room"]
)
def test_private_and_presence_channels_have_them(name: str) -> None:
    assert frame({}, name=name)


@pytest.mark.parametrize("state", [s for s in ChannelState if s is not ChannelState.SUBSCRIBED])
def test_a_channel_that_is_not_subscribed_takes_none(state: ChannelState) -> None:
    channel = Channel(ROOM, 10)
    channel.state = state
    with pytest.raises(NotSubscribed, match="'private-room' is not subscribed"):
        guards().frame(ROOM, channel, "client-x", {}, 0.0)


def test_a_channel_without_a_subscription_takes_none() -> None:
    with pytest.raises(NotSubscribed, match="never subscribed"):
        guards().frame(ROOM, None, "client-x", {}, 0.0)


@pytest.mark.parametrize(
    "data",
    [
        object(),
        math.nan,
        {"a": [math.inf]},
        {"a": {(1, 2): 3}},
        "\ud800",
        lambda: None,
    ],
    ids=["object", "nan", "inf within", "key", "surrogate", "function"],
)
def test_data_that_is_not_json_is_refused(data: Any) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        frame(data)


def test_data_may_have_10_kb_and_not_a_byte_more() -> None:
    assert frame("x" * (10 * 1024 - 2))
    with pytest.raises(LocalProtocolError, match=r"has 10241 bytes; the limit is 10240 \(Options"):
        frame("x" * (10 * 1024 - 1))


def test_the_size_counts_bytes_and_the_limit_is_an_option() -> None:
    assert frame("€€€", max_client_event=11)
    with pytest.raises(LocalProtocolError, match="has 14 bytes; the limit is 11"):
        frame("€€€€", max_client_event=11)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(), st.lists))
def test_the_size_is_that_of_the_data_alone(data: Any) -> None:
    whole = frame(data, max_client_event=10**9)
    size = len(whole) - len(b'{"event":"client-x","channel":"private-room","data":}')
    assert frame(data, max_client_event=size) == whole
    if size > 1:
        with pytest.raises(LocalProtocolError, match=f"has {size} bytes"):
            frame(data, max_client_event=size - 1)


# The rate.


def passed(events: Guards, times: list[float]) -> list[float]:
    """Return the times at which an event was let through."""
    through = []
    for now in times:
        try:
            events.frame(ROOM, subscribed(), "client-x", {}, now)
        except LocalProtocolError:
            continue
        through.append(now)
    return through


def test_there_is_no_rate_unless_one_is_set() -> None:
    assert len(passed(guards(), [0.0] * 1000)) == 1000


@pytest.mark.parametrize("start", [0.0, -1e6, 1e9])
def test_a_second_s_worth_passes_at_once_and_the_rate_from_then_on(start: float) -> None:
    events = guards(client_event_rate=10)
    assert len(passed(events, [start] * 30)) == 10
    with pytest.raises(
        LocalProtocolError, match=r"more than 10 client events in a second \(Options"
    ):
        events.frame(ROOM, subscribed(), "client-x", {}, start)
    assert len(passed(events, [start + 0.25] * 30)) == 2
    assert len(passed(events, [start + 100.0] * 30)) == 10


@given(st.integers(1, 20), st.lists(st.integers(0, 200), max_size=60))
def test_never_more_than_twice_the_rate_in_a_second_nor_more_than_the_rate_in_the_long_run(
    rate: int, steps: list[int]
) -> None:
    now, times = 0.0, []
    for step in steps:
        now += step / 64
        times.append(now)
    through = passed(guards(client_event_rate=rate), times)
    for first, began in enumerate(through):
        for last in range(first, len(through)):
            assert last - first + 1 <= rate + rate * (through[last] - began) + 1e-6


def test_what_is_refused_for_another_reason_does_not_count() -> None:
    events = guards(client_event_rate=1, max_client_event=5)
    for data in ("too large", object()):
        with pytest.raises(LocalProtocolError):
            events.frame(ROOM, subscribed(), "client-x", data, 0.0)
    assert events.frame(ROOM, subscribed(), "client-x", "ok", 0.0)


# In a session.


def wrong(device: Device, call: Callable[[], None]) -> None:
    """Make a call that raises, and see that nothing came of it."""
    effects = len(device.effects)
    with pytest.raises(LocalProtocolError):
        call()
    device.pump()
    assert device.effects[effects:] == []
    assert device.take() == []


def test_a_refused_trigger_changes_nothing() -> None:
    world = World()
    device = on(world)
    for channel, event, data in (
        ("room", "client-x", {}),
        ("private-other", "client-x", {}),
        ("private-encrypted-room", "client-x", {}),
        (ROOM, "x", {}),
        (ROOM, "client-x", "x" * 11_000),
        (ROOM, "client-x", object()),
    ):
        wrong(device, lambda c=channel, e=event, d=data: device.trigger(c, e, d))  # type: ignore[misc]  # mypy infers no lambda with defaults
    world.run(1)
    assert world.heard() == []


def test_nothing_is_triggered_while_there_is_no_connection() -> None:
    world = World()
    device = on(world)
    world.network.refuse = True
    world.reset(device)
    device.take()
    wrong(device, lambda: device.trigger(ROOM, "client-x", {}))
    device.close()
    effects = len(device.effects)
    device.trigger(ROOM, "client-x", {})  # after close a call does nothing
    assert device.effects[effects:] == []


def test_a_client_event_reaches_the_others_and_not_oneself() -> None:
    world = World()
    ada, bob = on(world), on(world)
    ada.take()
    ada.trigger(ROOM, "client-typing", {"x": 1})
    world.run(1)
    assert (ada.take(), bob.take()) == ([], [ChannelEvent(ROOM, "client-typing", {"x": 1})])


def test_on_a_presence_channel_it_says_who_sent_it() -> None:
    world = World()
    room = "presence-room"
    ada, bob = on(world, room, "ada"), on(world, room, "bob")
    ada.take()
    ada.trigger(room, "client-typing", None)
    world.run(1)
    assert bob.take() == [ChannelEvent(room, "client-typing", None, "ada")]


def test_on_a_cache_channel_too_and_a_number_becomes_text() -> None:
    world = World()
    device = on(world, "presence-cache-room")
    world.say("client-typing", {}, "presence-cache-room", user_id=7)
    world.say("client-typing", {}, "presence-cache-room", user_id="8")
    world.say("other", {}, "presence-cache-room")
    assert [event.user_id for event in device.of(ChannelEvent)] == ["7", "8", None]


def test_a_full_outbox_is_reported_before_anything_is_sent() -> None:
    world = World()
    device = on(world, outbox_limit=10)
    with pytest.raises(OutboxFull):
        device.trigger(ROOM, "client-x", {})
    world.run(1)
    assert world.heard() == []


def test_the_rate_of_the_server_is_an_error_of_the_channel_and_keeps_the_connection() -> None:
    world = World(apps=(replace(DEMO_APP, client_event_rate=10),))
    device = on(world)
    socket_id = device.session.socket_id
    for n in range(12):
        device.trigger(ROOM, "client-x", n)
    world.run(1)
    refused = ServerError(4301, "Client event rejected - rate limit reached", ROOM)
    assert device.take() == [refused, refused]
    assert device.session.channel(ROOM).state is ChannelState.SUBSCRIBED
    assert device.session.socket_id == socket_id


def test_a_refusal_that_names_no_channel_is_attributed_to_the_one_that_triggered() -> None:
    world = World()
    device = on(world)
    device.subscribe("private-other")
    world.run(1)
    device.take()
    device.trigger(ROOM, "client-x", 1)
    world.say("pusher:error", {"code": 4301, "message": "rate limit"})
    world.run(10)
    world.say("pusher:error", {"code": 4301, "message": "rate limit"})
    assert device.take() == [
        ServerError(4301, "rate limit", ROOM),
        ServerError(4301, "rate limit", ROOM),
    ]
    device.trigger("private-other", "client-x", 1)
    world.say("pusher:error", {"code": 4301, "message": "rate limit"})
    assert device.take() == [ServerError(4301, "rate limit", None)]
    device.do(device.session.ping)
    world.run(1)
    world.say("pusher:error", {"code": 4301, "message": "rate limit"})
    assert device.take() == [ServerError(4301, "rate limit", None)]
    device.trigger("private-other", "client-x", 1)
    world.say("pusher:error", {"code": 4301, "message": "rate limit"})
    assert device.take() == [ServerError(4301, "rate limit", "private-other")]


def test_a_refused_client_event_is_not_an_answer_to_the_subscribe_of_its_channel() -> None:
    world = World()
    device = on(world)
    device.unsubscribe(ROOM)
    world.act(world.server.delay, 1.0, "subscribe")
    device.subscribe(ROOM)
    device.take()
    world.say("pusher:error", {"code": 4301, "message": "rate limit"}, ROOM)
    assert device.take() == [ServerError(4301, "rate limit", ROOM)]
    world.run(2)
    assert device.session.channel(ROOM).state is ChannelState.SUBSCRIBED


def test_F5_a_client_event_in_a_frame_larger_than_the_server_takes_is_not_sent() -> None:
    world = World()
    device = on(world, max_frame=200)
    device.trigger(ROOM, "client-x", "y" * 100)
    with pytest.raises(LocalProtocolError, match=r"the limit is 200 \(Options.max_frame\)"):
        device.trigger(ROOM, "client-" + "x" * 100, "y" * 100)
    world.run(1)
    assert [heard for heard in world.heard() if heard[0].startswith("client-")] == [
        ("client-x", ROOM)
    ]
