"""Show the members of a presence channel, up to date, in the terminal.

    python examples/who_is_online.py --url wss://ws-eu.pusher.com/app/KEY --auth-url https://app.example/pusher/auth \\
        presence-room

At a terminal the list is redrawn at each change; otherwise each change is one line.
"""

from __future__ import annotations

import argparse
import sys

import anyio

from pusher_anyio import (
    AuthEndpoint,
    AuthorizationError,
    Channel,
    Member,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    Options,
    Subscribed,
    SubscriptionError,
    open_pusher,
)


def name_of(member: Member) -> str:
    info = member.info if isinstance(member.info, dict) else {}
    return str(info.get("name", member.id))


def draw(room: Channel, what: str) -> None:
    if not sys.stdout.isatty():
        print(f"{room.members.count} online: {what}", flush=True)
        return
    print(f"\x1b[2J\x1b[H{room.name}: {room.members.count} online ({what})\n")
    for member in sorted(room.members.values(), key=name_of):
        mark = "*" if room.me is not None and member.id == room.me.id else " "
        print(f" {mark} {name_of(member)}")


async def main(options: Options, name: str) -> None:
    async with open_pusher(options) as client:
        room = client.subscribe(name)
        # The list is right after each Subscribed. After a reconnect the changes in between are emitted as well.
        changes = room.events((Subscribed, MemberAdded, MemberRemoved, MemberUpdated))
        await room.wait_subscribed(timeout=30)
        async for change in changes:
            match change:
                case Subscribed():
                    draw(room, ", ".join(sorted(name_of(each) for each in room.members.values())))
                case MemberAdded(member=member):
                    draw(room, f"{name_of(member)} joined")
                case MemberRemoved(member=member):
                    draw(room, f"{name_of(member)} left")
                case MemberUpdated(member=member):
                    draw(room, f"{name_of(member)} changed")


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("--auth-url", required=True, help="the endpoint that signs for you")
    parser.add_argument("--token", help="a bearer token for it")
    parser.add_argument("channel", metavar="CHANNEL", help="its name begins with presence-")
    given = parser.parse_args()
    headers = {"Authorization": f"Bearer {given.token}"} if given.token else {}
    auth = AuthEndpoint(given.auth_url, headers=headers)
    try:
        anyio.run(main, Options.from_url(given.url, auth=auth), given.channel)
    except (AuthorizationError, SubscriptionError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        pass
