"""Commands, each in its own process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

__all__ = ["command", "end", "line_with"]


@contextmanager
def command(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Start `python -m pusher_anyio` with pipes to it; kill it when the test is over."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    line = [sys.executable, "-m", "pusher_anyio", *arguments]
    with subprocess.Popen(line, text=True, **(pipes | more)) as process:
        try:
            yield process
        finally:
            process.kill()


def line_with(stream: IO[str] | None, text: str) -> str:
    """Read lines up to the one that holds `text`."""
    assert stream is not None
    seen = []
    for line in stream:
        if text in line:
            return line
        seen.append(line)
    raise AssertionError(f"no line with {text!r} came, but {seen}")


def end(process: subprocess.Popen[str], how: signal.Signals | None = None) -> tuple[int, str, str]:
    """Send a signal, if any; return the exit status and the rest of the output of each pipe."""
    if how is not None:
        process.send_signal(how)
    out, err = process.communicate(timeout=30)
    return process.returncode, out or "", err or ""
