"""The HTTP API by scripted requests; the official library talks to it in another file."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from pusher_proto.signing import sign
from pusher_proto.testing import DEMO_APP, Server, ServerLimits, ServerOptions

from .client import World, request


def signed(
    method: str,
    path: str,
    body: Any = None,
    *,
    prefix: str = "",
    sign_prefix: bool = False,
    without: tuple[str, ...] = (),
    **parameters: str,
) -> bytes:
    """Return a request as a publisher's library makes it; parameters overwrite what it would send."""
    content = (
        b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    )
    query = {"auth_key": DEMO_APP.key, "auth_timestamp": "1000", "auth_version": "1.0"}
    if content:
        query["body_md5"] = hashlib.md5(content).hexdigest()
    query |= parameters
    query = {name: value for name, value in query.items() if name not in without}
    pairs = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
    signed_path = prefix + path if sign_prefix else path
    signature = sign(DEMO_APP.secret, f"{method}\n{signed_path}\n{pairs}")
    if "auth_signature" not in query:
        query["auth_signature"] = signature
    return request(method, f"{prefix}{path}?{urlencode(query)}", content)


EVENT = {"name": "e", "channel": "room", "data": "1"}


def post(world: World, body: Any, **more: Any) -> tuple[int, Any]:
    return world.http(signed("POST", "/apps/1/events", body, **more))


@pytest.mark.parametrize("sign_prefix", [False, True])
def test_a_prefix_of_the_path_may_be_signed_or_not(sign_prefix: bool) -> None:
    world = World()
    assert post(world, EVENT, prefix="/ws", sign_prefix=sign_prefix) == (200, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auth_key": "other"}, "Missing or unknown auth_key"),
        ({"without": ("auth_key",)}, "Missing or unknown auth_key"),
        ({"auth_version": "2.0"}, "Missing or unsupported auth_version"),
        ({"auth_timestamp": "-1"}, "Missing or malformed auth_timestamp"),
        ({"auth_timestamp": "٣"}, "Missing or malformed auth_timestamp"),
        ({"without": ("body_md5",)}, "The body_md5 does not match the body"),
        ({"body_md5": "0" * 32}, "The body_md5 does not match the body"),
        ({"auth_signature": "0" * 64}, "Invalid signature"),
        ({"auth_timestamp": "399"}, "Timestamp expired: 399"),
        ({"auth_timestamp": "1601"}, "Timestamp expired: 1601"),
    ],
)
def test_a_request_that_is_not_the_apps_is_refused(change: Any, message: str) -> None:
    world = World(Server(wall_clock=lambda: 1000.0))
    status, answer = post(world, EVENT, **change)
    assert (status, answer["error"][: len(message)]) == (401, message)
    assert world.server.stats.published == 0
    assert post(world, EVENT) == (200, {})


def test_without_a_wall_clock_any_time_is_right() -> None:
    assert post(World(), EVENT, auth_timestamp="1")[0] == 200


def test_a_request_says_in_its_signature_what_was_expected() -> None:
    _, answer = World().http(signed("GET", "/apps/1/channels", auth_signature="x"))
    assert "GET\\n/apps/1/channels\\nauth_key=demo&" in answer["error"]


def test_an_unknown_app_is_not_found() -> None:
    assert World().http(signed("POST", "/apps/2/events", EVENT)) == (
        404,
        {"error": "No app with id 2"},
    )


def test_too_many_parameters_are_refused() -> None:
    many: dict[str, Any] = {f"p{number}": "" for number in range(250)}
    assert World().http(signed("GET", "/apps/1/channels", **many))[0] == 400


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "The body is invalid"),
        (b"\xff", 400, "The body is invalid"),
        ([], 400, "The body is invalid"),
        ({"name": "e", "channel": "room"}, 400, "The body is invalid"),
        ({**EVENT, "data": {}}, 400, "The body is invalid"),
        ({"name": "e", "data": "1"}, 400, "An event needs a channel"),
        ({"name": "e", "data": "1", "channels": []}, 400, "An event needs a channel"),
        ({"name": "e", "data": "1", "channels": ["c"] * 101}, 400, "An event has at most 100"),
        ({**EVENT, "channel": "a b"}, 400, "Invalid channel name 'a b'"),
        ({**EVENT, "name": ""}, 400, "The name of an event has 1 to 200"),
        ({**EVENT, "name": "e" * 201}, 400, "The name of an event has 1 to 200"),
        ({**EVENT, "data": "ü" * 5121}, 413, "The data content of this event exceeds"),
        ({**EVENT, "socket_id": "1:2"}, 400, "not a valid socket id"),
        (
            {"name": "e", "data": "1", "channels": ["private-encrypted-x", "room"]},
            400,
            "An event of an encrypted channel",
        ),
    ],
)
def test_an_event_that_is_wrong_is_refused(body: Any, status: int, message: str) -> None:
    world = World()
    given, answer = post(world, body)
    assert (given, answer["error"][: len(message)]) == (status, message)
    assert world.server.stats.published == 0


def test_events_may_ask_for_what_is_known_of_their_channels() -> None:
    world = World()
    client = world.client()
    client.subscribe("presence-x", {"user_id": "u"})
    event = {"name": "e", "data": "1", "channels": ["presence-x", "room"]}
    assert post(world, {**event, "info": "user_count,subscription_count"}) == (
        200,
        {
            "channels": {
                "presence-x": {"user_count": 1, "subscription_count": 1},
                "room": {"subscription_count": 0},
            }
        },
    )


