"""The diagrams in the documentation show the tables as they are, and the layers that the architecture test has."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

import test_architecture
from diagrams import IMG, STATES_MD, drawn
from docs.drawing import DRAWINGS, LAYERS, MACHINES, WIDTH, transitions

SVG = "{http://www.w3.org/2000/svg}"


def test_the_tables_of_the_page_are_those_of_the_core() -> None:
    text = STATES_MD.read_text()
    assert drawn(text) == text, "run: python tests/diagrams.py"


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_files_are_drawn_from_the_tables(name: str) -> None:
    svg = DRAWINGS[name]().svg()
    assert (IMG / f"{name}.svg").read_text() == svg, "run: python tests/diagrams.py"


@pytest.mark.parametrize("name", MACHINES)
def test_another_transition_is_another_diagram(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, svg = STATES_MD.read_text(), DRAWINGS[name]().svg()
    machine = MACHINES[name]
    for pair, target in machine.table.items():
        other = next(state for state in machine.states if state is not target)
        changed: list[dict[Any, Any]] = [machine.table | {pair: other}, {**machine.table}]
        del changed[1][pair]
        for wrong in changed:
            monkeypatch.setitem(MACHINES, name, machine._replace(table=wrong))
            assert drawn(text) != text
            assert DRAWINGS[name]().svg() != svg


@pytest.mark.parametrize("name", MACHINES)
def test_the_transitions_are_the_table(name: str) -> None:
    machine = MACHINES[name]
    reported = {
        (source.name, given, each.target.name)
        for each in transitions(machine)
        for source in each.sources
        for given in each.inputs
    }
    assert reported == {(a.name, i.name, b.name) for (a, i), b in machine.table.items()}


@pytest.mark.parametrize("name", MACHINES)
def test_each_state_and_each_transition_is_in_the_picture(name: str) -> None:
    machine = MACHINES[name]
    picture = ElementTree.fromstring(DRAWINGS[name]().svg())
    texts = ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]
    assert {state.name for state in machine.states} <= set(texts)
    words = re.findall(r"[A-Z_]{2,}", " ".join(texts))
    for given in machine.inputs:
        times = sum(given.name in each.inputs for each in transitions(machine))
        assert words.count(given.name) == times, given
    # A dot for each state that a line beside the boxes leaves, and one for the beginning.
    order = list(machine.states)
    lines = [
        each
        for each in transitions(machine)
        if not each.is_everywhere(machine)
        and [order.index(source) + 1 for source in each.sources] != [order.index(each.target)]
    ]
    dots = len(list(picture.iter(f"{SVG}circle")))
    assert dots == 1 + sum(len(each.sources) for each in lines)


def test_a_transition_out_of_every_state_is_a_note() -> None:
    notes = {
        name: [
            (each.inputs, each.target.name)
            for each in transitions(machine)
            if each.is_everywhere(machine)
        ]
        for name, machine in MACHINES.items()
    }
    assert notes == {
        "session": [(("CLOSE",), "CLOSING")],
        "channel": [],
        "catch-up": [(("PAUSE",), "PAUSED"), (("LOSE",), "UNCONFIRMED")],
        "user": [(("LOSE",), "SIGNED_OUT")],
        "request": [(("END",), "ENDED")],
        "call": [],
        "stream": [(("CLOSE",), "CLOSING")],
    }


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_phone_shows_it_at_its_full_size(name: str) -> None:
    """No line, box or text goes beyond the picture; a character is as wide as in the widest usual font."""
    picture = ElementTree.fromstring(DRAWINGS[name]().svg())
    assert WIDTH <= 350
    for text in picture.iter(f"{SVG}text"):
        x, width = float(text.get("x", "")), 5.5 * len("".join(text.itertext()))
        left = x - {"start": 0, "middle": width / 2}[text.get("text-anchor", "start")]
        assert 0 <= left <= left + width <= WIDTH
    for line in picture.iter(f"{SVG}path"):
        assert all(0 <= float(x) <= WIDTH for x in re.findall(r"[MH]([\d.]+)", line.get("d", "")))


def test_the_layers_are_those_of_the_architecture_test() -> None:
    rows = {name: row for row, names in enumerate(test_architecture.ROWS) for name in names}
    drawn_rows = [
        {rows[name] for title, _ in row for name in title.split(", ") if name in rows}
        for row in LAYERS
    ]
    found = [row for row in drawn_rows if row]
    assert all(len(row) == 1 for row in found)
    numbers = [row.pop() for row in found]
    assert numbers == sorted(numbers, reverse=True)
    assert set(numbers) == set(rows.values())
