"""The table of differences from Pysher in docs/coming-from-pysher.md: each row runs on both packages."""

from __future__ import annotations

import pytest

from coming_from_pysher.differences import DIFFERENCES, PAGE, Difference, drawn
from coming_from_pysher.playing import both


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: f"{row.program}-{row.stage.__name__}")
def test_a_difference_is_what_the_table_says(row: Difference) -> None:
    found = both(row.program, row.stage)
    assert found["pysher"] == row.theirs
    assert found["ours"] == row.ours
    assert row.theirs != row.ours


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text()
    assert drawn(text) == text, "run: python tests/coming_from_pysher/differences.py"
