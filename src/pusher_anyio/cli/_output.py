"""Prints events on stdout, and everything else on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

import msgspec

from pusher_proto import (
    CacheMiss,
    ChannelEvent,
    ConnectionEstablished,
    ConnectionLost,
    DecryptionFailed,
    Event,
    EventsDropped,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProtocolViolation,
    ReadingPaused,
    ServerError,
    Subscribed,
    SubscriptionFailed,
)

__all__ = [
    "as_json",
    "as_text",
    "clock",
    "describe",
    "give_up_stdout",
    "logs_on_stderr",
    "not_blocking",
    "print_line",
    "print_stderr",
    "printable",
]

_REPEATED = ("pusher_proto.connection", "pusher_proto.session")
"""The loggers whose records repeat what `describe` prints."""


def printable(text: str) -> str:
    """Return `text` with its control characters escaped: text from a network must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clock() -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S")


def as_json(event: ChannelEvent) -> str:
    """Return one JSON object: channel, event, data, and user_id where there is one."""
    shown: dict[str, Any] = {"channel": event.channel, "event": event.name, "data": event.data}
    if event.user_id is not None:
        shown["user_id"] = event.user_id
    return msgspec.json.encode(shown).decode()


def as_text(event: ChannelEvent) -> str:
    """Return one line for a person."""
    data = event.data
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    sender = f"  (from {event.user_id})" if event.user_id is not None else ""
    return printable(f"{event.channel}  {event.name}  {text}{sender}")


def describe(event: Event, server: str) -> str | None:
    """Return one line about a change of the connection or of a channel; None for other events.

    `server` is host and port, for the line about a lost connection.
    """
    match event:
        case ConnectionEstablished(offline_for=None):
            return f"connected, socket id {event.socket_id}"
        case ConnectionEstablished():
            return f"connected again after {event.offline_for:.1f} s, socket id {event.socket_id}"
        case ConnectionLost():
            code = None if event.code is None else f"code {event.code}"
            why = ", ".join(filter(None, (code, event.reason)))
            where = "" if server in why else f" to {server}"
            hint = f": {event.hint}" if event.hint and event.hint not in why else ""
            return f"no connection{where} ({why}){hint}{_next_attempt(event.retry_in)}"
        case Subscribed(offline_for=None):
            return f"subscribed to {event.channel}"
        case Subscribed():
            return (
                f"subscribed to {event.channel} again; what was published in "
                f"{event.offline_for:.1f} s was missed"
            )
        case SubscriptionFailed(retry_in=None):
            return str(event.error)
        case SubscriptionFailed():
            return f"{event.error}; next request in {event.retry_in:.1f} s"
        case CacheMiss():
            return f"{event.channel} has no cached event"
        case MemberAdded():
            return f"{event.channel}: {event.member.id} joined"
        case MemberUpdated():
            return f"{event.channel}: {event.member.id} changed"
        case MemberRemoved():
            return f"{event.channel}: {event.member.id} left"
        case ServerError():
            return f"the server says: {event.message or 'error'} ({event.code})"
        case DecryptionFailed():
            return f"{event.channel}: {event.error}"
        case EventsDropped():
            return f"{event.count} events were dropped"
        case ReadingPaused():
            return f"nothing was read for {event.seconds:.1f} s: messages may be lost"
        case ProtocolViolation():
            return f"the server sent an invalid message: {event.reason}"
        case _:
            return None


def _next_attempt(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"; next attempt in {seconds:.1f} s" if seconds else "; next attempt now"


def print_stderr(text: str) -> None:
    """Print a line on stderr; a closed stderr is not an error."""
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - it is the output


def print_line(line: str) -> None:
    """Print a line on stdout at once. Raises BrokenPipeError when the reader has gone.

    Nothing is buffered: when a signal interrupts it, the rest of the line is never written.
    """
    data = _encoded(f"{line}\n")
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by an object without a file
        sys.stdout.write(data.decode(errors="replace"))
        return
    sys.stdout.flush()
    while data:
        try:
            data = data[os.write(number, data) :]
        except BlockingIOError:  # another program has made the pipe or terminal non-blocking
            select.select([], [number], [])


@contextlib.contextmanager
def not_blocking(stream: TextIO) -> Iterator[None]:
    """Have a write raise BlockingIOError where the terminal takes nothing: after Ctrl+S, or when its window hangs."""
    try:
        # Another descriptor, since `give_up_stdout` may replace the stream's own.
        file = os.dup(stream.fileno())
    except (OSError, ValueError):  # no file at all
        yield
        return
    try:
        with contextlib.suppress(OSError, AttributeError):  # Windows: the write waits
            os.set_blocking(file, False)
        yield
    finally:
        with contextlib.suppress(OSError, AttributeError):
            os.set_blocking(file, True)  # the shell uses the same terminal
        os.close(file)


def _encoded(text: str) -> bytes:
    # JSON is UTF-8 on any terminal; characters that a terminal cannot show are escaped.
    encoding = (sys.stdout.encoding or "utf-8") if sys.stdout.isatty() else "utf-8"
    return text.encode(encoding, "backslashreplace")


def give_up_stdout() -> None:
    """Write nothing more to a pipe without a reader, not even when Python ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _OnStderr(logging.Handler):
    """Writes to the current `sys.stderr`, which a live view replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, and its exception if it has one."""
        with contextlib.suppress(OSError):
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201 - it is the output


@contextlib.contextmanager
def logs_on_stderr(*, verbose: bool) -> Iterator[None]:
    """Show warnings, or all records, but not records that repeat what `describe` returns."""
    handler = _OnStderr()
    if verbose:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    else:
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: record.name not in _REPEATED)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    if verbose:
        root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
