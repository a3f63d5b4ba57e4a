"""The files, folders and functions that docs/architecture.md and docs/mutation.md name exist; each room is shown."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from proto.fake_client import publish, room
from proto.scripted import connected
from proto.test_channel import calls_of
from pusher_proto import AuthEndpoint, OpenTransport

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


def walk(title: str) -> list[tuple[str, str]]:
    """Return the steps of a walk in the core, without the driver's, as `calls_of` returns them."""
    section = PAGE.partition(f"## {title}")[2].partition("\n## ")[0]
    steps = re.findall(r"\| `(src/[\w/.]+\.py)` \| `([\w.]+)` \|$", section, re.MULTILINE)
    core = [step for step in steps if "pusher_proto" in step[0] and "/driving/" not in step[0]]
    return [(Path(path).name, name.split(".")[-1]) for path, name in core]


def test_a_byte_takes_the_steps_of_the_page() -> None:
    world, _, channel = room()
    stream = channel.events("price")
    called = calls_of(lambda: publish(world, 7))
    assert [event.data for event in stream.ready()] == [7]
    steps = walk("A byte on its way to a handler")
    assert len(steps) >= 8
    assert [step for step in steps if step not in called] == []


def test_a_subscribe_takes_the_steps_of_the_page_in_their_order() -> None:
    script = connected(auth=AuthEndpoint("http://auth.test/"))
    session, now = script.session, script.now
    body = b'{"auth":"key:signature"}'
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def subscribe() -> None:
        session.subscribe("private-a", now=now)
        opened = session.next_effect()
        assert isinstance(opened, OpenTransport)
        session.transport_opened(opened.transport, now=now)
        session.receive_data(opened.transport, response, now=now)

    called = iter(calls_of(subscribe))
    steps = walk("A `subscribe` on its way to the wire")[1:]  # without the client's
    assert len(steps) >= 14
    assert [step for step in steps if step not in called] == []  # `in` moves on to the step


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
