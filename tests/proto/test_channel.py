"""One channel: its moves by the table, what it receives, and which message a cache channel begins with."""

from __future__ import annotations

import ast
import logging
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import FrameType

import pytest

from proto.scripted import connected, message
from proto.websocket_peer import TEXT, frame
from pusher_proto import (
    AuthResponse,
    ChannelKind,
    ChannelState,
    Member,
    OwnKey,
    SubscriptionError,
)
from pusher_proto._channels import channel as channel_module
from pusher_proto._channels.channel import Channel, ChannelSnapshot
from pusher_proto.states import CHANNEL, CHANNEL_IGNORED, ChannelInput
from simulation import World

C, J = ChannelState, ChannelInput

WAYS: dict[ChannelState, tuple[ChannelInput, ...]] = {
    C.IDLE: (),
    C.UNSUBSCRIBED: (J.WANT, J.LEAVE),
    C.PENDING: (J.WANT,),
    C.AUTHORIZING: (J.WANT, J.ASK),
    C.SUBSCRIBING: (J.WANT, J.SEND),
    C.SUBSCRIBED: (J.WANT, J.SEND, J.SUCCEED),
    C.TIMED_OUT: (J.WANT, J.SEND, J.EXPIRE),
    C.FAILED: (J.WANT, J.SEND, J.REFUSE),
    C.UNSUBSCRIBING: (J.WANT, J.SEND, J.LEAVE),
}
"""How each state is reached."""


def channel_in(state: ChannelState, name: str = "room") -> Channel:
    channel = Channel(name, 10)
    for given in WAYS[state]:
        assert channel.handle(given)
    assert channel.state is state
    return channel


def test_every_pair_of_state_and_input_is_decided_once() -> None:
    assert set(CHANNEL) | CHANNEL_IGNORED == set(product(C, J))
    assert set(CHANNEL) & CHANNEL_IGNORED == set()


@pytest.mark.parametrize(("state", "given"), list(product(C, J)))
def test_a_channel_moves_by_the_table_and_says_whether_it_did(
    state: ChannelState, given: ChannelInput
) -> None:
    channel = channel_in(state)
    moved = channel.handle(given)
    assert channel.state is CHANNEL.get((state, given), state)
    assert moved is ((state, given) in CHANNEL)


@pytest.mark.parametrize("state", C)
def test_messages_count_from_the_subscribe_on(state: ChannelState) -> None:
    expected = state in (C.SUBSCRIBING, C.SUBSCRIBED, C.TIMED_OUT)
    assert channel_in(state).receives is channel_in(state).passes is expected
    assert not channel_in(state, "cache-room").passes


@pytest.mark.parametrize(
    ("name", "kind", "passes", "encrypted", "has_roster"),
    [
        ("room", ChannelKind.PUBLIC, True, False, False),
        ("cache-room", ChannelKind.PUBLIC, False, False, False),
        ("room-cache-x", ChannelKind.PUBLIC, True, False, False),
        ("private-room", ChannelKind.PRIVATE, True, False, False),
        ("private-cache-room", ChannelKind.PRIVATE, False, False, False),
        ("private-encrypted-room", ChannelKind.ENCRYPTED, False, True, False),
        ("private-encrypted-cache-room", ChannelKind.ENCRYPTED, False, True, False),
        ("presence-room", ChannelKind.PRESENCE, True, False, True),
        ("presence-cache-room", ChannelKind.PRESENCE, False, False, True),
        ("Private-room", ChannelKind.PUBLIC, True, False, False),
        ("privateer", ChannelKind.PUBLIC, True, False, False),
        ("#server-to-user-1", ChannelKind.USER, True, False, False),
    ],
)
def test_the_name_says_what_a_channel_is(
    name: str, kind: ChannelKind, passes: bool, encrypted: bool, has_roster: bool
) -> None:
    assert not Channel(name, 10).passes
    channel = channel_in(C.SUBSCRIBED, name)
    assert (channel.kind, channel.passes, channel.encrypted) == (kind, passes, encrypted)
    assert (channel.roster is not None) is has_roster


# The cached event.


def test_the_first_message_after_the_success_is_the_cached_one() -> None:
    channel = channel_in(C.SUBSCRIBED, "cache-x")
    assert [channel.is_cached("price") for _ in range(3)] == [True, False, False]


def test_without_a_cache_no_message_is() -> None:
    assert not channel_in(C.SUBSCRIBED, "room").is_cached("price")


def test_a_message_before_the_success_is_not_the_cached_one() -> None:
    channel = channel_in(C.SUBSCRIBING, "cache-x")
    assert not channel.is_cached("price")
    channel.handle(J.SUCCEED)
    assert channel.is_cached("price")


def test_F3_a_client_event_after_the_success_is_the_cached_one() -> None:
    """Reverb keeps client events as well; others send their last event, or a cache_miss, before any client event."""
    channel = channel_in(C.SUBSCRIBED, "private-cache-x")
    assert [channel.is_cached(name) for name in ("client-a", "price")] == [True, False]


