"""`pusher-proto who`: the live roster of a presence channel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from pusher_proto import (
    ChannelState,
    Event,
    Member,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    Subscribed,
)
from pusher_proto.names import ChannelKind, kind_of
from pusher_sync import Channel, Client

from ._arguments import Arguments, UsageError
from ._following import Enough, Shows, follow
from ._output import clock, print_line, printable
from ._roster import Change, Roster
from ._terminal import console_for_stdout

if TYPE_CHECKING:
    from ._view import RosterView

__all__ = ["run"]


class _Lines:
    """Prints each change as lines, at once."""

    every = inf

    def __init__(self, shape: Callable[[Change], str]) -> None:
        self._shape = shape

    def show(self, change: Change) -> None:
        """Print a change."""
        print_line(self._shape(change))

    def refresh(self) -> None:
        """Do nothing: each line is printed at once."""

    def close(self, *, interrupted: bool) -> None:
        """Do nothing: there is no live view."""


class _Changes:
    """Updates the roster from the events of the channel, and shows each change."""

    def __init__(
        self, channel: Channel, roster: Roster, view: _Lines | RosterView, *, once: bool
    ) -> None:
        self._channel = channel
        self._roster = roster
        self._view = view
        self._once = once
        self.every = view.every
        self.refresh = view.refresh
        self.close = view.close

    def take(self, event: Event) -> bool:
        """Show what an event changes."""
        change = self._change(event)
        if change is None:
            return isinstance(event, MemberAdded | MemberUpdated | MemberRemoved)
        self._view.show(change)
        if self._once:
            raise Enough
        return True

    def _change(self, event: Event) -> Change | None:
        channel, roster = self._channel, self._roster
        match event:
            case Subscribed() if channel.state is ChannelState.SUBSCRIBED:  # else it has ended
                return roster.here(channel.members, channel.me)
            case MemberAdded() | MemberUpdated():
                return roster.joined(event.member)
            case MemberRemoved():
                return roster.left(event.member)
            case _:
                return None


def run(arguments: Arguments) -> int:
    """Show the roster until it is time to end, and return the exit status. Raises `UsageError`."""
    name = arguments.channel
    if kind_of(name) is not ChannelKind.PRESENCE:
        raise UsageError(f"only presence- channels have members, and {name!r} is not one")
    roster = Roster()

    def shown(client: Client) -> Shows:
        console = None if arguments.json or arguments.once else console_for_stdout()
        view: _Lines | RosterView
        if arguments.json or not sys.stdout.isatty():
            view = _Lines(lambda change: _as_json(change, roster, name))
        elif console is None:
            view = _Lines(lambda change: _as_text(change, roster))
        else:
            from ._view import RosterView

            view = RosterView(client, name, roster, console)
        return _Changes(client.channel(name), roster, view, once=arguments.once)

    return follow(arguments, [name], shown)


def _as_json(change: Change, roster: Roster, channel: str) -> str:
    """Return one JSON object: channel, event, members, and the member or the whole roster."""
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
