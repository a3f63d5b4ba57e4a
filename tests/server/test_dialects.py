"""The dialects beyond the recordings: what no client of theirs did."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from pusher_proto.testing import App, MessageRate, Server

from .client import World

Dialect = Literal["pusher", "reverb", "sockudo"]


def world(dialect: Dialect, **app: Any) -> World:
    served = App(id="1", key="demo", secret="demo-secret", encryption_master_key=bytes(32), **app)
    return World(Server([served], dialect=dialect))


def test_an_unknown_dialect_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match="no dialect 'soketi': there are pusher, reverb, sockudo"):
        Server(dialect="soketi")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dialect", "frames", "close"),
    [
        (
            "pusher",
            [
                {
                    "event": "pusher:error",
                    "data": {"code": 4200, "message": "Server is shutting down"},
                }
            ],
            (4200, "Server is shutting down"),
        ),
        ("reverb", [], None),
        (
            "sockudo",
            [{"event": "pusher:error", "data": {"code": 4200, "message": "Server shutting down"}}],
            (4200, "Server shutting down"),
        ),
    ],
)
def test_shutting_down_ends_connections_as_the_dialect_does(
    dialect: Dialect, frames: list[Any], close: tuple[int, str] | None
) -> None:
    here = world(dialect)
    client = here.client()
    here.do(here.server.shut_down)
    assert (client.take(), client.close, client.wire.closed) == (frames, close, "end")
    assert here.client().rejected == 503
    here.do(here.server.allow)
    assert here.client().socket_id


@pytest.mark.parametrize(
    ("dialect", "frames", "close"),
    [
        (
            "pusher",
            [{"event": "pusher:error", "data": {"code": 4003, "message": "Application disabled"}}],
            (4003, "Application disabled"),
        ),
        (
            "reverb",
            [
                {
                    "event": "pusher:error",
                    "data": '{"code":4003,"message":"Application disabled"}',
                }
            ],
            (4003, "Application disabled"),
        ),
        ("sockudo", [], None),
    ],
)
def test_a_disabled_app_turns_clients_away(
    dialect: Dialect, frames: list[Any], close: tuple[int, str] | None
) -> None:
    client = world(dialect, enabled=False).client()
    assert (client.take(), client.close, client.wire.closed) == (frames, close, "end")


@pytest.mark.parametrize("dialect", ["pusher", "reverb", "sockudo"])
def test_a_refused_channel_gives_way_to_the_next_subscribe(dialect: Dialect) -> None:
    here = world(dialect)
    client = here.client()
    here.do(here.server.refuse_channel, "private-x", times=1, code=4009, message="no")
    assert client.subscribe("private-x")[0]["event"] == "pusher:error"
    assert client.subscribe("private-x")[0]["event"] == "pusher_internal:subscription_succeeded"


def test_the_rate_of_messages_holds_in_windows() -> None:
    here = world("pusher", message_rate=MessageRate(messages=2, seconds=5))
    client = here.client()
    for _ in range(3):
        client.say("pusher:ping")
    here.pass_time(5)
    client.say("pusher:ping")
    assert [frame["event"] for frame in client.take()] == [
        "pusher:pong",
        "pusher:pong",
        "pusher:error",
        "pusher:pong",
    ]


def test_the_rate_of_messages_may_end_the_connection() -> None:
    here = world("pusher", message_rate=MessageRate(messages=1, seconds=5, ends=True))
    client = here.client()
    for _ in range(2):
        client.say("pusher:ping")
    assert client.close == (4301, "Rate limit exceeded")


def test_a_connection_that_authenticates_nothing_is_ended() -> None:
    here = world("pusher", authentication_timeout=30.0)
    silent, signed_in, private = here.client(), here.client(), here.client()
    signed_in.sign_in({"id": "7"})
    private.subscribe("private-x")
    here.pass_time(30)
    assert silent.close == (4009, "Connection not authorized within timeout")
    assert (signed_in.close, private.close) == (None, None)


def test_a_full_app_takes_the_next_client_when_one_has_gone() -> None:
    here = world("pusher", max_connections=1)
    first = here.client()
    assert here.client().close == (4004, "Application is over connection quota")
    first.wire.hang_up()
    assert here.client().socket_id


@pytest.mark.parametrize(
    ("origin", "taken"),
    [
        ("https://shop.test", True),
        ("http://shop.test:8080", False),
        ("https://a.other.test", True),
        ("https://other.test", True),
        ("https://[", False),
    ],
)
def test_an_app_takes_the_origins_that_it_lists(origin: str, taken: bool) -> None:
    here = world("pusher", origins=("https://shop.test", "*.other.test"))
    client = here.client(headers=[("Origin", origin)])
    assert bool(client.socket_id) is taken
    assert client.close == (None if taken else (4009, "Origin not allowed"))


def test_events_for_a_user_of_sockudo_reach_presence_members_too() -> None:
    here = world("sockudo")
    member, signed_in, other = here.client(), here.client(), here.client()
    member.subscribe("presence-x", {"user_id": "7"})
    signed_in.sign_in({"id": "7"})
    other.subscribe("#server-to-user-7")
    for client in (member, signed_in, other):
        client.take()
    assert here.do(here.server.send_to_user, "7", "note", "1") == 2
    assert [len(client.take()) for client in (member, signed_in, other)] == [1, 1, 0]
