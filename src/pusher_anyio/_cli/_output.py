"""What is printed: events on stdout, and everything else on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

import anyio.from_thread
import anyio.to_thread
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
    RetryScheduled,
    ServerError,
    Subscribed,
    SubscriptionFailed,
)

__all__ = [
    "as_json",
    "as_text",
    "await_print",
    "await_write",
    "clock",
    "describe",
    "give_up_stdout",
    "has_room",
    "logs_on_stderr",
    "print_line",
    "printable",
    "tell",
]

_TOLD = ("pusher_proto.connection", "pusher_proto.session")
"""The logs that say what events say too."""
_PIECE = 512  # bytes; POSIX says that a pipe with any room has room for so many at once (PIPE_BUF)
_PATIENCE = 0.1  # seconds between checks of whether the command is to end


def printable(text: str) -> str:
    """Return `text` with its control characters escaped: text from a network must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clock() -> str:
    """Return the time of day, here."""
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


def describe(event: Event) -> str | None:
    """Return what happened to the connection or to a channel, in words; None for other events."""
    match event:
        case ConnectionEstablished(offline_for=None):
            return f"connected, socket id {event.socket_id}"
        case ConnectionEstablished():
            return f"connected again after {event.offline_for:.1f} s, socket id {event.socket_id}"
        case ConnectionLost():
            code = None if event.code is None else f"code {event.code}"
            why = f"no connection ({', '.join(filter(None, (code, event.reason)))})"
            return f"{why}: {event.hint}" if event.hint and event.hint not in why else why
        case RetryScheduled():
            return f"trying again in {event.delay:.1f} s" if event.delay else "trying again at once"
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
            return f"{event.error}; asking again in {event.retry_in:.1f} s"
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
            return f"the server sent nonsense: {event.reason}"
        case _:
            return None


def tell(text: str) -> None:
    """Print a line on stderr; a closed stderr is no error."""
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - it is the output


async def await_print(line: str) -> None:
    """Print a line on stdout, without blocking the connection while the pipe is full.

    Raises BrokenPipeError when the reader has gone.
    """
    await await_write(f"{line}\n")


async def await_write(text: str) -> None:
    """Write text on stdout as it is, as `await_print` does."""
    await anyio.to_thread.run_sync(_write_patiently, text)


def _write_patiently(text: str) -> None:
    """Write a piece whenever there is room for it; cancelling ends this even when there never is."""
    data = _encoded(text)
    with _terminal_that_never_waits() as terminal:
        while data:
            while not has_room(sys.stdout):
                anyio.from_thread.check_cancelled()
            if terminal is None:
                sys.stdout.buffer.write(data[:_PIECE])
                sys.stdout.buffer.flush()
                data = data[_PIECE:]
                continue
            try:
                data = data[os.write(terminal, data[:_PIECE]) :]
            except BlockingIOError:  # room for a byte, and the next character needs two
                anyio.from_thread.check_cancelled()
                time.sleep(_PATIENCE)


@contextlib.contextmanager
def _terminal_that_never_waits() -> Iterator[int | None]:
    """Give a descriptor of the terminal at stdout, else None: unlike a pipe it may have room for less than a piece.

    It is opened again, because other processes may share the one of stdout and expect writes to block.
    """
    terminal = None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no terminal, no file, no POSIX
        terminal = os.open(
            os.ttyname(sys.stdout.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
        )
    try:
        yield terminal
    finally:
        if terminal is not None:
            os.close(terminal)


def has_room(stream: TextIO) -> bool:
    """Return whether a piece can be written without waiting; False only after waiting for a while."""
    try:
        return bool(select.select([], [stream.fileno()], [], _PATIENCE)[1])
    except (OSError, ValueError):  # Windows, or no file at all: then the write itself waits
        return True


def print_line(line: str) -> None:
    """Print a line on stdout, now."""
    sys.stdout.buffer.write(_encoded(f"{line}\n"))
    sys.stdout.buffer.flush()


def _encoded(text: str) -> bytes:
    # JSON is UTF-8 whatever the terminal speaks; a terminal that cannot show something shows an escape.
    encoding = (sys.stdout.encoding or "utf-8") if sys.stdout.isatty() else "utf-8"
    return text.encode(encoding, "backslashreplace")


def give_up_stdout() -> None:
    """Write nothing more to a pipe without a reader, not even when Python ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _OnStderr(logging.Handler):
    """Writes to stderr as it is at that moment: it may be replaced while a terminal shows more than lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, and what it says of an exception."""
        with contextlib.suppress(OSError):
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201 - it is the output


@contextlib.contextmanager
def logs_on_stderr(*, verbose: bool) -> Iterator[None]:
    """Show warnings, or everything. What `describe` tells is not shown a second time."""
    handler = _OnStderr()
    if verbose:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    else:
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: record.name not in _TOLD)
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
