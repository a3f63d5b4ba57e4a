"""The drivers in examples/ for event loops that are neither anyio's nor ours, each run against our own server."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import (
    ChannelEvent,
    Closed,
    ConnectionLost,
    Event,
    Session,
    Subscribed,
    SubscriptionFailed,
)

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["embed_tornado", "embed_tkinter"])
def test_a_driver_has_fewer_than_eighty_lines(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text()
    (driver,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    lines = source.splitlines()[driver.lineno - 1 : driver.end_lineno]
    assert len([line for line in lines if line.strip()]) < 80


class Story:
    """A session in a foreign loop: a drop, a refused channel, and an orderly close."""

    def __init__(self, server: ServerInThread) -> None:
        self.server = server
        self.session = Session(server.options(auth_endpoint=True, retry_base=0.01))
        self.got: list[Any] = []
        self.lost = 0
        self.failed = 0
        self.over = False
        self.tell: Any = None
        self.stop: Any = None

    def on_event(self, event: Event) -> None:
        match event:
            case Subscribed("private-room"):
                self.server.publish("private-room", "n", len(self.got))
            case ChannelEvent(name="n"):
                self.got.append(event.data)
                if len(self.got) == 1:
                    # The third way of an end that a driver meets beside its own: a reset.
                    self.server.drop()
                else:
                    self.tell(self.session.close)
            case ConnectionLost():
                self.lost += 1
            case SubscriptionFailed():
                self.failed += 1
            case Closed():
                self.over = True
                self.stop()


@contextmanager
def tcl_loop() -> Iterator[Any]:
    """The loop of tkinter without a window, which needs no display. It quits by itself after half a minute."""
    tkinter = pytest.importorskip("tkinter", reason="this Python was built without tkinter")
    root = tkinter.Tcl()
    root.after(30_000, root.quit)
    try:
        yield root
    finally:
        # All interpreters of a thread share one loop: what is left of this one would be called in the next.
        root.eval("foreach id [after info] {after cancel $id}")


def test_tornado_drives_a_session(pusher_server: ServerInThread) -> None:
    pytest.importorskip("tornado", reason="tornado is not installed (pip install -e '.[test]')")
    story = Story(pusher_server)
    pusher_server.refuse_channel("refused")

    async def play() -> None:
        done = asyncio.Event()
        driver = example("embed_tornado").Driver(story.session, story.on_event)
        story.tell, story.stop = driver.tell, done.set
        driver.tell(story.session.subscribe, "private-room")
        driver.tell(story.session.subscribe, "refused")
        await asyncio.wait_for(done.wait(), 30)
        driver.loop.remove_timeout(driver.timer)
        assert driver.streams == {}

    asyncio.run(play())
    assert (story.got, story.lost, story.over) == ([0, 1], 1, True)
    assert story.failed >= 1
    pusher_server.expect_connections(0)


def test_tkinters_loop_drives_a_session(pusher_server: ServerInThread) -> None:
    story = Story(pusher_server)
    pusher_server.refuse_channel("refused")
    with tcl_loop() as root:
        driver = example("embed_tkinter").Driver(root, story.session, story.on_event)
        story.tell, story.stop = driver.tell, root.quit
        driver.tell(story.session.subscribe, "private-room")
        driver.tell(story.session.subscribe, "refused")
        root.mainloop(-1)
    assert (story.got, story.lost, story.over) == ([0, 1], 1, True)
    assert story.failed >= 1
    assert driver.streams == {}
    pusher_server.expect_connections(0)


@pytest.mark.parametrize("name", ["embed_tornado", "embed_tkinter"])
def test_a_connection_that_is_refused_is_tried_again(name: str) -> None:
    """The port of a server that has gone: each driver says so, and the session keeps trying."""
    with_loop = {"embed_tornado": _tornado, "embed_tkinter": _tkinter}[name]
    with serve_in_thread() as gone:
        options = gone.options(retry_base=0.01, retry_cap=0.02)
    lost: list[ConnectionLost] = []

    def on_event(event: Event) -> Any:
        if isinstance(event, ConnectionLost):
            lost.append(event)
        return len(lost) == 3 or None

    with_loop(Session(options), on_event)
    assert len(lost) >= 3
    assert {each.will_retry for each in lost} == {True}


def _tornado(session: Session, enough: Any) -> None:
    pytest.importorskip("tornado", reason="tornado is not installed (pip install -e '.[test]')")

    async def play() -> None:
        done = asyncio.Event()

        def on_event(event: Event) -> None:
            if enough(event):
                done.set()

        driver = example("embed_tornado").Driver(session, on_event)
        await asyncio.wait_for(done.wait(), 30)
        driver.tell(session.close)
        driver.loop.remove_timeout(driver.timer)

    asyncio.run(play())


def _tkinter(session: Session, enough: Any) -> None:
    with tcl_loop() as root:
        example("embed_tkinter").Driver(root, session, lambda event: enough(event) and root.quit())
        root.mainloop(-1)


def test_the_program_for_tornado_prints_events(pusher_server: ServerInThread) -> None:
    pytest.importorskip("tornado", reason="tornado is not installed (pip install -e '.[test]')")
    url = f"ws://{pusher_server.host}:{pusher_server.port}/app/demo"
    program = subprocess.Popen(
        [sys.executable, EXAMPLES / "embed_tornado.py", url, "prices"],
        stdout=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(30, program.kill)
    killer.start()
    try:
        pusher_server.expect_subscribed("prices", timeout=20)
        pusher_server.publish("prices", "price", {"cents": 250})
        assert program.stdout is not None
        lines = iter(program.stdout.readline, "")
        assert any("ChannelEvent(channel='prices', name='price'" in line for line in lines)
    finally:
        killer.cancel()
        program.terminate()
        program.communicate()
