"""The arguments of a command, and how a command ends."""

from __future__ import annotations

from enum import IntEnum
from types import SimpleNamespace

__all__ = ["Arguments", "Exit", "UsageError"]


class Arguments(SimpleNamespace):
    """The options and arguments of one command, by name; `command` is its name."""


class Exit(IntEnum):
    """The exit statuses, which the help and docs/cli.md list."""

    DONE = 0
    TROUBLE = 1
    USAGE = 2
    APP_REFUSED = 3
    CHANNEL_REFUSED = 4
    TIMED_OUT = 5
    INTERRUPTED = 130


class UsageError(Exception):
    """The arguments are wrong; the message is one line that says what to change."""
