"""The fuzz targets hold on their corpora, and what fails can be run again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import fuzz.__main__ as program
from fuzz.mutation import minimised, mutated
from fuzz.source import Source, splits
from fuzz.targets import TARGETS

SEEDED = 20
"""Inputs beyond the corpus that are tried on each target."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", TARGETS)
def test_the_invariant_holds_on_the_corpus_and_a_little_beyond(target: str) -> None:
    fuzz_one, corpus = program.target_named(target), program.corpus_of(target)
    rng = random.Random(20261)
    assert corpus
    for data in [*corpus, *(mutated(corpus, rng) for _ in range(SEEDED))]:
        fuzz_one(data)


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_says_first_what_must_hold(target: str) -> None:
    module = __import__(f"fuzz.targets.{target}", fromlist=["fuzz_one"])
    assert len((module.__doc__ or "").split()) > 40


def test_a_corpus_is_small() -> None:
    for target in TARGETS:
        sizes = [len(data) for data in program.corpus_of(target)]
        assert sum(sizes) < 100_000
        assert max(sizes) <= 4096


def test_a_failure_is_made_short_and_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dislikes_x(data: bytes) -> None:
        assert b"x" not in data

    monkeypatch.setattr(program, "FAILURES", tmp_path / "failures")
    monkeypatch.setattr(program, "target_named", lambda _name: dislikes_x)
    monkeypatch.setattr(program, "corpus_of", lambda _name: [b"abc", b"defxghi"])
    assert program.main(["messages", "--seconds", "60"]) == 1
    (kept,) = (tmp_path / "failures").iterdir()
    assert kept.read_bytes() == b"x"
    assert str(kept) in capsys.readouterr().err
    with pytest.raises(AssertionError):
        program.main(["messages", str(kept)])
    kept.write_bytes(b"y")
    assert program.main(["messages", str(kept)]) == 0


def test_the_program_fuzzes_as_long_as_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["secretbox", "--seconds", "0.05"]) == 0
    assert "secretbox:" in capsys.readouterr().out


def test_the_same_seed_makes_the_same_inputs() -> None:
    corpus = [bytes(range(50)), b"", b"hello"]
    first = [mutated(corpus, random.Random(seed)) for seed in range(200)]
    assert first == [mutated(corpus, random.Random(seed)) for seed in range(200)]
    assert len(set(first)) > 100


def test_what_fails_is_cut_to_what_makes_it_fail() -> None:
    assert minimised(b"..a....b..", lambda data: b"a" in data and b"b" in data) == b"ab"
    assert minimised(b"", lambda data: True) == b""


def test_an_input_is_read_to_its_end_and_zeros_follow() -> None:
    source = Source(b"\x02ab\xffrest")
    assert (source.blob(), bool(source), source.blob()) == (b"ab", True, b"rest")
    assert (bool(source), source.number(2), source.one_of("xy"), source.blob()) == (
        False,
        0,
        "x",
        b"",
    )


@pytest.mark.parametrize("size", [0, 1, 2, 399, 400, 1000])
def test_the_pieces_of_an_input_make_it_up(size: int) -> None:
    data = random.Random(size).randbytes(size)
    ways = list(splits(data))
    assert [b"".join(pieces) for pieces in ways] == [data] * 3
    assert len(ways[0]) == min(size, 500)
