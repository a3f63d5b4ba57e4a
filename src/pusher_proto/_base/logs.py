"""The loggers: `pusher_proto.connection`, `.session`, `.protocol`, `.auth`, `.streams` and `.client`.

In a program that does not configure logging the library logs faults of the program's own code only (a handler that
raises, a stream that is not read): a `NullHandler` would hide those.
"""

from __future__ import annotations

import logging

__all__ = ["log_seldom", "logger"]

_ABOUT_THE_PROGRAM = ("client", "streams")


def logger(name: str) -> logging.Logger:
    """Return the logger of one part of the library."""
    log = logging.getLogger(f"pusher_proto.{name}")
    if name not in _ABOUT_THE_PROGRAM and not log.handlers:
        log.addHandler(logging.NullHandler())
    return log


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
