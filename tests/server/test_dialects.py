"""The dialects beyond the recordings: what no client of theirs did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from pusher_proto.server._address_rate import AddressRate
from pusher_proto.signing import sign_user
from pusher_proto.testing import App, MessageRate, Server, ServerOptions

from .client import DEFAULT_TARGET, World, request

Dialect = Literal["pusher", "reverb", "sockudo"]

UPGRADE = request(
    "GET",
    DEFAULT_TARGET,
    headers={
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    },
)


def world(dialect: Dialect, **app: Any) -> World:
    served = App(id="1", key="demo", secret="demo-secret", encryption_master_key=bytes(32), **app)
    return World(Server([served], ServerOptions(dialect=dialect)))


def test_an_unknown_dialect_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match="no dialect 'soketi': there are pusher, reverb, sockudo"):
        Server(options=ServerOptions(dialect="soketi"))  # type: ignore[arg-type]  # what is refused


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


def test_an_address_that_connects_too_often_is_answered_as_sockudo_does() -> None:
    limits = replace(
        Server(options=ServerOptions(dialect="sockudo")).limits, connections_a_minute=2
    )
    here = World(Server(options=ServerOptions(dialect="sockudo", limits=limits)))

    def client(peer: str | None, at: float) -> tuple[bytes, Any]:
        """Return the head and the body of the answer to an upgrade."""
        wire = here.wire()
        here.server.connection_closed(wire.number, now=here.now)
        here.pass_time(at - here.now)
        here.server.connection_opened(wire.number, peer=peer, now=here.now)
        wire.send(UPGRADE)
        head, _, body = bytes(wire.raw).partition(b"\r\n\r\n")
        return head, body

    began = here.now
    for at in (0.0, 1.5):
        assert b" 101 " in client("10.0.0.1", began + at)[0]
    head, body = client("10.0.0.1", began + 2.5)
    # Word for word, but for what axum adds.
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 429 Too Many Requests",
        b"Content-Type: application/json",
        b"x-ratelimit-limit: 2",
        b"x-ratelimit-remaining: 0",
        b"x-ratelimit-reset: 57",
        b"retry-after: 57",
        b"Content-Length: 86",
    ]
    assert len(body) == 86
    # Another address, one that is not known, and the next minute.
    assert b" 101 " in client("10.0.0.2", began + 3)[0]
    assert all(b" 101 " in client(None, began + 4)[0] for _ in range(3))
    assert b" 101 " in client("10.0.0.1", began + 60)[0]


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    rate = AddressRate(1)
    for number in range(10_001):
        assert rate.refuse(str(number), 0.0) is None
    assert rate.refuse("0", 1.0) is None  # forgotten
    assert rate.refuse("10000", 1.0) is not None
    for number in range(20_000, 30_000):
        rate.refuse(str(number), 61.0)
    assert len(rate._windows) <= 10_001


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


def test_a_full_app_takes_the_next_client_when_one_has_left() -> None:
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


@pytest.mark.parametrize(
    ("event", "channel", "data", "code", "message"),
    [
        ("client-x", None, 1, 4301, "Client event error: Channel required for client event"),
        ("client-x", "room", 1, 4301, "can only be sent to private or presence channels"),
        ("client-x", "private-y", 1, 4301, "is not subscribed to channel private-y"),
        ("client-x", "private-x", "y" * 2000, 4301, "(2002 bytes) exceeds limit (1KB)"),
    ],
)
def test_sockudo_refuses_client_events_in_its_words(
    event: str, channel: str | None, data: Any, code: int, message: str
) -> None:
    limits = replace(Server(options=ServerOptions(dialect="sockudo")).limits, event_data=1024)
    here = World(Server(options=ServerOptions(dialect="sockudo", limits=limits)))
    client = here.client()
    client.subscribe("private-x")
    client.say(event, data, channel)
    [error] = client.take()
    assert error["data"]["code"] == code
    assert message in error["data"]["message"]


def test_sockudo_limits_client_events() -> None:
    here = world("sockudo", client_event_rate=1)
    first, second = here.client(), here.client()
    for client in (first, second):
        client.subscribe("private-x")
    first.say("client-x", 1, "private-x")
    first.say("client-x", 2, "private-x")
    first.text('{"event":"client-x","channel":"private-x"}')
    assert [frame["data"]["code"] for frame in first.take()] == [4301, 4301]
    assert [frame["data"] for frame in second.take()] == [1]


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ("text", 4000, "Invalid signin data format"),
        ({"user_data": "{}"}, 4009, "Missing 'auth' field"),
        ({"auth": "demo:0"}, 4009, "Missing 'user_data' field"),
        ({"auth": "demo:0", "user_data": "{}"}, 4009, "Connection not authorized for signin."),
    ],
)
def test_sockudo_refuses_sign_ins_in_its_words(data: Any, code: int, message: str) -> None:
    client = world("sockudo").client()
    client.say("pusher:signin", data)
    [error] = client.take()
    assert error["data"]["code"] == code
    assert message in error["data"]["message"]


@pytest.mark.parametrize(
    ("user_data", "message"),
    [("x", "Invalid user_data JSON"), ('{"id":7}', "Missing 'id' field in user_data")],
)
def test_sockudo_takes_only_text_as_the_id_of_a_user(user_data: str, message: str) -> None:
    client = world("sockudo").client()
    auth = sign_user("demo", "demo-secret", client.socket_id, user_data)
    client.say("pusher:signin", {"auth": auth, "user_data": user_data})
    assert message in client.take()[0]["data"]["message"]


def test_sockudo_without_sign_in_says_so() -> None:
    client = world("sockudo", user_authentication=False).client()
    [error] = client.sign_in({"id": "7"})
    assert error["data"]["message"].endswith("User authentication is disabled for this app")


def test_a_protocol_that_is_not_a_number_is_answered_by_400_of_sockudo() -> None:
    assert world("sockudo").client("/app/demo?protocol=x").rejected == 400


def test_the_members_of_reverb_are_those_with_an_id() -> None:
    here = world("reverb")
    first, second, third = here.client(), here.client(), here.client()
    first.subscribe("presence-x", {"user_id": "7", "user_info": {"n": 1}})
    second.subscribe("presence-x", {"user_id": "7", "user_info": {"n": 2}})
    assert here.server.members("presence-x") == {"7": {"n": 1}}
    third.subscribe("presence-x", {"user_info": {"n": 3}})
    assert here.server.members("presence-x") == {"7": {"n": 1}}


def test_a_member_of_reverb_without_info_breaks_the_list_for_all() -> None:
    here = world("reverb")
    here.client().subscribe("presence-x", {"user_id": "7"})
    [error] = here.client().subscribe("presence-x", {"user_id": "8", "user_info": None})
    assert (error["event"], error["data"]) == (
        "pusher:error",
        '{"code":4200,"message":"Invalid message format"}',
    )


def test_a_delayed_cached_event_arrives_after_live_ones() -> None:
    here = world("sockudo")
    here.do(here.server.publish, "cache-x", "e", "1")
    here.do(here.server.delay, 1.0, "cache")
    client, gone = here.client(), here.client()
    gone.subscribe("cache-x")
    gone.say("pusher:unsubscribe", {"channel": "cache-x"})
    gone.take()
    client.subscribe("cache-x")
    here.do(here.server.publish, "cache-x", "e", "2")
    here.pass_time(1.0)
    assert [frame["data"] for frame in client.take()] == ["2", "2"]
    assert gone.take() == []
