"""The soak itself: its invariants find what they are made for, and a leak for each connection is caught."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.soak.growth import grown
from fuzz.soak.judge import Published, lost_in_silence
from fuzz.soak.proxy import Proxy
from fuzz.soak.servers import PING_AFTER, SERVERS
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
from pusher_proto.testing import Server, ServerOptions
from simulation import World

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


def test_a_channel_that_was_unsubscribed_begins_again() -> None:
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


# Gaps.


def published(*times: float) -> list[Published]:
    return [Published(at, at + 0.01, True) for at in times]


def test_events_published_in_a_reported_time_are_not_lost_in_silence() -> None:
    windows = [(100.0, 110.0), (150.0, 160.0)]
    missing = published(97, 100, 105, 111, 120, 149, 155, 170)
    assert lost_in_silence(missing, windows, []) == [0, 4, 7]
    assert lost_in_silence(missing, [], []) == list(range(8))


def test_an_event_that_the_server_may_not_have_taken_is_not_missing() -> None:
    assert lost_in_silence([Published(50, 53, False)], [], []) == []


def test_an_event_may_be_sent_until_its_publisher_has_the_answer() -> None:
    """The server stood still in between."""
    assert lost_in_silence([Published(95, 99, True)], [(100, 110)], []) == []


def test_what_the_proxy_had_when_the_connection_was_lost_was_published_before_the_last_byte() -> (
    None
):
    """A link with a delay and a low rate holds data for longer than either of them would."""
    missing, windows = published(88, 92), [(100.0, 110.0)]
    assert lost_in_silence(missing, windows, []) == [0, 1]
    assert lost_in_silence(missing, windows, [(91.0, 103.0)]) == [0]
    assert lost_in_silence(missing, windows, [(60.0, 90.0), (105.0, 107.0)]) == [0, 1]


times = st.floats(0, 100)
spans = st.lists(st.tuples(times, times).map(lambda pair: (min(pair), max(pair))), max_size=4)


@given(st.lists(times, max_size=5), spans, spans)
def test_more_reports_never_condemn(
    at: list[float], windows: list[tuple[float, float]], held: list[tuple[float, float]]
) -> None:
    missing = published(*at)
    found = set(lost_in_silence(missing, windows, held))
    assert found <= set(lost_in_silence(missing, windows, []))
    assert found <= set(lost_in_silence(missing, [], held)) == set(range(len(at)))
    assert not found & {n for n, t in enumerate(at) if any(b <= t <= e for b, e in windows)}


async def relayed(fault: str, *, delay: float) -> tuple[bytes, Proxy]:
    """Send two lines through a link with a fault; return what arrives, and the proxy."""
    proxy = Proxy(random.Random(1))

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first\n")
        await asyncio.sleep(0.1)
        for link in proxy.links:
            link.delay = delay
        writer.write(b"second\n")
        await asyncio.sleep(delay / 2)
        if fault:
            proxy.break_one(fault)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        proxy.target = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.listen("me"))
        got = b""
        try:
            while data := await reader.read(100):
                got += data
        except ConnectionResetError:
            pass
        writer.close()
        while proxy.links:  # noqa: ASYNC110 - the proxy ends them within milliseconds
            await asyncio.sleep(0.01)
        proxy.close()
    return got, proxy


@pytest.mark.parametrize(
    ("fault", "got"), [("", b"first\nsecond\n"), ("reset", b"first\n"), ("deaf", b"first\n")]
)
def test_the_proxy_notes_what_it_held_for_how_long(fault: str, got: bytes) -> None:
    before = time.time()
    received, proxy = asyncio.run(relayed(fault, delay=1.3))
    assert received == got
    read, until = proxy.held["me"][0]
    assert before <= read < until <= time.time()
    assert until - read > 0.5


@pytest.mark.parametrize(("kind", "dialect"), [("own", "pusher"), ("reverb-dialect", "reverb")])
def test_a_calm_is_as_long_as_a_server_may_need_to_notice_a_dead_way_to_it(
    kind: str, dialect: Any
) -> None:
    """Reverb looks once a minute. Events are received all the time, so the client has no reason to ping."""
    longest = 0.0
    for place in range(30):
        options = ServerOptions(dialect=dialect, activity_timeout=10, ping_after=PING_AFTER)
        world = World(place, Server(options=options))
        device = world.connected(world.options(pong_timeout=5.0, activity_timeout=10.0))
        device.subscribe("room")
        world.run(2.0 * place + 1)
        for wire in device.wires.values():
            wire.loses_requests = True
        began = world.now
        while not device.of(ConnectionLost):
            world.publish("room", EVENT, {"n": 1})
            world.run(1)
        longest = max(longest, world.now - began)
    notices_after = SERVERS[kind].notices_after
    assert 0.75 * notices_after < longest < notices_after


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
