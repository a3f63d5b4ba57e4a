"""Colours, for terminals that have them. Rich makes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console_for_stdout", "painter"]


def console_for_stdout() -> Console | None:
    """Return the console of the terminal at stdout; None if there is none, or if it can only show lines."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    return None if console.legacy_windows else console


def painter() -> Callable[[str, str], str]:
    """Return a function of a text and a style of rich's, which returns the text with the codes of that style."""
    console = console_for_stdout()
    if console is None:
        return lambda text, _style: text
    from rich.text import Text

    def paint(text: str, style: str) -> str:
        with console.capture() as capture:
            console.print(Text(text, style), end="", soft_wrap=True)
        return capture.get()

    return paint
