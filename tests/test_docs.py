"""Every Python block of the documentation runs, against the included server; every command in it exists.

A block that begins with an import is a program: it is run as a module, until it ends or prints something. Any other
block is a piece of one: it is run with an open client `client` and the names that its page speaks of.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pusher
import pytest
from hypothesis import Phase, settings

import pusher_anyio
import pusher_anyio.testing
import pusher_proto
import pusher_proto.client
import pusher_proto.laravel
import pusher_proto.testing
import pusher_sync
import pusher_sync.testing
from docs.tabs import blocking, examples, tabbed
from pusher_anyio import open_pusher
from pusher_anyio.testing import RunningServer, ServerInThread, serve, serve_in_thread
from pusher_proto import Options, OwnKey, vocabulary
from pusher_proto.testing import DEMO_APP, Server, ServerOptions

ROOT = Path(__file__).parents[1]
# Pages whose programs are tested where what they describe is tested.
ELSEWHERE = {
    "certificates", "cli", "coming-from-dart", "coming-from-pysher",
    "fuzzing", "laravel", "mutation", "observing", "parity", "performance", "reliability", "servers", "states",
    "testing",
}  # fmt: skip
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem not in ELSEWHERE)
BLOCKS = [
    (path.name, number, block)
    for path in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
]
IN_BLOCKING_CODE = [
    (path.name, number, block)
    for path in PAGES
    for number, block in enumerate(examples(path.stem, path.read_text()))
]
IS_PROGRAM = re.compile(r"(import|from) ")
USER = {"id": "7", "user_info": {"name": "Ann"}, "watchlist": ["8"]}


def blocks(of: list[tuple[str, int, str]] = BLOCKS, *, programs: bool) -> list[Any]:
    return [
        pytest.param(block, id=f"{page}-{number}")
        for page, number, block in of
        if bool(IS_PROGRAM.match(block)) is programs
    ]


# Pieces of a program


async def keep_publishing(server: RunningServer) -> None:
    """Publish on all the channels of the pages until it is cancelled."""
    while True:
        server.publish("prices", "price", {"of": "tea", "cents": 250})
        server.publish("private-orders", "order", {"id": 7})
        server.publish("private-encrypted-notes", "note", {"text": "psst"})
        server.send_to_user("7", "greeting", {"hello": "Ann"})
        await anyio.sleep(0.01)


async def keep_joining(server: RunningServer) -> None:
    """Let another member come to the presence channel and go again."""
    member = {"user_id": "8", "user_info": {"name": "Bob"}}
    options = server.options(auth=OwnKey(DEMO_APP.key, DEMO_APP.secret, member=member))
    async with open_pusher(options) as other:
        while True:
            await other.subscribe("presence-room").wait_subscribed()
            await anyio.sleep(0.01)
            other.unsubscribe("presence-room")
            await anyio.sleep(0.01)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("block", blocks(programs=False))
async def test_each_piece_of_a_program_runs(block: str) -> None:
    printed: list[Any] = []
    fetched: list[Any] = []

    async def fetch_what_was_missed(*what: object) -> None:
        fetched.append(what)

    names = {name: getattr(pusher_proto, name) for name in pusher_proto.__all__}
    names |= {
        "anyio": anyio,
        "msgspec": msgspec,
        "re": re,
        "fetch_what_was_missed": fetch_what_was_missed,
    }
    names["print"] = lambda *values: printed.append(values)
    code = (
        f"async def example(client, prices, orders, room, notes):\n{textwrap.indent(block, '    ')}"
    )
    exec(compile(code, "docs", "exec"), names)
    async with (
        serve(Server(options=ServerOptions(auth_user=lambda _: USER))) as server,
        open_pusher(server.options(auth_endpoint=True)) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(keep_publishing, server)
        group.start_soon(keep_joining, server)
        wanted = ("prices", "private-orders", "presence-room", "private-encrypted-notes")
        with anyio.fail_after(30):
            await names["example"](client, *(client.subscribe(name) for name in wanted))
        group.cancel_scope.cancel()
    assert printed or not prints_by_itself(block)


@pytest.mark.parametrize("block", blocks(IN_BLOCKING_CODE, programs=False))
def test_each_piece_of_a_program_runs_in_blocking_code(block: str) -> None:
    printed: list[Any] = []
    names = {name: getattr(pusher_proto, name) for name in pusher_proto.__all__}
    names |= {
        "msgspec": msgspec,
        "re": re,
        "time": time,
        "fetch_what_was_missed": lambda *_: None,
        "print": lambda *values: printed.append(values),
    }
    code = f"def example(client, prices, orders, room, notes):\n{textwrap.indent(block, '    ')}"
    exec(compile(code, "docs", "exec"), names)
    with (
        serve_in_thread(Server(options=ServerOptions(auth_user=lambda _: USER))) as server,
        pusher_sync.open_pusher(server.options(auth_endpoint=True)) as client,
        publishing(server),
    ):
        wanted = ("prices", "private-orders", "presence-room", "private-encrypted-notes")
        names["example"](client, *(client.subscribe(name) for name in wanted))
    assert printed or not prints_by_itself(block)


def prints_by_itself(block: str) -> bool:
    """Return whether a piece prints something that is not in a handler or an answer to an error."""
    module = ast.parse(f"async def example():\n{textwrap.indent(block, '    ')}")
    apart = (ast.FunctionDef, ast.Lambda, ast.ExceptHandler)

    def found(node: ast.AST) -> bool:
        if isinstance(node, ast.Name) and node.id == "print":
            return True
        nested = isinstance(node, ast.AsyncFunctionDef) and node.name != "example"
        if nested or isinstance(node, apart):
            return False
        return any(found(child) for child in ast.iter_child_nodes(node))

    return found(module)


# Programs


class Enough(Exception):
    """Raised by the `print` of a program, to end a loop that has no end."""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Restore the environment variables that a program of a page sets."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread(Server(options=ServerOptions(auth_user=lambda _: USER))) as running:
        yield running


@contextmanager
def publishing(server: ServerInThread) -> Iterator[None]:
    """Publish in the background, and let another member join and leave."""
    over = threading.Event()

    def publish() -> None:
        while not over.wait(0.01):
            server.publish("prices", "price", {"of": "tea", "cents": 250})
            server.publish("private-orders", "order", {"id": 7})
            server.publish("private-encrypted-notes", "note", {"text": "psst"})
            server.send_to_user("7", "greeting", {"hello": "Ann"})
            server.join("presence-room", "8", {"name": "Bob"})
            server.leave("presence-room", "8")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Elsewhere:
    """The parts of a program that the page does not show: an API, an HTTP client, tokens."""

    status_code = 200

    def __init__(self, server: ServerInThread) -> None:
        self._server = server

    def authorization(self, socket_id: str, channel: str) -> dict[str, str]:
        request = pusher_proto.AuthRequest(socket_id, channel)
        return {"auth": OwnKey(DEMO_APP.key, DEMO_APP.secret).authorization(request).auth}

    def answered(
        self, _url: str, fields: Any = None, *, data: Any = None, headers: Any = None
    ) -> Any:
        if data is None:
            return self.authorization(fields["socket"], fields["channel"])
        assert headers == {"Authorization": "Bearer now"}
        self.answer = self.authorization(data["socket_id"], data["channel_name"])
        return self

    def json(self) -> dict[str, str]:
        return self.answer

    async def post(self, *given: Any, **more: Any) -> Any:
        return self.answered(*given, **more)

    async def current(self) -> str:
        return "now"


class ElsewhereInBlockingCode(Elsewhere):
    """The same without `await`."""

    def post(self, *given: Any, **more: Any) -> Any:
        return self.answered(*given, **more)

    def current(self) -> Any:
        return "now"


@pytest.mark.filterwarnings("default::DeprecationWarning")  # other packages' own, such as FastAPI's
@pytest.mark.parametrize(
    "block", [*blocks(programs=True), *blocks(IN_BLOCKING_CODE, programs=True)]
)
def test_each_program_runs(
    block: str, server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[tuple[object, ...]] = []

    def print_(*values: object) -> None:
        printed.append(values)
        raise Enough

    def options(*_: object, key: str = "", **more: Any) -> Options:
        return real(auth=more.pop("auth", None), **more)

    def real(**more: Any) -> Options:
        if more["auth"] is None:  # else a public channel would do with less than the page shows
            del more["auth"]
        elif isinstance(more["auth"], OwnKey):
            more["auth"] = OwnKey(DEMO_APP.key, DEMO_APP.secret, master_key=bytes(32))
        return server.options(**more)

    for way in ("from_cluster", "from_host", "from_url"):
        monkeypatch.setattr(Options, way, options)
    for package in (pusher_anyio, pusher_sync):  # so that `print` in a handler ends the program
        opened = functools.partial(package.open_pusher, on_handler_error="raise")
        monkeypatch.setattr(package, "open_pusher", opened)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # of the test's own process
    real_context = ssl.create_default_context()
    monkeypatch.setattr(
        "ssl.create_default_context", lambda cafile: real_context
    )  # there is no file
    monkeypatch.setattr(pusher, "Pusher", lambda **given: backend(server, given))
    elsewhere = (Elsewhere if "async def" in block else ElsewhereInBlockingCode)(server)
    names: dict[str, Any] = {"print": print_, "log_in": lambda: "second", "__name__": "docs"}
    names |= dict.fromkeys(("api", "http", "tokens"), elsewhere)
    with publishing(server):
        try:
            exec(compile(block, "docs", "exec"), names)
            for name in ("main", "test_a_gap_is_reported"):
                function = names.get(name)
                if function is None or re.search(r"\(main\)$|^main\(\)$", block, re.MULTILINE):
                    continue
                if inspect.iscoroutinefunction(function):
                    asyncio.run(function())
                elif not inspect.signature(function).parameters:
                    function()
        except Enough:
            pass
        except BaseExceptionGroup as group:
            if group.subgroup(Enough) is None:
                raise
    if re.search(r"(open_pusher\(|Session\(Options).*print\(", block, re.DOTALL):
        assert printed


def backend(server: ServerInThread, given: dict[str, Any]) -> Any:
    """Return the official library's client, for the port that the server has here."""
    assert (given["key"], given["secret"]) == (DEMO_APP.key, DEMO_APP.secret)
    return real_pusher(**(given | {"port": server.port}))


