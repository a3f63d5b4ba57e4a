"""Client events between clients of the server."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto.testing import App, Server

from .client import Client, World


def app(**options: Any) -> App:
    return App(id="1", key="demo", secret="demo-secret", subscription_count=False, **options)


def pair(world: World, channel: str) -> tuple[Client, Client]:
    clients = world.client(), world.client()
    for number, client in enumerate(clients):
        data = {"user_id": number} if channel.startswith("presence-") else None
        client.subscribe(channel, data)
    for client in clients:
        client.take()
    return clients


def rejected(client: Client, channel: str = "private-x") -> str:
    [frame] = client.take()
    assert frame["event"] == "pusher:error"
    assert frame["data"]["code"] == 4301
    assert frame["channel"] == channel
    return str(frame["data"]["message"])


def test_the_others_get_it_as_it_was_sent_and_the_sender_does_not() -> None:
    world = World(Server([app()]))
    first, second = pair(world, "private-x")
    first.text('{"event":"client-e","channel":"private-x","data":{"n":1.0,"big":1e999}}')
    first.text('{"event":"client-f","channel":"private-x"}')
    assert second.wire.raw.endswith(b'{"event":"client-f","channel":"private-x"}')
    assert b'"data":{"n":1.0,"big":1e999}}' in second.wire.raw
    assert first.take() == []
    assert [message.data for message in world.server.received][-2:] == [
        '{"n":1.0,"big":1e999}',
        None,
    ]


def test_on_presence_the_server_says_who_sent_it() -> None:
    world = World(Server([app()]))
    first, second = pair(world, "presence-x")
    second.say("client-e", "text", "presence-x")
    assert first.take() == [
        {"event": "client-e", "channel": "presence-x", "data": "text", "user_id": "1"}
    ]


def test_they_need_a_subscription_to_a_private_or_presence_channel() -> None:
    world = World(Server([app()]))
    client = world.client()
    client.subscribe("room")
    client.subscribe("private-encrypted-x")
    only = "Client events are only allowed on private and presence channels"
    for channel in ("room", "private-encrypted-x", ""):
        client.say("client-e", {}, channel)
        assert rejected(client, channel) == only
    client.say("client-e")
    assert rejected(client, "") == only
    client.say("client-e", {}, "private-x")
    assert "not subscribed" in rejected(client)


@pytest.mark.parametrize(
    ("event", "data", "why"),
    [
        ("client-" + "e" * 194, {}, "name of the event"),
        ("client-e", "x" * 10239, "larger than 10240 bytes"),
    ],
)
def test_they_have_limits(event: str, data: Any, why: str) -> None:
    world = World(Server([app()]))
    first, second = pair(world, "private-x")
    first.say(event, data, "private-x")
    assert why in rejected(first)
    first.say("client-e", "x" * 10238, "private-x")
    assert len(second.take()) == 1


def test_an_app_may_not_allow_them() -> None:
    world = World(Server([app(client_events=False)]))
    first, _ = pair(world, "private-x")
    first.say("client-e", {}, "private-x")
    assert "you must enable this feature" in rejected(first)


def test_an_app_may_limit_their_rate() -> None:
    world = World(Server([app(client_event_rate=2)]))
    first, second = pair(world, "private-x")
    for _ in range(2):
        first.say("client-e", {}, "private-x")
        world.pass_time(0.25)
    first.say("client-e", {}, "private-x")
    assert "rate limit" in rejected(first)
    world.pass_time(0.5)
    first.say("client-e", {}, "private-x")
    assert first.take() == []
    assert len(second.take()) == 3
