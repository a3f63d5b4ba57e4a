"""Prices with typed data, passed through a queue to a worker that may be slow.

    python examples/ticker.py --url wss://ws-eu.pusher.com/app/KEY --channel prices --event price

The network never waits for the worker. When the worker falls behind, the oldest prices are dropped and counted, because
only the newest counts. For orders, of which none may be lost, leave out `overflow`: then a slow worker slows down the
network.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from decimal import Decimal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from pusher_anyio import Channel, Options, Subscribed, open_pusher


@dataclass
class Price:
    """Any type that msgspec can decode: a dataclass, a TypedDict, a msgspec.Struct."""

    of: str
    price: Decimal


async def receive(channel: Channel, event: str, queue: MemoryObjectSendStream[Price]) -> None:
    prices = channel.events(event, type=Price, invalid="skip", buffer=100, overflow="drop_oldest")
    reported = 0
    async with queue, prices:
        async for each in prices:
            await queue.send(each.data)
            if prices.dropped > reported:
                reported = prices.dropped
                print(f"{reported} prices were dropped so far")


async def work(queue: MemoryObjectReceiveStream[Price], count: int | None) -> None:
    """Here: print them. In your program: write to a database, compute, answer."""
    best: dict[str, Decimal] = {}
    done = 0
    async with queue:
        async for price in queue:
            best[price.of] = max(price.price, best.get(price.of, price.price))
            print(f"{price.of} {price.price} (best {best[price.of]})", flush=True)
            done += 1
            if done == count:
                return


async def main(options: Options, name: str, event: str, count: int | None) -> None:
    send, take = anyio.create_memory_object_stream[Price](10)
    async with open_pusher(options) as client, anyio.create_task_group() as tasks:
        channel = client.subscribe(name)

        @channel.bind(Subscribed)
        def on_subscribed(subscribed: Subscribed) -> None:
            if subscribed.offline_for:
                print(f"a gap of {subscribed.offline_for:.1f} s: ask for the prices of that time")

        tasks.start_soon(receive, channel, event, send)
        await work(take, count)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("--channel", default="prices")
    parser.add_argument("--event", default="price")
    parser.add_argument("--count", type=int, help="end after this number of events")
    given = parser.parse_args()
    try:
        anyio.run(main, Options.from_url(given.url), given.channel, given.event, given.count)
    except KeyboardInterrupt:
        pass
