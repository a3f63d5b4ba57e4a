"""Draws the diagrams of these pages as SVG: the state machines from their tables, the layers, and one turn.

All are at most 350 px wide, so that a phone shows them at their full size. A page names a drawing as a picture,
`![Alternative text](img/session.svg)`. Sphinx puts the SVG itself in its place, so that it follows the theme; the
files in `img/`, for reading the pages as plain Markdown, are written by `python tests/diagrams.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from html import escape
from typing import Any, NamedTuple

from pusher_proto import states

__all__ = [
    "DRAWINGS",
    "LAYERS",
    "MACHINES",
    "Drawing",
    "Machine",
    "Transition",
    "transitions",
]

WIDTH = 350
MONO, SANS = 6.4, 5.9
"""Width of a character in px: of the monospaced font at 10.5 px, and the average of the other one at 11.5 px."""

LIGHT = (
    "--ink: #16181d; --soft: #5d6470; --box: #f1f4f9; --edge: #7d8794; "
    "--page: var(--color-background-primary, #fff); "
    "--c0: #1f5fbf; --c1: #a8560b; --c2: #157347; --c3: #8b2fa8; --c4: #b02a37; --c5: #0b7285;"
)
DARK = (
    "--ink: #e4e6eb; --soft: #a3abb8; --box: #262b33; --edge: #808a99; "
    "--page: var(--color-background-primary, #131416); "
    "--c0: #7fb0ff; --c1: #f0a35e; --c2: #63cf97; --c3: #d79bf0; --c4: #ff8f9a; --c5: #5fcbdd;"
)
# A file shown by itself follows the system, a drawing on the site the theme that the reader chose there.
STYLE = f"""
  .diagram {{ {LIGHT} }}
  body[data-theme="dark"] .diagram {{ {DARK} }}
  @media (prefers-color-scheme: dark) {{
    .diagram:root, body:not([data-theme="light"]) .diagram {{ {DARK} }}
  }}
  .diagram text {{ fill: var(--ink); font: 11.5px/1.2 system-ui, sans-serif; stroke: none; }}
  .diagram .mono {{ font: 10.5px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
  .diagram .bold {{ font-weight: 600; }}
  .diagram .soft {{ fill: var(--soft); }}
  .diagram .box {{ fill: var(--box); stroke: var(--edge); }}
  .diagram .line {{ fill: none; stroke: var(--edge); stroke-width: 1.2; }}
  .diagram .dashed {{ stroke-dasharray: 4 3; }}
  .diagram .behind {{ fill: var(--page); stroke: none; }}
  .diagram .head {{ fill: var(--edge); stroke: none; }}
"""


class Machine(NamedTuple):
    """A table of `pusher_proto.states` with the state in which it begins."""

    states: type[Enum]
    inputs: type[Enum]
    table: dict[Any, Any]
    first: Enum


MACHINES: dict[str, Machine] = {
    "session": Machine(
        states.SessionState, states.SessionInput, states.SESSION, states.SessionState.IDLE
    ),
    "channel": Machine(
        states.ChannelState, states.ChannelInput, states.CHANNEL, states.ChannelState.IDLE
    ),
    "catch-up": Machine(
        states.CatchUpState,
        states.CatchUpInput,
        states.CATCH_UP,
        states.CatchUpState.UNCONFIRMED,
    ),
    "user": Machine(states.UserState, states.UserInput, states.USER, states.UserState.SIGNED_OUT),
    "request": Machine(
        states.AuthState, states.AuthInput, states.AUTH_REQUEST, states.AuthState.NEW
    ),
    "call": Machine(states.CallState, states.CallInput, states.CALL, states.CallState.WAITING),
    "stream": Machine(
        states.TransportState,
        states.TransportInput,
        states.TRANSPORT,
        states.TransportState.OPENING,
    ),
}

LAYERS: list[list[tuple[str, str]]] = [
    [("your program", "")],
    [("pusher_anyio", "asyncio and trio"), ("pusher_sync", "blocking code")],
    [
        ("client, _client", "handles, streams, bindings, delivery"),
        ("driving", "a driver without its I/O"),
    ],
    [("session", "the contract with drivers; dispatch to the machines")],
    [("_channels", "subscriptions, members, keys, the user")],
    [("_connection", "link, liveness, reconnecting"), ("_auth", "obtains authorizations")],
    [("_transports", "numbered byte streams, effects")],
    [("_protocol", "meaning of messages, failures")],
    [("names, events, effects, options, auth, states", "the vocabulary")],
    [("_wire", "WebSocket, HTTP, JSON, secret boxes")],
    [("_base, errors", "timers, URLs, checks, logs")],
]
"""Names and descriptions of the boxes, by rows; a row imports only rows below it."""

TURN: tuple[Sequence[str], Sequence[tuple[int, int, str]]] = (
    ("server", "driver", "Session", "your program"),
    (
        (0, 1, "bytes"),
        (1, 2, "receive_data(transport, bytes, now)"),
        (2, 1, "next_effect(): SendData(pong)"),
        (1, 0, "bytes"),
        (2, 1, "next_event(): ChannelEvent"),
        (1, 3, "to a stream, handler or wait"),
        (2, 1, "next_deadline()"),
        (1, 1, "wait until then, or for data or a command"),
    ),
)


class Transition(NamedTuple):
    """States from which the same inputs lead to the same state."""

    sources: tuple[Enum, ...]
    inputs: tuple[str, ...]
    target: Enum

    def is_everywhere(self, machine: Machine) -> bool:
        """Return whether every state has this transition, except its target and the final states."""
        left = {state for state, _ in machine.table} - {self.target}
        return len(left) > 2 and left <= set(self.sources)


def transitions(machine: Machine) -> list[Transition]:
    """Return the transitions of a machine, those with the same sources and target as one."""
    order = list(machine.states)
    by_input: dict[tuple[Enum, str], list[Enum]] = defaultdict(list)
    for (state, given), target in machine.table.items():
        by_input[target, given.name].append(state)
    merged: dict[tuple[Enum, tuple[Enum, ...]], list[str]] = defaultdict(list)
    for (target, name), sources in by_input.items():
        merged[target, tuple(sorted(sources, key=order.index))].append(name)
    return [
        Transition(sources, tuple(names), target) for (target, sources), names in merged.items()
    ]


class Drawing:
    """Collects the parts of an SVG picture."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.height = 0.0
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        """Add an element."""
        self._parts.append(part)

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Add a line of text whose baseline is at `y`."""
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        """Add a rectangle with round corners."""
        self.add(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5" class="{kind}"/>'
        )

    def line(self, path: str, color: str = "", kind: str = "line") -> None:
        """Add a line along the `d` of a path."""
        style = f' style="stroke: {color}"' if color else ""
        self.add(f'<path d="{path}" class="{kind}"{style}/>')

    def head(self, x: float, y: float, way: str, color: str = "") -> None:
        """Add the head of an arrow whose point is at (x, y)."""
        dx, dy = {"left": (1, 0), "right": (-1, 0), "down": (0, -1)}[way]
        points = [(x, y)]
        points += [(x + 6 * dx + 3.2 * dy * s, y + 6 * dy + 3.2 * dx * s) for s in (1, -1)]
        style = f' style="fill: {color}"' if color else ""
        corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        self.add(f'<polygon points="{corners}" class="head"{style}/>')

    def dot(self, x: float, y: float, color: str = "var(--ink)") -> None:
        """Add a dot."""
        self.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill: {color}"/>')

    def svg(self) -> str:
        """Return the picture."""
        size = round(self.height)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" role="img" viewBox="0 0 {WIDTH} {size}"'
        return "\n".join(
            [
                f'{head} width="{WIDTH}" height="{size}">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{STYLE}</style>",
                *self._parts,
                "</svg>\n",
            ]
        )


@dataclass
class Lane:
    """A transition that is drawn as a line beside the boxes: down or up, from its sources to its target."""

    transition: Transition
    rows: tuple[int, ...]
    to: int
    hue: int = 0
    column: int = 0
    y: float = 0
    ys: list[float] = field(default_factory=list)

    @property
    def color(self) -> str:
        """Return the colour: lines to one state have the same."""
        return f"var(--c{self.hue % 6})"


def machine_drawing(name: str) -> Drawing:
    """Draw a state machine: its states one below the other, its transitions as lines beside them.

    A line is named where it arrives, and begins with a dot at each state that it leaves. A transition to the next state
    below is an arrow between both. One that leads out of every state is a note.
    """
    machine = MACHINES[name]
    order = list(machine.states)
    drawing = Drawing(f"States and transitions: {name}")
    everywhere, straight, lanes = [], {}, []
    for transition in transitions(machine):
        rows, to = tuple(map(order.index, transition.sources)), order.index(transition.target)
        if transition.is_everywhere(machine):
            everywhere.append(transition)
        elif rows == (to - 1,):
            straight[to] = transition
        else:
            lanes.append(Lane(transition, rows, to))
    targets = sorted({lane.to for lane in lanes})
    for lane in lanes:
        lane.hue = targets.index(lane.to)
    spread(lanes)
    box = max(len(state.name) for state in order) * MONO + 16
    labels = [wrapped(", ".join(lane.transition.inputs), 22) for lane in lanes]
    zone = max((len(line) for label in labels for line in label), default=0) * MONO + 18
    first_column = 10 + box + zone
    columns = max((lane.column for lane in lanes), default=0)
    pitch = min(15.0, (WIDTH - 8 - first_column) / max(columns, 1))
    leaving = {row: [lane for lane in lanes if row in lane.rows] for row in range(len(order))}
    left = {state for state, _ in machine.table}

    y = 8.0
    if machine.first is order[0]:
        drawing.dot(10 + box / 2, y)
        drawing.line(f"M{10 + box / 2:.1f} {y}v14")
        drawing.head(10 + box / 2, y + 18, "down")
        y += 18
    for row, state in enumerate(order):
        if row in straight:
            middle = 10 + box / 2
            drawing.line(f"M{middle:.1f} {y:.1f}v22")
            drawing.head(middle, y + 26, "down")
            drawing.text(middle + 8, y + 16, ", ".join(straight[row].inputs), "mono")
            y += 26
        elif row:
            y += 10
        top = y
        for lane, label in zip(lanes, labels, strict=True):
            if lane.to != row:
                continue
            for line in label:
                y += 12
                drawing.text(10 + box + 10, y, line, "mono")
            y += 5
            lane.y = y
        if leaving[row]:
            y += 12
            for lane in leaving[row]:
                lane.ys.append(y)
            furthest = max(lane.column for lane in leaving[row])
            drawing.line(f"M{10 + box:.1f} {y:.1f}H{first_column + furthest * pitch:.1f}")
        y = max(y + 8, top + 24)
        drawing.box(10, top, box, y - top)
        if state not in left:
            drawing.box(12.5, top + 2.5, box - 5, y - top - 5, "line")
        drawing.text(10 + box / 2, (top + y) / 2 + 4, state.name, "mono bold", "middle")
    for lane in lanes:
        x = first_column + lane.column * pitch
        ends = [lane.y, *lane.ys]
        drawing.line(f"M{x:.1f} {min(ends):.1f}V{max(ends):.1f}", lane.color)
        drawing.line(f"M{x:.1f} {lane.y:.1f}H{10 + box + 5:.1f}", lane.color)
        drawing.head(10 + box, lane.y, "left", lane.color)
        for end in lane.ys:
            drawing.dot(x, end, lane.color)
    for transition in everywhere:
        y += 18
        drawing.add(
            f'<text x="10" y="{y:.1f}">From every other state: '
            f'<tspan class="mono">{", ".join(transition.inputs)} → {transition.target.name}</tspan></text>'
        )
    drawing.height = y + 10
    return drawing


def spread(lanes: list[Lane]) -> None:
    """Give each lane a column, short ones next to the boxes, so that no two lie on each other."""
    taken: list[list[tuple[int, int]]] = []
    for lane in sorted(lanes, key=lambda one: extent(one)[1] - extent(one)[0]):
        first, last = extent(lane)
        free = (
            column
            for column, spans in enumerate(taken)
            if all(last < begin or end < first for begin, end in spans)
        )
        lane.column = next(free, len(taken))
        if lane.column == len(taken):
            taken.append([])
        taken[lane.column].append((first, last))


def extent(lane: Lane) -> tuple[int, int]:
    """Return the first and the last row of a lane."""
    return min(lane.to, *lane.rows), max(lane.to, *lane.rows)


def wrapped(text: str, width: int) -> list[str]:
    """Return the words of `text` in lines of at most `width` characters where that is possible."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def layers_drawing() -> Drawing:
    """Draw the rows of the architecture, the program on top."""
    drawing = Drawing("Layers: each row imports only rows below it")
    y = 6.0
    for number, row in enumerate(LAYERS):
        if number:
            drawing.line(f"M{WIDTH / 2:.1f} {y:.1f}v8")
            drawing.head(WIDTH / 2, y + 12, "down")
            y += 12
        width = (WIDTH - 2 - 8 * (len(row) - 1)) / len(row)
        texts = [wrapped(text, int((width - 14) / SANS)) if text else [] for _, text in row]
        height = 24 + 14 * max(map(len, texts))
        for place, ((name, _), lines) in enumerate(zip(row, texts, strict=True)):
            x = 1 + place * (width + 8)
            drawing.box(x, y, width, height)
            drawing.text(x + width / 2, y + 16, name, "mono bold", "middle")
            for line, text in enumerate(lines):
                drawing.text(x + width / 2, y + 31 + 14 * line, text, "soft", "middle")
        y += height
    drawing.height = y + 6
    return drawing


def turn_drawing() -> Drawing:
    """Draw the messages between a server, a driver, the session and a program."""
    names, messages = TURN
    drawing = Drawing("One turn: bytes from the server become effects and events")
    pitch = WIDTH / len(names)
    places = [pitch * (number + 0.5) for number in range(len(names))]
    height = 40 + 34 * len(messages)
    for x, name in zip(places, names, strict=True):
        drawing.line(f"M{x:.1f} 28V{height}", kind="line dashed")
        drawing.box(x - pitch / 2 + 2, 4, pitch - 4, 24)
        drawing.text(x, 20, name, "bold", "middle")
    y = 62
    for source, target, text in messages:
        left, right = sorted((places[source], places[target]))
        width = len(text) * MONO + 8
        middle = min(max((left + right) / 2, width / 2), WIDTH - width / 2)
        if source == target:
            middle = left
        drawing.box(middle - width / 2 + 4, y - 17, width - 8, 15, "behind")
        drawing.text(middle, y - 6, text, "mono", "middle")
        if source != target:
            end = places[target] + (5 if source > target else -5)
            drawing.line(f"M{places[source]:.1f} {y}H{end:.1f}")
            drawing.head(places[target], y, "left" if source > target else "right")
        y += 34
    drawing.height = height
    return drawing


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    **{name: partial(machine_drawing, name) for name in MACHINES},
    "layers": layers_drawing,
    "turn": turn_drawing,
}
"""By the name of the file in `img/`, without its ending."""
