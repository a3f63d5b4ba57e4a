"""docs/reliability.md says what these tests show, and no fault that is known has lost its test."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from faults.table import PAGE, collected, table, whole, with_a_test, with_table
from faults.world import WORLD
from pusher_proto import Options
from pusher_proto._wire.envelope import MAX_DEPTH

IN_THE_CORE = """
N1 N1d N1e N2 N3 N4 N5 N5b N5c N6 N7 N10 N12 N20 N21 N22 N23
P1 P2 P2b P2c P3 P4 P5 P5b P5c P5d P5e P6 P7 P8 P9
M1 M2 M4 M6 M7 M8 M10 M11 M12 M13 M14 M15 M17 M18 M19 M20 M21 M22 M23 M24
U1 U2 U3 U4 U5 U6 U6b U7 U8 U9 U10 U11 U12 U13 U14
C1 C2 C3 C4 C5 C6 C7 C8
R1 R2 R3b R4 R5 R6 R7 R8 R9
K1b K3 K4
A2 A8 A9
"""
"""The faults that bytes and a clock can show."""

AT_A_SOCKET = """
N1b N1c N8 N9 N13 N14 N15 N17 N18 N19 N24
K1 K5
A1 A3 A4 A5 A6 A7
S1 S2
"""
"""Tests that take a socket, a process or a thread."""


def test_the_table_says_what_the_tests_show() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, whole()) == page, "run: python -m tests.faults.table"


def test_every_fault_that_is_known_has_a_test() -> None:
    known = {*IN_THE_CORE.split(), *AT_A_SOCKET.split()}
    assert known <= {fault.id for fault in collected()}


def test_every_report_from_the_world_has_a_test() -> None:
    documented = {27}
    assert list(WORLD) == list(range(1, 43))
    assert set(WORLD) - with_a_test() <= documented


def test_a_fault_without_a_docstring_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_N1_it_breaks() -> None: ...\n")
    with pytest.raises(ValueError, match="test_N1_it_breaks has no docstring"):
        collected(tmp_path)


def test_the_rows_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    names = ("P1_z", "N10_c", "N2b_b", "N2_a")
    tests = [f"async def test_{name}():\n    '''{name[-1]} | so'''\n" for name in names]
    (tmp_path / "test_one.py").write_text("".join(tests) + "def test_other(): ...\n")
    assert [fault.id for fault in collected(tmp_path)] == ["N2", "N2b", "N10", "P1"]
    assert "| N2 | A | a \\| so |\n| N2b | B |" in table(collected(tmp_path))


def test_the_limits_are_those_of_the_options() -> None:
    page = PAGE.read_text(encoding="utf-8")
    reported = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    limits = ("max_", "limit", "_rate", "_queue", "_buffer", "auth_connections")
    defaults = {
        spec.name: str(spec.default)
        for spec in dataclasses.fields(Options)
        if any(part in spec.name for part in limits) and spec.name != "max_attempts"
    }
    assert reported == defaults
    assert f"JSON is decoded to {MAX_DEPTH} levels" in page