real_pusher = pusher.Pusher


FUZZING = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "fuzzing.md").read_text(), re.DOTALL)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(len(FUZZING)))
def test_the_examples_about_fuzzing_run(number: int) -> None:
    names = {name: getattr(pusher_proto, name) for name in pusher_proto.__all__}
    names |= {"anyio": anyio, "open_pusher": open_pusher, "serve": serve}
    few = settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate])
    code = FUZZING[number].replace("@given(", "@few\n@given(")
    exec(compile(code, "fuzzing.md", "exec"), names | {"few": few})


# Tabs


def test_an_example_in_blocking_code_follows_from_the_asynchronous_one() -> None:
    code = """import anyio
from pusher_anyio import open_pusher

async def main() -> None:
    async with open_pusher(options) as client:
        await client.wait_connected(timeout=10)  # or later
        await anyio.sleep(1)

anyio.run(main)
"""
    assert (
        blocking(code)
        == """import time
from pusher_sync import open_pusher

def main() -> None:
    with open_pusher(options) as client:
        client.wait_connected(timeout=10)        # or later
        time.sleep(1)

main()
"""
    )
    assert blocking("print(1)\n") is None
    assert blocking("async with anyio.create_task_group() as group:\n    pass\n") is None


def test_tabs_are_for_examples_that_differ_and_have_none_yet() -> None:
    plain, awaits = "```python\nprint(1)\n```", "```python\nawait one()\n```"
    tab = ":::{tab-item} trio\n\n" + awaits
    assert tabbed("receiving", f"{plain}\n{tab}\n") == f"{plain}\n{tab}\n"
    text = tabbed("receiving", f"{awaits}\n")
    assert text.count("```python") == 2
    assert "\none()\n" in text
    assert tabbed("parity", awaits) == awaits
    assert len(IN_BLOCKING_CODE) >= 20


