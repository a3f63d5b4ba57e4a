"""What a person sees at a terminal: events in columns and colours, and below them the state and the rates."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import anyio
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.highlighter import ReprHighlighter
from rich.table import Table
from rich.text import Text

from pusher_proto import ChannelEvent, ChannelState, ConnectionState

from .._client import Client
from ._output import clock, has_room, printable, tell
from ._roster import Change, Roster
from ._terminal import Screen

__all__ = [
    "EventView",
    "Rates",
    "View",
    "event_line",
    "roster_table",
    "roster_view",
    "status_line",
]

_FRESH = 0.25  # seconds after which the lines below are redrawn at the latest
_BURST = 0.05  # seconds of which all lines are drawn together
_MANY = 200  # lines that are drawn together at most
_GOODBYE = 0.5  # seconds for taking the lines below away, from a terminal that takes nothing
_WINDOW = 5.0  # seconds that rates are taken over
_NAMES = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta")
_STATES = {ConnectionState.CONNECTED: "green", ConnectionState.FAILED: "red"}
_AROUND = 6  # lines of a table beside its rows, with the state below it and the line before it
_WIDEST = 24  # characters of a column for names, so that the data has room
_KNOWN = ReprHighlighter()


def event_line(
    event: ChannelEvent, width: int, columns: Sequence[int], channels: Sequence[str]
) -> Text:
    """Return one line of `width` characters: time, channel, event, and the start of the data.

    Each of `channels` has its colour.
    """
    colour = _NAMES[channels.index(event.channel) % len(_NAMES)]
    data = event.data
    # What cannot be seen is not looked at: a message may be a megabyte.
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    line = Text.assemble(
        (clock(), "dim"),
        "  ",
        (printable(event.channel).ljust(columns[0]), colour),
        "  ",
        (printable(event.name).ljust(columns[1]), "bold"),
        "  ",
        _KNOWN(Text(printable(text[: width + 1]))),
        no_wrap=True,
    )
    if event.user_id is not None:
        sender = Text(f"  from {printable(event.user_id)}", "dim")
        line.truncate(max(0, width - len(sender)), overflow="ellipsis")
        line.append_text(sender)
    line.truncate(width, overflow="ellipsis")
    return line


def status_line(client: Client, channels: Sequence[str], rates: Rates, now: float) -> Text:
    """Return the state of the connection and of the channels, and the counts and rates of messages."""
    state, stats = client.state, client.stats
    there = sum(client.channel(name).state is ChannelState.SUBSCRIBED for name in channels)
    what = f"{there} of {len(channels)} channel{'' if len(channels) == 1 else 's'}"
    per_second, bytes_per_second = rates.seen(now, stats.messages_received, stats.bytes_received)
    parts = [
        what,
        f"{stats.messages_received:,} messages",
        f"{per_second:,.1f}/s",
        _size(bytes_per_second) + "/s",
    ]
    if stats.connections > 1:
        parts.append(f"{stats.connections} connections")
    if stats.round_trip is not None:
        parts.append(f"ping {stats.round_trip * 1000:.0f} ms")
    line = Text.assemble(("● ", _STATES.get(state, "yellow")), (state.value, "bold"), no_wrap=True)
    for part in parts:
        line.append(" · ", "dim").append(part)
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

    def seen(self, now: float, messages: int, size: int) -> tuple[float, float]:
        """Note the counts of this moment; return messages and bytes in a second."""
        samples = self._samples
        if now - samples[-1][0] >= _FRESH:
            samples.append((now, messages, size))
        while len(samples) > 2 and samples[1][0] <= now - _WINDOW:
            samples.popleft()
        began, messages_then, size_then = samples[0]
        took = max(now - began, 1.0)  # the first moments give no rate yet
        return (messages - messages_then) / took, (size - size_then) / took


class _Notes(io.TextIOBase):
    """Stands for stderr while the terminal is ours: keeps lines until they can be shown in their place."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._rest = ""

    def write(self, text: str) -> int:
        *whole, self._rest = (self._rest + text).split("\n")
        self.lines += whole
        return len(text)


