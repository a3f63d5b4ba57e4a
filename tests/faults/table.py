"""The table of faults in docs/reliability.md, made from the tests of this package.

A test is called `test_ID_what_happens`, and the first paragraph of its docstring says what the client does then.
`python -m tests.faults.table` writes the table again; a test compares it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .world import WORLD

__all__ = [
    "AREAS",
    "PAGE",
    "WORLD",
    "Fault",
    "collected",
    "table",
    "whole",
    "with_a_test",
    "with_table",
]

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"

AREAS = {
    "N": "Network",
    "P": "Closing and pings",
    "M": "Messages",
    "U": "Authorization",
    "C": "Encrypted channels",
    "R": "Resources",
    "K": "Clocks",
    "A": "The application",
    "S": "Secrets",
}
"""The meanings of the letters of the ids, in the order of the table."""

BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->\n"

SPELLED = {
    "UTF8": "UTF-8",
    "sign in": "sign-in",
    "raised shown or": "raised, shown or",
    "established never comes": "the greeting never arrives",
    "answer of the endpoint drips": "answer of the endpoint arrives slowly",
    "huge message drips": "huge message arrives slowly",
    "network swallows": "network drops",
    "server speaks and": "server sends data and",
    "certificate behind a proxy is not good": "certificate behind a proxy is invalid",
    "certificate is not good": "certificate is invalid",
    "certificate is good": "certificate is valid",
    "answers temporarily instead": "answers with a temporary error instead",
    "accepted wrongly": "accepted incorrectly",
    "closes in form": "closes cleanly",
    "goes on and on": "never ends",
    "has no good key": "has no valid key",
    "is no message": "is not a message",
    "triggered wrongly": "triggered incorrectly",
}
"""Titles that differ from the words in the name of a test."""

ARRIVING = re.compile(r" (come|comes)(?! and go)\b")
"""The verb of test names, which titles replace."""

_NAME = re.compile(r"test_([A-Z])([0-9]+)([a-z]?)_(\w+)")


@dataclass(frozen=True, order=True)
class Fault:
    """One row of the table: the fault and what the client does."""

    area: int
    number: int
    letter: str
    what: str
    outcome: str

    @property
    def id(self) -> str:
        """The name of the row."""
        return f"{list(AREAS)[self.area]}{self.number}{self.letter}"


def collected(folder: Path = HERE) -> list[Fault]:
    """Return the faults that the tests in `folder` show, in the order of the table."""
    return sorted(fault for path in folder.glob("test_*.py") for fault in _faults_of(path))


def _faults_of(path: Path) -> Iterator[Fault]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        found = _NAME.fullmatch(node.name)
        if found is None:
            continue
        area, number, letter, words = found.groups()
        outcome = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
        if not outcome:
            raise ValueError(f"{path.name}: {node.name} has no docstring that says what happens")
        what = words.replace("_", " ")
        for plain, written in SPELLED.items():
            what = what.replace(plain, written)
        what = re.sub(r" comes( that .+)", r"\1 is received", what)
        what = ARRIVING.sub(
            lambda verb: " are received" if verb[1] == "come" else " is received", what
        )
        yield Fault(
            list(AREAS).index(area), int(number), letter, what[0].upper() + what[1:], outcome
        )


def table(faults: list[Fault]) -> str:
    """Return the table in Markdown, a part of it for each area."""
    parts = []
    for area, rows in groupby(faults, lambda fault: fault.area):
        lines = [f"### {list(AREAS.values())[area]}", ""]
        lines += ["| | fault | what the client does |", "| --- | --- | --- |"]
        lines += [f"| {row.id} | {_cell(row.what)} | {_cell(row.outcome)} |" for row in rows]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def world() -> str:
    """Return the table of `WORLD` in Markdown."""
    lines = [
        "### Reports from the world",
        "",
        "| | fault | what the client does |",
        "| --- | --- | --- |",
    ]
    lines += [f"| W{n} | {_cell(what)} | {_cell(so)} |" for n, (what, so) in WORLD.items()]
    return "\n".join(lines) + "\n"


def with_a_test(folder: Path = HERE.parent) -> set[int]:
    """Return the numbers of `WORLD` that have a test in `folder`, or below it."""
    found: set[int] = set()
    for path in folder.rglob("test_*.py"):
        if {"node_modules", ".cache"} & {*path.parts}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found |= {int(n) for n in re.findall(r"_W([0-9]+)(?=_|$)", node.name)}
    # The scenarios of all drivers are functions of one module.
    for name in re.findall(r"W([0-9]+)_", (folder / "drivers" / "scenarios.py").read_text()):
        found.add(int(name))
    return found


def whole() -> str:
    """Return the text between the marks of the page."""
    return f"{table(collected())}\n{world()}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_table(page: str, rows: str) -> str:
    """Return the page with `rows` between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{rows}\n{end}{after}"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_table(page, whole()), encoding="utf-8")
    sys.stdout.write(f"{len(collected()) + len(WORLD)} rows\n")
