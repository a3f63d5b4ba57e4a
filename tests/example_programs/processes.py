"""Example programs as processes, of which one can wait for what they print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pusher_anyio.testing import ServerInThread

__all__ = ["EXAMPLES", "Program", "running", "url_of"]

EXAMPLES = Path(__file__).parents[2] / "examples"
_PATIENCE = 30.0  # seconds; what is waited for takes well below one on a machine that has time


def url_of(server: ServerInThread) -> str:
    """Return the URL of the server's demonstration app."""
    return f"ws://{server.host}:{server.port}/app/demo"


class Program:
    """A program that runs, and the lines that it printed so far, to either pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(pipe,), daemon=True)
            for pipe in (process.stdout, process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Iterator[str]) -> None:
        for line in pipe:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()

    def wait_for_line(self, text: str) -> str:
        """Wait for a line that holds `text`, and return it."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._more:
            line = self._more.wait_for(found, _PATIENCE)
        assert line is not None, f"no line with {text!r}, but {self.lines}"
        return line

    def type(self, line: str) -> None:
        """Type a line on the program's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, how: signal.Signals | None = None) -> int:
        """Send a signal, if any, and return the exit status; then all lines are there."""
        if how is not None:
            self.process.send_signal(how)
        status = self.process.wait(_PATIENCE)
        for reader in self._readers:
            reader.join(_PATIENCE)
        return status


@contextmanager
def running(name: str, *arguments: str, **environment: str) -> Iterator[Program]:
    """Run `examples/NAME` for the length of the block, and kill it if it is still there then."""
    line = [sys.executable, str(EXAMPLES / name), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        line, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}
    ) as process:
        program = Program(process)
        try:
            yield program
        finally:
            process.kill()
            program.end()
