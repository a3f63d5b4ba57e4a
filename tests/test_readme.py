"""What the README says is true: its programs run, its commands exist, its tables agree with the code."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import pusher_proto
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import ChannelEvent, Event, Options, OwnKey, Session

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text()


class Enough(Exception):
    """Raised by the example's `print`, to end a loop that has no end."""


def block(containing: str) -> str:
    """Return the one Python block of the README in which this text stands."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (found,) = (one for one in blocks if containing in one)
    return str(found)


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


@contextmanager
def published(server: ServerInThread, channel: str) -> Iterator[None]:
    """Publish one event in the background, as soon as somebody is subscribed."""

    def publish() -> None:
        server.wait_until(lambda machine: machine.subscriptions(channel))
        server.publish(channel, "price", {"of": "tea"})

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize(
    "mark", ["import anyio\n", "from pusher_sync import open_pusher\n\noptions"]
)
def test_the_ten_line_programs_print_an_event(
    mark: str, server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[tuple[object, ...]] = []

    def print_(*values: object) -> None:
        printed.append(values)
        raise Enough

    monkeypatch.setattr(Options, "from_cluster", lambda _cluster, key: server.options())
    with published(server, "prices"), pytest.raises(Enough):
        exec(compile(block(mark), "README.md", "exec"), {"print": print_, "__name__": "readme"})
    assert printed == [("price", {"of": "tea"})]


def test_the_ways_to_get_an_authorization_make_options() -> None:
    names: dict[str, Any] = {"token": lambda: "secret-token"}
    exec(
        compile(
            block("from pusher_proto import AuthEndpoint, Options, OwnKey"), "README.md", "exec"
        ),
        names,
    )
    assert isinstance(names["options"].auth, OwnKey)


def test_the_driver_for_embedding_receives_events_and_survives_a_lost_connection(
    server: ServerInThread,
) -> None:
    names: dict[str, Any] = {}
    exec(compile(block("def drive("), "README.md", "exec"), names)
    drive: Callable[[Session, Callable[[Event], None]], None] = names["drive"]
    session = Session(server.options(auth_endpoint=True, retry_base=0.01))
    session.subscribe("private-room", now=0)
    got: list[Any] = []

    def on_event(event: Event) -> None:
        if isinstance(event, pusher_proto.Subscribed):
            server.publish("private-room", "ev", {"n": len(got)})
        if isinstance(event, ChannelEvent):
            got.append(event.data)
            if len(got) == 1:
                server.drop()
            else:
                session.close(now=0)

    drive(session, on_event)
    assert got == [{"n": 0}, {"n": 1}]


def test_the_driver_for_embedding_is_about_forty_lines_of_code() -> None:
    code = [line for line in block("def drive(").splitlines() if line.strip()]
    assert (
        len(code) <= 66
    )  # a match statement and a select loop; forty without imports and answers to errors


def test_the_table_of_limits_agrees_with_the_options() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", TEXT, re.MULTILINE))
    numbers = {
        field.name: str(field.default)
        for field in dataclasses.fields(Options)
        if field.type in ("int", "float", "int | None") and field.name != "port"
    }
    assert rows == numbers


def test_every_name_of_the_package_that_the_readme_uses_exists() -> None:
    imported = re.findall(r"from (pusher_\w+) import ([\w, ]+)", TEXT)
    assert imported
    for module, names in imported:
        package = __import__(module)
        assert [n for n in names.split(", ") if not hasattr(package, n)] == []
