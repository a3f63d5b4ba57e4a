"""Runs the snippets of `snippets/`, for this client and for the others, each against its own server.

A snippet has these names: `say(...)` adds a line to the transcript, `said()` is the number of lines, `until(look)`
waits until `look()` is true, `server` is the test server, `here(**options)` returns options for it; `key`, `secret`,
`cluster`, `port`, `auth_url`, `user_url`, and `sign(text)`, which signs with the secret. `user_online(id)` lets another
user sign in. A snippet that makes no client gets one that is open.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec

import pusher_anyio
import pusher_sync
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import Options, OwnKey
from pusher_proto.signing import sign
from pusher_proto.testing import App, Server, ServerOptions

__all__ = ["ROWS", "Scene", "Snippet", "page_rows", "play_other", "play_ours", "scene"]

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "parity.md"
KEY, SECRET = "demo", "demo-secret"
APP = App(id="1", key=KEY, secret=SECRET, encryption_master_key=bytes(32))
USER = {"id": "7", "user_info": {"name": "Ann"}, "watchlist": ["8"]}
PATIENCE = 15.0


@dataclass(frozen=True)
class Snippet:
    """A row of the page: what is run on the other client and on this one, and what both say."""

    client: str
    row: str
    theirs: str | None
    ours: str
    says: list[list[Any]]
    theirs_says: list[list[Any]]


def _snippets(client: str) -> Iterator[Snippet]:
    text = (HERE / "snippets" / f"{client}.md").read_text()
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        row, _, rest = part.partition("\n")
        blocks = re.findall(r"```(\w+)\n(.*?)```", rest, re.DOTALL)
        code = [block for kind, block in blocks if kind in ("js", "python")]
        lines = [block for kind, block in blocks if kind == "json"]
        said = [[json.loads(line) for line in block.splitlines()] for block in lines]
        assert 1 <= len(code) <= 2, row
        assert 1 <= len(said) <= 2, row
        yield Snippet(client, row, code[0] if len(code) == 2 else None, code[-1], said[-1], said[0])


CLIENTS = [
    *("pusher-js", "laravel-echo", "dart_pusher_channels", "pusher-websocket-java"),
    *(
        "pusher-websocket-swift",
        "pusher-websocket-dotnet",
        "Pysher",
        "asyncpusher",
        "sockudo-python",
    ),
]
ROWS = {client: list(_snippets(client)) for client in CLIENTS}
"""The rows of each client, in the order of the page."""


def page_rows(client: str) -> list[tuple[str, str]]:
    """Return the first two cells of each row of a client's table on the page."""
    text = PAGE.read_text()
    section = next(
        part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(client)
    )
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [(cells[0].strip(), cells[1].strip()) for cells in rows[1:] if cells[0].strip("- ")]


class Scene:
    """A server, and what was said."""

    def __init__(self, server: ServerInThread, stack: ExitStack) -> None:
        self.server = server
        self.lines: list[list[Any]] = []
        self._stack = stack

    def say(self, *what: object) -> None:
        """Add a line to the transcript."""
        self.lines.append(json.loads(json.dumps(what)))

    def said(self) -> int:
        """Return how many lines were said."""
        return len(self.lines)

    def options(self, **more: Any) -> Options:
        """Return options for the server, with its auth endpoint."""
        if "auth" not in more:
            more["auth_endpoint"] = True
        return self.server.options(APP, **({"close_timeout": 0.5} | more))

    def user_online(self, number: str) -> None:
        """Let another user sign in."""
        options = self.server.options(APP, auth=OwnKey(KEY, SECRET, user={"id": number}))
        client = self._stack.enter_context(pusher_sync.open_pusher(options))
        client.signin()
        client.wait_signed_in(5)

    def do(self, name: str, arguments: list[Any]) -> Any:
        """Call a method of the server, or of the scene, for a program in another process."""
        found = getattr(self if name in ("said", "user_online") else self.server, name)
        value = found(*arguments) if callable(found) else found
        return msgspec.to_builtins(value, str_keys=True) if _is_plain(value) else _shown(value)

    def names(self) -> dict[str, Any]:
        """Return the names of a snippet in Python."""
        return {
            "say": self.say,
            "said": self.said,
            "user_online": self.user_online,
            "server": self.server,
            "here": self.options,
            "key": KEY,
            "secret": SECRET,
            "cluster": "mt1",
            "port": self.server.port,
            "auth_url": self.server.auth_url,
            "user_url": self.server.user_auth_url,
            "sign": lambda text: f"{KEY}:{sign(SECRET, text)}",
            "logged": logged,
            "logging": logging,
            "json": json,
        }


