"""Subscribing: authorizations, refusals, counts, cached and encrypted events."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from nacl.secret import SecretBox

from pusher_proto.errors import LocalProtocolError
from pusher_proto.server._signatures import wrong_channel_authorization, wrong_user_authorization
from pusher_proto.testing import DEMO_APP, App, Server, ServerLimits, ServerOptions

from .client import Client, World

QUIET = App(
    id="1",
    key="demo",
    secret="demo-secret",
    subscription_count=False,
    encryption_master_key=bytes(range(32)),
)


@pytest.fixture
def world() -> World:
    return World(Server([QUIET]))


def succeeded(channel: str) -> dict[str, Any]:
    return {"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}


def refused(code: int | None, message: str, **more: Any) -> list[Any]:
    return [{"event": "pusher:error", "data": {"code": code, "message": message}, **more}]


def test_public_private_and_encrypted_channels_are_answered_alike(world: World) -> None:
    client = world.client()
    for channel in ("room", "private-x", "private-encrypted-x"):
        assert client.subscribe(channel) == [succeeded(channel)]
    assert world.server.channels() == ["room", "private-x", "private-encrypted-x"]
    assert world.server.subscriptions("room") == {client.socket_id}


def test_wrong_authorizations_are_refused_in_pushers_words(world: World) -> None:
    client = world.client()

    def answer(**fields: Any) -> list[Any]:
        client.say("pusher:subscribe", {"channel": "private-x", **fields})
        return client.take()

    digest = "Invalid signature: Expected HMAC SHA256 hex digest of"
    assert answer() == refused(4009, "Auth info required to subscribe to private-x")
    assert answer(auth="nonsense") == refused(
        4009,
        "Auth value for subscription to private-x is invalid: should be of format 'key:signature'",
    )
    assert answer(auth="other:00") == refused(
        4009, "Invalid key in subscription auth data: 'other'"
    )
    assert answer(auth="demo:é") == refused(
        4009, f"{digest} {client.socket_id}:private-x, but got é"
    )
    assert answer(auth="demo:00", channel_data="{}") == refused(
        4009, f"{digest} {client.socket_id}:private-x:{{}}, but got 00"
    )
    assert world.server.channels() == []


def test_authorizations_for_another_socket_or_channel_are_refused(world: World) -> None:
    first, second = world.client(), world.client()
    first.subscribe("private-x")
    auth = world.server.received[-1].data["auth"]  # type: ignore[index,call-overload]  # the data of a subscribe is an object
    assert second.subscribe("private-x", auth=auth)[0]["event"] == "pusher:error"
    assert first.subscribe("private-y", auth=auth)[0]["event"] == "pusher:error"


VECTOR_APP = App(id="1", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
MEMBER = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'


@pytest.mark.parametrize(
    ("channel", "data", "signature"),
    [
        (
            "private-foobar",
            None,
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        ),
        (
            "presence-foobar",
            MEMBER,
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        ),
        (
            "presence-foobar",
            MEMBER.replace("Channels", "Pusher"),
            "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
        ),
        (
            "private-encrypted-foobar",
            None,
            "e6a18892d037c5d5e76a2265df4f086ffc38631605530dfd214aa5bff495f533",
        ),
    ],
)
def test_the_documented_channel_signatures_are_accepted(
    channel: str, data: str | None, signature: str
) -> None:
    def wrong(given: str) -> str | None:
        auth = f"{VECTOR_APP.key}:{given}"
        return wrong_channel_authorization(VECTOR_APP, "1234.1234", channel, auth, data)

    assert wrong(signature) is None
    assert wrong(signature.upper()) is not None
    assert wrong(signature[:-1]) is not None


def test_the_documented_user_signature_is_accepted() -> None:
    signature = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    auth = f"{VECTOR_APP.key}:{signature}"
    assert wrong_user_authorization(VECTOR_APP, "1234.1234", auth, '{"id":"12345"}') is None
    assert wrong_user_authorization(VECTOR_APP, "1234.1234", auth, '{"id":"12346"}') is not None


def test_subscribing_twice_is_an_error(world: World) -> None:
    client = world.client()
    client.subscribe("room")
    assert client.subscribe("room") == refused(None, "Existing subscription to channel room")
    assert world.do(world.server.publish, "room", "e", "1") == 1


@pytest.mark.parametrize("channel", ["", "a b", "ü", "x" * 201, "#hash", "room\n"])
def test_names_that_channels_cannot_have_are_refused(world: World, channel: str) -> None:
    assert world.client().subscribe(channel) == refused(
        None, f"Invalid channel name {channel[:50]}"
    )


def test_a_connection_has_only_so_many_channels() -> None:
    world = World(Server([QUIET], ServerOptions(limits=ServerLimits(subscriptions=1))))
    client = world.client()
    client.subscribe("one")
    assert client.subscribe("two") == refused(
        4100, "Too many subscriptions; no subscription to channel two"
    )


def test_unsubscribing_ends_the_events_and_needs_a_subscription(world: World) -> None:
    client = world.client()
    client.subscribe("room")
    client.say("pusher:unsubscribe", {"channel": "room"})
    assert world.do(world.server.publish, "room", "e", "1") == 0
    assert client.take() == []
    client.say("pusher:unsubscribe", {"channel": "room"})
    assert client.take() == refused(
        None, "No current subscription to channel room, or subscription in progress"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"event":1}',
        '{"event":"pusher:subscribe"}',
        '{"event":"pusher:subscribe","data":"room"}',
        '{"event":"pusher:subscribe","data":{"channel":1}}',
        '{"event":"pusher:unsubscribe","data":[]}',
        '{"event":"pusher:signin","data":{"auth":"x"}}',
    ],
)
def test_what_is_not_an_event_is_an_error_and_the_connection_stays(world: World, text: str) -> None:
    client = world.client()
    client.text(text)
    assert client.take() == refused(4200, "Invalid message format")
    assert client.wire.closed is None


def test_what_is_nested_deep_is_answered_with_an_error_and_the_connection_stays(
    world: World,
) -> None:
    client = world.client()
    client.text('{"event":"x","data":' + "[" * 5000 + "]" * 5000 + "}")
    # How deep JSON may be depends on the interpreter: deeper data is not a message, other data an unknown event.
    unread, unknown = (
        refused(4200, "Invalid message format"),
        refused(None, "Unsupported event x"),
    )
    assert client.take() in (unread, unknown)
    assert client.wire.closed is None


def test_unknown_events_are_an_error(world: World) -> None:
    client = world.client()
    client.say("pusher:dance")
    client.say("plain")
    assert client.take() == [
        *refused(None, "Unsupported event pusher:dance"),
        *refused(None, "Unsupported event plain"),
    ]


def test_pings_are_answered_and_pongs_are_not(world: World) -> None:
    client = world.client()
    client.text('{"event":"pusher:ping"}')
    client.say("pusher:pong")
    assert client.take() == [{"event": "pusher:pong", "data": "{}"}]


def test_published_data_is_text_and_one_socket_can_be_left_out(world: World) -> None:
    first, second = world.client(), world.client()
    for client in (first, second):
        client.subscribe("room")
    publish = world.server.publish
    assert world.do(publish, "room", "e", {"a": [1, None, "ü"]}) == 2
    assert world.do(publish, ["room", "void"], "f", "as is", exclude_socket_id=first.socket_id) == 1
    assert first.take() == [{"event": "e", "channel": "room", "data": '{"a":[1,null,"ü"]}'}]
    assert [frame["data"] for frame in second.take()] == ['{"a":[1,null,"ü"]}', "as is"]
    assert world.server.stats.published == 3
    with pytest.raises(TypeError):
        world.do(publish, "room", "e", object())


# ---- counts


def counts(client: Client) -> list[int]:
    return [
        json.loads(frame["data"])["subscription_count"]
        for frame in client.take()
        if frame["event"] == "pusher_internal:subscription_count"
    ]


def test_subscribers_get_their_count() -> None:
    world = World()
    first, second = world.client(), world.client()
    assert first.subscribe("room") == [
        succeeded("room"),
        {
            "event": "pusher_internal:subscription_count",
            "channel": "room",
            "data": '{"subscription_count":1}',
        },
    ]
    second.subscribe("room")
    second.say("pusher:unsubscribe", {"channel": "room"})
    second.subscribe("room")
    second.wire.hang_up()
    assert counts(first) == [2, 1, 2, 1]


def test_counts_of_large_channels_are_sent_every_five_seconds() -> None:
    world = World()
    first, *others = [world.client() for _ in range(103)]
    for client in (first, *others):
        client.subscribe("room")
    assert counts(first)[-1] == 100
    world.pass_time(4.9)
    assert counts(first) == []
    world.pass_time(0.2)
    assert counts(first) == [103]
    others[0].wire.hang_up()
    for client in (first, *others[1:]):
        client.wire.hang_up()
    assert world.server.next_deadline() is None


# ---- cache


def test_a_cache_channel_starts_with_its_last_event(world: World) -> None:
    client = world.client()
    assert client.subscribe("cache-x") == [
        succeeded("cache-x"),
        {"event": "pusher:cache_miss", "channel": "cache-x", "data": "{}"},
    ]
    world.do(world.server.publish, "cache-x", "first", "1")
    world.do(world.server.publish, "cache-x", "second", "2")
    late = world.client()
    assert late.subscribe("cache-x") == [
        succeeded("cache-x"),
        {"event": "second", "channel": "cache-x", "data": "2"},
    ]


def test_a_cached_event_lives_for_half_an_hour_without_subscribers(world: World) -> None:
    world.do(world.server.publish, "private-cache-x", "e", "1")
    world.pass_time(1799)
    assert world.client().subscribe("private-cache-x")[1]["event"] == "e"
    world.pass_time(1)
    assert world.client().subscribe("private-cache-x")[1]["event"] == "pusher:cache_miss"


def test_client_events_are_not_cached(world: World) -> None:
    client = world.client()
    client.subscribe("private-cache-x")
    client.say("client-e", {}, "private-cache-x")
    assert world.client().subscribe("private-cache-x")[1]["event"] == "pusher:cache_miss"


def test_cached_events_are_bounded_and_the_expired_go_first() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(cached_channels=2))))
    for number in range(3):
        world.do(world.server.publish, f"cache-{number}", "e", "1")
    client = world.client()
    kept = [client.subscribe(f"cache-{number}")[1]["event"] for number in range(3)]
    assert kept == ["pusher:cache_miss", "e", "e"]
    world.pass_time(1800)
    world.do(world.server.publish, "cache-3", "e", "1")
    cache = world.server._realms["demo"].cache
    assert list(cache._events) == ["cache-3"]


# ---- encrypted


def opened(frame: dict[str, Any], master: bytes = bytes(range(32))) -> str:
    app = App(id="1", key="k", secret="s", encryption_master_key=master)
    sealed = json.loads(frame["data"])
    key = app.shared_secret(frame["channel"])
    assert key is not None
    nonce, ciphertext = (base64.b64decode(sealed[name]) for name in ("nonce", "ciphertext"))
    return SecretBox(key).decrypt(ciphertext, nonce).decode()


def test_events_of_encrypted_channels_are_sealed(world: World) -> None:
    client = world.client()
    client.subscribe("private-encrypted-cache-x")
    client.take()
    world.do(world.server.publish, "private-encrypted-cache-x", "e", {"a": 1})
    world.do(world.server.rotate_key, bytes(32))
    world.do(world.server.publish, "private-encrypted-cache-x", "e", "text")
    first, second = client.take()
    assert opened(first) == '{"a":1}'
    assert opened(second, bytes(32)) == "text"
    assert world.client().subscribe("private-encrypted-cache-x")[1] == second


def test_the_shared_secret_is_the_documented_one() -> None:
    secret = DEMO_APP.shared_secret("private-encrypted-foobar")
    assert secret == base64.b64decode("g3Au6SZ+UCU+IMfFsFva0rq+Gi4tzSHR6WCcWZbS9sY=")


def test_without_a_master_key_nothing_can_be_sealed(world: World) -> None:
    world.do(world.server.rotate_key, None)
    with pytest.raises(LocalProtocolError, match="no encryption master key"):
        world.do(world.server.publish, ["room", "private-encrypted-x"], "e", "1")
    assert world.server.stats.published == 0