# Commands, names, links


def test_the_commands_that_the_pages_show_have_these_options() -> None:
    texts = [path.read_text() for path in [ROOT / "README.md", *PAGES]]
    shown = [
        line.partition("#")[0]
        for text in texts
        for part in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in part.splitlines()
        if line.startswith("pusher-proto ")
    ]
    commands = {shlex.split(line)[1] for line in shown}
    assert {"listen", "serve", "trigger"} <= commands
    for command in commands:
        known = subprocess.run(
            [sys.executable, "-m", "pusher_anyio", command, "--help-all"],
            capture_output=True,
            text=True,
            check=True,
            env={"COLUMNS": "200", "NO_COLOR": "1"},
        ).stdout
        used = {
            word
            for line in shown
            for word in shlex.split(line)
            if line.split()[1] == command and word.startswith("--")
        }
        assert {word for word in used if word not in known} == set(), command


@pytest.mark.parametrize(
    ("module", "page"),
    [
        (pusher_proto, "pusher_proto"),
        (pusher_anyio, "pusher_anyio"),
        (pusher_sync, "pusher_sync"),
        (pusher_anyio.testing, "testing"),
        (pusher_sync.testing, "testing"),
        (pusher_proto.laravel, "laravel"),
        (pusher_proto.testing, "testing"),
    ],
)
def test_the_reference_has_every_public_name(module: Any, page: str) -> None:
    text = (ROOT / "docs" / "api" / f"{page}.md").read_text()
    listed = set(re.findall(r"\.\. (?:auto|py:)\w+:: (\w+)", text))
    shared = set(vocabulary.__all__) if module in (pusher_anyio, pusher_sync) else set()
    assert set(module.__all__) - shared - listed == set()


def test_the_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    files = {link for link in links if not link.startswith("https://")}
    assert "docs/index.md" in files
    assert {link for link in files if not (ROOT / link).exists()} == set()
