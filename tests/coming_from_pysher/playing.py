"""Run a program against the test server, and act on the server while it runs."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.testing import Server

__all__ = ["IMPLEMENTATIONS", "Play", "both", "play"]

IMPLEMENTATIONS = ("pysher", "ours")
TESTS = Path(__file__).parents[1]


class Play:
    """A program that runs, its transcript, and its server."""

    def __init__(self, server: ServerInThread, process: subprocess.Popen[str]) -> None:
        self.server = server
        self.lines: list[Any] = []
        self._process = process
        self._read: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._take, daemon=True)
        self._reader.start()

    def _take(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._read.put(line)
        self._read.put(None)

    def next(self, timeout: float) -> bool:
        """Wait for another line of the transcript; return whether one came."""
        with suppress(queue.Empty):
            line = self._read.get(timeout=timeout)
            if line is not None:
                self.lines.append(json.loads(line))
                return True
        return False

    def until(self, line: list[object], times: int = 1, timeout: float = 15.0) -> None:
        """Wait until the program has said this so many times."""
        ends = time.monotonic() + timeout
        while self.lines.count(line) < times:
            if not self.next(max(0.0, ends - time.monotonic())):
                raise AssertionError(f"{line} was not said, but {self.lines}")

    def end(self) -> None:
        """End the program, and wait until its output is read to the end."""
        self._process.kill()
        self._reader.join()

    def finish(self) -> None:
        """Wait until the program ends."""
        self.until(["end"])
        self.lines.remove(["end"])

    def subscribed(self, channel: str, count: int = 1) -> None:
        """Wait until the channel has subscribers."""
        self.server.wait_until(lambda s: len(s.subscriptions(channel)) >= count, 15)

    def repeat(self, channel: str, data: str, seconds: float = 3.0) -> None:
        """Publish until the program says so, or for this number of seconds after it has connected."""
        with suppress(TimeoutError):
            self.server.wait_until(lambda server: bool(server.connections), 5)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and ["n", data] not in self.lines:
            self.server.publish(channel, "n", data)
            self.next(0.1)
        # It may have got several of them.
        while self.next(0.3):
            pass
        said: list[Any] = []
        for line in self.lines:
            if line != ["n", data] or line not in said:
                said.append(line)
        self.lines = said


def play(
    implementation: str, program: str, stage: Callable[[Play], object], patch: str = ""
) -> list[Any]:
    """Return the transcript of a program on Pysher or on ours."""
    with serve_in_thread(Server()) as server:
        arguments = [implementation, program, str(server.port), server.auth_url]
        arguments += [patch] if patch else []
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "coming_from_pysher.run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        ) as process:
            playing = Play(server, process)
            try:
                stage(playing)
                return playing.lines
            finally:
                playing.end()


def both(program: str, stage: Callable[[Play], object]) -> dict[str, list[Any]]:
    """Return the transcripts on both, run side by side."""
    with ThreadPoolExecutor(2) as pool:
        runs = {each: pool.submit(play, each, program, stage) for each in IMPLEMENTATIONS}
        return {each: run.result() for each, run in runs.items()}
