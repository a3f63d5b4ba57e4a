"""Use the WebSockets of another library, here websockets, which connects (through its own proxies) and frames messages.

    pip install websockets
    python examples/websockets_library.py --url wss://host/app/KEY prices

Prints each message of the channels. The client still does everything else: pings, reconnects, authorizations, limits.
"""

from __future__ import annotations

import argparse
import json
import sys

import anyio
import websockets

from pusher_anyio import ChannelEvent, Options, PusherError, open_pusher


class Connection:
    """One WebSocket with the three methods that `connect_messages=` requires."""

    def __init__(self, websocket: websockets.ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        await self._websocket.send(text)

    async def receive(self) -> str | bytes:
        return await self._websocket.recv()  # at the end it raises an exception with the close code

    async def close(self, code: int, reason: str) -> None:
        await self._websocket.close(code, reason)


async def connect(host: str, port: int, tls: bool, target: str) -> Connection:
    """Open one connection; called for each attempt. Any exception means that the attempt failed."""
    name = f"[{host}]" if ":" in host else host
    url = f"{'wss' if tls else 'ws'}://{name}:{port}{target}"
    # The client pings the server itself, and gives up an attempt after Options.connect_timeout.
    websocket = await websockets.connect(url, ping_interval=None, open_timeout=None)
    return Connection(websocket)


async def main(options: Options, names: list[str]) -> int:
    async with open_pusher(options, connect_messages=connect) as client:
        channels = client.subscribe_many(names)
        try:
            await client.wait_subscribed(timeout=30)
        except PusherError as error:
            print(error, file=sys.stderr)
            return 1
        print("listening to", ", ".join(channels), flush=True)
        async for event in client.events(ChannelEvent):
            print(event.channel, event.name, json.dumps(event.data), flush=True)
    return 0


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("channel", nargs="+", metavar="CHANNEL")
    given = parser.parse_args()
    sys.exit(anyio.run(main, Options.from_url(given.url), given.channel))
