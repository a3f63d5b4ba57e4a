"""`pusher-proto demo`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import anyio
import pytest

from pusher_anyio.__main__ import main
from pusher_anyio.cli import _demo

from .processes import command, end, line_with

STORY = [
    r"server +listens on ws://127\.0\.0\.1:\d+, app key demo",
    r"client +connected, socket id [\d.]+",
    r"client +subscribed to news",
    r"client +subscribed to private-orders",
    r"client +subscribed to presence-room",
    r"client +subscribed to private-encrypted-notes",
    r"client +ada and bob are in presence-room",
    r"event +news  headline  \{.*\}",
    r"event +private-orders  created  \{.*\}",
    r"event +private-encrypted-notes  note  \{.*\}",
    r"event +private-orders  client-note  \{.*\}",
    r"server +breaks the client's connection",
    r"client +no connection; next attempt in [\d.]+ s",
    r"client +connected again after [\d.]+ s",
    r"client +subscribed to all 4 channels again",
    r"event +news  headline  \{.*\}",
    r"event +private-orders  created  \{.*\}",
    r"client +had 2 connections and kept its channels across them",
]


def assert_prints_the_demo(text: str) -> None:
    assert re.search(r"(.|\n)*".join(STORY), text), text
    assert "Missed by everyone" not in text


def test_it_fits_80_columns_and_24_rows_and_ends_with_a_next_step(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert anyio.run(_demo._show, 0.0) == 0
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) < 80
    assert len(lines) < 24
    assert lines[-2].startswith("Next: pusher-proto listen --cluster CLUSTER --key KEY CHANNEL")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_prints_the_demo_on_both_event_loops(
    backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert anyio.run(_demo._show, 0.0, backend=backend) == 0
    assert_prints_the_demo(capfd.readouterr().out)


def test_it_ends_by_itself_in_less_than_10_seconds() -> None:
    began = time.monotonic()
    with command("demo") as process:
        status, out, err = end(process)
    assert time.monotonic() - began < 10
    assert (status, err) == (0, "")
    assert_prints_the_demo(out)


def test_it_runs_until_ctrl_c_and_serves_other_listeners() -> None:
    with command("demo", "--keep") as process:
        line = line_with(process.stdout, "pusher-proto listen").split()
        listen = [*line[1:-2], "--count", "1", *line[-2:]]
        with command(*listen) as listener:
            status, out, _ = end(listener)
        assert (status, "Still here" in out) == (0, True)
        assert end(process, signal.SIGINT)[::2] == (0, "")


def test_a_closed_output_is_not_an_error() -> None:
    with command("demo") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert end(process)[::2] == (0, "")


def test_it_gives_up_rather_than_hang(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_demo, "_LIMIT", 0.0)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "the demo got stuck: TimeoutError\n"


def test_help_imports_neither_a_server_nor_an_event_loop() -> None:
    script = (
        "import sys; from pusher_anyio.__main__ import main; main(['--help']); "
        "sys.exit(not {'pusher_proto.testing', 'asyncio', 'trio'}.isdisjoint(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
