"""The loggers: `pusher_proto.connection`, `.session`, `.protocol`, `.auth`, `.streams` and `.client`.

In a program that does not configure logging the library logs faults of the program's own code only (a handler that
raises, a stream that is not read): a `NullHandler` would hide those.
"""

from __future__ import annotations

import logging
from functools import partial

__all__ = ["log_seldom", "logger", "name_of"]

_ABOUT_THE_PROGRAM = ("client", "streams")


def logger(name: str) -> logging.Logger:
    """Return the logger of one part of the library."""
    log = logging.getLogger(f"pusher_proto.{name}")
    if name not in _ABOUT_THE_PROGRAM and not log.handlers:
        log.addHandler(logging.NullHandler())
    return log


def name_of(function: object) -> str:
    """Return the name of a function of the application for messages: of a `partial`, that of its function."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def log_seldom(
    log: logging.Logger,
    level: int,
    count: int,
    text: str,
    *args: object,
    error: BaseException | None = None,
) -> None:
    """Log something that a server can cause any number of times, without flooding the log.

    `count` is the number of times so far. The first, second, fourth, eighth ... time is logged at `level`, all others
    at DEBUG; the first time with the traceback of `error`, if it is given.
    """
    exc_info = error if count == 1 else None
    if count > 1:
        text, args = text + " (%d times so far)", (*args, count)
    level = logging.DEBUG if count & (count - 1) else level
    log.log(level, text, *args, exc_info=exc_info, stacklevel=2)
