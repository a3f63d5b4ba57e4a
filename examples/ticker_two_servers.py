"""Prices from two servers at once: the loss of either shows neither a gap nor a duplicate.

    python examples/ticker_two_servers.py --url wss://one.example/app/KEY --url wss://two.example/app/KEY

Both servers get every event from the publisher, each with its own `id`. The program reads both servers, and prints each
event once.
"""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack

import anyio

from pusher_anyio import ConnectionLost, Options, merge, open_pusher


async def main(urls: list[str], name: str, key: str, count: int | None) -> None:
    async with AsyncExitStack() as stack:
        channels = []
        for url in urls:
            client = await stack.enter_async_context(open_pusher(Options.from_url(url)))
            client.bind(
                ConnectionLost, lambda lost: print(f"a server is away: {lost.reason}", flush=True)
            )
            channels.append(client.subscribe(name))
        prices = await stack.enter_async_context(merge(channels, key=key))
        done = 0
        async for event in prices:
            print(f"{event.data[key]}: {event.data}", flush=True)
            done += 1
            if done == count:
                print(f"{prices.duplicates} duplicates were dropped")
                return


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", action="append", required=True, help="wss://host/app/KEY, twice")
    parser.add_argument("--channel", default="prices")
    parser.add_argument(
        "--key", default="id", help="the field of the data that identifies an event"
    )
    parser.add_argument("--count", type=int, help="end after this number of events")
    given = parser.parse_args()
    try:
        anyio.run(main, given.url, given.channel, given.key, given.count)
    except KeyboardInterrupt:
        pass
