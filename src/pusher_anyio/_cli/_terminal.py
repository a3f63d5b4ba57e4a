"""Colours, and a region at the bottom that is redrawn, on capable terminals, by rich where it is installed.

Rich makes the text. It is written as all other output is: without holding up the connection while a terminal
takes nothing, as after Ctrl+S.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from ._output import await_write

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Screen", "console_for_stdout", "painter", "render"]

_UP, _CLEAR = "\x1b[{}A", "\r\x1b[J"


def console_for_stdout() -> Console | None:
    """Return what renders for the terminal at stdout; None where there is no terminal that can, or no rich."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(highlight=False, emoji=False, markup=False)
    return None if console.legacy_windows else console


def painter() -> Callable[[str, str], str]:
    """Return a function of a text and a style of rich's, which returns the text with the codes of that style."""
    console = console_for_stdout()
    if console is None:
        return lambda text, _style: text
    from rich.text import Text

    return lambda text, style: render(console, Text(text, style, end=""))


def render(console: Console, what: RenderableType) -> str:
    """Return the text that shows `what` on this terminal, as wide as it is now."""
    with console.capture() as capture:
        console.print(what, end="", soft_wrap=False)
    return capture.get()


class Screen:
    """Lines that scroll by, and a region below them that is redrawn."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._height = 0
        self._lock = anyio.Lock()

    async def show(self, lines: Sequence[RenderableType], region: RenderableType | None) -> None:
        """Print lines above the region, and redraw it; None removes it."""
        from rich.console import Group

        async with self._lock:
            text = _CLEAR if self._height < 2 else _UP.format(self._height - 1) + _CLEAR
            text += render(self.console, Group(*lines))
            below = "" if region is None else render(self.console, region).rstrip("\n")
            self._height = below.count("\n") + 1 if below else 0
            await await_write(text + below)
