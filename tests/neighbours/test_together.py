"""Our clients and pusher-js side by side on our own server: each sees what the other does."""

from __future__ import annotations

import anyio.to_thread
import pytest

from drivers.runners import Driver
from neighbours.house import APP, MASTER_KEY, MUTE_APP, OTHER_KEY, House
from neighbours.member import Heard
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    CacheMiss,
    ChannelEvent,
    ConnectionFailed,
    ConnectionState,
    Member,
    MemberAdded,
    MemberRemoved,
    OwnKey,
    ServerError,
    SignInError,
    Subscribed,
    SubscriptionCount,
    SubscriptionError,
    WatchlistOffline,
    WatchlistOnline,
)
from real_servers.clients import TIMEOUT, first, next_of, said, take

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync

ANN = Member("ann", {"name": "Änn"})
BOB = Member("bob", {"name": "Bob"})


@pytest.mark.parametrize(
    "name", ["news", "private-orders", "presence-room", "private-encrypted-x", "cache-x"]
)
async def test_both_receive_what_the_library_publishes(
    driver: Driver, house: House, name: str
) -> None:
    bob = house.member("bob")
    async with driver(house.options("ann")) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        await aside(bob.join, name)
        data: list[object] = [{"text": "Grüße"}, [1, 2.5, None], "no JSON"]
        for each in data:
            await aside(house.library.trigger, name, "tick", each)
        async with channel.events(ChannelEvent) as stream:
            assert await take(stream, len(data)) == [("tick", each) for each in data]
        heard = [await aside(bob.next, name, "tick") for _ in data]
        assert heard == [Heard("tick", each) for each in data]


async def test_the_publisher_may_exclude_either(driver: Driver, house: House) -> None:
    bob = house.member("bob")
    async with driver(house.options("ann")) as client:
        channel = await client.subscribe("news").wait_subscribed(TIMEOUT)
        await aside(bob.join, "news")
        await aside(house.library.trigger, "news", "a", 1, client.socket_id)
        await aside(house.library.trigger, "news", "b", 2, bob.call("socketId"))
        await aside(house.library.trigger, "news", "c", 3)
        assert [said(await next_of(channel)) for _ in range(2)] == [("b", 2), ("c", 3)]
        assert [(await aside(bob.next, "news", n)).data for n in ("a", "c")] == [1, 3]
        assert "b" not in [each.name for each in bob.rest("news")]


async def test_members_see_each_other_join_and_leave(driver: Driver, house: House) -> None:
    room, bob = "presence-room", house.member("bob")
    await aside(bob.join, room)
    async with driver(house.options("ann")) as client:
        channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
        changes = channel.events((MemberAdded, MemberRemoved))
        assert (channel.me, channel.server_count) == (ANN, 2)
        assert dict(channel.members) == {"bob": BOB, "ann": ANN}
        joined = await aside(bob.next, room, "pusher:member_added")
        assert joined.data == {"id": "ann", "info": {"name": "Änn"}}
        bob.unsubscribe(room)
        assert await first(changes) == MemberRemoved(room, BOB)
        await aside(bob.join, room)
        assert await first(changes) == MemberAdded(room, BOB)
        seven = house.member("seven")
        await aside(seven.join, room)
        assert await first(changes) == MemberAdded(room, Member("7", {"name": "seven"}))
        assert list(channel.members) == list(house.server.members(room)) == ["ann", "bob", "7"]
        seven.disconnect()
        assert await first(changes) == MemberRemoved(room, Member("7", {"name": "seven"}))
    left = await aside(bob.next, room, "pusher:member_removed")
    while left.data["id"] != "ann":
        left = await aside(bob.next, room, "pusher:member_removed")
    assert bob.members(room)["members"] == {"bob": {"name": "Bob"}}


@pytest.mark.parametrize("name", ["private-chat", "presence-chat"])
async def test_client_events_go_both_ways(driver: Driver, house: House, name: str) -> None:
    bob = house.member("bob")
    async with driver(house.options("ann")) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        await aside(bob.join, name)
        channel.trigger("client-hello", {"text": "hé"})
        is_presence = name.startswith("presence-")
        heard = await aside(bob.next, name, "client-hello")
        assert heard == Heard("client-hello", {"text": "hé"}, "ann" if is_presence else None)
        bob.trigger(name, "client-answer", [1])
        event = await next_of(channel)
        assert said(event) == ("client-answer", [1])
        assert event.user_id == ("bob" if is_presence else None)


