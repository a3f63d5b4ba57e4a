"""The state diagrams in the documentation show the tables as they are."""

from __future__ import annotations

import re
from typing import Any

import pytest

from diagrams import MACHINES, STATES_MD, drawn


def test_the_diagrams_are_those_of_the_tables() -> None:
    text = STATES_MD.read_text()
    assert drawn(text) == text, "run: python tests/diagrams.py"


@pytest.mark.parametrize("name", MACHINES)
def test_another_transition_is_another_diagram(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STATES_MD.read_text()
    states, inputs, table, first = MACHINES[name]
    for pair, target in table.items():
        other = next(state for state in states if state is not target)
        changed: list[dict[Any, Any]] = [table | {pair: other}, {**table}]
        del changed[1][pair]
        for wrong in changed:
            monkeypatch.setitem(MACHINES, name, (states, inputs, wrong, first))
            assert drawn(text) != text


def test_every_transition_is_an_arrow() -> None:
    text = STATES_MD.read_text()
    arrows = re.findall(r"^    ([A-Z_]+) --> ([A-Z_]+): (.+)$", text, re.MULTILINE)
    told = {(a, given, b) for a, b, inputs in arrows for given in inputs.split(", ")}
    tables = [table for _, _, table, _ in MACHINES.values()]
    assert told == {(a.name, i.name, b.name) for table in tables for (a, i), b in table.items()}
