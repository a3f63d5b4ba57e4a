"""`pusher-proto trigger`: send one client event."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pusher_proto import (
    ConnectionFailed,
    Event,
    LocalProtocolError,
    PusherError,
    PusherTimeout,
    ServerError,
    SubscriptionError,
)
from pusher_proto.names import ChannelKind, check_client_event, kind_of
from pusher_sync import open_pusher

from ._arguments import Arguments, Exit, UsageError
from ._output import describe, print_stderr
from ._server import options_from, server_of, ssl_context_from

__all__ = ["run"]


def run(arguments: Arguments) -> int:
    """Send the event, and return the exit status. Raises `UsageError`."""
    channel, event, data = arguments.channel, arguments.event, _data(arguments.data)
    _check(channel, event)
    options = options_from(arguments, [channel])
    context = ssl_context_from(arguments)
    refusals: list[ServerError] = []
    server = server_of(options)

    def on_event(event: Event) -> None:
        if (text := describe(event, server)) is not None:
            print_stderr(text)
        if isinstance(event, ServerError) and sent:
            refusals.append(event)

    sent = False
    try:
        with open_pusher(options, ssl_context=context, on_event=on_event) as client:
            handle = client.subscribe(channel).wait_subscribed(arguments.timeout)
            sent = True
            handle.trigger(event, data)
            # The server answers a ping after the event, and refuses the event before that.
            client.flush(arguments.timeout)
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error
    except PusherError as error:
        print_stderr(str(error))
        return _status(error)
    if refusals:
        print_stderr(f"the server refused {event} on {channel}: {refusals[0].message}")
        return Exit.CHANNEL_REFUSED
    print_stderr(f"sent {event} to {channel}")
    return Exit.DONE


def _status(error: PusherError) -> Exit:
    match error:
        case ConnectionFailed():
            return Exit.APP_REFUSED
        case SubscriptionError():
            return Exit.CHANNEL_REFUSED
        case PusherTimeout():
            return Exit.TIMED_OUT
        case _:
            return Exit.TROUBLE


def _data(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise UsageError(f"""the data is not JSON: {error} (write text as '"text"')""") from error
    except RecursionError as error:
        raise UsageError("the data is nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


def _check(channel: str, event: str) -> None:
    """Refuse arguments that cannot work, before connecting."""
    if kind_of(channel) not in (ChannelKind.PRIVATE, ChannelKind.PRESENCE):
        raise UsageError(
            f"client events can be sent on private- and presence- channels only, not on {channel!r}"
        )
    try:
        check_client_event(event)
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error
