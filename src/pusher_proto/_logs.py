"""The loggers: `pusher_proto.connection`, `.session`, `.protocol`, `.auth`, `.streams` and `.client`.

What the library does is silent in a program that does not configure logging. What goes wrong in the program's own
code (a handler that raises, a stream that is not read) is not: a `NullHandler` there would hide it.
"""

from __future__ import annotations

import logging

__all__ = ["logger"]

_ABOUT_THE_PROGRAM = ("client", "streams")


def logger(name: str) -> logging.Logger:
    """Return the logger of one part of the library."""
    log = logging.getLogger(f"pusher_proto.{name}")
    if name not in _ABOUT_THE_PROGRAM and not log.handlers:
        log.addHandler(logging.NullHandler())
    return log
