"""Each row of docs/parity.md runs on both sides, and says the same."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import pytest

from drivers.runners import RUNNERS
from parity.playing import (
    ROWS,
    Snippet,
    in_node,
    in_python,
    page_rows,
    play_other,
    play_ours,
    scene,
)
from soketi.harness import SERVER


def rows(*clients: str, both: bool = False) -> pytest.MarkDecorator:
    chosen = [
        each for client in clients for each in ROWS.get(client, []) if each.theirs or not both
    ]
    return pytest.mark.parametrize("row", chosen, ids=lambda row: f"{row.client}: {row.row}")


RUNNERS_OF = {"pusher-js": RUNNERS, "dart_pusher_channels": RUNNERS, "Pysher": ("blocking",)}
"""Where rows run: those of the client that this one has to match, and of the largest other one, everywhere; those of
Pysher are written in blocking code. The others run on asyncio, since both clients have the same names."""


@pytest.mark.parametrize(
    ("row", "runner"),
    [
        pytest.param(row, runner, id=f"{row.client}: {row.row}-{runner}")
        for client in ROWS
        for row in ROWS[client]
        for runner in RUNNERS_OF.get(client, ("asyncio",))
    ],
)
def test_a_row_on_this_client(row: Snippet, runner: str) -> None:
    with scene() as found:
        play_ours(row.ours, found, runner)
    assert found.lines == row.says


@rows("pusher-js", both=True)
def test_a_row_on_pusher_js(row: Snippet, soketi_ready: None) -> None:
    with scene() as found:
        assert row.theirs is not None
        play_other(in_node(SERVER, found), row.theirs, found)
    assert found.lines == row.theirs_says


def said_in_python(row: Snippet) -> list[list[object]]:
    with scene() as found:
        assert row.theirs is not None
        play_other(in_python(row.client, found), row.theirs, found)
    return found.lines


@rows("Pysher", both=True)
def test_a_row_on_pysher(row: Snippet) -> None:
    assert said_in_python(row) == row.theirs_says


@cache
def said_on_asyncpusher() -> dict[str, Future[list[list[object]]]]:
    """Begin all rows of asyncpusher side by side: each sleeps for seconds."""
    pool = ThreadPoolExecutor(8)
    played = {row.row: pool.submit(said_in_python, row) for row in ROWS["asyncpusher"]}
    pool.shutdown(wait=False)
    return played


@rows("asyncpusher", both=True)
def test_a_row_on_asyncpusher(row: Snippet) -> None:
    assert said_on_asyncpusher()[row.row].result() == row.theirs_says


@pytest.mark.parametrize("client", ROWS)
def test_the_page_and_the_snippets_have_the_same_rows(client: str) -> None:
    assert [row for row, _ in page_rows(client)] == [each.row for each in ROWS[client]]


def words(text: str) -> set[str]:
    """Return the names in the code of a cell, or in a snippet."""
    return set(re.findall(r"[A-Za-z_]\w+", text))


def in_code(cell: str) -> set[str]:
    spans: list[str] = re.findall(r"`([^`]+)`", cell)
    return words(" ".join(spans)) - {"endpoint"}


@pytest.mark.parametrize("client", ROWS)
def test_the_names_on_the_page_are_in_the_snippets(client: str) -> None:
    for (theirs, ours), row in zip(page_rows(client), ROWS[client], strict=True):
        # here(...) returns Options for the test server.
        used = words(row.ours) | ({"Options"} if "here(" in row.ours else set())
        assert in_code(ours) - used == set(), theirs
        if row.theirs is not None:
            assert in_code(theirs) - words(row.theirs) == set(), theirs
