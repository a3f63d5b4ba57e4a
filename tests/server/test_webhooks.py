"""Webhooks: what is sent, how it is signed, and again after failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pusher
import pytest

from pusher_proto.signing import sign
from pusher_proto.testing import (
    DEMO_APP,
    Server,
    ServerLimits,
    ServerOptions,
    ServerRequest,
    Webhook,
)

from .client import World

URL = "http://back.test/hooks"


class Hooked(World):
    """A world that keeps requests to other servers."""

    def __init__(
        self, *webhooks: Webhook, wall_clock: Callable[[], float] | None = None, **options: Any
    ) -> None:
        hooks = webhooks or (Webhook(url=URL),)
        super().__init__(
            Server(options=ServerOptions(webhooks=hooks, **options), wall_clock=wall_clock)
        )
        self.requests: list[ServerRequest] = []

    def carry(self) -> None:
        kept = []
        while (effect := self.server.next_effect()) is not None:
            if isinstance(effect, ServerRequest):
                self.requests.append(effect)
            else:
                kept.append(effect)
        for effect in kept:
            self.server._effects.append((None, effect))
        super().carry()

    def events(self) -> list[dict[str, Any]]:
        """Return the events of all requests so far, without times."""
        self.pass_time(0.1)
        return [event for each in self.requests for event in json.loads(each.body)["events"]]


def test_a_channel_that_is_occupied_and_vacated_is_one_signed_batch() -> None:
    world = Hooked(wall_clock=lambda: 1_700_000_000.5)
    client = world.client()
    client.subscribe("room")
    client.say("pusher:unsubscribe", {"channel": "room"})
    assert world.requests == []
    world.pass_time(0.1)
    [request] = world.requests
    assert request.url == URL
    assert json.loads(request.body) == {
        "time_ms": 1_700_000_000_500,
        "events": [
            {"name": "channel_occupied", "channel": "room"},
            {"name": "subscription_count", "channel": "room", "subscription_count": 1},
            {"name": "channel_vacated", "channel": "room"},
        ],
    }
    assert dict(request.headers) == {
        "Content-Type": "application/json",
        "X-Pusher-Key": DEMO_APP.key,
        "X-Pusher-Signature": sign(DEMO_APP.secret, request.body.decode()),
    }


def test_the_official_library_of_python_takes_them() -> None:
    world = Hooked(wall_clock=time.time)
    world.client().subscribe("room")
    world.pass_time(0.1)
    [request] = world.requests
    headers = dict(request.headers)
    library = pusher.Pusher(DEMO_APP.id, DEMO_APP.key, DEMO_APP.secret)
    key, signature = headers["X-Pusher-Key"], headers["X-Pusher-Signature"]
    taken = library.validate_webhook(key, signature, request.body.decode())
    assert [event["name"] for event in taken["events"]] == [
        "channel_occupied",
        "subscription_count",
    ]
    assert library.validate_webhook(key, signature, request.body.decode() + " ") is None


def test_members_client_events_and_cache_misses_are_reported() -> None:
    world = Hooked()
    first, second = world.client(), world.client()
    first.subscribe("presence-room", {"user_id": "7", "user_info": {"a": 1}})
    second.subscribe("presence-room", {"user_id": "7"})
    first.say("client-x", {"n": 1}, "presence-room")
    first.say("pusher:unsubscribe", {"channel": "presence-room"})
    second.wire.hang_up()
    first.subscribe("cache-x")
    room = {"channel": "presence-room"}
    assert [each for each in world.events() if each["name"] != "subscription_count"] == [
        {"name": "channel_occupied", **room},
        {"name": "member_added", **room, "user_id": "7"},
        {
            "name": "client_event",
            **room,
            "event": "client-x",
            "data": '{"n": 1}',
            "user_id": "7",
            "socket_id": first.socket_id,
        },
        {"name": "member_removed", **room, "user_id": "7"},
        {"name": "channel_vacated", **room},
        {"name": "channel_occupied", "channel": "cache-x"},
        {"name": "cache_miss", "channel": "cache-x"},
    ]


def test_a_webhook_receives_the_kinds_and_the_app_that_it_names() -> None:
    world = Hooked(Webhook(url=URL, events=("channel_vacated",)), Webhook(url=URL, app="another"))
    client = world.client()
    client.subscribe("room")
    client.say("pusher:unsubscribe", {"channel": "room"})
    assert world.events() == [{"name": "channel_vacated", "channel": "room"}]
    assert [each.name for each in world.server.webhooks] == ["channel_vacated"]


def test_a_batch_has_at_most_fifty_events() -> None:
    world = Hooked(Webhook(url=URL, events=("channel_occupied",)))
    client = world.client()
    for number in range(51):
        client.subscribe(f"room-{number}")
    assert len(world.events()) == 51
    assert [len(json.loads(each.body)["events"]) for each in world.requests] == [50, 1]


@pytest.mark.parametrize("status", [None, 500, 302])
def test_a_batch_that_is_not_taken_is_sent_again_until_it_is(status: int | None) -> None:
    world = Hooked()
    world.client().subscribe("room")
    world.pass_time(0.1)
    for seconds in (1, 2, 4):
        world.do(world.server.request_answered, 1, status)
        world.pass_time(seconds - 0.1)
        sent = len(world.requests)
        world.pass_time(0.2)
        assert len(world.requests) == sent + 1
    assert len({(each.request, each.body) for each in world.requests}) == 1
    world.do(world.server.request_answered, 1, 204)
    world.pass_time(1000)
    assert len(world.requests) == 4


def test_a_batch_is_given_up_after_five_minutes() -> None:
    world = Hooked()
    world.client().subscribe("room")
    world.pass_time(0.1)
    answered = 0
    while answered < len(world.requests):
        answered += 1
        world.do(world.server.request_answered, 1, 500)
        world.pass_time(60)
    assert len(world.requests) == 6
    assert world.server.next_deadline() is None


def test_batches_that_are_not_taken_are_bounded() -> None:
    world = Hooked(limits=ServerLimits(webhooks=2))
    for number in range(4):
        world.client().subscribe(f"room-{number}")
        world.pass_time(1)
    for number in range(1, 5):
        world.do(world.server.request_answered, number, 500)
    world.pass_time(1)
    assert [each.request for each in world.requests] == [1, 2, 3, 4, 3, 4]


def test_an_answer_to_no_request_does_nothing() -> None:
    world = Hooked()
    world.do(world.server.request_answered, 9, 200)
    plain = World()
    plain.do(plain.server.request_answered, 9, 200)
    assert world.requests == []


def test_what_cannot_be_a_webhook_is_refused() -> None:
    with pytest.raises(ValueError, match=r"http or https URL, not 'back\.test'"):
        Webhook(url="back.test")
    with pytest.raises(ValueError, match="no webhook event 'x': there are channel_occupied, "):
        Webhook(url=URL, events=("x",))  # type: ignore[arg-type]  # what is refused
