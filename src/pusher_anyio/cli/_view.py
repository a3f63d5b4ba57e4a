"""The live view at a terminal: coloured lines, and below them a region that is updated in place.

Rich draws both. On a terminal without UTF-8 they are in ASCII.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import ceil

import msgspec
from rich.box import SIMPLE_HEAD, Box
from rich.console import Console, ConsoleRenderable, Group
from rich.highlighter import ReprHighlighter
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pusher_proto import ChannelEvent, ChannelState, ConnectionState, Member
from pusher_sync import Client

from ._output import clock, give_up_stdout, not_blocking, printable
from ._roster import Change, Roster

__all__ = [
    "EventView",
    "Rates",
    "RosterView",
    "Signs",
    "event_line",
    "roster_table",
    "status_line",
]

_FRESH = 0.25  # seconds after which the region is redrawn at the latest
_WINDOW = 5.0  # seconds that rates are taken over
_NAMES = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta")
_STATES = {ConnectionState.CONNECTED: "green", ConnectionState.FAILED: "red"}
_AROUND = 6  # lines of a table beside its rows, with the state below it and the line before it
_WIDEST = 24  # characters of a column for names, so that the data has room
_KNOWN = ReprHighlighter()


class Signs:
    """The signs that a terminal can show."""

    def __init__(self, console: Console) -> None:
        self.ascii: bool = console.options.ascii_only
        self.state: str = "*" if self.ascii else "●"
        self.between: str = " - " if self.ascii else " · "
        self.more: str = "..." if self.ascii else "…"

    def plain(self, text: str) -> str:
        """Return `text` with control characters, and characters that the terminal cannot show, escaped."""
        text = printable(text)
        return text.encode("ascii", "backslashreplace").decode() if self.ascii else text

    def fit(self, text: Text, width: int) -> None:
        """Shorten a line to `width` characters, with a sign where it was cut."""
        if self.ascii and text.cell_len > width:
            text.truncate(max(0, width - len(self.more)))
            text.append(self.more)
        text.truncate(max(0, width), overflow="ellipsis")


def event_line(
    event: ChannelEvent, width: int, columns: Sequence[int], channels: Sequence[str], signs: Signs
) -> Text:
    """Return one line of `width` characters: time, channel, event, and the start of the data.

    Each of `channels` has its colour.
    """
    colour = _NAMES[channels.index(event.channel) % len(_NAMES)]
    data = event.data
    # Only the part that fits is processed: a message may be a megabyte.
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    line = Text.assemble(
        (clock(), "dim"),
        "  ",
        (signs.plain(event.channel).ljust(columns[0]), colour),
        "  ",
        (signs.plain(event.name).ljust(columns[1]), "bold"),
        "  ",
        _KNOWN(Text(signs.plain(text[: width + 1]))),
        no_wrap=True,
    )
    if event.user_id is not None:
        sender = Text(f"  from {signs.plain(event.user_id)}", "dim")
        signs.fit(line, width - len(sender))
        line.append_text(sender)
    signs.fit(line, width)
    return line


def status_line(
    client: Client, channels: Sequence[str], shown: Sequence[str], signs: Signs, width: int
) -> Text:
    """Return the state of the connection and of the channels, and as many of the parts `shown` as fit."""
    state, stats, retry_at = client.state, client.stats, client.retry_at
    there = sum(client.channel(name).state is ChannelState.SUBSCRIBED for name in channels)
    parts = [f"{there} of {len(channels)} channel{'' if len(channels) == 1 else 's'}", *shown]
    if retry_at is not None:
        parts = [f"next attempt in {max(0, ceil(retry_at - time.monotonic()))} s"]
    else:
        if stats.connections > 1:
            parts.append(f"{stats.connections} connections")
        if stats.round_trip is not None:
            parts.append(f"ping {stats.round_trip * 1000:.0f} ms")
    line = Text.assemble(
        (f"{signs.state} ", _STATES.get(state, "yellow")), (state.value, "bold"), no_wrap=True
    )
    for part in parts:
        if line.cell_len + len(signs.between) + len(part) > width:
            break
        line.append(signs.between, "dim").append(part)
    signs.fit(line, width)
    return line


def _size(count: float) -> str:
    for unit in ("B", "kB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} MB"


class Rates:
    """Rates per second over the last few seconds, from counts that only grow."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int, int]] = deque([(now, 0, 0)])

    def seen(self, now: float, events: int, size: int) -> tuple[float, float]:
        """Store the current counts; return events and bytes in a second."""
        samples = self._samples
        if now - samples[-1][0] >= _FRESH:
            samples.append((now, events, size))
        while len(samples) > 2 and samples[1][0] <= now - _WINDOW:
            samples.popleft()
        began, events_then, size_then = samples[0]
        took = max(now - began, 1.0)  # after less than a second there is no rate yet
        return (events - events_then) / took, (size - size_then) / took


