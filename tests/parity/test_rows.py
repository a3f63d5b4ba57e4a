"""Each row has a test named after it, which runs with both clients or says why one suffices."""

from __future__ import annotations

import pytest

from parity import test_seed
from parity.rows import ROWS, Row


def found_for(row: Row) -> list[str]:
    return [name for name in vars(test_seed) if name.startswith(row.prefix)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_each_row_has_a_test_named_after_it(row: Row) -> None:
    assert found_for(row), f"row {row.number} ({row.name}) needs a {row.prefix}... in test_seed.py"


def test_each_test_is_of_a_row() -> None:
    found = {name for name in vars(test_seed) if name.startswith("test_")}
    assert found == {name for row in ROWS for name in found_for(row)}


def test_the_numbers_are_distinct() -> None:
    assert len({row.prefix for row in ROWS}) == len(ROWS)