class View:
    """Shows lines as they come, above a region that stays. Made by `open`."""

    def __init__(
        self, screen: Screen, region: Callable[[Console], RenderableType], notes: _Notes
    ) -> None:
        self._screen = screen
        self._region = region
        self._notes = notes
        self._lines: list[RenderableType] = []
        self._drawn = 0.0
        self._some = anyio.Event()

    @property
    def width(self) -> int:
        """How many characters fit in a line, now."""
        return self._screen.console.width

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, console: Console, region: Callable[[Console], RenderableType]
    ) -> AsyncIterator[View]:
        """Show what `region` returns at the bottom of the terminal for the length of the block.

        Messages on stderr are shown above it, when stderr is a terminal too.
        """
        notes, ours = _Notes(), sys.stderr.isatty()
        view = cls(Screen(console), region, notes)
        try:
            with contextlib.redirect_stderr(notes) if ours else contextlib.nullcontext():
                async with anyio.create_task_group() as group:
                    group.start_soon(view._keep_fresh)
                    try:
                        yield view
                    finally:
                        with (
                            anyio.move_on_after(_GOODBYE, shield=True),
                            contextlib.suppress(OSError),
                        ):
                            await view._screen.show(view._take(), None)
                    group.cancel_scope.cancel()
        finally:
            for line in notes.lines:
                if has_room(sys.stderr):  # else the terminal was stopped, and would stop us
                    tell(line)

    async def show(self, line: RenderableType) -> None:
        """Show a line below the earlier ones: now, or together with lines that follow at once."""
        self._lines += [*self._told(), line]
        late = anyio.current_time() - self._drawn >= _BURST
        if late or len(self._lines) >= _MANY:
            await self.draw()
        else:
            self._some.set()

    async def draw(self) -> None:
        """Show the pending lines, and redraw the region."""
        self._drawn = anyio.current_time()
        await self._screen.show(self._take(), self._region(self._screen.console))

    async def _keep_fresh(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # the caller that shows an event gets the error
                await self.draw()
            self._some = anyio.Event()
            with anyio.move_on_after(_FRESH):
                await self._some.wait()
                await anyio.sleep(_BURST)

    def _take(self) -> list[RenderableType]:
        lines, self._lines = [*self._lines, *self._told()], []
        return lines

    def _told(self) -> list[RenderableType]:
        lines, self._notes.lines = self._notes.lines, []
        return [Text.assemble((clock(), "dim"), "  ", (line, "italic")) for line in lines]


class EventView:
    """Shows events above a line with the state and the rates. Made by `open`."""

    def __init__(self, view: View, channels: Sequence[str]) -> None:
        self._view = view
        self._channels = channels
        self._columns = [min(_WIDEST, max(len(printable(name)) for name in channels)), 0]

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, client: Client, channels: Sequence[str], console: Console
    ) -> AsyncIterator[EventView]:
        """Show events for the length of the block."""
        rates = Rates(anyio.current_time())

        def status(console: Console) -> RenderableType:
            line = status_line(client, channels, rates, anyio.current_time())
            line.truncate(
                console.width - 1, overflow="ellipsis"
            )  # the last column begins a new line
            return line

        async with View.open(console, status) as view:
            yield cls(view, channels)

    async def show(self, event: ChannelEvent) -> None:
        """Show an event, now or a moment later."""
        columns = self._columns
        columns[1] = min(_WIDEST, max(columns[1], len(printable(event.name[:_WIDEST]))))
        await self._view.show(event_line(event, self._view.width - 1, columns, self._channels))

    async def finish(self) -> None:
        """Show what is not shown yet."""
        await self._view.draw()


@contextlib.asynccontextmanager
async def roster_view(
    client: Client, channel: str, roster: Roster, console: Console
) -> AsyncIterator[Callable[[Change], Awaitable[None]]]:
    """Yield a function that shows a change above a table of the members."""
    since: dict[str, str] = {}
    rates = Rates(anyio.current_time())

    def region(console: Console) -> RenderableType:
        status = status_line(client, [channel], rates, anyio.current_time())
        status.truncate(console.width - 1, overflow="ellipsis")
        room = max(1, console.height - _AROUND)
        return Group(roster_table(channel, roster, since, room), status)

    async def show(change: Change) -> None:
        if change.member is None:
            since.clear()
            since.update((member.id, clock()) for member in roster)
            line = f"{len(roster)} here"
        else:
            since[change.member.id] = clock()
            line = f"{printable(change.member.id)} {change.what}"
        await view.show(Text.assemble((clock(), "dim"), "  ", line, no_wrap=True))

    async with View.open(console, region) as view:
        yield show


def roster_table(channel: str, roster: Roster, since: Mapping[str, str], room: int) -> Table:
    """Return a table of the members with at most `room` rows."""
    table = Table(
        title=Text(f"{printable(channel)}: {len(roster)} here", "bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("member", style="cyan", no_wrap=True)
    table.add_column("info", no_wrap=True, overflow="ellipsis")
    table.add_column("since", style="dim", no_wrap=True)
    shown = list(roster)
    for member in shown[:room]:
        name = Text(printable(member.id))
        if member.id == roster.me:
            name.append(" (you)", "dim")
        info = "" if member.info is None else msgspec.json.encode(member.info).decode()
        table.add_row(name, Text(printable(info[:500])), since.get(member.id, ""))
    if len(shown) > room:
        table.add_row(Text(f"and {len(shown) - room} more", "dim"))
    return table
