"""pusher-js on our own server: what the reference client takes from Pusher, it takes from ours."""

from __future__ import annotations

import pytest

from neighbours.house import APP, MUTE_APP, OTHER_KEY, House
from neighbours.member import Heard, Node, own_key
from pusher_anyio.testing import serve_in_thread
from pusher_proto.testing import Server

KINDS = ["news", "private-orders", "presence-room", "private-encrypted-x"]
CACHES = ["cache-x", "private-cache-x", "presence-cache-x", "private-encrypted-cache-x"]


@pytest.mark.parametrize("channel", KINDS)
def test_what_the_library_publishes_arrives(house: House, channel: str) -> None:
    bob = house.member("bob")
    bob.join(channel)
    assert house.server.channels() == [channel]
    data: list[object] = [{"text": "Grüße"}, [1, 2.5, None], "no JSON"]
    for each in data:
        assert house.library.trigger(channel, "tick", each) == {}
    assert [bob.next(channel, "tick") for _ in data] == [Heard("tick", each) for each in data]


def test_one_event_for_many_channels_arrives_on_each_but_not_at_the_excluded_socket(
    house: House,
) -> None:
    bob, eve = house.member("bob"), house.member("eve")
    names = ["news", "private-orders", "presence-room"]
    for name in names:
        bob.join(name)
        eve.join(name)
    house.library.trigger(names, "tick", 1, bob.call("socketId"))
    house.library.trigger(names, "tock", 2)
    for name in names:
        assert eve.next(name, "tick") == Heard("tick", 1)
        assert eve.next(name, "tock") == bob.next(name, "tock") == Heard("tock", 2)
        assert Heard("tick", 1) not in bob.rest(name)


def test_a_batch_arrives_in_order(house: House) -> None:
    bob = house.member("bob")
    bob.join("news")
    bob.join("private-orders")
    batch = [
        {"channel": name, "name": "tick", "data": number}
        for number, name in enumerate(["news", "private-orders", "news"])
    ]
    assert house.library.trigger_batch(batch) == {}
    assert [bob.next("news", "tick").data for _ in range(2)] == [0, 2]
    assert bob.next("private-orders", "tick").data == 1


def test_a_wrong_key_is_a_final_refusal(house: House) -> None:
    stranger = house.open("nobody", {"authUrl": "", "userAuthUrl": "", "headers": {}})
    error = stranger.next("connection", "error")
    assert error.data["code"] == 4001
    stranger.next("connection", "disconnected")
    assert stranger.call("state") == "disconnected"


def test_a_drop_with_4200_is_followed_by_a_new_connection_and_all_channels(house: House) -> None:
    bob = house.member("bob")
    old_id = bob.wait_connected()
    for name in KINDS:
        bob.join(name)
    house.server.drop(4200, "restarting")
    assert bob.wait_connected() != old_id
    for name in KINDS:
        bob.next(name, "pusher:subscription_succeeded")
        house.library.trigger(name, "tick", {"on": name})
        assert bob.next(name, "tick") == Heard("tick", {"on": name})


def test_a_channel_that_the_endpoint_refuses_is_an_error_of_that_channel(house: House) -> None:
    bob = house.member("bob")
    house.server.auth_answer(403, {"error": "no"}, times=1)
    bob.subscribe("private-orders")
    refused = bob.next("private-orders", "pusher:subscription_error")
    assert refused.data["status"] == 403
    bob.join("private-others")


def test_a_forged_authorization_subscribes_to_nothing(house: House) -> None:
    forger = house.open(APP.key, own_key("wrong", member={"user_id": "1"}))
    forger.subscribe("private-orders")
    error = forger.next("connection", "error")
    assert error.data["code"] == 4009
    forger.join("news")
    assert house.server.channels() == ["news"]


def test_an_unsubscribed_channel_gets_no_events(house: House) -> None:
    bob = house.member("bob")
    for name in KINDS:
        bob.join(name)
        bob.unsubscribe(name)
    assert house.server.wait_until(lambda server: not server.channels()) is True
    bob.join("private-orders")
    house.library.trigger("private-orders", "tick", 1)
    assert bob.next("private-orders", "tick") == Heard("tick", 1)


