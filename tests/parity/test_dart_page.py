"""The examples of docs/coming-from-dart.md run, and print what the Dart beside them prints.

What Dart prints is in the comments of its examples: `print(options.uri); // wss://...`, or on a separate line. The
metadata of the URLs is set to that of the other client's README.
"""

from __future__ import annotations

import asyncio
import logging
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

import pusher_anyio
import pusher_proto
import pusher_proto.options
from pusher_anyio import open_pusher
from pusher_anyio.testing import RunningServer, ServerInThread, serve, serve_in_thread
from pusher_proto import AuthEndpoint, Options
from pusher_proto.testing import App, Server, ServerOptions

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-dart.md"
BLOCKS = re.findall(r"```(dart|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
PAIRS = [
    (dart, python)
    for (kind, dart), (other, python) in pairwise(BLOCKS)
    if (kind, other) == ("dart", "python")
]
APP = App(id="1", key="demo", secret="demo-secret", encryption_master_key=bytes(32))
USER = {"id": "7", "user_info": {"name": "Ann"}}
ENDPOINT = "https://test.pusher.com/pusher/auth"


def printed_by_dart(block: str) -> list[str]:
    """Return the comments that say what `print` prints."""
    found: list[str] = []
    printing = False
    for line in block.splitlines():
        code, _, comment = line.partition(" // ")
        if line.strip().startswith("// "):
            code, comment = "", line.strip().removeprefix("// ")
        printing = printing or "print(" in code
        if comment and printing:
            found.append(comment)
            printing = False
    return found


def where(kind: str) -> list[Any]:
    chosen: dict[str, list[Any]] = {"options": [], "program": [], "part": []}
    for number, (dart, python) in enumerate(PAIRS):
        name = "part"
        if re.match("import|from", python):
            name = "program" if "open_pusher(" in python else "options"
        chosen[name].append(pytest.param(dart, python, id=str(number)))
    return chosen[kind]


def machine() -> Server:
    return Server([APP], ServerOptions(auth_user=lambda _: USER))


def step(server: RunningServer | ServerInThread, number: int) -> None:
    """Publish on all channels of the page, and let another member come and go."""
    server.publish("private-channel", "private-MyEvent", {})
    for name in ("public-MyChannel", "public-channel"):
        server.publish(name, "public-MyEvent", {})
    server.publish("private-encrypted-channel", "my-event", "psst")
    if number % 20 == 10:
        server.join("presence-channel", "8")
    if number % 20 == 0:
        server.leave("presence-channel", "8")


def test_every_example_has_its_twin() -> None:
    assert [kind for kind, _ in BLOCKS] == ["dart", "python"] * len(PAIRS)
    assert len(PAIRS) >= 14


@pytest.mark.parametrize(("dart", "python"), where("options"))
def test_options_and_settings(
    dart: str, python: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pusher_proto.options, "CLIENT", "dart")
    monkeypatch.setattr(pusher_proto.options, "__version__", "0.8.0")
    monkeypatch.setattr(logging, "basicConfig", lambda: None)
    logger = logging.getLogger("pusher_proto")
    level = logger.level
    try:
        exec(compile(python, PAGE.name, "exec"), {})
    finally:
        logger.setLevel(level)
    assert capsys.readouterr().out.splitlines() == printed_by_dart(dart)


@contextmanager
def here(server: RunningServer | ServerInThread) -> Iterator[pytest.MonkeyPatch]:
    """Let options and the endpoint of the page lead to the test server."""

    def options(*_: object, key: str, auth: Any = None, **more: Any) -> Options:
        return server.options(APP, auth=auth, **more)

    def endpoint(url: str, **more: Any) -> AuthEndpoint:
        assert url == ENDPOINT
        return AuthEndpoint(server.auth_url, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Options, "from_cluster", options)
        patch.setattr(pusher_proto, "AuthEndpoint", endpoint)
        patch.setattr(pusher_anyio, "AuthEndpoint", endpoint)
        yield patch


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("dart", "python"), where("part"))
async def test_parts_of_programs(dart: str, python: str) -> None:
    printed: list[str] = []
    names: dict[str, Any] = {name: getattr(pusher_proto, name) for name in pusher_proto.__all__}
    names["print"] = lambda *values: printed.append(" ".join(map(str, values)))

    async def publish(server: RunningServer) -> None:
        number = 0
        while True:
            number += 1
            step(server, number)
            await anyio.sleep(0.02)

    async with serve(machine()) as server, anyio.create_task_group() as group:
        with here(server), anyio.fail_after(20):
            names["AuthEndpoint"] = pusher_proto.AuthEndpoint
            code = f"async def example(client):\n{textwrap.indent(python, '    ')}"
            exec(compile(code, PAGE.name, "exec"), names)
            async with open_pusher(server.options(APP, auth_endpoint=True)) as client:
                group.start_soon(publish, server)
                await names["example"](client)
                if "trigger(" in python:
                    await client.flush(5)
                    assert server.sent("client-event")[0].data == {"hello": "Hello"}
        group.cancel_scope.cancel()
    assert printed == printed_by_dart(dart)


@pytest.mark.parametrize(("dart", "python"), where("program"))
def test_programs(dart: str, python: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async def publish() -> None:
            number = 0
            while True:
                number += 1
                step(server, number)
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(publish())
        try:
            async with asyncio.timeout(20):
                await names["main"]()
        finally:
            publishing.cancel()

    with serve_in_thread(machine()) as server, here(server) as patch:
        names: dict[str, Any] = {}
        run = asyncio.run
        patch.setattr(asyncio, "run", lambda coroutine: coroutine.close())
        exec(compile(python, PAGE.name, "exec"), names)
        run(main())
        if "trigger(" in python:
            assert server.sent("client-event")[0].data == {"hello": "Hello"}
    assert capsys.readouterr().out.splitlines() == printed_by_dart(dart)


def test_what_dart_prints_is_read_from_comments() -> None:
    block = "// a title\nprint(one); // 1\nf() {\n  print(two);\n  // 2\n}\nrun(); // nothing\n"
    assert printed_by_dart(block) == ["1", "2"]
