"""Messages that arrive before the first consumer: kept for it in order, limited, and not kept without need."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.fake_client import (
    FakeClient,
    FakeStream,
    connected,
    datas,
    publish,
    room,
    subscribed,
    warnings,
)
from pusher_proto import ChannelEvent, Event, StreamOverflow, Subscribed, UserEvent
from pusher_proto.client import Overflow
from simulation import World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "100"))
tried = settings(max_examples=EXAMPLES, deadline=None)


def kept(client: FakeClient) -> dict[str, list[Any]]:
    """Return the data of what is kept, by channel."""
    scopes = client._delivery.backlog._messages
    return {
        scope: [event.data for _, event in kept if isinstance(event, ChannelEvent)]
        for scope, kept in scopes.items()
        if kept
    }


def test_messages_are_handed_over_in_order_to_the_first_that_means_them() -> None:
    world, client, channel = room()
    for value in range(6):
        publish(world, value, event="odd" if value % 2 else "even")
    assert datas(channel.events("odd").ready()) == [1, 3, 5]
    second, third = channel.events(ChannelEvent), channel.events(ChannelEvent)
    publish(world, 6)
    assert datas(second.ready()) == [0, 2, 4, 6]
    assert datas(third.ready()) == [6]
    assert kept(client) == {}


def test_nothing_is_lost_between_the_confirmation_and_the_first_step() -> None:
    world = World()
    client = connected(world)
    world.network.latency = 0.0
    channel = client.subscribe("room")
    world.run(0)  # the confirmation and what follows it are one piece of news
    publish(world, 1, 2)
    channel.wait_subscribed()
    assert datas(iter(channel).ready()) == [1, 2]


def test_a_handler_is_called_for_what_was_kept() -> None:
    world, _, channel = room()
    publish(world, 1, 2)
    calls: list[Any] = []
    channel.bind("price", lambda event: calls.append(event.data))
    publish(world, 3)
    assert calls == [1, 2, 3]


def test_a_stream_of_the_client_gets_the_backlog_of_all_channels_in_order() -> None:
    world = World()
    client, _ = subscribed(world, "a", "b", "c")
    for value, name in enumerate("abcbacba"):
        publish(world, value, channel=name)
    client.channel("c").events().close()
    stream = client.events("price")
    assert [(event.channel, event.data) for event in stream.ready()] == [
        (name, value) for value, name in enumerate("abcbacba") if name != "c"
    ]


def test_the_success_of_an_idle_channel_is_kept_in_its_place_and_once() -> None:
    world = World()
    client, [first] = subscribed(world, "first")
    publish(world, 1, channel="first")
    [second] = [client.subscribe("second")]
    world.run(1)
    publish(world, 2, channel="second")
    everything = client.events(None)
    assert [
        (event.channel, type(event).__name__)
        for event in everything.ready()
        if isinstance(event, Subscribed | ChannelEvent)
    ] == [
        *(("first", "Subscribed"), ("first", "ChannelEvent")),
        *(("second", "Subscribed"), ("second", "ChannelEvent")),
    ]
    assert first.events(Subscribed).ready() == second.events(Subscribed).ready() == []


def test_a_success_after_a_gap_is_kept_beside_the_first_one() -> None:
    world, client, channel = room()
    world.act(world.server.drop)
    world.run(5)
    waits = [event.offline_for for event in channel.events(Subscribed).ready()]
    assert len(waits) == 2
    assert waits[0] is None
    assert waits[1] is not None
    assert client.events(Subscribed).ready() == []


def test_messages_for_the_user_are_kept_too() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    client.signin()
    client.wait_signed_in()
    world.run(1)
    world.act(world.server.send_to_user, "7", "note", 1)
    world.run(1)
    assert client.user.wait_for("note") == UserEvent("#server-to-user-7", "note", "1")


def test_a_bounded_number_is_kept_and_the_limit_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel = room(backlog_limit=5)
    publish(world, *range(5))
    assert warnings(caplog) == []
    publish(world, *range(5, 20))
    assert warnings(caplog) == [
        "room has no stream and no handler: only its last 5 messages are kept (Options.backlog_limit)"
    ]
    assert kept(client) == {"room": [15, 16, 17, 18, 19]}
    channel.unsubscribe()
    assert kept(client) == {}
    channel = client.subscribe("room").wait_subscribed()
    publish(world, *range(8))
    assert len(warnings(caplog)) == 2
    assert datas(channel.events("price").ready()) == [3, 4, 5, 6, 7]


def test_what_is_left_after_some_was_claimed_is_bounded_too() -> None:
    world, client, channel = room(backlog_limit=5)
    publish(world, 1, 2)
    publish(world, 3, event="other")
    assert datas(channel.events("other").ready()) == [3]
    publish(world, *range(100))
    assert kept(client) == {"room": [95, 96, 97, 98, 99]}


def test_no_warning_when_someone_listens_for_something_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel = room(backlog_limit=5)
    stream = channel.events("other")
    publish(world, *range(10))
    assert warnings(caplog) == []
    stream.close()
    publish(world, *range(10))
    assert len(warnings(caplog)) == 1
    assert kept(client) == {"room": [5, 6, 7, 8, 9]}


def test_with_a_limit_of_nothing_nothing_is_kept_or_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel = room(backlog_limit=0)
    publish(world, *range(10))
    assert warnings(caplog) == []
    assert kept(client) == {}
    stream = channel.events()
    publish(world, 10)
    assert datas(stream.ready()) == [10]


def read(stream: FakeStream[Any]) -> list[Any]:
    """Return the data of what can be had, with "overflow" where that is raised."""
    taken: list[Any] = []
    while True:
        with stream._client._guard:
            try:
                event = stream._next()
            except StreamOverflow:
                taken.append("overflow")
                continue
        if not isinstance(event, ChannelEvent):
            return taken
        taken.append(event.data)


@pytest.mark.parametrize(
    ("overflow", "expected", "dropped"),
    [
        ("wait", [0, 1, 2, 3, 4], 0),
        ("drop_oldest", [2, 3, 4], 2),
        ("drop_newest", [0, 1, 2], 2),
        ("raise", [0, 1, 2, "overflow"], 2),
    ],
)
def test_kept_messages_count_as_if_received_now(
    overflow: Overflow, expected: list[Any], dropped: int
) -> None:
    world, client, channel = room()
    publish(world, *range(5))
    stream = channel.events("price", buffer=3, overflow=overflow)
    assert kept(client) == {}
    assert read(stream) == expected
    publish(world, 5)
    assert read(stream) == [5]
    assert stream.dropped == dropped


def test_kept_messages_count_as_waiting_once_a_stream_has_them() -> None:
    world, client, channel = room(receive_buffer=1000)
    publish(world, *range(100))
    assert client.reads
    stream, other = channel.events("price"), channel.events("price")
    publish(world, *range(100, 130))
    assert not client.reads
    assert datas(other.ready())[0] == 100
    assert not client.reads
    assert datas(stream.ready())[:101] == list(range(101))
    other.ready()
    assert client.reads


def test_nothing_is_kept_for_a_channel_that_was_unsubscribed_before_it_arrived() -> None:
    world, client, channel = room()
    stalled = client.events("other", buffer=1)
    publish(world, 1, event="other")
    publish(world, 1, 2, 3)
    channel.unsubscribe()
    assert datas(stalled.ready()) == [1]
    assert kept(client) == {}
    client.subscribe("room").wait_subscribed()
    assert channel.events("price").ready() == []


def test_a_predicate_may_leave_the_channel_whose_messages_it_is_shown() -> None:
    world, client, channel = room()
    publish(world, 1, 2, 3)

    def leave(event: Event) -> bool:
        if isinstance(event, ChannelEvent) and event.data == 2:
            channel.unsubscribe()
        return isinstance(event, ChannelEvent) and event.data != 3

    assert datas(channel.events(leave).ready()) == [1, 2]
    assert kept(client) == {}


def test_messages_during_a_predicate_are_delivered_after_the_kept_ones() -> None:
    world, client, channel = room()
    publish(world, 1, 2)

    def more(event: Event) -> bool:
        if isinstance(event, ChannelEvent) and event.data == 1:
            publish(world, 3)
        return isinstance(event, ChannelEvent)

    assert datas(channel.events(more).ready()) == [1, 2, 3]
    assert kept(client) == {}


@tried
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.sampled_from("ab"), st.sampled_from("xyz")),
            st.tuples(
                st.just("open"), st.sampled_from(["a", "b", None]), st.sampled_from(["x", "y", ""])
            ),
            st.tuples(
                st.just("wait"), st.sampled_from(["a", "b", None]), st.sampled_from(["x", "y", ""])
            ),
            st.tuples(st.just("leave"), st.sampled_from("ab"), st.just("")),
        ),
        max_size=30,
    )
)
def test_every_message_is_given_to_all_listeners_or_once_to_the_first_one_to_listen(
    steps: list[tuple[str, str | None, str]],
) -> None:
    limit = 4
    world = World()
    client, _ = subscribed(world, "a", "b", options=world.options(backlog_limit=limit))
    opened: list[tuple[str | None, str, FakeStream[Any], list[int]]] = []
    backlog: list[tuple[int, str, str]] = []

    def means(scope: str | None, selector: str, channel: str, event: str) -> bool:
        return scope in (None, channel) and selector in ("", event)

    for number, (action, scope, name) in enumerate(steps):
        source = client if scope is None else client.channel(scope)
        selector = name or ChannelEvent
        matching = [one for one in backlog if means(scope, name, *one[1:])]
        if action == "publish" and scope is not None:
            publish(world, number, channel=scope, event=name)
            listeners = [one for one in opened if means(one[0], one[1], scope, name)]
            for listener in listeners:
                listener[3].append(number)
            if not listeners:
                of_channel = [one for one in backlog if one[1] == scope]
                if len(of_channel) == limit:
                    backlog.remove(of_channel[0])
                backlog.append((number, scope, name))
        elif action == "open":
            opened.append((scope, name, source.events(selector), [one[0] for one in matching]))
            backlog = [one for one in backlog if one not in matching]
        elif action == "wait" and matching:
            assert source.wait_for(selector).data == matching[0][0]
            backlog.remove(matching[0])
        elif action == "leave" and scope is not None:
            client.unsubscribe(scope)
            client.subscribe(scope).wait_subscribed()
            backlog = [one for one in backlog if one[1] != scope]
    assert [datas(stream.ready()) for _, _, stream, _ in opened] == [one[3] for one in opened]
    assert datas(client.events(ChannelEvent).ready()) == [number for number, _, _ in backlog]
