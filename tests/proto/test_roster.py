"""Presence: the roster in every shape that servers send, and kept equal to the server's in a moving world."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pusher_proto import (
    Event,
    Member,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProtocolViolation,
    Subscribed,
    SubscriptionFailed,
    Unsubscribed,
)
from pusher_proto._channels.roster import BadPresence, Roster
from pusher_proto.testing import ServerLimits
from simulation import Device, World

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "50"))
ROOM = "presence-room"


def roster_of(data: Any, limit: int = 100) -> Roster:
    roster = Roster(ROOM, limit)
    assert list(roster.replace(data)) == []
    return roster


def presence(**fields: Any) -> dict[str, Any]:
    return {"presence": fields}


def success(world: World, members: dict[str, Any]) -> None:
    world.say(
        "pusher_internal:subscription_succeeded",
        presence(ids=list(members), hash=members, count=len(members)),
        ROOM,
    )


def joined(world: World, user: str, **options: Any) -> Device:
    """Return a device that is on the channel as `user`, its events so far taken."""
    member = {"user_id": user, "user_info": {"name": user.title()}}
    device = world.connected(world.options(auth=world.own_key(member=member), **options))
    device.subscribe(ROOM)
    world.run(1)
    device.take()
    return device


# The shapes of a roster.


@pytest.mark.parametrize(
    ("data", "members"),
    [
        (
            presence(ids=["a", "b"], hash={"a": {"name": "A"}, "b": None}, count=2),
            {"a": {"name": "A"}, "b": None},
        ),
        ('{"presence":{"ids":["a"],"hash":{"a":{"name":"A"}},"count":1}}', {"a": {"name": "A"}}),
        (presence(ids=[1, 2], hash={"1": {}, "2": None}, count=2), {"1": {}, "2": None}),
        (presence(ids=[], hash=[], count=0), {}),
        (presence(ids=["a", 7], hash=[], count=0), {"a": None, "7": None}),
        (presence(ids=[0, 1], hash=[{"n": 0}, {"n": 1}], count=2), {"0": {"n": 0}, "1": {"n": 1}}),
        (presence(ids=["a"], hash=[{"n": 0}, {"n": 1}]), {"a": {"n": 0}, "1": {"n": 1}}),
        (presence(ids=[None, {}], hash=["x", "y"]), {"0": "x", "1": "y"}),
        (presence(ids=["a", "b"]), {"a": None, "b": None}),
        (presence(ids=["b", "a"], hash={"a": 1}), {"a": 1, "b": None}),
        (presence(hash={"a": [1], "b": "text", "c": False}), {"a": [1], "b": "text", "c": False}),
        (presence(ids=[True, None, "", {}, ["a"], "a"], hash="nonsense"), {"a": None}),
        (presence(ids=[2**70, 1.5]), {str(2**70): None, "1.5": None}),
        (presence(ids="ab", hash=7), {}),
        (presence(), {}),
    ],
)
def test_a_roster_is_read_in_every_shape_that_servers_send(
    data: Any, members: dict[str, Any]
) -> None:
    roster = roster_of(data)
    assert {member.id: member.info for member in roster.members.values()} == members
    assert list(roster.members) == [member.id for member in roster.members.values()]


@pytest.mark.parametrize("data", [None, "", "{}", {}, [], 5, presence()["presence"], "not JSON"])
def test_a_success_without_a_roster_says_what_is_missing(data: Any) -> None:
    roster = roster_of(presence(ids=["a"]))
    with pytest.raises(BadPresence, match="without its members"):
        roster.replace(data)
    assert dict(roster.members) == {}


@pytest.mark.parametrize("value", [None, [], "people", 3])
def test_a_roster_that_is_not_an_object_is_none(value: Any) -> None:
    with pytest.raises(BadPresence, match="without its members"):
        Roster(ROOM, 10).replace({"presence": value})


@pytest.mark.parametrize(
    ("count", "server_count"),
    [(9, 9), (0, 0), (None, None), ("2", None), (True, None), (2.0, None)],
)
def test_the_count_of_the_server_is_kept_beside_the_number_of_members(
    count: Any, server_count: int | None
) -> None:
    roster = roster_of(presence(ids=["a", "b"], count=count))
    assert (roster.server_count, roster.members.count) == (server_count, 2)


def test_ten_thousand_members_are_read_and_changed() -> None:
    ids = [f"user-{n}" for n in range(10_000)]
    roster = Roster(ROOM, 10_000)
    roster.replace(presence(ids=ids, hash={one: {"n": one} for one in ids}, count=len(ids)))
    assert list(roster.members) == ids
    with pytest.raises(BadPresence, match="more than 10000 members"):
        roster.add({"user_id": "one-too-many"})
    for one in ids[:5000]:
        roster.remove({"user_id": one})
    assert list(roster.members) == ids[5000:]


def test_a_roster_past_the_limit_is_refused_whole() -> None:
    roster = Roster(ROOM, 2)
    with pytest.raises(BadPresence, match="more than 2 members"):
        roster.replace(presence(ids=["a", "b", "c"], count=3))
    assert (dict(roster.members), roster.server_count) == ({}, None)


def test_before_the_first_roster_no_member_is_known() -> None:
    roster = Roster(ROOM, 10)
    assert roster.members == {}
    assert (roster.me, roster.server_count) == (None, None)


# Changes.


def test_a_member_is_added_once() -> None:
    roster = Roster(ROOM, 10)
    ada = Member("ada", {"name": "Ada"})
    reported = {"user_id": "ada", "user_info": {"name": "Ada"}}
    assert roster.add(reported) == MemberAdded(ROOM, ada)
    assert roster.add(reported) is None
    assert roster.members == {"ada": ada}


def test_a_member_who_is_announced_again_with_other_info_is_updated() -> None:
    roster = roster_of(presence(hash={"ada": {"name": "Ada"}}))
    assert roster.add('{"user_id":"ada","user_info":null}') == MemberUpdated(
        ROOM, Member("ada"), Member("ada", {"name": "Ada"})
    )
    assert roster.members == {"ada": Member("ada")}


@pytest.mark.parametrize(
    ("data", "member"),
    [
        ({"user_id": 5, "user_info": {}}, Member("5", {})),
        ({"user_id": "5"}, Member("5")),
        ({"user_id": "5", "user_info": None}, Member("5")),
        ('{"user_id":5,"user_info":"x","more":1}', Member("5", "x")),
    ],
)
def test_who_is_added_is_read_leniently(data: Any, member: Member) -> None:
    assert Roster(ROOM, 10).add(data) == MemberAdded(ROOM, member)


def test_who_is_removed_is_reported_with_the_last_info_known() -> None:
    roster = roster_of(presence(hash={"7": {"name": "Seven"}, "8": None}))
    assert roster.remove({"user_id": 7}) == MemberRemoved(ROOM, Member("7", {"name": "Seven"}))
    assert roster.remove('{"user_id":"8"}') == MemberRemoved(ROOM, Member("8"))
    assert dict(roster.members) == {}


def test_the_removal_of_an_unknown_member_changes_nothing() -> None:
    roster = roster_of(presence(hash={"ada": None}))
    assert roster.remove({"user_id": "eve"}) is None
    assert list(roster.members) == ["ada"]


@pytest.mark.parametrize(
    "data",
    [None, "", "x", [], {}, {"user_id": None}, {"user_id": ""}, {"user_id": True}, {"id": 1}],
)
def test_a_change_without_a_user_changes_nothing(data: Any) -> None:
    roster = roster_of(presence(hash={"ada": None}))
    for change in (roster.add, roster.remove):
        with pytest.raises(BadPresence, match="without a user_id"):
            change(data)
    assert list(roster.members) == ["ada"]


def test_members_who_were_looked_at_stay_as_they_were() -> None:
    roster = roster_of(presence(hash={"ada": 1, "bob": 2}))
    before = roster.members
    roster.add({"user_id": "cleo", "user_info": 3})
    between = roster.members
    roster.remove({"user_id": "ada"})
    assert before == {"ada": Member("ada", 1), "bob": Member("bob", 2)}
    assert between == {**before, "cleo": Member("cleo", 3)}
    assert roster.members == {"bob": Member("bob", 2), "cleo": Member("cleo", 3)}


# Across a drop.


def test_the_roster_after_a_drop_reports_members_that_left_joined_and_changed() -> None:
    roster = roster_of(presence(hash={"stays": 1, "leaves": 2, "changes": 3}))
    roster.clear()
    assert roster.members == {}
    assert list(roster.replace(presence(hash={"joins": 4, "changes": 5, "stays": 1}))) == [
        MemberRemoved(ROOM, Member("leaves", 2)),
        MemberAdded(ROOM, Member("joins", 4)),
        MemberUpdated(ROOM, Member("changes", 5), Member("changes", 3)),
    ]
    assert list(roster.members) == ["joins", "changes", "stays"]


def test_the_roster_from_before_the_first_of_several_drops_counts() -> None:
    roster = roster_of(presence(hash={"a": 1}))
    roster.clear()
    roster.clear()
    assert list(roster.replace(presence(hash={"b": 1}))) == [
        MemberRemoved(ROOM, Member("a", 1)),
        MemberAdded(ROOM, Member("b", 1)),
    ]
    assert list(roster.replace(presence(hash={"c": 1}))) == []


def test_there_are_no_differences_from_a_roster_that_was_left() -> None:
    roster = roster_of(presence(hash={"a": 1}))
    roster.clear()
    roster.forget()
    assert list(roster.replace(presence(hash={"b": 1}))) == []


# The member `me`.


@pytest.mark.parametrize(
    ("channel_data", "user_id", "me"),
    [
        ('{"user_id":"ada"}', None, Member("ada", {"name": "Ada"})),
        ('{"user_id":7,"user_info":{"not":"this"}}', None, Member("7", "seven")),
        (None, "ada", Member("ada", {"name": "Ada"})),
        ('{"user_id":"ada"}', "7", Member("ada", {"name": "Ada"})),
        ('{"user_id":"not-there"}', None, None),
        ("no JSON", "7", Member("7", "seven")),
        ("[]", "7", Member("7", "seven")),
        ('{"user_id":null}', None, None),
        (None, None, None),
    ],
)
def test_me_is_found_by_the_authorization_or_else_by_the_user(
    channel_data: str | None, user_id: str | None, me: Member | None
) -> None:
    roster = Roster(ROOM, 10)
    roster.introduce(channel_data, user_id)
    assert roster.me is None
    roster.replace(presence(hash={"ada": {"name": "Ada"}, "7": "seven"}))
    assert roster.me == me
    roster.clear()
    assert roster.me is None


def test_a_member_that_was_not_introduced_is_unknown() -> None:
    assert roster_of(presence(hash={"ada": None, "": None})).me is None


# In a session.


def test_a_subscriber_knows_the_members_and_itself() -> None:
    world = World()
    joined(world, "ada")
    bob = joined(world, "bob")
    channel = bob.session.channel(ROOM)
    assert channel.members == {
        "ada": Member("ada", {"name": "Ada"}),
        "bob": Member("bob", {"name": "Bob"}),
    }
    assert (channel.me, channel.server_count) == (Member("bob", {"name": "Bob"}), 2)


def test_joins_and_leaves_of_others_are_reported_and_own_ones_are_not() -> None:
    world = World()
    ada = joined(world, "ada")
    bob = joined(world, "bob")
    bob.unsubscribe(ROOM)
    world.run(1)
    assert ada.take() == [
        MemberAdded(ROOM, Member("bob", {"name": "Bob"})),
        MemberRemoved(ROOM, Member("bob", {"name": "Bob"})),
    ]
    assert bob.take() == [Unsubscribed(ROOM)]
    assert ada.session.channel(ROOM).members.count == 1
    assert bob.session.channel(ROOM).members.count == 0


def test_the_roster_is_there_before_the_success_is_reported() -> None:
    world = World()
    device = joined(world, "ada")
    device.pulls = False
    world.reset(device)
    world.run_until(lambda: device.session.channel(ROOM).members)
    device.pulls = True
    device.pump()
    reported = [event for event in device.take() if getattr(event, "channel", None) == ROOM]
    assert [type(event) for event in reported] == [Subscribed]


def test_no_member_is_known_while_the_connection_is_down() -> None:
    world = World()
    ada, bob = joined(world, "ada"), joined(world, "bob")
    world.network.refuse = True
    world.reset(ada)
    channel = ada.session.channel(ROOM)
    assert (dict(channel.members), channel.me, channel.server_count) == ({}, None, None)
    assert list(bob.session.channel(ROOM).members) == ["ada", "bob"]
    assert [event for event in ada.events if isinstance(event, MemberRemoved)] == []


def test_after_a_reconnect_the_differences_are_reported_after_the_success() -> None:
    world = World()
    ada, bob, eve = (joined(world, user) for user in ("ada", "bob", "eve"))
    eve.unsubscribe(ROOM)
    world.run(1)
    ada.take()
    world.network.refuse = True  # so that ada is not back before all is done, whatever her delay
    world.reset(ada)
    bob.unsubscribe(ROOM)
    eve.subscribe(ROOM)
    world.run(1)
    world.network.refuse = False
    world.run_until(lambda: ada.session.channel(ROOM).members)
    reported = [event for event in ada.take() if getattr(event, "channel", None) == ROOM]
    offline = reported[0].offline_for  # type: ignore[attr-defined]  # of the class that the test brings about
    assert reported == [
        Subscribed(ROOM, offline),
        MemberRemoved(ROOM, Member("bob", {"name": "Bob"})),
        MemberAdded(ROOM, Member("eve", {"name": "Eve"})),
    ]
    assert list(ada.session.channel(ROOM).members) == ["eve", "ada"]


def test_a_user_with_two_connections_leaves_with_the_last() -> None:
    world = World()
    watcher = joined(world, "watcher")
    first, second = joined(world, "ada"), joined(world, "ada")
    first.close()
    world.run(1)
    assert watcher.take() == [MemberAdded(ROOM, Member("ada", {"name": "Ada"}))]
    second.close()
    world.run(1)
    assert watcher.take() == [MemberRemoved(ROOM, Member("ada", {"name": "Ada"}))]


def test_C2_joins_and_leaves_before_the_success_are_applied_to_its_list() -> None:
    world = World()
    device = world.connected(world.options(auth=world.own_key(member={"user_id": "me"})))
    world.act(world.server.delay, 1.0, "subscribe")
    device.subscribe(ROOM)
    world.say("pusher_internal:member_added", {"user_id": "u4"}, ROOM)
    world.say("pusher_internal:member_added", {"user_id": "gone"}, ROOM)
    world.say("pusher_internal:member_removed", {"user_id": "gone"}, ROOM)
    world.say("pusher_internal:member_removed", {"user_id": "me"}, ROOM)
    world.run(2)
    assert list(device.session.channel(ROOM).members) == ["me", "u4"]
    assert device.session.channel(ROOM).me == Member("me")
    assert device.take() == [Subscribed(ROOM)]


def test_C2_the_differences_after_a_reconnect_include_early_joins_and_leaves() -> None:
    world = World()
    device = joined(world, "me")
    world.say("pusher_internal:member_added", {"user_id": "stays"}, ROOM)
    world.say("pusher_internal:member_added", {"user_id": "goes"}, ROOM)
    device.take()
    world.act(world.server.mute)
    world.act(world.server.drop, 4200)
    world.act(world.server.unmute)
    world.act(world.server.delay, 1.0, "subscribe")
    world.run(0.5)
    world.say("pusher_internal:member_added", {"user_id": "stays"}, ROOM)
    world.say("pusher_internal:member_added", {"user_id": "new"}, ROOM)
    world.run(2)
    reported = [event for event in device.take() if isinstance(event, MemberAdded | MemberRemoved)]
    assert reported == [MemberRemoved(ROOM, Member("goes")), MemberAdded(ROOM, Member("new"))]


def test_C2_early_joins_are_bounded_and_invalid_without_an_id() -> None:
    roster = Roster(ROOM, 2)
    roster.note({"user_id": "before"}, joined=True)  # nothing was asked
    roster.expect()
    roster.note({"user_id": "a"}, joined=True)
    roster.note({"user_id": "b"}, joined=True)
    roster.note({"user_id": "b"}, joined=False)
    with pytest.raises(BadPresence, match="more than 2 members"):
        roster.note({"user_id": "c"}, joined=True)
    with pytest.raises(BadPresence, match="a member_removed without a user_id"):
        roster.note({}, joined=False)
    roster.replace(presence(ids=["me"]))
    assert list(roster.members) == ["me", "a"]
    roster.ignore()
    roster.note({"user_id": "c"}, joined=True)
    roster.expect()
    roster.note({"user_id": "d"}, joined=True)
    roster.note({"user_id": "e"}, joined=True)
    with pytest.raises(BadPresence, match="more than 2 members"):
        roster.replace(presence(ids=["me"]))
    assert dict(roster.members) == {}


@pytest.mark.parametrize(
    ("before_the_success", "removed"),
    [
        ([], False),
        ([("me", False)], True),
        ([("me", False), ("me", True)], False),
        ([("other", False)], False),
    ],
)
def test_an_early_removal_of_the_own_member_is_recorded(
    before_the_success: list[tuple[str, bool]], removed: bool
) -> None:
    roster = Roster(ROOM, 100)
    assert roster.own_removed is False
    roster.introduce('{"user_id":"me"}', None)
    roster.expect()
    for user, joined in before_the_success:
        roster.note({"user_id": user}, joined=joined)
    roster.replace(presence(ids=["me"]))
    assert roster.own_removed is removed


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), max_size=30),
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)),
)
def test_C2_the_roster_equals_the_server_s_wherever_the_list_is_made(
    changes: list[tuple[bool, str]], moments: tuple[int, int, int]
) -> None:
    """The server adds the client, then makes the list, then writes the success; others join and leave all the time."""
    added, listed, written = sorted(moments)
    there = {"me"}
    roster = Roster(ROOM, 100)
    roster.introduce('{"user_id":"me"}', None)
    roster.expect()
    ids: list[str] = []
    for at in range(max(len(changes), written) + 1):
        if at == listed:
            ids = sorted(there)
        if at == written:
            roster.replace(presence(ids=ids))
        if at >= written:
            assert set(roster.members) == there
        if at < len(changes):
            joins, user = changes[at]
            if joins is (user in there):
                continue
            (there.add if joins else there.remove)(user)
            if at < added:
                continue
            if at < written:
                roster.note({"user_id": user}, joined=joins)
            else:
                (roster.add if joins else roster.remove)({"user_id": user})
    assert set(roster.members) == there
    assert roster.drifts <= sum(1 for _, user in changes[written:] if user != "me")


def test_F4_the_own_member_is_never_removed() -> None:
    world = World()
    device = joined(world, "me")
    world.say("pusher_internal:member_removed", {"user_id": "me"}, ROOM)
    assert device.of(MemberRemoved) == []
    world.run(1)
    assert device.session.channel(ROOM).me == Member("me", {"name": "Me"})


def test_F4_a_member_removed_that_reverb_keeps_for_a_presence_cache_channel_is_ignored() -> None:
    name = "presence-cache-room"
    world = World()
    device = world.connected(world.options(auth=world.own_key(member={"user_id": "me"})))
    world.server.mute(now=world.now)
    device.subscribe(name)
    world.run(1)
    list_ = presence(ids=["me", "eve"], hash={"me": {}, "eve": {}}, count=2)
    world.say("pusher_internal:subscription_succeeded", list_, name)
    world.say("pusher_internal:member_removed", {"user_id": "eve"}, name)
    assert set(device.session.channel(name).members) == {"me", "eve"}
    world.say("price", "1", name)
    world.say("pusher_internal:member_removed", {"user_id": "eve"}, name)
    *_, event, removed = device.take()
    assert (event.cached, removed) == (False, MemberRemoved(name, Member("eve", {})))  # type: ignore[attr-defined]  # of the class that the test brings about


def test_C4_contradictions_to_the_roster_are_counted() -> None:
    roster = roster_of(presence(ids=["a"]))
    roster.add({"user_id": "b"})
    assert roster.drifts == 0
    roster.add({"user_id": "a"})
    roster.remove({"user_id": "unknown"})
    assert roster.drifts == 2


@pytest.mark.parametrize("event", ["member_added", "member_removed"])
def test_a_change_that_is_invalid_is_reported(event: str) -> None:
    world = World()
    device = joined(world, "ada")
    world.say(f"pusher_internal:{event}", {"user": "eve"}, ROOM)
    assert device.take() == [ProtocolViolation(f"a {event} without a user_id", '{"user":"eve"}')]
    assert list(device.session.channel(ROOM).members) == ["ada"]


def test_what_changes_nothing_is_not_reported() -> None:
    world = World()
    device = joined(world, "ada")
    world.say(
        "pusher_internal:member_added", {"user_id": "ada", "user_info": {"name": "Ada"}}, ROOM
    )
    world.say("pusher_internal:member_removed", {"user_id": "eve"}, ROOM)
    assert device.take() == []
    assert list(device.session.channel(ROOM).members) == ["ada"]


def test_members_of_other_kinds_of_channels_are_ignored() -> None:
    world = World()
    device = world.connected()
    device.subscribe("room")
    world.run(1)
    device.take()
    world.say("pusher_internal:member_added", {"user_id": "eve"}, "room")
    world.say("pusher_internal:member_added", {"user_id": "eve"}, "presence-unknown")
    assert device.take() == []
    assert dict(device.session.channel("room").members) == {}


def test_a_roster_of_ten_thousand_arrives_in_pieces() -> None:
    world = World()
    device = world.connected(world.options(auth=world.own_key(member={"user_id": "me"})))
    world.server.mute(now=world.now)
    device.subscribe(ROOM)
    world.network.chunk = 4096
    members = {f"user-{n}": {"name": f"User {n}"} for n in range(10_000)}
    success(world, {"me": None} | members)
    assert device.take() == [Subscribed(ROOM)]
    channel = device.session.channel(ROOM)
    assert (channel.members.count, channel.server_count, channel.me) == (
        10_001,
        10_001,
        Member("me"),
    )


def test_a_success_without_members_is_reported_and_counts() -> None:
    world = World()
    device = world.connected(world.options(auth=world.own_key(member={"user_id": "me"})))
    world.server.mute(now=world.now)
    device.subscribe(ROOM)
    world.say("pusher_internal:subscription_succeeded", {}, ROOM)
    assert device.take() == [
        ProtocolViolation("a success on a presence channel without its members", "{}"),
        Subscribed(ROOM),
    ]


def test_a_second_success_does_not_replace_the_roster() -> None:
    world = World()
    device = joined(world, "ada")
    success(world, {"eve": None})
    assert list(device.session.channel(ROOM).members) == ["ada"]
    assert device.take() == []


def test_a_channel_past_its_limit_of_members_is_subscribed_and_reports_it() -> None:
    world = World()
    device = joined(world, "ada", max_members=1)
    joined(world, "bob")
    assert device.take() == [
        ProtocolViolation(
            "more than 1 members (Options.max_members)",
            '{"user_id":"bob","user_info":{"name":"Bob"}}',
        )
    ]
    assert list(device.session.channel(ROOM).members) == ["ada"]


# The model.

NAMES = ("presence-a", "presence-cache-b")
USERS = ("ada", "ada", "bob", "cleo")  # the first two are one user with two devices


def followed(members: set[str], events: list[Event], name: str) -> set[str]:
    """Return who is there after `events`, for one who follows them."""
    members = set(members)
    for event in events:
        match event:
            case MemberAdded(channel=channel, member=member) if channel == name:
                assert member.id not in members
                members.add(member.id)
            case MemberRemoved(channel=channel, member=member) if channel == name:
                members.remove(member.id)
            case _:
                pass
    return members


class PresenceModel(RuleBasedStateMachine):
    """Several devices come and go in every way; the server says who is there."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet = False
        self.known: dict[tuple[int, str], set[str]] = {}

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        limits = ServerLimits(members=10)
        self.world = World(seed, activity_timeout=5, limits=limits)
        self.devices = []
        for number, user in enumerate(USERS):
            member = {"user_id": user, "user_info": {"device": number}}
            auth = self.world.own_key(member=member)
            self.devices.append(self.world.device(self.world.options(auth=auth, pong_timeout=5.0)))

    devices_ = st.integers(0, len(USERS) - 1)
    names_ = st.sampled_from(NAMES)

    @rule(device=devices_, name=names_)
    def join(self, device: int, name: str) -> None:
        self.quiet = False
        self.devices[device].subscribe(name)

    @rule(device=devices_, name=names_)
    def leave(self, device: int, name: str) -> None:
        self.quiet = False
        self.devices[device].unsubscribe(name)

    @rule(device=devices_)
    def lose_the_connection(self, device: int) -> None:
        self.quiet = False
        self.world.reset(self.devices[device])

    @rule(device=devices_)
    def lose_the_connection_silently(self, device: int) -> None:
        self.quiet = False
        self.world.sever(self.devices[device])

    @rule(device=devices_)
    def disconnect_and_connect(self, device: int) -> None:
        self.quiet = False
        self.devices[device].do(self.devices[device].session.disconnect)
        self.devices[device].connect()

    @rule()
    def lose_the_server(self) -> None:
        self.quiet = False
        self.world.act(self.world.server.drop, 4200)

    @rule(seconds=st.sampled_from([0.0, 0.1, 3.0]))
    def answer_late(self, seconds: float) -> None:
        self.world.act(self.world.server.delay, seconds, "subscribe")

    @rule(seconds=st.sampled_from([0.005, 0.015, 0.035, 1.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.quiet = False
        self.world.run(seconds)

    @precondition(lambda self: not self.quiet)
    @rule()
    def be_quiet(self) -> None:
        self.world.run(60)
        self.quiet = True

    @invariant()
    def all_agree_with_the_server_when_it_is_quiet(self) -> None:
        if not self.quiet:
            return
        for number, device in enumerate(self.devices):
            events = device.take()
            assert [
                e for e in events if isinstance(e, SubscriptionFailed | ProtocolViolation)
            ] == []
            for name in NAMES:
                channel = device.session.channel(name)
                here = device.session.socket_id in self.world.server.subscriptions(name)
                wanted = name in device.session.channels()
                assert here == wanted
                there = self.world.server.members(name) if here else {}
                assert {member.id: member.info for member in channel.members.values()} == there
                assert (channel.me is not None) == here
                left = any(isinstance(e, Unsubscribed) and e.channel == name for e in events)
                before = self.known.pop((number, name), None)
                if before is not None and not left:
                    assert followed(before, events, name) == set(there)
                if here:
                    self.known[number, name] = set(there)

    def teardown(self) -> None:
        self.be_quiet()
        self.all_agree_with_the_server_when_it_is_quiet()


TestPresenceModel = PresenceModel.TestCase
TestPresenceModel.settings = settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None)


def test_each_sign_of_a_drift_is_counted() -> None:
    roster = roster_of({"presence": {"ids": ["a", "b"], "hash": {"a": {}, "b": {}}, "count": 2}})
    for user in ("a", "b", "a"):
        roster.add({"user_id": user, "user_info": {}})
    assert roster.drifts == 3
    roster.remove({"user_id": "c"})
    assert roster.drifts == 4


@pytest.mark.parametrize("data", [None, [], "[1]", '"a"', 7])
def test_data_that_is_not_an_object_names_no_member(data: Any) -> None:
    assert not roster_of({"presence": {"ids": [], "hash": {}, "count": 0}}).is_own(data)
