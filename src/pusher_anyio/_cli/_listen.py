"""`pusher-proto listen`: print the events of channels."""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from typing import Any

import anyio

from pusher_proto import ChannelEvent, ConnectionFailed, SubscriptionFailed

from .._channel import Stream
from .._client import open_pusher
from ._arguments import Exit
from ._output import as_json, as_text, await_print, describe, give_up_stdout, tell
from ._server import options_from, ssl_context_from
from ._signals import until_signal

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Listen until it is time to end, and return the exit status. Raises `UsageError`."""
    options = options_from(arguments, arguments.channels)
    context = ssl_context_from(arguments)

    async def listen() -> int:
        async with open_pusher(options, ssl_context=context) as client:
            stream = client.events()
            for channel in arguments.channels:
                client.subscribe(channel)
            with anyio.move_on_after(arguments.timeout):
                return await until_signal(partial(_print_events, stream, arguments))
            tell(f"timed out after {arguments.timeout:g} s; {client.state.value}")
            return Exit.TIMED_OUT

    return anyio.run(listen)


async def _print_events(stream: Stream[Any], arguments: Namespace) -> int:
    """Print until there were enough events, or something ends it."""
    shape = as_json if arguments.json or not sys.stdout.isatty() else as_text
    printed = 0
    try:
        async for event in stream:
            if isinstance(event, ChannelEvent):
                if arguments.events and event.name not in arguments.events:
                    continue
                await await_print(shape(event))
                printed += 1
                if printed == arguments.count:
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
