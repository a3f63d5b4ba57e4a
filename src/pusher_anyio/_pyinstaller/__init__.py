"""Hooks that PyInstaller finds by the entry point `pyinstaller40`: programs on this package freeze without options."""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_hook_dirs"]


def get_hook_dirs() -> list[str]:
    """Return the folder that holds the hooks."""
    return [str(Path(__file__).parent)]