def _is_plain(value: object) -> bool:
    return isinstance(value, (dict, str, int, float, type(None)))


def _shown(value: Any) -> Any:
    """Return tuples with names and structures as objects."""
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if hasattr(value, "_asdict"):
        return value._asdict()
    return msgspec.to_builtins(value)


@contextmanager
def scene() -> Iterator[Scene]:
    """Run a server for one snippet."""
    machine = Server([APP], ServerOptions(auth_user=lambda _: USER))
    with serve_in_thread(machine) as server, ExitStack() as stack:
        yield Scene(server, stack)


@contextmanager
def logged(name: str) -> Iterator[list[str]]:
    """Collect the messages that are logged under a name, at all levels."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger(name), Collector()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# This client


def blocking(code: str) -> str:
    """Return a snippet for the blocking client."""
    return re.sub(r"\b(?:async|await) ", "", code)


def play_ours(code: str, found: Scene, runner: str) -> None:
    """Run a snippet on this client: on asyncio, on trio, or with the blocking client."""
    package: Any = pusher_sync if runner == "blocking" else pusher_anyio
    opened: list[Any] = []

    def open_pusher(*given: Any, **more: Any) -> Any:
        client = package.open_pusher(*given, **more)
        opened.append(client)
        return client

    def from_cluster(*_: str, **more: Any) -> Options:
        del more["key"]
        return found.options(**more)

    class Chosen(Options):
        """Options whose clusters lead to the test server."""

    Chosen.from_cluster = from_cluster  # type: ignore[method-assign,assignment]  # for the snippet alone
    names: dict[str, Any] = {name: getattr(package, name) for name in package.__all__}
    names |= found.names()
    names |= {"open_pusher": open_pusher, "Options": Chosen, "RealOptions": Options}
    names["until"] = _until
    names["connect_directly"] = anyio.connect_tcp
    if re.search(r"\bclient\b", code) and "as client:" not in code.partition("client.")[0]:
        code = f"async with open_pusher(here()) as client:\n{textwrap.indent(code, '    ')}"
    if runner == "blocking":
        names["connect_directly"] = lambda host, port: socket.create_connection((host, port))
        names["until"] = lambda look: _until_blocking(look, opened)
        code = blocking(f"def snippet():\n{textwrap.indent(code, '    ')}")
        exec(compile(code, "snippet", "exec"), names)
        names["snippet"]()
        return

    exec(
        compile(f"async def snippet():\n{textwrap.indent(code, '    ')}", "snippet", "exec"), names
    )

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await names["snippet"]()

    anyio.run(main, backend=runner)


async def _until(look: Callable[[], Any]) -> Any:
    while not (found := look()):  # noqa: ASYNC110 - the server has no event to wait for
        await anyio.sleep(0.005)
    return found


def _until_blocking(look: Callable[[], Any], opened: list[Any]) -> Any:
    """The same for a client that calls handlers in `run`."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < ends, "waited in vain"
        for client in opened:
            if not client.closed:
                client.run(timeout=0)
        time.sleep(0.005)
    return found


# The others


def play_other(command: list[str], code: str, found: Scene) -> None:
    """Run a snippet in another process; `run.js` has the form of its lines."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(json.dumps(code) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                kind, *rest = json.loads(line)
                if kind == "say":
                    found.say(*rest)
                elif kind == "do":
                    number, name, arguments = rest
                    value = found.do(name, arguments)
                    process.stdin.write(json.dumps({"re": number, "value": value}) + "\n")
                    process.stdin.flush()
                else:
                    assert rest == [None], f"{rest[0]}\nsaid: {found.lines}"
                    return
            raise AssertionError(f"the process ended early: {process.stderr.read()}")
        finally:
            process.kill()


def in_node(directory: Path, found: Scene) -> list[str]:
    """Return the command that runs a snippet on pusher-js."""
    server = found.server
    script = str(HERE / "run.js")
    return [
        "node",
        script,
        str(directory),
        str(server.port),
        server.auth_url,
        server.user_auth_url,
    ]


def in_python(client: str, found: Scene) -> list[str]:
    """Return the command that runs a snippet on a client in Python."""
    server = found.server
    script = str(HERE / "run.py")
    given = [client, str(server.port), server.auth_url, server.user_auth_url]
    return [sys.executable, "-W", "ignore", script, *given]
