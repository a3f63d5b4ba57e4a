"""Follows the events of a client until the command ends, for `listen` and `who`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Protocol

from pusher_proto import (
    ClientClosed,
    ConnectionFailed,
    ConnectionLost,
    Event,
    PusherTimeout,
    SubscriptionFailed,
)
from pusher_sync import Client, Stream, open_pusher

from ._arguments import Arguments, Exit
from ._output import describe, give_up_stdout, print_stderr
from ._server import options_from, server_of, ssl_context_from
from ._signals import interrupted_by_sigterm

__all__ = ["Enough", "Shows", "follow"]

_BATCH = 200
"""Events that are shown together at most."""


class Enough(Exception):
    """Raised by `Shows.take`: the command is done."""


class Shows(Protocol):
    """The output of a command, in the form that fits stdout."""

    every: float
    """Seconds after which `refresh` is called, if no event is received."""

    def take(self, event: Event) -> bool:
        """Process an event; return whether it is shown. Raises `Enough`."""

    def refresh(self) -> None:
        """Write the events taken so far, and update a live view."""

    def close(self, *, interrupted: bool) -> None:
        """Write the events taken so far, unless the command was interrupted, and end a live view."""


def follow(
    arguments: Arguments,
    channels: Sequence[str],
    shown: Callable[[Client], Shows],
    *,
    end_after: float | None = None,
) -> int:
    """Follow the events of `channels`, and return the exit status. Raises `UsageError`.

    Ends with status 0 after `end_after` seconds, and with status 5 after `arguments.timeout` seconds.
    """
    # It connects once the stream is open, so that no event is missed on a busy machine.
    options = replace(options_from(arguments, channels), auto_connect=False)
    context = ssl_context_from(arguments)
    began = time.monotonic()
    deadlines = [(end_after, Exit.DONE), (arguments.timeout, Exit.TIMED_OUT)]
    until, status = min((inf if each is None else began + each, then) for each, then in deadlines)
    try:
        with interrupted_by_sigterm(), open_pusher(options, ssl_context=context) as client:
            stream = client.events()
            for channel in channels:
                client.subscribe(channel)
            client.connect()
            if _followed(client, stream, shown, until, server_of(options)):
                return Exit.DONE
            if status == Exit.TIMED_OUT:
                print_stderr(f"timed out after {arguments.timeout:g} s; {client.state.value}")
            return status
    except ConnectionFailed as error:
        print_stderr(str(error))
        return Exit.APP_REFUSED
    except _Refused:
        return Exit.CHANNEL_REFUSED
    except BrokenPipeError:
        give_up_stdout()
        return Exit.DONE
    except OSError as error:
        give_up_stdout()
        print_stderr(f"cannot write: {error.strerror or error}")
        return Exit.TROUBLE


class _Refused(Exception):
    """A channel was refused permanently."""


def _followed(
    client: Client,
    stream: Stream[Any],
    shown: Callable[[Client], Shows],
    until: float,
    server: str,
) -> bool:
    """Show events; return True when the command is done, False when its time is over first."""
    shows = shown(client)
    interrupted = False
    try:
        while (left := until - time.monotonic()) > 0:
            _turn(stream, shows, min(shows.every, left), server)
            shows.refresh()
        return False
    except (Enough, ClientClosed):
        return True
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        shows.close(interrupted=interrupted)


def _turn(stream: Stream[Any], shows: Shows, patience: float, server: str) -> None:
    """Wait for an event; process it and all others that have been received."""
    for _ in range(_BATCH):
        try:
            event = stream.next(timeout=patience)
        except PusherTimeout:
            return
        patience = 0.0
        if isinstance(event, ConnectionLost) and not event.will_retry:
            continue  # the exception that follows says it
        if not shows.take(event) and (text := describe(event, server)) is not None:
            shows.refresh()  # keeps the order of lines on stdout and stderr
            print_stderr(text)
        if isinstance(event, SubscriptionFailed) and event.retry_in is None:
            raise _Refused
