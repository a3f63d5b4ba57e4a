"""Members and users of pusher-js on our own server: presence, sign-in, messages for users, the watchlist."""

from __future__ import annotations

from neighbours.house import APP, MUTE_APP, USERS, House
from neighbours.member import Heard, own_key


def test_members_see_each_other_join_and_leave(house: House) -> None:
    room, bob, ann = "presence-room", house.member("bob"), house.member("ann")
    assert bob.join(room) == {
        "count": 1,
        "me": {"id": "bob", "info": {"name": "Bob"}},
        "members": {"bob": {"name": "Bob"}},
    }
    assert ann.join(room) == {
        "count": 2,
        "me": {"id": "ann", "info": {"name": "Änn"}},
        "members": {"ann": {"name": "Änn"}, "bob": {"name": "Bob"}},
    }
    joined = bob.next(room, "pusher:member_added")
    assert joined.data == {"id": "ann", "info": {"name": "Änn"}}
    assert house.library.users_info(room) == {"users": [{"id": "bob"}, {"id": "ann"}]}
    assert house.library.channel_info(room, ["user_count"])["user_count"] == 2
    ann.disconnect()
    assert bob.next(room, "pusher:member_removed").data == joined.data
    assert bob.members(room)["count"] == 1


def test_a_member_with_two_connections_joins_and_leaves_once(house: House) -> None:
    room, bob = "presence-room", house.member("bob")
    ann, again = house.member("ann"), house.member("ann")
    bob.join(room)
    ann.join(room)
    again.join(room)
    ann.unsubscribe(room)
    again.trigger(room, "client-still", "here")
    bob.next(room, "client-still")
    again.unsubscribe(room)
    bob.next(room, "pusher:member_removed")
    assert [each.name for each in bob.rest(room)] == ["pusher:member_added"]


def test_members_without_info_and_with_integer_ids_are_members(house: House) -> None:
    room, eve, seven = "presence-room", house.member("eve"), house.member("seven")
    assert eve.join(room)["members"] == {"eve": None}
    roster = seven.join(room)
    assert roster["members"] == {"eve": None, "7": {"name": "seven"}}
    assert roster["me"] == {"id": 7, "info": {"name": "seven"}}
    assert eve.next(room, "pusher:member_added").data == {"id": "7", "info": {"name": "seven"}}
    seven.trigger(room, "client-hello", [])
    assert eve.next(room, "client-hello") == Heard("client-hello", [], "7")


def test_a_user_signs_in_and_has_its_own_events(house: House) -> None:
    eve = house.member("eve")
    assert eve.signin() == USERS["eve"]
    channel = "#server-to-user-eve"
    house.server.wait_until(lambda server: server.channels() == [channel])
    house.library.send_to_user("eve", "note", {"n": 1})
    house.library.send_to_user("ann", "note", "for somebody else")
    house.server.send_to_user("eve", "note", {"n": 2})
    assert [eve.next("user", "note") for _ in range(2)] == [
        Heard("note", {"n": 1}),
        Heard("note", {"n": 2}),
    ]


def test_a_user_is_signed_in_again_after_a_drop(house: House) -> None:
    eve = house.member("eve")
    eve.signin()
    house.server.drop(4200)
    eve.next("user", "pusher:signin_success")
    house.server.wait_until(lambda server: server.channels() == ["#server-to-user-eve"])
    house.library.send_to_user("eve", "note", 1)
    assert eve.next("user", "note") == Heard("note", 1)


def test_a_terminated_user_does_not_reconnect(house: House) -> None:
    eve, bob = house.member("eve"), house.member("bob")
    eve.signin()
    bob.signin()
    assert house.terminate("eve") == {}
    assert eve.next("connection", "error").data["code"] == 4009
    eve.next("connection", "disconnected")
    assert eve.call("state") == "disconnected"
    assert list(house.server.users()) == ["bob"]


def test_a_forged_sign_in_is_refused(house: House) -> None:
    forger = house.open(APP.key, own_key("wrong", user={"id": "eve"}))
    forger.call("signin")
    assert forger.next("connection", "error").data["code"] == 4009
    assert house.server.users() == {}


def test_a_sign_in_where_it_is_off_is_answered_with_an_error(house: House) -> None:
    bob = house.member("bob", MUTE_APP)
    bob.call("signin")
    error = bob.next("connection", "error")
    assert error.data["message"] == "User authentication is not enabled for this app"


def test_a_signed_in_user_needs_no_member_in_the_authorization(house: House) -> None:
    room, user = "presence-room", {"id": "dan", "user_info": {"name": "Dan"}}
    dan = house.open(APP.key, own_key(APP.secret, user=user))
    dan.signin()
    assert dan.join(room) == {
        "count": 1,
        "me": {"id": "dan", "info": {"name": "Dan"}},
        "members": {"dan": {"name": "Dan"}},
    }


def test_the_watchlist_reports_users_that_are_online_come_and_go(house: House) -> None:
    bob = house.member("bob")
    bob.signin()
    assert bob.next("watchlist") == Heard("offline", {"name": "offline", "user_ids": ["ann"]})
    ann = house.member("ann")
    ann.signin()
    assert ann.next("watchlist") == Heard("online", {"name": "online", "user_ids": ["bob"]})
    assert ann.next("watchlist") == Heard("offline", {"name": "offline", "user_ids": ["eve"]})
    assert bob.next("watchlist") == Heard("online", {"name": "online", "user_ids": ["ann"]})
    ann.disconnect()
    assert bob.next("watchlist") == Heard("offline", {"name": "offline", "user_ids": ["ann"]})
