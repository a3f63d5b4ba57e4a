"""The tables of docs/states.md and the files of drawings: `python tests/diagrams.py` makes them from the core."""

from __future__ import annotations

import re
import sys
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from docs.drawing import DRAWINGS, MACHINES  # noqa: E402  # after the path, where this is run as a program

__all__ = ["IMG", "STATES_MD", "drawn"]

STATES_MD = ROOT / "docs" / "states.md"
IMG = ROOT / "docs" / "img"


def drawn(text: str) -> str:
    """Return `text` with the lines between the markers of each machine made again."""
    for name in MACHINES:
        marked = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = marked.subn(lambda m, n=name: m[1] + _machine(n) + m[2], text)  # type: ignore[misc]  # mypy infers no lambda with defaults
        assert count == 1, f"docs/states.md has no place for the {name}"
    return text


def _machine(name: str) -> str:
    machine = MACHINES[name]
    return "\n".join(
        (
            "",
            f"![States and transitions: {name}](img/{name}.svg)",
            "",
            *_meanings("State", machine.states),
            "",
            *_meanings("Input", machine.inputs),
            "",
            *_matrix(machine.states, machine.inputs, machine.table),
            "",
        )
    )


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
    for name, drawing in DRAWINGS.items():
        (IMG / f"{name}.svg").write_text(drawing().svg())
