"""Make docs/img/demo.svg, the picture in the README: runs `pusher-proto demo` at a terminal and draws what it printed.

    python docs/make_demo.py

Needs the extra `cli`, and a system with pseudo-terminals.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

IMAGE = Path(__file__).parent / "img" / "demo.svg"
WIDTH = 80


def printed_at_a_terminal(*arguments: str) -> bytes:
    """Run `pusher-proto` in its own terminal, and return its output."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    line = [sys.executable, "-m", "pusher_anyio", *arguments]
    with subprocess.Popen(line, stdout=theirs, env=environment):  # noqa: S603 - our own program
        os.close(theirs)
        printed = b""
        try:
            while data := os.read(ours, 65536):
                printed += data
        except OSError:
            pass  # so Linux tells the end
    os.close(ours)
    return printed


def drawn(printed: bytes, title: str) -> str:
    """Return an SVG of a terminal with this on it. It refers to nothing outside itself."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ pusher-proto demo", "bold"))
    console.print(Text.from_ansi(printed.decode().replace("\r\n", "\n")))
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->\s*", "", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas")


if __name__ == "__main__":
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_text(drawn(printed_at_a_terminal("demo"), "pusher-proto demo"), encoding="utf-8")
