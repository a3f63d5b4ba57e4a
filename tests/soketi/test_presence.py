"""Presence channels on Soketi, seen from both sides: ours, and that of pusher-js."""

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
from soketi.clients import TIMEOUT, Publisher, first, fresh, next_of, options_for, said
from soketi.harness import PLAIN_APP, Soketi

pytestmark = pytest.mark.anyio
aside = anyio.to_thread.run_sync

ANN = {"user_id": "ann", "user_info": {"name": "Änn"}}


def options_of(soketi: Soketi, member: dict[str, Any], **more: Any) -> Options:
    auth = OwnKey(PLAIN_APP.key, PLAIN_APP.secret, member=member)
    return options_for(soketi, PLAIN_APP, auth=auth, **more)


@contextmanager
def neighbour(
    node: Node, soketi: Soketi, user_id: object, user_info: Any = None
) -> Iterator[Member]:
    """Without info, Soketi names a member among the ids only, and pusher-js does not see it."""
    member = {"user_id": user_id}
    if user_info is not None:
        member["user_info"] = user_info
    with node.open(PLAIN_APP.key, soketi.port, own_key(PLAIN_APP.secret, member=member)) as opened:
        yield opened


async def test_both_sides_see_each_other_come_and_go(
    driver: Driver, soketi: Soketi, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, soketi, "bob", {"name": "Bob"}) as bob:
        async with driver(options_of(soketi, ANN)) as client:
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


async def test_whoever_joins_later_has_the_whole_roster(
    driver: Driver, soketi: Soketi, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, soketi, "bob", {"age": 7}) as bob, neighbour(node, soketi, "eve") as eve:
        await aside(bob.join, room)
        await aside(eve.join, room)
        async with driver(options_of(soketi, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            assert dict(channel.members) == {
                "bob": OurMember("bob", {"age": 7}),
                "eve": OurMember("eve"),
                "ann": OurMember("ann", {"name": "Änn"}),
            }
            assert channel.members.count == channel.server_count == 3
            seen = await aside(eve.next, room, "pusher:member_added")
            assert seen == Heard("pusher:member_added", {"id": "ann", "info": {"name": "Änn"}})
            channel.unsubscribe()
            seen = await aside(eve.next, room, "pusher:member_removed")
            assert seen.data == {"id": "ann", "info": {"name": "Änn"}}


async def test_a_user_with_two_connections_comes_and_goes_once(
    driver: Driver, soketi: Soketi, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, soketi, "bob") as bob, neighbour(node, soketi, "bob") as again:
        async with driver(options_of(soketi, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            async with channel.events((MemberAdded, MemberRemoved)) as changes:
                await aside(bob.join, room)
                await aside(again.join, room)
                bob.unsubscribe(room)
                again.trigger(room, "client-still", "here")
                assert said(await next_of(channel)) == ("client-still", "here")
                again.unsubscribe(room)
                assert [await first(changes) for _ in range(2)] == [
                    MemberAdded(room, OurMember("bob")),
                    MemberRemoved(room, OurMember("bob")),
                ]


async def test_integer_ids_are_text_with_us(driver: Driver, soketi: Soketi, node: Node) -> None:
    room = fresh("presence-room")
    with neighbour(node, soketi, 8, {"name": "eight"}) as eight:
        async with driver(options_of(soketi, {"user_id": 7, "user_info": {}})) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            changes = channel.events((MemberAdded, MemberRemoved))
            assert channel.me == OurMember("7", {})
            roster = await aside(eight.join, room)
            assert roster["members"] == {"7": {}, "8": {"name": "eight"}}
            assert await first(changes) == MemberAdded(room, OurMember("8", {"name": "eight"}))
            assert list(channel.members) == ["7", "8"]
            assert Publisher(soketi, PLAIN_APP).members(room) == ["7", "8"]
            eight.trigger(room, "client-hello", [])
            assert (await next_of(channel)).user_id == "8"
            eight.unsubscribe(room)
            assert await first(changes) == MemberRemoved(room, OurMember("8", {"name": "eight"}))


async def test_client_events_carry_who_sent_them_in_both_directions(
    driver: Driver, soketi: Soketi, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, soketi, "bob") as bob:
        await aside(bob.join, room)
        async with driver(options_of(soketi, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            channel.trigger("client-typing", {"text": "Grüße"})
            heard = await aside(bob.next, room, "client-typing")
            assert heard == Heard("client-typing", {"text": "Grüße"}, "ann")
            bob.trigger(room, "client-typing", [1])
            event = await next_of(channel)
            assert (said(event), event.user_id) == (("client-typing", [1]), "bob")


async def test_a_reconnect_tells_who_came_and_who_went_meanwhile(
    driver: Driver, soketi: Soketi, node: Node
) -> None:
    room = fresh("presence-room")
    with neighbour(node, soketi, "bob", {}) as bob, neighbour(node, soketi, "eve") as eve:
        await aside(bob.join, room)
        async with driver(options_of(soketi, ANN)) as client:
            channel = await client.subscribe(room).wait_subscribed(TIMEOUT)
            assert sorted(channel.members) == ["ann", "bob"]
            events = channel.events((Subscribed, MemberAdded, MemberRemoved))
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
                MemberRemoved(room, OurMember("bob", {})),
                MemberAdded(room, OurMember("eve")),
            ]
            assert sorted(channel.members) == ["ann", "eve"]
