"""The files, folders and functions that docs/architecture.md and docs/mutation.md name exist; each room is shown."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEPS = re.findall(r"\| `(src/[\w/.]+\.py)` \| (?:`([\w.]+)`)? ?\|$", PAGE, re.MULTILINE)
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "pusher_proto").glob("*/__init__.py"))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:src|tests)/[\w/.]+)`", PAGE))))
def test_each_named_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("path", "name"), [step for step in STEPS if step[1]])
def test_each_named_function_exists(path: str, name: str) -> None:
    body: list[ast.stmt] = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    for part in name.split("."):
        found = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == part
        ]
        assert found, f"{path} has no {name}"
        body = found[0].body


def test_both_walks_are_there() -> None:
    assert len(STEPS) >= 25


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_shown_and_described(room: str) -> None:
    assert f"`src/pusher_proto/{room}/`" in PAGE
    docstring = ast.get_docstring(
        ast.parse((ROOT / "src" / "pusher_proto" / room / "__init__.py").read_text())
    )
    assert docstring
    assert docstring.count(".") >= 2, "say what the room is for and what it may know"


def test_every_example_is_on_the_site() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"literalinclude\} \.\./examples/(\w+\.py)", page))
    assert shown == {path.name for path in (ROOT / "examples").glob("*.py")}


def test_the_settings_of_mutation_testing_name_files() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    named = [*settings["only_mutate"], *settings["pytest_add_cli_args_test_selection"]]
    assert [path for path in named if not (ROOT / path).exists()] == []
    page = (ROOT / "docs" / "mutation.md").read_text()
    modules = re.findall(r"`((?:_\w+/)?\w+\.py)`", page)
    assert [path for path in modules if not (ROOT / "src" / "pusher_proto" / path).exists()] == []