async def test_client_events_where_they_are_off_are_refused_for_both(
    driver: Driver, house: House
) -> None:
    bob = house.member("bob", MUTE_APP)
    async with driver(house.options("ann", MUTE_APP)) as client:
        channel = await client.subscribe("private-chat").wait_subscribed(TIMEOUT)
        errors = channel.events(ServerError)
        await aside(bob.join, "private-chat")
        channel.trigger("client-hello", {})
        bob.trigger("private-chat", "client-hello", {})
        error = await first(errors)
        assert (error.code, error.channel) == (4301, "private-chat")
        same = await aside(bob.next, "private-chat", "pusher:error")
        assert same.data == {"code": 4301, "message": error.message}


async def test_a_key_is_rotated_under_both(driver: Driver, house: House) -> None:
    name, bob = "private-encrypted-x", house.member("bob")
    async with driver(house.options("ann")) as client:
        channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
        await aside(bob.join, name)
        await aside(house.library.trigger, name, "secret", 1)
        await aside(bob.next, name, "secret")
        house.server.rotate_key(OTHER_KEY, app=APP.key)
        after = house.library_for(APP, OTHER_KEY)
        for number in (2, 3):
            await aside(after.trigger, name, "secret", number)
        assert [(await next_of(channel)).data for _ in range(3)] == [1, 2, 3]
        assert sorted([(await aside(bob.next, name, "secret")).data for _ in (2, 3)]) == [2, 3]
        ours = [each for each in house.server.auth_requests if "pusher-proto" in str(each.headers)]
        assert [each.fields["channel_name"] for each in ours] == [name, name]


@pytest.mark.parametrize(
    "name", ["cache-x", "private-cache-x", "presence-cache-x", "private-encrypted-cache-x"]
)
async def test_both_begin_with_a_miss_or_the_last_event(
    driver: Driver, house: House, name: str
) -> None:
    bob = house.member("bob")
    async with driver(house.options("ann")) as client:
        channel = client.channel(name)
        misses, successes = channel.events(CacheMiss), channel.events(Subscribed)
        client.subscribe(name)
        assert await first(misses) == CacheMiss(name)
        await aside(house.library.trigger, name, "price", {"eur": 1})
        await aside(bob.join, name)
        assert await aside(bob.next, name, "price") == Heard("price", {"eur": 1})
        heard = [await next_of(channel)]
        await first(successes)
        house.server.drop(4200)
        await first(successes)
        heard.append(await next_of(channel))
        assert [(each.data, each.cached) for each in heard] == [
            ({"eur": 1}, False),
            ({"eur": 1}, True),
        ]
        assert await aside(bob.next, name, "price") == Heard("price", {"eur": 1})


async def test_both_know_how_many_are_subscribed(driver: Driver, house: House) -> None:
    bob = house.member("bob")
    async with driver(house.options("ann")) as client:
        channel = client.channel("news")
        counts = channel.events(SubscriptionCount)
        client.subscribe("news")
        assert await first(counts) == SubscriptionCount("news", 1)
        await aside(bob.join, "news")
        assert await first(counts) == SubscriptionCount("news", 2)
        assert channel.subscription_count == 2
        reported = await aside(bob.next, "news", "pusher:subscription_count")
        assert reported.data == {"subscription_count": 2}
    reported = await aside(bob.next, "news", "pusher:subscription_count")
    assert reported.data == {"subscription_count": 1}


async def test_both_reconnect_after_a_drop(driver: Driver, house: House) -> None:
    room, bob = "presence-room", house.member("bob")
    async with driver(house.options("ann")) as client:
        names = ["news", "private-orders", room, "private-encrypted-x"]
        successes = client.events(Subscribed)
        channels = [await client.subscribe(name).wait_subscribed(TIMEOUT) for name in names]
        assert [(await first(successes)).channel for _ in names] == names
        await aside(bob.join, room)
        house.server.drop(4200, "restarting")
        back = [await first(successes) for _ in names]
        assert sorted(each.channel for each in back) == sorted(names)
        assert None not in [each.offline_for for each in back]
        await aside(bob.next, room, "pusher:subscription_succeeded")
        for channel in channels:
            await aside(house.library.trigger, channel.name, "tick", channel.name)
            assert said(await next_of(channel)) == ("tick", channel.name)
        assert sorted(house.server.members(room)) == ["ann", "bob"]
        assert sorted(channels[2].members) == ["ann", "bob"]


