"""`pusher-proto listen`: print the events of channels."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import anyio

from pusher_proto import ChannelEvent, ConnectionFailed, SubscriptionFailed

from .._channel import Stream
from .._client import Client, open_pusher
from ._arguments import Exit
from ._output import as_json, as_text, await_print, clock, describe, give_up_stdout, tell
from ._server import options_from, ssl_context_from
from ._signals import until_signal
from ._terminal import console_for_stdout

__all__ = ["run"]


class _Shows(Protocol):
    """Shows events in the way that fits stdout. `finish` comes after the last one."""

    async def show(self, event: ChannelEvent) -> None: ...
    async def finish(self) -> None: ...


class _Lines:
    """One line an event, at once."""

    def __init__(self, shape: Callable[[ChannelEvent], str]) -> None:
        self._shape = shape

    async def show(self, event: ChannelEvent) -> None:
        await await_print(self._shape(event))

    async def finish(self) -> None:
        pass


def run(arguments: Namespace) -> int:
    """Listen until it is time to end, and return the exit status. Raises `UsageError`."""
    options = options_from(arguments, arguments.channels)
    context = ssl_context_from(arguments)

    async def listen() -> int:
        async with open_pusher(options, ssl_context=context) as client:
            stream = client.events()
            for channel in arguments.channels:
                client.subscribe(channel)
            async with _shown(client, arguments) as shows:
                with anyio.move_on_after(arguments.timeout):
                    return await until_signal(partial(_print_events, stream, shows, arguments))
                tell(f"timed out after {arguments.timeout:g} s; {client.state.value}")
                return Exit.TIMED_OUT

    return anyio.run(listen)


@asynccontextmanager
async def _shown(client: Client, arguments: Namespace) -> AsyncIterator[_Shows]:
    """Give what shows events in the way that fits stdout."""
    console = None if arguments.json else console_for_stdout()
    if arguments.json or not sys.stdout.isatty():
        yield _Lines(as_json)
    elif console is None:
        yield _Lines(lambda event: f"{clock()}  {as_text(event)}")
    else:
        from ._view import EventView  # rich is there

        async with EventView.open(client, arguments.channels, console) as view:
            yield view


async def _print_events(stream: Stream[Any], shows: _Shows, arguments: Namespace) -> int:
    """Print until there were enough events, or something ends it."""
    printed = 0
    try:
        async for event in stream:
            if isinstance(event, ChannelEvent):
                if arguments.events and event.name not in arguments.events:
                    continue
                await shows.show(event)
                printed += 1
                if printed == arguments.count:
                    await shows.finish()
                    break
                continue
            text = describe(event)
            if text is not None:
                tell(text)
            if isinstance(event, SubscriptionFailed) and event.retry_in is None:
                return Exit.CHANNEL_REFUSED
    except ConnectionFailed as error:
        tell(str(error))
        return Exit.APP_REFUSED
    except BrokenPipeError:
        give_up_stdout()
    except OSError as error:
        give_up_stdout()
        tell(f"cannot write: {error.strerror or error}")
        return Exit.TROUBLE
    return Exit.DONE