class _Stderr(io.TextIOBase):
    """Replaces stderr while the terminal has a live region: its lines are shown above that."""

    def __init__(self, view: _View) -> None:
        self._view = view
        self._rest = ""

    def write(self, text: str) -> int:
        *whole, self._rest = (self._rest + text).split("\n")
        signs = Signs(self._view.console)
        for line in whole:
            self._view.show(Text.assemble((clock(), "dim"), "  ", (signs.plain(line), "italic")))
        return len(text)


class _View:
    """Shows lines above a region that `region` renders."""

    every = _FRESH

    def __init__(self, console: Console, region: Callable[[], ConsoleRenderable]) -> None:
        self.console = console
        self._lines: list[ConsoleRenderable] = []
        self._region = region
        self._live = Live(
            console=console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._redirected = contextlib.ExitStack()
        if sys.stderr.isatty():
            self._redirected.enter_context(contextlib.redirect_stderr(_Stderr(self)))
        self._live.start()

    @property
    def width(self) -> int:
        """The number of characters that fit in a line."""
        return self.console.width - 1  # the last column begins a new line

    def show(self, line: ConsoleRenderable) -> None:
        """Show a line below the earlier ones, at the next `refresh`."""
        self._lines.append(line)

    def refresh(self) -> None:
        """Show the lines, and redraw the region."""
        lines, self._lines = self._lines, []
        self._live.update(self._region())
        if lines:
            self.console.print(Group(*lines))
        else:
            self._live.refresh()

    def close(self, *, interrupted: bool) -> None:
        """Remove the region."""
        try:
            # A terminal that is stopped must not stop this program.
            with not_blocking(sys.stdout) if interrupted else contextlib.nullcontext():
                if not interrupted:
                    self.refresh()
                self._live.stop()
        except OSError:  # the terminal has gone, or takes nothing
            give_up_stdout()
        finally:
            self._redirected.close()


class EventView:
    """Shows events above a line with the state and the rates."""

    every = _FRESH

    def __init__(self, client: Client, channels: Sequence[str], console: Console) -> None:
        self._client = client
        self._channels = channels
        self._signs = Signs(console)
        self._columns = [min(_WIDEST, max(len(self._signs.plain(name)) for name in channels)), 0]
        self._rates = Rates(time.monotonic())
        self._count = self._size = 0
        self._view = _View(console, self._status)
        self.refresh: Callable[[], None] = self._view.refresh
        self.close: Callable[..., None] = self._view.close

    def show(self, event: ChannelEvent) -> None:
        """Show an event at the next `refresh`."""
        self._count += 1
        self._size += len(event.raw_data)
        columns = self._columns
        columns[1] = min(_WIDEST, max(columns[1], len(self._signs.plain(event.name[:_WIDEST]))))
        line = event_line(event, self._view.width, columns, self._channels, self._signs)
        self._view.show(line)

    def _status(self) -> Text:
        now = time.monotonic()
        per_second, bytes_per_second = self._rates.seen(now, self._count, self._size)
        events = f"{self._count:,} event{'' if self._count == 1 else 's'}"
        shown = [events, f"{per_second:,.1f}/s", f"{_size(bytes_per_second)}/s"]
        return status_line(self._client, self._channels, shown, self._signs, self._view.width)


class RosterView:
    """Shows changes above a table of the members and a line with the state."""

    every = _FRESH

    def __init__(self, client: Client, channel: str, roster: Roster, console: Console) -> None:
        self._client = client
        self._channel = channel
        self._roster = roster
        self._signs = Signs(console)
        self._since: dict[str, str] = {}
        self._view = _View(console, self._region)
        self.refresh: Callable[[], None] = self._view.refresh
        self.close: Callable[..., None] = self._view.close

    def show(self, change: Change) -> None:
        """Show a change at the next `refresh`."""
        if change.member is None:
            self._since = {
                member.id: self._since.get(member.id, clock()) for member in self._roster
            }
            line = f"{len(self._roster)} here"
        else:
            if change.what == "joined":
                self._since[change.member.id] = clock()
            line = f"{self._signs.plain(change.member.id)} {change.what}"
        text = Text.assemble((clock(), "dim"), "  ", line, no_wrap=True)
        self._signs.fit(text, self._view.width)
        self._view.show(text)

    def _region(self) -> ConsoleRenderable:
        console, signs = self._view.console, self._signs
        status = status_line(self._client, [self._channel], [], signs, self._view.width)
        room = max(1, console.height - _AROUND)
        table = roster_table(
            self._channel, self._roster, self._since, room, self._view.width, signs
        )
        return Group(table, status)


def roster_table(
    channel: str, roster: Roster, since: Mapping[str, str], room: int, width: int, signs: Signs
) -> Table:
    """Return a table of the members with at most `room` rows and `width` columns: the info gets the remaining width."""
    title = Text(f"{signs.plain(channel)}: {len(roster)} here", "bold", no_wrap=True)
    signs.fit(title, width)
    shown = list(roster)[:room]
    members = [signs.plain(each.id) + (" (you)" if each.id == roster.me else "") for each in shown]
    names = [signs.plain(_name(each)) for each in shown]
    infos = [signs.plain(_info(each)) for each in shown]
    left = width - _SINCE - 2 - 3  # the edges, and the separator of two columns
    columns = []
    for heading, style, texts in (
        ("member", "cyan", members),
        ("name", "", names),
        ("info", "dim", infos),
    ):
        if not any(texts) or left < _LEAST[heading]:
            continue
        # Id and name share the width; the info gets the remaining part.
        share = left // 2 if heading == "member" and any(names) else left
        needed = max(len(heading), *(Text(text).cell_len for text in texts))
        column = min(needed, max(len(heading), share), _MOST[heading])
        left -= column + 3
        columns.append((heading, style, column, texts))
    table = Table(
        title=title, title_justify="left", caption_justify="left", pad_edge=False,
        box=_ASCII_HEAD if signs.ascii else SIMPLE_HEAD,
    )  # fmt: skip
    for heading, style, column, _ in columns:
        table.add_column(heading, style=style, no_wrap=True, width=column)
        if heading == "member":
            table.add_column("since", style="dim", no_wrap=True, width=_SINCE)
    for number, each in enumerate(shown):
        cells = [Text(texts[number]) for *_, texts in columns]
        for cell, (_, _, column, _) in zip(cells, columns, strict=True):
            signs.fit(cell, column)
        cells.insert(1, Text(since.get(each.id, "")))
        table.add_row(*cells)
    if len(roster) > room:
        table.caption = Text(f"and {len(roster) - room} more")
    return table


_SINCE = len("12:00:00")
_LEAST = {"member": 0, "name": 4, "info": 12}
"""The width below which a column is left out."""
_MOST = {"member": 30, "name": 24, "info": 500}
"""The width of each column at most."""
_ASCII_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def _name(member: Member) -> str:
    info = member.info
    name = info.get("name") if isinstance(info, dict) else None
    return name[:500] if isinstance(name, str) else ""


def _info(member: Member) -> str:
    info = member.info
    if _name(member) and isinstance(info, dict):
        info = {key: value for key, value in info.items() if key != "name"} or None
    return "" if info is None else msgspec.json.encode(info).decode()[:500]
