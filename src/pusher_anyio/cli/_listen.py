"""`pusher-proto listen`: print the events of channels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from pusher_proto import ChannelEvent, Event
from pusher_sync import Client

from ._arguments import Arguments
from ._following import Enough, Shows, follow
from ._output import as_json, as_text, clock, print_line
from ._terminal import console_for_stdout

if TYPE_CHECKING:
    from ._view import EventView

__all__ = ["run"]


class _Lines:
    """Prints one line for each event, at once."""

    every = inf

    def __init__(self, shape: Callable[[ChannelEvent], str]) -> None:
        self._shape = shape

    def show(self, event: ChannelEvent) -> None:
        """Print an event."""
        print_line(self._shape(event))

    def refresh(self) -> None:
        """Do nothing: each line is printed at once."""

    def close(self, *, interrupted: bool) -> None:
        """Do nothing: there is no live view."""


class _Wanted:
    """Passes on the events to print, and ends after `--count` of them."""

    def __init__(self, arguments: Arguments, view: _Lines | EventView) -> None:
        self._names = arguments.events
        self._left = arguments.count
        self._view = view
        self.every = view.every
        self.refresh = view.refresh
        self.close = view.close

    def take(self, event: Event) -> bool:
        """Show an event if it is to be printed."""
        if not isinstance(event, ChannelEvent) or (self._names and event.name not in self._names):
            return False
        self._view.show(event)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                raise Enough
        return True


def run(arguments: Arguments) -> int:
    """Listen until it is time to end, and return the exit status. Raises `UsageError`."""

    def shown(client: Client) -> Shows:
        console = None if arguments.json else console_for_stdout()
        if arguments.json or not sys.stdout.isatty():
            return _Wanted(arguments, _Lines(as_json))
        if console is None:
            return _Wanted(arguments, _Lines(lambda event: f"{clock()}  {as_text(event)}"))
        from ._view import EventView

        return _Wanted(arguments, EventView(client, arguments.channels, console))

    return follow(arguments, arguments.channels, shown, end_after=arguments.end_after)
