"""Commands, each at its own terminal, and the text on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Terminal", "at_terminal", "screen"]

_CODES = re.compile(r"\x1b\[\??(\d*)(?:;\d+)*([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


def screen(data: bytes) -> list[str]:
    """Return the lines that stand there after `data`: what a terminal makes of the few codes that are used."""
    lines, row, column = [""], 0, 0
    for number, code, control, text in _CODES.findall(data.decode()):
        if code == "A":
            row -= int(number or 1)
        elif code == "K":
            assert number == "2"  # the whole line
            lines[row] = ""
        elif code == "J":
            del lines[row + 1 :]
            lines[row] = lines[row][:column]
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column] + text + lines[row][column + len(text) :]
            column += len(text)
        else:
            assert code in "mhl", code  # colours, and whether there is a cursor
    while len(lines) > row + 1 and not lines[-1].strip():  # below the cursor is nothing
        lines.pop()
    return [line.rstrip() for line in lines]


class Terminal:
    """A command and its terminal."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.written = b""
        self._end = end

    @property
    def lines(self) -> list[str]:
        """The text on the screen."""
        return screen(self.written)

    def wait_until(self, look: Callable[[list[str]], object]) -> None:
        """Read until `look` likes the lines on the screen."""
        deadline = time.monotonic() + 20
        while not look(self.lines):
            assert time.monotonic() < deadline, self.lines
            assert self._read(1.0), self.lines

    def end(self) -> int:
        """Read the output until the end, and return the exit status."""
        while self._read(20.0):
            pass
        return self.process.wait(20)

    def _read(self, patience: float) -> bool:
        """Read once; False when nothing will come any more."""
        if not select.select([self._end], [], [], patience)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._end, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.written += data
        return bool(data)


@contextmanager
def at_terminal(
    *arguments: str, size: tuple[int, int] = (24, 80), term: str = "xterm", encoding: str = "utf-8"
) -> Iterator[Terminal]:
    """Start `pusher-proto` at a terminal of some rows and columns."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        program = "from pusher_anyio.__main__ import main\nraise SystemExit(main())"
        line = [sys.executable, "-c", program, *arguments]
        unset = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
        env = {k: v for k, v in os.environ.items() if k not in unset} | {
            "TERM": term,
            "PYTHONIOENCODING": encoding,
        }
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        with subprocess.Popen(line, env=env, **streams) as process:  # type: ignore[call-overload]  # mypy takes all as one
            os.close(theirs)
            try:
                yield Terminal(process, ours)
            finally:
                process.kill()
    finally:
        os.close(ours)
