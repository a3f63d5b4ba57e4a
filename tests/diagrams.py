"""The state diagrams in docs/states.md, drawn from the tables: `python tests/diagrams.py` draws them anew."""

from __future__ import annotations

import re
from collections import defaultdict
from enum import Enum
from pathlib import Path
from typing import Any

from pusher_proto import states

__all__ = ["MACHINES", "STATES_MD", "drawn"]

STATES_MD = Path(__file__).parents[1] / "docs" / "states.md"
MACHINES: dict[str, tuple[type[Enum], type[Enum], dict[Any, Any], Enum]] = {
    "session": (
        states.SessionState,
        states.SessionInput,
        states.SESSION,
        states.SessionState.IDLE,
    ),
    "channel": (
        states.ChannelState,
        states.ChannelInput,
        states.CHANNEL,
        states.ChannelState.IDLE,
    ),
    "user": (states.UserState, states.UserInput, states.USER, states.UserState.SIGNED_OUT),
    "request": (states.AuthState, states.AuthInput, states.AUTH_REQUEST, states.AuthState.NEW),
    "call": (states.CallState, states.CallInput, states.CALL, states.CallState.WAITING),
    "stream": (
        states.TransportState,
        states.TransportInput,
        states.TRANSPORT,
        states.TransportState.OPENING,
    ),
}


def drawn(text: str) -> str:
    """Return `text` with what stands between the markers of each machine drawn anew."""
    for name in MACHINES:
        marked = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = marked.subn(lambda m, n=name: m[1] + _machine(n) + m[2], text)  # type: ignore[misc]  # mypy infers no lambda with defaults
        assert count == 1, f"docs/states.md has no place for the {name}"
    return text


def _machine(name: str) -> str:
    states, inputs, table, first = MACHINES[name]
    return "\n".join(
        (
            "```mermaid",
            *_diagram(states, table, first),
            "```",
            "",
            *_meanings("State", states),
            "",
            *_meanings("Input", inputs),
            "",
            *_matrix(states, inputs, table),
            "",
        )
    )


def _diagram(states: type[Enum], table: dict[Any, Any], first: Enum) -> list[str]:
    arrows: dict[tuple[Enum, Enum], list[str]] = defaultdict(list)
    for (state, given), target in table.items():
        arrows[state, target].append(given.name)
    order = list(states)
    lines = ["stateDiagram-v2", f"    [*] --> {first.name}"]
    for state, target in sorted(arrows, key=lambda arrow: tuple(map(order.index, arrow))):
        given = ", ".join(arrows[state, target])
        lines.append(f"    {state.name} --> {target.name}: {given}")
    return lines


def _meanings(title: str, names: type[Enum]) -> list[str]:
    lines = [f"| {title} | Meaning |", "| --- | --- |"]
    return lines + [f"| {name.name} | {getattr(name, 'meaning', name.value)} |" for name in names]


def _matrix(states: type[Enum], inputs: type[Enum], table: dict[Any, Any]) -> list[str]:
    """Every pair: where it leads, or nothing where the input is ignored."""
    lines = [
        "| | " + " | ".join(given.name for given in inputs) + " |",
        "| --- |" + " --- |" * len(inputs),
    ]
    for state in states:
        targets = (table.get((state, given)) for given in inputs)
        cells = " | ".join("" if target is None else target.name for target in targets)
        lines.append(f"| **{state.name}** | {cells} |")
    return lines


if __name__ == "__main__":
    STATES_MD.write_text(drawn(STATES_MD.read_text()))