@pytest.mark.parametrize("channel", ["private-chat", "presence-chat"])
def test_client_events_reach_the_others(house: House, channel: str) -> None:
    bob, eve = house.member("bob"), house.member("eve")
    bob.join(channel)
    eve.join(channel)
    bob.trigger(channel, "client-hello", {"text": "hé"})
    sender = "bob" if channel.startswith("presence-") else None
    assert eve.next(channel, "client-hello") == Heard("client-hello", {"text": "hé"}, sender)
    eve.trigger(channel, "client-answer", [1])
    assert bob.next(channel, "client-answer").data == [1]
    assert Heard("client-hello", {"text": "hé"}, sender) not in bob.rest(channel)


def test_client_events_where_they_are_off_are_answered_with_4301(house: House) -> None:
    bob = house.member("bob", MUTE_APP)
    bob.join("private-chat")
    bob.trigger("private-chat", "client-hello", {})
    error = bob.next("private-chat", "pusher:error")
    assert error.data["code"] == 4301


@pytest.mark.parametrize("channel", CACHES)
def test_a_cache_channel_begins_with_a_miss_or_its_last_event(house: House, channel: str) -> None:
    bob, eve = house.member("bob"), house.member("eve")
    bob.join(channel)
    assert bob.next(channel, "pusher:cache_miss").name == "pusher:cache_miss"
    house.library.trigger(channel, "price", {"eur": 1})
    assert bob.next(channel, "price") == Heard("price", {"eur": 1})
    eve.join(channel)
    assert eve.next(channel, "price") == Heard("price", {"eur": 1})
    house.server.drop(4200)
    assert bob.next(channel, "price") == Heard("price", {"eur": 1})
    info = house.library.channel_info(channel, ["cache"])
    assert info["cache"]["ttl"] > 0


def test_a_rotated_key_is_fetched_and_the_events_continue(house: House) -> None:
    name, bob = "private-encrypted-x", house.member("bob")
    bob.join(name)
    house.library.trigger(name, "secret", 1)
    assert bob.next(name, "secret") == Heard("secret", 1)
    house.server.rotate_key(OTHER_KEY, app=APP.key)
    after = house.library_for(APP, OTHER_KEY)
    after.trigger(name, "secret", {"n": 2})
    assert bob.next(name, "secret") == Heard("secret", {"n": 2})
    house.server.publish(name, "secret", {"n": 3})
    assert bob.next(name, "secret") == Heard("secret", {"n": 3})
    assert len(house.server.auth_requests) == 2


def test_subscribers_are_counted(house: House) -> None:
    bob, eve = house.member("bob"), house.member("eve")
    bob.join("news")
    assert bob.next("news", "pusher:subscription_count").data == {"subscription_count": 1}
    eve.join("news")
    assert bob.next("news", "pusher:subscription_count").data == {"subscription_count": 2}
    assert bob.call("subscriptionCount", channel="news") == 2
    assert house.library.channel_info("news", ["subscription_count"]) == {
        "occupied": True,
        "subscription_count": 2,
    }
    eve.unsubscribe("news")
    assert bob.next("news", "pusher:subscription_count").data == {"subscription_count": 1}


def test_it_is_answered_when_it_pings(house: House) -> None:
    bob = house.member("bob", activityTimeout=50, pongTimeout=5000)
    house.server.wait_until(lambda server: received(server).count("pusher:ping") >= 3)
    assert bob.call("state") == "connected"
    assert len(house.server.connections) == 1


def test_it_answers_when_the_server_pings(node: Node) -> None:
    machine = House.make_server(ping_after=0.05)
    with serve_in_thread(machine) as running, House(running, node) as house:
        house.member("bob")
        running.wait_until(lambda server: received(server).count("pusher:pong") >= 3)
        assert len(running.connections) == 1


def received(server: Server) -> list[str]:
    return [message.event for message in server.received]
