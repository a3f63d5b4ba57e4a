"""Each transcript comes out as it is written down, however the server's bytes arrive."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from proto.websocket_peer import bytewise, whole
from transcripts.player import DIRECTORY, Split, play, read

pytestmark = pytest.mark.timeout(300)

PATHS = sorted(DIRECTORY.glob("*.txt"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)

CUTS = 40
"""Random ways to cut each transcript, beside every place in a short one."""


def at(place: int) -> Split:
    """Cut everything that arrives at this place and at every multiple of it."""
    return lambda data: [data[start : start + place] for start in range(0, len(data), place)]


def anywhere(rng: random.Random) -> Split:
    def split(data: bytes) -> list[bytes]:
        cuts = sorted({0, len(data), *(rng.randint(0, len(data)) for _ in range(5))})
        return [data[start:end] for start, end in pairwise(cuts)]

    return split


def settled(lines: list[str]) -> list[str]:
    """Leave out what is still sent to a server that ends the connection in the same read."""
    groups: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("!"):
            groups.append([])
        groups[-1].append(line)
    for group in groups:
        if any(line.startswith(("<close", "<end")) for line in group):
            group[:] = [line for line in group if line[0] != ">"]
    return [line for group in groups for line in group]


@each
def test_a_transcript_plays_as_it_is_written(path: Path) -> None:
    transcript = read(path.read_text())
    assert play(transcript, whole) == transcript.lines


@each
def test_it_plays_the_same_in_any_pieces(path: Path) -> None:
    transcript = read(path.read_text())
    rng = random.Random(path.stem)
    splits = [bytewise, *(at(place) for place in range(2, 120))]
    splits += [anywhere(rng) for _ in range(CUTS)]
    for split in splits:
        assert settled(play(transcript, split)) == settled(transcript.lines)


def test_there_is_a_transcript_of_each_server() -> None:
    servers = {path.stem.split("-")[0] for path in PATHS}
    assert servers == {"pusher", "pusher_fake", "reverb", "sockudo", "soketi"}


@each
def test_a_transcript_says_what_it_is(path: Path) -> None:
    head = " ".join(read(path.read_text()).head)
    by_hand = path.stem.startswith("pusher") or path.stem == "reverb-stale"
    assert ("written by hand" in head, "recorded" in head) == (by_hand, not by_hand)
