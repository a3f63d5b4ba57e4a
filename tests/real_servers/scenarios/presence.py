"""Presence channels on real servers, seen from both sides: ours, and that of pusher-js."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio.to_thread
import pytest

from drivers.runners import Driver
from neighbours.member import Heard, Member, Node, own_key
from pusher_proto import (
    ConnectionState,
    MemberAdded,
    MemberRemoved,
    Options,
    OwnKey,
    StateChanged,
    Subscribed,
)
from pusher_proto import Member as OurMember
from real_servers.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said
from real_servers.process import PLAIN_APP, RealServer

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync

ANN = {"user_id": "ann", "user_info": {"name": "Änn"}}


def options_of(server: RealServer, member: dict[str, Any], **more: Any) -> Options:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member=member)
    return options_for(server, PLAIN_APP, auth=auth, **more)


def without_info(server: RealServer, user_id: str) -> OurMember:
    """Return a member that was signed without `user_info`, as the server names it."""
    return OurMember(user_id) if server.habits.info_is_optional else OurMember(user_id, {})


@contextmanager
def neighbour(
    node: Node, server: RealServer, user_id: object, user_info: Any = None
) -> Iterator[Member]:
    """Without info, some servers name a member among the ids only, and pusher-js does not see it."""
    member = {"user_id": user_id}
    if user_info is not None or server.habits.info_is_required:
        member["user_info"] = user_info
    with node.open(PLAIN_APP.key, server.port, own_key(PLAIN_APP.secret, member=member)) as opened:
        yield opened


async def test_both_sides_see_each_other_join_and_leave(
    driver: Driver, server: RealServer, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, server, "bob", {"name": "Bob"}) as bob:
        async with driver(options_of(server, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            changes = channel.events((MemberAdded, MemberRemoved))
            assert channel.me == OurMember("ann", {"name": "Änn"})
            assert dict(channel.members) == {"ann": channel.me}
            assert channel.server_count == 1

            assert await aside(bob.join, room) == {
                "count": 2,
                "me": {"id": "bob", "info": {"name": "Bob"}},
                "members": {"ann": {"name": "Änn"}, "bob": {"name": "Bob"}},
            }
            his = OurMember("bob", {"name": "Bob"})
            assert await first(changes) == MemberAdded(room, his)
            assert dict(channel.members) == {"ann": channel.me, "bob": his}

            bob.unsubscribe(room)
            assert await first(changes) == MemberRemoved(room, his)
            assert list(channel.members) == ["ann"]

            await aside(bob.join, room)
            assert await first(changes) == MemberAdded(room, his)
        # Our client has closed.
        left = await aside(bob.next, room, "pusher:member_removed")
        assert left.data == {"id": "ann", "info": {"name": "Änn"}}
        assert bob.members(room)["members"] == {"bob": {"name": "Bob"}}


async def test_a_member_that_joins_later_has_the_whole_roster(
    driver: Driver, server: RealServer, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, server, "bob", {"age": 7}) as bob, neighbour(node, server, "eve") as eve:
        await aside(bob.join, room)
        await aside(eve.join, room)
        async with driver(options_of(server, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            assert dict(channel.members) == {
                "bob": OurMember("bob", {"age": 7}),
                "eve": without_info(server, "eve"),
                "ann": OurMember("ann", {"name": "Änn"}),
            }
            assert channel.members.count == channel.server_count == 3
            seen = await aside(eve.next, room, "pusher:member_added")
            assert seen == Heard("pusher:member_added", {"id": "ann", "info": {"name": "Änn"}})
            channel.unsubscribe()
            seen = await aside(eve.next, room, "pusher:member_removed")
            assert seen.data == {"id": "ann", "info": {"name": "Änn"}}


async def test_a_user_with_two_connections_joins_and_leaves_once(
    driver: Driver, server: RealServer, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, server, "bob") as bob, neighbour(node, server, "bob") as again:
        async with driver(options_of(server, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            async with channel.events((MemberAdded, MemberRemoved)) as changes:
                await aside(bob.join, room)
                await aside(again.join, room)
                bob.unsubscribe(room)
                again.trigger(room, "client-still", ["here"])
                assert said(await next_of(channel)) == ("client-still", ["here"])
                again.unsubscribe(room)
                assert [await first(changes) for _ in range(2)] == [
                    MemberAdded(room, without_info(server, "bob")),
                    MemberRemoved(room, without_info(server, "bob")),
                ]


async def test_integer_ids_are_text_with_us(driver: Driver, server: RealServer, node: Node) -> None:
    room = fresh("presence-room")
    his_id: object = 8 if server.habits.integer_ids else "8"
    with neighbour(node, server, his_id, {"name": "eight"}) as eight:
        async with driver(options_of(server, {"user_id": 7, "user_info": {}})) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            changes = channel.events((MemberAdded, MemberRemoved))
            assert channel.me == OurMember("7", server.habits.empty_info)
            roster = await aside(eight.join, room)
            assert roster["members"] == {"7": server.habits.empty_info, "8": {"name": "eight"}}
            assert await first(changes) == MemberAdded(room, OurMember("8", {"name": "eight"}))
            assert list(channel.members) == ["7", "8"]
            assert Publisher(server, PLAIN_APP).members(room) == ["7", "8"]
            eight.trigger(room, "client-hello", [])
            sender = "8" if server.habits.names_senders else None
            assert (await next_of(channel)).user_id == sender
            eight.unsubscribe(room)
            assert await first(changes) == MemberRemoved(room, OurMember("8", {"name": "eight"}))


async def test_client_events_carry_who_sent_them_in_both_directions(
    driver: Driver, server: RealServer, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, server, "bob") as bob:
        await aside(bob.join, room)
        async with driver(options_of(server, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            channel.trigger("client-typing", {"text": "Grüße"})
            heard = await aside(bob.next, room, "client-typing")
            ann, his = ("ann", "bob") if server.habits.names_senders else (None, None)
            assert heard == Heard("client-typing", {"text": "Grüße"}, ann)
            bob.trigger(room, "client-typing", [1])
            event = await next_of(channel)
            assert (said(event), event.user_id) == (("client-typing", [1]), his)


async def test_a_reconnect_reports_members_that_joined_and_left_since(
    driver: Driver, server: RealServer, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, server, "bob", {}) as bob, neighbour(node, server, "eve") as eve:
        await aside(bob.join, room)
        async with driver(options_of(server, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            assert sorted(channel.members) == ["ann", "bob"]
            events = channel.events((Subscribed, MemberAdded, MemberRemoved))
            # Kept for the first listener.
            assert await first(events) == Subscribed(room)
            changes_of_state = client.events(StateChanged)
            client.disconnect()
            assert (await first(changes_of_state)).current is ConnectionState.DISCONNECTED
            assert dict(channel.members) == {}
            await aside(bob.next, room, "pusher:member_removed")
            await aside(eve.join, room)
            bob.unsubscribe(room)
            assert (await aside(eve.next, room, "pusher:member_removed")).data["id"] == "bob"
            client.connect()
            success, *changes = [await first(events) for _ in range(3)]
            assert isinstance(success, Subscribed)
            assert success.offline_for is not None
            assert changes == [
                MemberRemoved(room, OurMember("bob", server.habits.empty_info)),
                MemberAdded(room, without_info(server, "eve")),
            ]
            assert sorted(channel.members) == ["ann", "eve"]
