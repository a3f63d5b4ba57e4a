"""The README, the driver in docs/embedding.md and the tables of docs/limits.md agree with the code."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import pytest

import pusher_proto
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import AuthEndpoint, ChannelEvent, Event, Options, Session
from pusher_proto.driving import WireStream

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
EMBEDDING = (ROOT / "docs" / "embedding.md").read_text()
LIMITS = (ROOT / "docs" / "limits.md").read_text()


class Enough(Exception):
    """Raised by the example's `print`, to end a loop that has no end."""


def block(containing: str, text: str = TEXT) -> str:
    """Return the one Python block of a page that contains this text."""
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (found,) = (one for one in blocks if containing in one)
    return str(found)


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


@contextmanager
def published(server: ServerInThread, channel: str, event: str = "price") -> Iterator[None]:
    """Publish one event in the background, as soon as a client is subscribed."""

    def publish() -> None:
        server.wait_until(lambda machine: machine.subscriptions(channel))
        server.publish(channel, event, {"of": "tea"})

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize(
    "mark", ["import anyio\n", "from pusher_sync import Options, open_pusher\n\noptions"]
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


def test_the_program_with_a_private_channel_prints_an_event(
    server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[object] = []

    def print_(value: object) -> None:
        printed.append(value)
        raise Enough

    def for_reverb(host: str, *, key: str, auth: AuthEndpoint) -> Options:
        assert (host, key) == ("reverb.example", "YOUR_KEY")
        assert auth.url == "https://app.example/broadcasting/auth"
        return server.options(auth_endpoint=True)

    monkeypatch.setattr(Options, "for_reverb", for_reverb)
    names: dict[str, Any] = {"print": print_}
    exec(compile(block("async def listen("), "README.md", "exec"), names)
    with published(server, "private-orders", "OrderShipped"), pytest.raises(Enough):
        anyio.run(names["listen"], "token")
    assert printed == [{"of": "tea"}]


def test_the_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


@pytest.mark.parametrize("name", ["drive", "run", "listen"])
def test_the_driver_for_embedding_receives_events_and_survives_a_lost_connection(
    server: ServerInThread, name: str
) -> None:
    names: dict[str, Any] = {"__name__": "embedding"}
    exec(compile(block(f"def {name}(", EMBEDDING), "docs/embedding.md", "exec"), names)
    drive: Callable[[Session, Callable[[Event], None]], Any] = names[name]
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

    if inspect.iscoroutinefunction(drive):
        asyncio.run(drive(session, on_event))
    else:
        drive(session, on_event)
    assert got == [{"n": 0}, {"n": 1}]


def test_the_driver_for_embedding_moves_bytes_over_a_stream_that_is_awaited(
    server: ServerInThread,
) -> None:
    names: dict[str, Any] = {"__name__": "embedding", "anyio": anyio, "WireStream": WireStream}
    exec(compile(block("async def listen(session", EMBEDDING), "docs/embedding.md", "exec"), names)
    exec(compile(dedent(block("WireStream(wire, ", EMBEDDING)), "docs/embedding.md", "exec"), names)
    names["Asyncio"].move = names["move"]
    session = Session(server.options())
    session.subscribe("room", now=0)
    got: list[Event] = []

    def on_event(event: Event) -> None:
        got.append(event)
        if isinstance(event, pusher_proto.Subscribed):
            session.close(now=0)

    asyncio.run(names["listen"](session, on_event))
    assert any(isinstance(event, pusher_proto.Subscribed) for event in got)


def test_the_driver_for_embedding_is_about_forty_lines_of_code() -> None:
    code = [line for line in block("def drive(", EMBEDDING).splitlines() if line.strip()]
    assert (
        len(code) <= 66
    )  # a match statement and a select loop; forty without imports and answers to errors


def test_the_table_of_limits_agrees_with_the_options() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", LIMITS, re.MULTILINE))
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
