"""Read the chat of many public rooms over one connection, and join or leave rooms while it runs.

    python examples/chat_reader.py --cluster us2 --key KEY 4530 121315

The names are those of Kick's chat: the channel `chatrooms.<id>.v2` and the event `App\\Events\\ChatMessageEvent`. Key
and cluster belong to the site and may change; a wrong key ends the program at once with an error. Type `+4530`
to join a room and `-4530` to leave it; Ctrl+C ends.
"""

from __future__ import annotations

import argparse
import sys
import threading

import anyio
import anyio.from_thread
import anyio.lowlevel
from msgspec import Struct

from pusher_anyio import Client, ConnectionEstablished, ConnectionFailed, Options, open_pusher

MESSAGE = "App\\Events\\ChatMessageEvent"


class Sender(Struct):
    username: str


class ChatMessage(Struct):
    """The fields of a message that are used; others are not decoded."""

    content: str
    sender: Sender


def channel_of(room: str) -> str:
    return f"chatrooms.{room}.v2"


def obey(client: Client, line: str) -> None:
    """Carry out a line that was typed: `+ROOM` or `-ROOM`."""
    sign, room = line[:1], line[1:].strip()
    if sign == "+" and room:
        client.subscribe(channel_of(room))
    elif sign == "-" and room:
        client.unsubscribe(channel_of(room))
    else:
        print("type +ROOM or -ROOM", file=sys.stderr)


def start_to_read_lines(client: Client) -> None:
    """Read from the terminal in a thread, and hand each line to the event loop."""
    token = anyio.lowlevel.current_token()

    def read() -> None:
        # Unbuffered: a buffer would be locked by this thread when the program ends.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                anyio.from_thread.run_sync(obey, client, line.decode(), token=token)

    threading.Thread(target=read, daemon=True).start()


async def main(options: Options, rooms: list[str]) -> None:
    async with open_pusher(options) as client:
        # One stream for all rooms; a message that is not as expected is logged and skipped.
        messages = client.events(MESSAGE, type=ChatMessage, invalid="skip")

        @client.bind(ConnectionEstablished)
        def connected(event: ConnectionEstablished) -> None:
            missed = f", {event.offline_for:.0f} s were missed" if event.offline_for else ""
            print(f"connected{missed}", file=sys.stderr)

        for room in rooms:
            client.subscribe(channel_of(room))
        start_to_read_lines(client)
        async for message in messages:
            room = message.channel.split(".")[1]
            print(f"[{room}] {message.data.sender.username}: {message.data.content}", flush=True)


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--cluster", default="us2")
    parser.add_argument("--key", help="the key of the app")
    parser.add_argument("--url", help="wss://host/app/KEY, instead of key and cluster")
    parser.add_argument("rooms", nargs="*", metavar="ROOM")
    given = parser.parse_args()
    if not (given.url or given.key):
        parser.error("give --key or --url")
    url, cluster = given.url, given.cluster
    options = Options.from_url(url) if url else Options.from_cluster(cluster, key=given.key)
    try:
        anyio.run(main, options, given.rooms)
    except ConnectionFailed as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        pass