def test_F3_a_member_who_joins_after_the_success_is_not_the_cached_event() -> None:
    channel = channel_in(C.SUBSCRIBED, "presence-cache-x")
    names = ("pusher_internal:member_added", "price", "price")
    assert [channel.is_cached(name) for name in names] == [False, True, False]


def test_after_a_miss_the_next_message_is_a_new_one() -> None:
    channel = channel_in(C.SUBSCRIBED, "cache-x")
    channel.cache_missed()
    assert not channel.is_cached("price")


def test_a_second_success_does_not_make_the_next_message_a_cached_one() -> None:
    channel = channel_in(C.SUBSCRIBED, "cache-x")
    channel.is_cached("price")
    assert not channel.handle(J.SUCCEED)
    assert not channel.is_cached("price")


def test_an_event_missing_before_a_drop_is_not_awaited_after_it() -> None:
    channel = channel_in(C.SUBSCRIBED, "cache-x")
    channel.handle(J.LOSE)
    channel.handle(J.SEND)
    assert not channel.is_cached("price")
    channel.handle(J.SUCCEED)
    assert channel.is_cached("price")


# Snapshots.


def test_a_channel_that_was_never_subscribed_is_idle() -> None:
    snapshot = World().device(connect=False).session.channel("presence-x")
    assert snapshot == ChannelSnapshot("presence-x", ChannelKind.PRESENCE, C.IDLE)
    assert (dict(snapshot.members), snapshot.me) == ({}, None)


def test_a_snapshot_has_everything_known_and_does_not_change() -> None:
    channel = channel_in(C.SUBSCRIBED, "presence-x")
    assert channel.roster is not None
    channel.roster.introduce('{"user_id":1}', None)
    channel.roster.replace({"presence": {"ids": [1], "count": 5}})
    channel.subscription_count = 0
    channel.last_error = error = SubscriptionError("no", channel="presence-x")
    snapshot = channel.snapshot()
    channel.handle(J.LEAVE)
    channel.roster.clear()
    assert snapshot == ChannelSnapshot(
        "presence-x",
        ChannelKind.PRESENCE,
        C.SUBSCRIBED,
        error,
        0,
        snapshot.members,
        Member("1"),
        5,
    )
    assert dict(snapshot.members) == {"1": Member("1")}


def test_a_renounced_channel_keeps_nothing_of_its_subscription() -> None:
    channel = channel_in(C.UNSUBSCRIBING, "presence-x")
    channel.auth = channel.held_authorization = AuthResponse("key:x")
    channel.lost_at = channel.key_asked_at = 5.0
    channel.reset()
    kept = [channel.auth, channel.held_authorization, channel.key, channel.lost_at]
    assert kept == [None] * 4
    assert channel.key_asked_at == float("-inf")


def test_a_channel_s_fields_are_written_by_the_channel_alone() -> None:
    fields = set(Channel.__slots__)
    room = Path(channel_module.__file__).parent
    for path in room.parent.rglob("*.py"):
        if path.name == "channel.py" and path.parent == room:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                of = node.value.id if isinstance(node.value, ast.Name) else ""
                assert not (of == "channel" and node.attr in fields), (path, node.attr)


def calls_of(command: Callable[[], object]) -> list[tuple[str, str]]:
    """Return the functions of the core that are called, each with the name of its file."""
    called: list[tuple[str, str]] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "pusher_proto" in frame.f_code.co_filename:
            called.append((Path(frame.f_code.co_filename).name, frame.f_code.co_name))

    sys.setprofile(profile)
    try:
        command()
    finally:
        sys.setprofile(None)
    return called


@pytest.mark.parametrize(("name", "most"), [("room", 84), ("private-a", 106), ("presence-a", 124)])
def test_a_subscribe_and_its_success_take_few_calls(
    name: str, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Programs have a thousand channels. One more layer shows here before it shows in a benchmark.
    caplog.set_level(logging.INFO, logger="pusher_proto.protocol")  # at DEBUG frames are formatted
    script = connected(auth=OwnKey("key", "secret", member={"user_id": "7"}))
    roster = (
        '{"presence":{"count":1,"ids":["7"],"hash":{"7":null}}}' if "presence" in name else "{}"
    )

    def subscribe(name: str) -> list[tuple[str, str]]:
        calls = calls_of(lambda: script.session.subscribe(name, now=script.now))
        script.pump()
        text = message("pusher_internal:subscription_succeeded", roster, name)
        data, transport = frame(text, TEXT), script.transport
        calls += calls_of(lambda: script.session.receive_data(transport, data, now=script.now))
        script.pump()
        assert script.session.channel(name).state is ChannelState.SUBSCRIBED
        return calls

    subscribe(f"{name}-before")
    calls = subscribe(name)
    assert len(calls) <= most, " ".join(":".join(c) for c in calls)


@pytest.mark.parametrize("name", ["room", "private-a"])
def test_a_subscribe_reaches_the_wire_by_the_session_s_own_method_alone(name: str) -> None:
    script = connected()
    called = calls_of(lambda: script.session.subscribe(name, now=script.now))
    passed = [function for file, function in called if file == "session.py"]
    assert passed == ["subscribe", "_advance_clock"]
    script.pump()
    (frame,) = script.frames()
    assert frame["data"]["channel"] == name
