"""`pusher-proto who`: the live roster of a presence channel."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import msgspec

from pusher_proto import (
    ChannelState,
    ConnectionFailed,
    Event,
    Member,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    Subscribed,
    SubscriptionFailed,
)
from pusher_proto.names import ChannelKind, kind_of

from .._channel import Channel, Stream
from .._client import Client, open_pusher
from ._arguments import Exit, UsageError
from ._output import await_print, clock, describe, give_up_stdout, printable, tell
from ._roster import Change, Roster
from ._server import options_from, ssl_context_from
from ._signals import until_signal
from ._terminal import console_for_stdout

__all__ = ["run"]

_Show = Callable[[Change], Awaitable[None]]


def run(arguments: Namespace) -> int:
    """Show the roster until it is time to end, and return the exit status. Raises `UsageError`."""
    name = arguments.channel
    if kind_of(name) is not ChannelKind.PRESENCE:
        raise UsageError(f"only presence- channels know who is there, and {name!r} is none")
    options = options_from(arguments, [name])
    context = ssl_context_from(arguments)

    async def watch() -> int:
        async with open_pusher(options, ssl_context=context) as client:
            stream = client.events()
            channel = client.subscribe(name)
            roster = Roster()
            async with _shown(client, channel, roster, arguments) as show:
                with anyio.move_on_after(arguments.timeout):
                    work = partial(_follow, stream, channel, roster, show, arguments.once)
                    return await until_signal(work)
                tell(f"timed out after {arguments.timeout:g} s; {client.state.value}")
                return Exit.TIMED_OUT

    return anyio.run(watch)


async def _follow(
    stream: Stream[Any], channel: Channel, roster: Roster, show: _Show, once: bool
) -> int:
    """Show each change until something ends it."""
    try:
        async for event in stream:
            change = _change(event, channel, roster)
            if change is not None:
                await show(change)
                if once:
                    break
            elif (text := describe(event)) is not None and not isinstance(event, _OF_MEMBERS):
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


_OF_MEMBERS = (MemberAdded, MemberUpdated, MemberRemoved)


def _change(event: Event, channel: Channel, roster: Roster) -> Change | None:
    match event:
        case Subscribed() if channel.state is ChannelState.SUBSCRIBED:  # else it has ended
            return roster.here(channel.members, channel.me)
        case MemberAdded() | MemberUpdated():
            return roster.joined(event.member)
        case MemberRemoved():
            return roster.left(event.member)
        case _:
            return None


@asynccontextmanager
async def _shown(
    client: Client, channel: Channel, roster: Roster, arguments: Namespace
) -> AsyncIterator[_Show]:
    """Give the function that shows a change in the way that fits stdout."""
    console = None if arguments.json or arguments.once else console_for_stdout()
    if arguments.json or not sys.stdout.isatty():
        yield lambda change: await_print(_as_json(change, roster, channel.name))
    elif console is None:
        yield lambda change: await_print(_as_text(change, roster))
    else:
        from ._view import roster_view  # rich is there

        async with roster_view(client, channel.name, roster, console) as show:
            yield show


def _as_json(change: Change, roster: Roster, channel: str) -> str:
    """Return one JSON object: channel, event, members, and who it is about."""
    shown: dict[str, Any] = {"channel": channel, "event": change.what, "members": len(roster)}
    if change.member is None:
        shown["me"] = roster.me
        shown["roster"] = [_fields(member) for member in roster]
    else:
        shown |= _fields(change.member)
    return msgspec.json.encode(shown).decode()


def _fields(member: Member) -> dict[str, Any]:
    return {"id": member.id, "info": member.info}


def _as_text(change: Change, roster: Roster) -> str:
    """Return a line for a person; for a whole roster one for each member."""
    if change.member is not None:
        return f"{clock()}  {_one(change.member)} {change.what}  ({len(roster)} here)"
    lines = [f"{clock()}  {len(roster)} here"]
    lines += [f"  {_one(m)}{'  (you)' if m.id == roster.me else ''}" for m in roster]
    return "\n".join(lines)


def _one(member: Member) -> str:
    if member.info is None:
        return printable(member.id)
    return printable(f"{member.id}  {msgspec.json.encode(member.info).decode()}")
