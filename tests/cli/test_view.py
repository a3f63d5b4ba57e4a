"""What a person sees at a terminal."""

from __future__ import annotations

import io
import re
import signal
from typing import Any

import pytest
from rich.console import Console

from pusher_anyio._cli._roster import Roster
from pusher_anyio._cli._view import Rates, event_line, roster_table
from pusher_anyio.testing import ServerInThread
from pusher_proto import ChannelEvent, Member

from .conftest import WhenSubscribed
from .terminal import at_terminal, screen

NO_RICH = "import sys; sys.modules['rich.console'] = None"


def masked(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run."""
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", "\n".join(lines))
    text = re.sub(r"pusher-proto-[0-9a-f]{8}", "pusher-proto-ID", text)
    return re.sub(r"socket id [\d.]+", "socket id ID", text).split("\n")


def test_listen_shows_what_happens_in_order_and_leaves_nothing_else_behind(
    running: ServerInThread, address: list[str], when_subscribed: WhenSubscribed
) -> None:
    def publish() -> None:
        running.publish("room", "price", {"n": 1})
        running.publish("other", "text", "\x1b[31mred" + "x" * 500)

    when_subscribed("other", publish)
    with at_terminal("listen", *address, "--count", "2", "room", "other", size=(24, 60)) as at:
        assert at.end() == 0
    assert masked(at.lines) == [
        "TIME  connected, socket id ID",
        "TIME  subscribed to room",
        "TIME  subscribed to other",
        'TIME  room   price  {"n":1}',
        "TIME  other  text   \\x1b[31mredxxxxxxxxxxxxxxxxxxxxxxx…",
        "",
    ]
    assert b"\x1b[31mred" not in at.written


def test_the_line_below_tells_state_channels_and_rates(
    running: ServerInThread, address: list[str]
) -> None:
    with at_terminal("listen", *address, "room", size=(24, 100)) as at:
        below = r"● connected · 1 of 1 channel · 2 messages · [\d.]+/s · \d+ B/s"
        at.wait_until(lambda lines: re.fullmatch(below, lines[-1]))
        running.publish("room", "price", 1)
        at.wait_until(lambda lines: "· 3 messages ·" in lines[-1])
        running.drop(4200)
        at.wait_until(lambda lines: lines[-1].endswith("· 2 connections"))
        at.process.send_signal(signal.SIGINT)
        assert at.end() == 0
    assert at.lines[-1] == ""
    assert masked(at.lines)[2:] == [
        "TIME  room  price  1",
        "TIME  no connection (code 4200)",
        "TIME  trying again at once",
        *(line for line in masked(at.lines) if "again after" in line or "room again" in line),
        "",
    ]


def test_what_ends_listen_is_told_after_the_line_below_is_gone(
    running: ServerInThread, address: list[str]
) -> None:
    with at_terminal("listen", *address[:-1], "other", "room", size=(24, 200)) as at:
        assert at.end() == 3
    *_, last, nothing = at.lines
    assert nothing == ""
    assert "4001" in last


@pytest.mark.parametrize("how", [[], ["--json"]], ids=["view", "json"])
def test_a_signal_ends_it_while_the_terminal_takes_nothing(
    how: list[str], running: ServerInThread, address: list[str]
) -> None:
    with at_terminal("listen", *address, *how, "room") as at:
        running.wait_until(lambda server: server.subscriptions("room"))
        for number in range(300):
            running.publish("room", "long", f"{number} {'x' * 200}")
        running.drop(4200)
        running.wait_until(lambda server: server.subscriptions("room"))
        at.process.send_signal(signal.SIGTERM)
        assert at.process.wait(20) == 0


@pytest.mark.parametrize(
    ("before", "term"), [(NO_RICH, "xterm"), ("", "dumb")], ids=["no rich", "dumb terminal"]
)
def test_a_plain_terminal_gets_plain_lines(
    before: str,
    term: str,
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
) -> None:
    when_subscribed("room", lambda: running.publish("room", "price", {"n": 1}))
    with at_terminal("listen", *address, "--count", "1", "room", before=before, term=term) as at:
        assert at.end() == 0
    assert b"\x1b" not in at.written
    assert masked(at.lines) == [
        "connected, socket id ID",
        "subscribed to room",
        'TIME  room  price  {"n":1}',
        "",
    ]


def test_who_shows_a_table_of_those_who_are_there(
    running: ServerInThread, address: list[str]
) -> None:
    who = ["who", *address, "--secret", "demo-secret", "presence-x"]
    with at_terminal(*who, size=(12, 60)) as at:
        at.wait_until(lambda lines: "presence-x: 1 here" in lines)
        with at_terminal(*who) as other:
            at.wait_until(lambda lines: "presence-x: 2 here" in lines and lines[-1].startswith("●"))
            table = masked(at.lines[at.lines.index("presence-x: 2 here") :])
            other.process.send_signal(signal.SIGTERM)
            assert other.end() == 0
        at.wait_until(lambda lines: "presence-x: 1 here" in lines)
        at.process.send_signal(signal.SIGTERM)
        assert at.end() == 0
    assert table[1:4] == [
        "",
        " member                        info   since",
        " ─────────────────────────────────────────────",
    ]
    assert sorted(re.sub(" +", " ", line) for line in table[4:6]) == [
        " pusher-proto-ID (you) TIME",
        " pusher-proto-ID TIME",
    ]
    assert re.match("● connected · 1 of 1 channel · ", table[-1])
    assert masked(at.lines)[-3:] == [
        "TIME  pusher-proto-ID joined",
        "TIME  pusher-proto-ID left",
        "",
    ]


def test_doctor_and_demo_have_colours_at_a_terminal(address: list[str]) -> None:
    with at_terminal("doctor", *address) as at:
        assert at.end() == 0
    assert b"\x1b[32mok    \x1b[0m" in at.written
    assert at.lines[1].startswith("  ok      name lookup ")


# The pieces.


def shown(what: Any, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(what)
    return console.export_text()


@pytest.mark.parametrize(
    ("event", "width", "line"),
    [
        (ChannelEvent("a", "e", '{"b": [1, null]}'), 40, 'TIME  a     e    {"b":[1,null]}'),
        (ChannelEvent("a", "e", '"text"'), 40, "TIME  a     e    text"),
        (ChannelEvent("a", "e", "[1, 2, 3, 4, 5, 6]"), 30, "TIME  a     e    [1,2,3,4…"),
        (ChannelEvent("presence-a", "e", "1", "ann"), 50, "TIME  presence-a  e    1  from ann"),
        (ChannelEvent("presence-a", "e", '"xxxxxx"', "ann"), 40, "TIME  presence-a  e    xx…  from ann"),
        (ChannelEvent("a", "\x07", '"\\n"'), 40, "TIME  a     \\x07  \\n"),
        (ChannelEvent("a", "e", '"[bold]"'), 40, "TIME  a     e    [bold]"),
    ],
)  # fmt: skip
def test_an_event_is_one_line_that_fits(event: ChannelEvent, width: int, line: str) -> None:
    made = event_line(event, width, (4, 3), [event.channel])
    assert masked([made.plain]) == [line]
    assert len(made.plain) <= width


def test_channels_side_by_side_differ_in_colour() -> None:
    def colour(channel: str) -> object:
        line = event_line(ChannelEvent(channel, "e"), 80, (9, 9), ["a", "b"])
        at = line.plain.index(channel)
        (span,) = (span for span in line.spans if span.start == at)
        return span.style

    assert (colour("a"), colour("b")) == ("cyan", "magenta")


def test_rates_are_of_the_last_few_seconds() -> None:
    rates = Rates(0.0)
    assert rates.seen(0.1, 5, 50) == (5.0, 50.0)  # not 50 in a second
    assert rates.seen(2.0, 20, 2000) == (10.0, 1000.0)
    assert rates.seen(5.0, 20, 2000) == (4.0, 400.0)
    assert rates.seen(10.0, 20, 2000) == (0.0, 0.0)
    assert rates.seen(11.0, 80, 2600) == (10.0, 100.0)


def test_many_looks_at_the_rates_keep_few_samples() -> None:
    rates = Rates(0.0)
    for step in range(10_000):
        rates.seen(step / 1000, step, step)
    assert rates.seen(10.0, 10_000, 0)[0] == pytest.approx(1000, rel=0.01)
    assert len(rates._samples) < 30


def test_a_table_has_only_so_many_rows() -> None:
    roster = Roster()
    members = {f"m{n}": Member(f"m{n}", {"name": f"[red]{n}"}) for n in range(5)}
    roster.here(members, members["m1"])
    lines = shown(roster_table("presence-x", roster, {"m0": "12:00:00"}, 3), 60).splitlines()
    assert [line.rstrip() for line in lines] == [
        "presence-x: 5 here",
        "",
        " member       info                since",
        " ─────────────────────────────────────────",
        ' m0           {"name":"[red]0"}   12:00:00',
        ' m1 (you)     {"name":"[red]1"}',
        ' m2           {"name":"[red]2"}',
        " and 2 more",
        "",
    ]


def test_the_screen_of_these_tests_does_what_a_terminal_does() -> None:
    assert screen(b"a\r\nb\r\nc") == ["a", "b", "c"]
    assert screen(b"abc\rx\r\x1b[Jy") == ["y"]
    assert screen(b"a\r\nb\r\nc\x1b[1A\r\x1b[Jd\r\n\x1b[1;31me\x1b[0m") == ["a", "d", "e"]
