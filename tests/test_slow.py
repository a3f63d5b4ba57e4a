"""The tests that tests/slow.py names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slow import FIXTURES, LONGEST

TESTS = Path(__file__).parent
FILES = [*TESTS.glob("*/conftest.py"), *TESTS.glob("*/test_*.py"), *TESTS.glob("test_*.py")]


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_that_makes_tests_slow_is_there(name: str) -> None:
    fixture = re.compile(rf"@pytest\.fixture.*\ndef {name}\(")
    assert any(fixture.search(file.read_text("utf-8")) for file in FILES)


@pytest.mark.parametrize("name", FIXTURES)
def test_no_parameter_of_a_test_has_its_name(name: str) -> None:
    parameter = re.compile(rf"parametrize\(\s*\"{name}\"")
    assert [file for file in FILES if parameter.search(file.read_text("utf-8"))] == []


@pytest.mark.parametrize("path", LONGEST)
def test_a_file_that_begins_first_is_there(path: str) -> None:
    assert (TESTS / path.removeprefix("tests/")).is_file()