def test_a_batch_is_published_whole_or_not_at_all() -> None:
    world = World()
    client = world.client()
    client.subscribe("room")

    def batch(*events: Any) -> tuple[int, Any]:
        return world.http(signed("POST", "/apps/1/batch_events", {"batch": events}))

    assert batch(EVENT, {**EVENT, "channel": "a b"})[0] == 400
    assert batch(*[EVENT] * 11) == (400, {"error": "A batch has at most 10 events"})
    assert client.take() == []
    assert batch(EVENT, {**EVENT, "name": "f"}) == (200, {})
    assert [frame["event"] for frame in client.take()] == ["e", "f"]
    assert batch(EVENT, {**EVENT, "info": "subscription_count"}) == (
        200,
        {"batch": [{}, {"subscription_count": 1}]},
    )


def test_channels_can_be_listed_and_looked_at() -> None:
    world = World()
    client = world.client()
    client.subscribe("presence-x", {"user_id": "u"})
    client.subscribe("cache-x")
    client.sign_in({"id": "u"})
    client.subscribe("#server-to-user-u")
    world.do(world.server.publish, "cache-x", "e", "data")
    world.pass_time(10.5)

    def get(path: str, **parameters: Any) -> tuple[int, Any]:
        return world.http(signed("GET", f"/apps/1{path}", **parameters))

    assert get("/channels") == (200, {"channels": {"presence-x": {}, "cache-x": {}}})
    assert get("/channels", filter_by_prefix="presence-", info="user_count") == (
        200,
        {"channels": {"presence-x": {"user_count": 1}}},
    )
    assert get("/channels", info="user_count")[0] == 400
    assert get("/channels/cache-x", info="cache,subscription_count") == (
        200,
        {"occupied": True, "subscription_count": 1, "cache": {"data": "data", "ttl": 1789}},
    )
    assert get("/channels/presence-y", info="user_count,cache") == (
        200,
        {"occupied": False, "user_count": 0},
    )
    assert get("/channels/room", info="user_count")[0] == 400
    assert get("/channels/a b".replace(" ", "%20"))[0] == 401
    assert get("/channels/a!b")[0] == 400
    assert get("/channels/presence-x/users") == (200, {"users": [{"id": "u"}]})
    assert get("/channels/presence-y/users") == (200, {"users": []})
    assert get("/channels/room/users")[0] == 400
    assert get("/nothing")[0] == 404


def test_a_users_connections_can_be_ended() -> None:
    world = World()
    client = world.client()
    client.sign_in({"id": "u"})
    path = "/apps/1/users/u/terminate_connections"
    assert world.http(signed("POST", path, {})) == (200, {})
    assert client.close == (4009, "You got disconnected by the app.")


def test_the_limit_of_data_can_be_raised() -> None:
    world = World(Server(options=ServerOptions(limits=ServerLimits(event_data=20_000))))
    assert post(world, {**EVENT, "data": "x" * 20_000}) == (200, {})


def test_answers_of_the_api_can_be_held() -> None:
    world = World()
    client = world.client()
    client.subscribe("room")
    client.take()
    world.do(world.server.delay, 2, "api")
    wire = world.wire()
    wire.send(signed("POST", "/apps/1/events", EVENT) * 2)
    assert (bytes(wire.raw), len(client.take())) == (b"", 1)
    world.pass_time(2)
    assert (wire.raw.count(b"200 OK"), len(client.take())) == (1, 1)
    world.pass_time(2)
    assert wire.raw.count(b"200 OK") == 2


# ---- what Pusher documents, and no library of today sends


def test_the_fields_of_an_event_may_be_in_the_query() -> None:
    world = World()
    first, second = world.client(), world.client()
    for client, channel in ((first, "a"), (second, "b")):
        client.subscribe(channel)
    query = {"name": "e", "data": "1", "channels[]": "a", "other": "x"}
    assert post(world, None, **query) == (200, {})
    assert post(world, None, name="f", data="2", channel="b") == (200, {})
    assert first.take()[-1] == {"event": "e", "channel": "a", "data": "1"}
    assert second.take()[-1] == {"event": "f", "channel": "b", "data": "2"}


def test_the_channel_of_an_event_may_be_in_the_path() -> None:
    world = World()
    client = world.client()
    client.subscribe("room")
    call = signed("POST", "/apps/1/channels/room/events", {"name": "e", "data": "1"})
    assert world.http(call) == (200, {})
    assert client.take()[-1] == {"event": "e", "channel": "room", "data": "1"}
    status, answer = world.http(signed("POST", "/apps/1/channels/room/events", b"[]"))
    assert (status, answer["error"][:30]) == (400, "The body is invalid: Expected ")


@pytest.mark.parametrize("name", ["pusher:error", "pusher_internal:subscription_succeeded"])
def test_no_publisher_can_fake_messages_of_the_protocol(name: str) -> None:
    status, answer = post(World(), {**EVENT, "name": name})
    assert (status, answer["error"][:15]) == (400, "Event names tha")


def test_other_servers_take_such_names() -> None:
    world = World(Server(options=ServerOptions(dialect="sockudo")))
    client = world.client()
    client.subscribe("room")
    client.take()
    assert post(world, {**EVENT, "name": "pusher:error", "channel": "room"}) == (200, {"ok": True})
    assert client.take() == [{"event": "pusher:error", "channel": "room", "data": "1"}]
