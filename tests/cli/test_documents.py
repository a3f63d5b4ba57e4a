"""docs/cli.md and the picture in docs/img agree with the command line."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pusher_anyio.cli._arguments import Exit
from pusher_anyio.cli._help import EXAMPLES, STATUSES
from pusher_anyio.cli._program import parse

from .test_demo import assert_prints_the_demo

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "cli.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition(" | ")[0].partition(" > ")[0]
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_the_exit_statuses_are_those_of_the_help() -> None:
    documented = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.MULTILINE)
    helped = re.findall(r"(?:^|, )(\d+) ", STATUSES.replace("\n", " "))
    assert [status for status, _ in documented] == helped
    assert sorted(map(int, helped)) == sorted(Exit)


def test_each_command_has_its_own_part() -> None:
    assert [
        name for name in re.findall(r"^## (.*)$", TEXT, re.MULTILINE) if name in EXAMPLES
    ] == list(EXAMPLES)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_in_it_make_sense(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "pusher-proto"
    assert parse(arguments).command in EXAMPLES


def test_the_picture_shows_the_demo_as_it_is() -> None:
    image = ET.parse(DOCS / "img" / "demo.svg").getroot()
    lines: dict[float, str] = {}
    for text in image.iter("{http://www.w3.org/2000/svg}text"):
        at = float(text.get("y", "0"))
        lines[at] = lines.get(at, "") + (text.text or "").replace("\xa0", " ")
    shown = "\n".join(lines[at] for at in sorted(lines))
    assert "$ pusher-proto demo" in shown
    assert_prints_the_demo(shown)
