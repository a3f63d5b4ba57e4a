"""The members that an application gets: an immutable mapping."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto._channels.roster import Roster
from pusher_proto.members import Member, Members

ADA, BOB = Member("ada", {"name": "Ada"}), Member("bob")


def test_members_are_a_mapping_by_id() -> None:
    members = Members({"ada": ADA, "bob": BOB})
    assert list(members) == ["ada", "bob"]
    assert dict(members) == {"ada": ADA, "bob": BOB}
    assert [members["ada"], members.get("bob"), members.get("eve")] == [ADA, BOB, None]
    assert ["ada" in members, "eve" in members, object() in members] == [True, False, False]
    assert [members.count, len(members), list(members.values())] == [2, 2, [ADA, BOB]]
    assert members == {"ada": ADA, "bob": BOB}


def test_no_members_are_an_empty_mapping() -> None:
    assert dict(Members()) == {}
    assert Members().count == 0
    assert not Members()


def test_who_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="eve"):
        Members({"ada": ADA})["eve"]


def test_a_member_is_found_by_an_id_that_is_a_number_in_the_application() -> None:
    members: Any = Members({"7": Member("7", {"name": "Ada"})})
    assert members[7] == members["7"] == members.get(7)
    assert [7 in members, 8 in members, True in members, None in members] == [
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(KeyError, match="8"):
        members[8]


def test_a_mapping_shows_how_many_and_not_who() -> None:
    assert repr(Members({"ada": ADA})) == "Members(1)"


def test_members_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        Members({"ada": ADA})["bob"] = BOB  # type: ignore[index]  # read-only: this must raise
    with pytest.raises(AttributeError):
        ADA.info = None  # type: ignore[misc]  # frozen: this must raise


def test_a_mapping_that_was_handed_out_stays_as_it_was() -> None:
    roster = Roster("presence-x", 10)
    roster.replace({"presence": {"ids": ["ada"], "hash": {"ada": {"name": "Ada"}}, "count": 1}})
    before = roster.members
    roster.add({"user_id": "bob"})
    between = roster.members
    roster.remove({"user_id": "ada"})
    roster.add({"user_id": "bob", "user_info": {}})
    after = roster.members
    roster.clear()
    assert [before, between, after, roster.members] == [
        {"ada": ADA},
        {"ada": ADA, "bob": BOB},
        {"bob": Member("bob", {})},
        {},
    ]


def test_the_same_mapping_is_given_until_something_changes() -> None:
    roster = Roster("presence-x", 10)
    roster.add({"user_id": "ada"})
    members = roster.members
    roster.add({"user_id": "ada"})
    roster.remove({"user_id": "eve"})
    assert roster.members is members
