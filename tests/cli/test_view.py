"""The live view at a terminal."""

from __future__ import annotations

import io
import os
import re
import signal
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from pusher_anyio.cli._output import not_blocking
from pusher_anyio.cli._roster import Roster
from pusher_anyio.cli._view import Rates, Signs, event_line, roster_table
from pusher_anyio.testing import ServerInThread
from pusher_proto import ChannelEvent, Member

from .conftest import WhenSubscribed
from .terminal import at_terminal, screen


def masked(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run."""
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", "\n".join(lines))
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
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


def test_the_line_below_shows_state_channels_and_rates(
    running: ServerInThread, address: list[str]
) -> None:
    with at_terminal("listen", *address, "room", size=(24, 100)) as at:
        below = r"● connected · 1 of 1 channel · 0 events · 0.0/s · 0 B/s"
        at.wait_until(lambda lines: re.fullmatch(below, lines[-1]))
        running.publish("room", "price", 1)
        at.wait_until(lambda lines: "· 1 event · 1.0/s · 1 B/s" in lines[-1])
        running.drop(4200)
        at.wait_until(lambda lines: lines[-1].endswith("· 2 connections"))
        at.process.send_signal(signal.SIGINT)
        assert at.end() == 0
    assert at.lines[-1] == ""
    assert masked(at.lines)[2:] == [
        "TIME  room  price  1",
        # On a busy machine the connection is back, or the program ends, before these are shown.
        *(
            line
            for line in masked(at.lines)
            if any(text in line for text in ("no connection to", "again after", "room again"))
        ),
        "",
    ]


def test_what_ends_listen_is_reported_after_the_line_below_is_gone(
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


def test_a_terminal_that_takes_nothing_blocks_no_write_while_a_view_ends() -> None:
    reader, terminal = os.openpty()
    with open(terminal, "w", encoding="utf-8") as stdout, open(reader, "rb", buffering=0):
        with not_blocking(stdout), pytest.raises(BlockingIOError):
            for _ in range(10_000):
                os.write(terminal, b"x" * 200)
        assert os.get_blocking(terminal)


def test_a_dumb_terminal_gets_plain_lines(
    running: ServerInThread, address: list[str], when_subscribed: WhenSubscribed
) -> None:
    when_subscribed("room", lambda: running.publish("room", "price", {"n": 1}))
    with at_terminal("listen", *address, "--count", "1", "room", term="dumb") as at:
        assert at.end() == 0
    assert b"\x1b" not in at.written
    assert masked(at.lines) == [
        "connected, socket id ID",
        "subscribed to room",
        'TIME  room  price  {"n":1}',
        "",
    ]


def test_who_shows_a_table_of_the_members(running: ServerInThread, address: list[str]) -> None:
    who = ["who", *address, "--secret", "demo-secret", "presence-x"]
    with at_terminal(*who, size=(12, 60)) as at:
        at.wait_until(lambda lines: "presence-x: 1 here" in lines)
        with at_terminal(*who) as other:
            at.wait_until(lambda lines: "presence-x: 2 here" in lines and lines[-1].startswith("●"))
            table = masked(at.lines[at.lines.index("presence-x: 2 here") :])
            other.process.send_signal(signal.SIGTERM)
            assert other.end() == 0
        at.wait_until(
            lambda lines: "presence-x: 1 here" in lines and any(x.endswith(" left") for x in lines)
        )
        at.process.send_signal(signal.SIGTERM)
        assert at.end() == 0
    assert table[1:4] == [
        "",
        " member                        since",
        " ──────────────────────────────────────",
    ]
    assert sorted(re.sub(" +", " ", line) for line in table[4:6]) == [
        " pusher-proto-ID (you) TIME",
        " pusher-proto-ID TIME",
    ]
    assert table[-1] == "● connected · 1 of 1 channel"
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


def console(width: int, *, ascii_only: bool = False) -> Console:
    file = io.TextIOWrapper(io.BytesIO(), "ascii" if ascii_only else "utf-8")
    return Console(width=width, file=file, record=True)


SIGNS, ASCII = Signs(console(80)), Signs(console(80, ascii_only=True))


def shown(what: Any, on: Console) -> str:
    on.print(what)
    return on.export_text()


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
    made = event_line(event, width, (4, 3), [event.channel], SIGNS)
    assert masked([made.plain]) == [line]
    assert len(made.plain) <= width


def test_channels_side_by_side_differ_in_colour() -> None:
    def colour(channel: str) -> object:
        line = event_line(ChannelEvent(channel, "e"), 80, (9, 9), ["a", "b"], SIGNS)
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


def test_a_line_in_ascii_ends_in_three_dots() -> None:
    event = ChannelEvent("a", "e", "[1, 2, 3, 4, 5, 6]")
    assert masked([event_line(event, 30, (4, 3), ["a"], ASCII).plain]) == [
        "TIME  a     e    [1,2,3..."
    ]


def roster_of(*members: Member) -> Roster:
    roster = Roster()
    roster.here({member.id: member for member in members}, members[0])
    return roster


def table(roster: Roster, width: int, *, rows: int = 10, ascii_only: bool = False) -> list[str]:
    on = console(width, ascii_only=ascii_only)
    since = dict.fromkeys((member.id for member in roster), "12:00:00")
    made = roster_table("presence-x", roster, since, rows, width - 1, Signs(on))
    return [line.rstrip() for line in shown(made, on).rstrip().splitlines()]


def test_a_table_has_only_so_many_rows() -> None:
    roster = roster_of(*(Member(f"m{n}", [n]) for n in range(5)))
    assert table(roster, 60, rows=3) == [
        "presence-x: 5 here",
        "",
        " member     since      info",
        " ──────────────────────────",
        " m0 (you)   12:00:00   [0]",
        " m1         12:00:00   [1]",
        " m2         12:00:00   [2]",
        "",
        "and 2 more",
    ]


LONG = roster_of(
    Member("ada", {"name": "Ada Lovelace", "roles": ["admin", "author"], "avatar": "x" * 300}),
    Member("b" * 60, {"name": "[red]Bob " + "o" * 60}),
    Member("é中", None),
)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
def test_names_and_times_are_shown_beside_long_info(width: int, ascii_only: bool) -> None:
    lines = table(LONG, width, ascii_only=ascii_only)
    assert max(Text(line).cell_len for line in lines) <= width
    assert sum("12:00:00" in line for line in lines) == 3
    assert any("ada (you)" in line and "Ada" in line for line in lines)
    assert any("[red]" in line for line in lines)
    if ascii_only:
        assert "".join(lines).isascii()


def test_the_screen_of_these_tests_does_what_a_terminal_does() -> None:
    assert screen(b"a\r\nb\r\nc") == ["a", "b", "c"]
    assert screen(b"abc\rx\r\x1b[Jy") == ["y"]
    assert screen(b"a\r\nb\r\nc\x1b[1A\r\x1b[Jd\r\n\x1b[1;31me\x1b[0m") == ["a", "d", "e"]
