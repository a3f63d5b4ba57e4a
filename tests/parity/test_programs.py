"""The whole programs of docs/parity.md print the same on both sides."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from parity.playing import APP, PAGE, USER
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.testing import Server, ServerOptions
from soketi.harness import SERVER

BLOCKS: list[tuple[str, str]] = re.findall(r"```(js|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
PAIRS = {
    client: (BLOCKS[2 * number], BLOCKS[2 * number + 1])
    for number, client in enumerate(("pusher-js", "Pysher", "asyncpusher"))
}
MEMBER = ["connected", "members: 1", "8 came", "one", "bye"]
PRICES = ["1 cents", "2 cents", "end"]


def published(server: ServerInThread, process: subprocess.Popen[str]) -> None:
    """Publish what the programs print."""
    server.wait_until(lambda s: s.subscriptions("presence-room") or s.subscriptions("prices"))
    if server.subscriptions("prices"):
        for cents in (1, 2):
            server.publish("prices", "price", {"cents": cents})
        server.publish("prices", "end", {})
        return
    server.expect_sent("client-hello", "presence-room", {"text": "hello"})
    server.join("presence-room", "8")
    server.wait_until(lambda s: "8" in s.members("presence-room"))
    for text in ("one", "bye"):
        server.publish("presence-room", "message", {"text": text})


def terminated(server: ServerInThread, process: subprocess.Popen[str]) -> None:
    """Ask the program to end, by a signal."""
    server.expect_subscribed("prices", timeout=10)
    process.send_signal(signal.SIGTERM)


def printed(
    kind: str, code: str, stage: Callable[[ServerInThread, subprocess.Popen[str]], None]
) -> list[str]:
    """Run a program until it ends, and return what it printed."""
    command = ["node", "-e"] if kind == "js" else [sys.executable, "-u", "-W", "ignore", "-c"]
    environment = os.environ | {"NODE_PATH": str(Path(SERVER, "node_modules"))}
    with serve_in_thread(Server([APP], ServerOptions(auth_user=lambda _: USER))) as server:
        code = code.replace("6001", str(server.port))
        with subprocess.Popen(
            [*command, code], stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            killing = threading.Timer(30, process.kill)
            killing.start()
            try:
                stage(server, process)
                assert process.stdout is not None
                return process.stdout.read().splitlines()
            finally:
                killing.cancel()
                process.kill()


def test_each_program_has_its_twin() -> None:
    assert [kind for kind, _ in BLOCKS] == ["js", *["python"] * 5]


@pytest.mark.parametrize("client", ["Pysher", "asyncpusher"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_program_for_prices(client: str, side: int) -> None:
    assert printed(*PAIRS[client][side], published) == PRICES


def test_a_member_of_a_room_on_this_client() -> None:
    assert printed(*PAIRS["pusher-js"][1], published) == MEMBER


def test_a_member_of_a_room_on_pusher_js(soketi_ready: None) -> None:
    assert printed(*PAIRS["pusher-js"][0], published) == MEMBER


@pytest.mark.parametrize("side", [0, 1])
def test_a_program_ends_at_a_signal(side: int) -> None:
    assert printed(*PAIRS["Pysher"][side], terminated) == ["end"]