async def test_a_user_has_its_events_on_all_its_connections(driver: Driver, house: House) -> None:
    other = house.member("ann")
    async with driver(house.options("ann")) as client:
        client.signin()
        assert await client.wait_signed_in(TIMEOUT) == "ann"
        await aside(other.signin)
        mine = "#server-to-user-ann"
        await aside(lambda: house.server.wait_until(lambda s: len(s.subscriptions(mine)) == 2))
        await aside(house.library.send_to_user, "ann", "note", {"n": 1})
        assert said(await client.user.wait_for("note", timeout=TIMEOUT)) == ("note", {"n": 1})
        assert await aside(other.next, "user", "note") == Heard("note", {"n": 1})
        assert await aside(house.terminate, "ann") == {}
        with pytest.raises(ConnectionFailed) as caught:
            await client.run()
        assert (caught.value.code, client.state) == (4009, ConnectionState.FAILED)
        assert (await aside(other.next, "connection", "error")).data["code"] == 4009


async def test_a_user_that_watches_another_is_notified(driver: Driver, house: House) -> None:
    bob = house.member("bob")
    async with driver(house.options("ann")) as client:
        reported = client.events((WatchlistOnline, WatchlistOffline))
        client.signin()
        assert await first(reported) == WatchlistOffline(("bob", "eve"))
        assert client.watchlist.online == frozenset()
        await aside(bob.signin)
        assert await aside(bob.next, "watchlist") == Heard(
            "online", {"name": "online", "user_ids": ["ann"]}
        )
        assert await first(reported) == WatchlistOnline(("bob",))
        assert client.watchlist.online == {"bob"}
        bob.disconnect()
        assert await first(reported) == WatchlistOffline(("bob",))
        bob.connect()
        assert await first(reported) == WatchlistOnline(("bob",))
    heard = await aside(bob.next, "watchlist", "offline")
    assert heard.data["user_ids"] == ["ann"]


async def test_the_library_signs_for_our_client(driver: Driver, house: House) -> None:
    """As an application in Python would, in its own auth endpoint."""
    user = {"id": "ann", "user_info": {"name": "Änn"}}

    def authorize(request: AuthRequest) -> AuthResponse:
        if request.channel is None:
            return AuthResponse(**house.library.authenticate_user(request.socket_id, user))
        member = None
        if request.channel.startswith("presence-"):
            member = {"user_id": "ann", "user_info": {"name": "Änn"}}
        answer = house.library.authenticate(request.channel, request.socket_id, member)
        if "shared_secret" in answer:  # which the library gives as bytes
            answer["shared_secret"] = answer["shared_secret"].decode()
        return AuthResponse(**answer)

    async with driver(house.options("ann", auth=None), authorizer=authorize) as client:
        client.signin()
        assert await client.wait_signed_in(TIMEOUT) == "ann"
        for name in ("private-orders", "presence-room", "private-encrypted-x"):
            channel = await client.subscribe(name).wait_subscribed(TIMEOUT)
            await aside(house.library.trigger, name, "tick", {"on": name})
            assert said(await next_of(channel)) == ("tick", {"on": name})
        assert dict(client.channel("presence-room").members) == {"ann": ANN}


async def test_what_the_server_refuses_our_client_is_reported(driver: Driver, house: House) -> None:
    forger = OwnKey(APP.key, "wrong", user={"id": "1"}, master_key=MASTER_KEY)
    async with driver(house.options("ann")) as client:
        good = client.subscribe("private-orders")
        with pytest.raises(SubscriptionError) as refused:
            await client.subscribe("private-others", auth=forger).wait_subscribed(TIMEOUT)
        assert (refused.value.channel, refused.value.code) == ("private-others", 4009)
        await good.wait_subscribed(TIMEOUT)
    async with driver(house.options("ann", auth=forger)) as client:
        client.signin()
        with pytest.raises(SignInError):
            await client.wait_signed_in(TIMEOUT)
    async with driver(house.options("ann", key="nobody")) as client:
        with pytest.raises(ConnectionFailed) as failed:
            await client.wait_connected(TIMEOUT)
        assert failed.value.code == 4001
