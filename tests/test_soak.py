"""The soak itself: its invariants find what they are made for, and a leak for each connection is caught."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fuzz.soak.growth import grown
from fuzz.soak.watch import EVENT, Watch
from pusher_proto import (
    ChannelEvent,
    ConnectionEstablished,
    ConnectionLost,
    Event,
    SignedIn,
    Subscribed,
    Unsubscribed,
    UserEvent,
)
from pusher_proto.names import USER_PREFIX

ROOT = Path(__file__).parents[1]


def number(n: int, channel: str = "news", *, cached: bool = False) -> ChannelEvent:
    return ChannelEvent(channel, EVENT, f'{{"n":{n}}}', cached=cached)


def seen(*events: Event) -> Watch:
    watch = Watch({"private-forbidden"})
    for event in events:
        watch.on_event(event)
    return watch


def test_events_in_order_are_fine() -> None:
    watch = seen(Subscribed("news"), number(3), number(4), number(5))
    assert (watch.breaches, watch.gaps, watch.last) == ([], [], {"news": 5})


@pytest.mark.parametrize("again", [4, 5])
def test_an_event_twice_or_out_of_order_is_a_breach(again: int) -> None:
    assert seen(number(4), number(5), number(again)).breaches == [f"news: {again} after 5"]


def test_a_kept_event_may_be_an_old_one() -> None:
    assert seen(number(4), number(5), number(5, cached=True)).breaches == []


def test_a_gap_has_the_times_that_were_reported_for_it() -> None:
    now = time.time()
    watch = seen(number(4), Subscribed("news", 10.0), number(7), number(9))
    reported, silent = watch.gaps
    assert (reported["first"], reported["last"]) == (5, 6)
    ((begin, end),) = reported["windows"]
    assert begin == pytest.approx(now - 10, abs=2)
    assert end == pytest.approx(now, abs=2)
    assert (silent["first"], silent["last"], silent["windows"]) == (8, 8, [])
    assert len(silent["recent"]) == 4


def test_a_channel_that_was_left_begins_again() -> None:
    assert seen(number(4), Unsubscribed("news"), Subscribed("news"), number(9)).gaps == []


def test_what_the_user_missed_is_reported_by_the_connection_and_ends_with_the_sign_in() -> None:
    now = time.time()

    def to_user(n: int) -> UserEvent:
        return UserEvent(USER_PREFIX + "7", EVENT, f'{{"n":{n}}}')

    signed_in = SignedIn("7")
    watch = seen(
        *(ConnectionEstablished("1.1"), signed_in, to_user(3)),
        # The second connection was lost before the user was signed in.
        *(ConnectionEstablished("1.2", 8.0), ConnectionEstablished("1.3", 2.0), signed_in),
        *(to_user(6), to_user(8)),
    )
    reported, silent = watch.gaps
    ((begin, end),) = reported["windows"]
    assert begin == pytest.approx(now - 8, abs=2)
    assert end == pytest.approx(now, abs=2)
    assert silent["windows"] == []
    assert watch.heard == watch.heard_for_user == {"on_event": 3}


def test_a_success_for_a_channel_that_is_refused_is_a_breach() -> None:
    assert seen(Subscribed("private-forbidden")).breaches == [
        "subscribed to private-forbidden, which is refused"
    ]


def test_a_client_that_gives_up_is_a_breach() -> None:
    (breach,) = seen(ConnectionLost(4001, "no such key", will_retry=False)).breaches
    assert breach.startswith("gave up")


AT_REST = {
    "RSS, KB": 40_000,
    "objects": 30_000,
    "files": 9,
    "threads": 2,
    "tasks": 7,
    "timers": 3,
    "transports": 1,
}


@pytest.mark.parametrize(
    ("name", "allowed", "too_many"),
    [
        ("files", 14, 15),
        ("threads", 7, 8),
        ("tasks", 13, 14),
        ("timers", 9, 10),
        ("objects", 34_000, 35_000),
    ],
)
def test_growth_between_calms_is_found(name: str, allowed: int, too_many: int) -> None:
    assert grown([AT_REST, AT_REST, {**AT_REST, name: allowed}]) == []
    assert grown([AT_REST, AT_REST, {**AT_REST, name: too_many}]) == [
        f"{name} grew from {AT_REST[name]} to {too_many}"
    ]


def test_memory_is_compared_once_there_are_enough_calms() -> None:
    more = {**AT_REST, "RSS, KB": 50_000}
    assert grown([AT_REST, more]) == []
    assert grown([AT_REST] * 5 + [more]) == ["memory grew from 40000 to 50000 KB"]


@pytest.mark.slow(reason="four soaks of a minute")
@pytest.mark.timeout(240)
def test_a_leak_for_each_connection_is_caught() -> None:
    """Side by side: a run without a leak, and one for each kind."""
    runs = {
        plant: subprocess.Popen(
            [
                *(sys.executable, "-m", "fuzz.soak", "--dense", "--minutes", "0.8"),
                *("--runner", "asyncio", "--server", "own", "--seed", "3"),
                *(("--plant", plant) if plant else ()),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for plant in ("", "task", "timer", "file")
    }
    for plant, run in runs.items():
        said, _ = run.communicate(timeout=200)
        assert run.returncode == (1 if plant else 0), said
        if plant:
            assert f"{plant}s grew from" in said
