"""`pusher-proto who`: the members of a presence channel."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pusher_anyio.__main__ import main
from pusher_anyio.cli._roster import Change, Roster
from pusher_anyio.testing import ServerInThread
from pusher_proto import Member, OwnKey
from pusher_sync import open_pusher

from .processes import command, end, line_with

ADA, BOB = Member("ada", {"name": "Ada"}), Member("bob")


@pytest.fixture
def own_key(address: list[str]) -> list[str]:
    return [*address, "--secret", "demo-secret"]


def objects(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def as_ada(running: ServerInThread, during: Callable[[], object] = lambda: None) -> None:
    """Be a member for a moment."""
    member = {"user_id": "ada", "user_info": {"name": "Ada"}}
    options = running.options(auth=OwnKey("demo", "demo-secret", member=member))
    with open_pusher(options) as client:
        client.subscribe("presence-x").wait_subscribed(10)
        during()


def test_members_that_join_and_leave_are_json(running: ServerInThread, own_key: list[str]) -> None:
    with command("who", *own_key, "presence-x") as process:
        here = json.loads(line_with(process.stdout, ""))
        as_ada(running)
        joined, left = (json.loads(line_with(process.stdout, "")) for _ in range(2))
        status, out, err = end(process, signal.SIGINT)
    me = here["me"]
    assert me.startswith("pusher-proto-")
    assert here == {
        "channel": "presence-x",
        "event": "here",
        "members": 1,
        "me": me,
        "roster": [{"id": me, "info": None}],
    }
    ada = {"channel": "presence-x", "id": "ada", "info": {"name": "Ada"}}
    assert joined == {"event": "joined", "members": 2, **ada}
    assert left == {"event": "left", "members": 1, **ada}
    assert (status, out) == (0, "")
    assert re.fullmatch(r"connected, socket id [\d.]+\n", err)


def test_once_prints_who_is_there_and_ends(
    running: ServerInThread, own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    as_ada(running, lambda: main(["who", *own_key, "--once", "presence-x"]))
    (here,) = objects(capfd.readouterr().out)
    assert here["members"] == 2
    assert {"id": "ada", "info": {"name": "Ada"}} in here["roster"]


def test_who_is_there_is_reported_again_after_a_reconnect(
    running: ServerInThread, own_key: list[str]
) -> None:
    with command("who", *own_key, "presence-x") as process:
        reported = [json.loads(line_with(process.stdout, "here"))]
        running.drop(4200)
        reported.append(json.loads(line_with(process.stdout, "here")))
        running.drop(4009, "You got disconnected by the app.")
        assert end(process)[:2] == (3, "")
    assert [each["members"] for each in reported] == [1, 1]
    assert reported[0]["me"] == reported[1]["me"]


def test_another_channel_is_a_usage_error(
    own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["who", *own_key, "private-x"]) == 2
    assert capfd.readouterr().err == (
        "pusher-proto: only presence- channels have members, and 'private-x' is not one\n"
    )


def test_an_app_that_is_refused_is_status_3(
    running: ServerInThread, own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse(code=4003, reason="disabled")
    assert main(["who", *own_key, "presence-x"]) == 3
    assert "4003" in capfd.readouterr().err


def test_a_channel_that_is_refused_is_status_4(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["who", *address, "--secret", "wrong", "presence-x"]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert "presence-x" in err.splitlines()[-1]


def test_nothing_in_time_is_status_5(
    running: ServerInThread, own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse_channel("presence-x", shape="silent")
    assert main(["who", *own_key, "--once", "--timeout", "0.2", "presence-x"]) == 5
    assert "timed out after 0.2 s; " in capfd.readouterr().err


def test_a_roster_reports_each_change_once() -> None:
    roster = Roster()
    assert roster.here({"ada": ADA}, ADA) == Change("here")
    assert roster.joined(ADA) is None  # the roster was ahead of the event
    assert roster.joined(BOB) == Change("joined", BOB)
    changed = Member("bob", {"name": "Bob"})
    assert roster.joined(changed) == Change("changed", changed)
    assert list(roster) == [ADA, changed]
    assert roster.left(ADA) == Change("left", ADA)
    assert roster.left(ADA) is None
    assert (len(roster), roster.me) == (1, "ada")
