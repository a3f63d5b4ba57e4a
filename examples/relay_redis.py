"""Write the events of channels to a Redis stream, for workers that share them (worker_redis.py).

    pip install redis
    python examples/relay_redis.py --url wss://ws-eu.pusher.com/app/KEY --channel orders \\
        --history https://app.example/events --redis redis://localhost:6379

One relay runs for all workers. Each event is written at least once, also when the relay is killed, the connection is
lost or Redis restarts: then the relay fetches the events after the last one in Redis from the application's API. The
API answers `GET HISTORY?channel=orders&after=ID` with a JSON list of `{"event": ..., "data": ...}` in order, without
`after` from the beginning. Each event has its own `id` in its data.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from functools import partial
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import anyio
from anyio.to_thread import run_sync
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pusher_anyio import ChannelEvent, Gap, GapNotClosed, Options, open_pusher

PAUSE = 0.5
"""Seconds between two attempts to write, while Redis is away."""


async def missed(given: argparse.Namespace, redis: Redis, gap: Gap) -> Any:
    """Return the events after the last one in Redis. After an exception the client calls this again."""
    query = {"channel": gap.channel}
    last: Any = await redis.hget(f"{given.stream}:last", gap.channel)
    if last is not None:
        query["after"] = last
    return await run_sync(partial(get, f"{given.history}?{urlencode(query)}"))


def get(url: str) -> Any:
    with urlopen(url, timeout=5) as answer:
        return json.load(answer)


async def write(given: argparse.Namespace, redis: Redis, event: ChannelEvent) -> None:
    """Append an event and store its id, in one transaction; retry until it succeeds."""
    fields: dict[Any, Any] = {"channel": event.channel, "event": event.name, "data": event.raw_data}
    number = event.data.get(given.key) if isinstance(event.data, dict) else None
    while True:
        try:
            async with redis.pipeline(transaction=True) as both:
                both.xadd(given.stream, fields, maxlen=given.maxlen, approximate=True)
                if number is not None:
                    both.hset(f"{given.stream}:last", event.channel, str(number))
                await both.execute()
            return
        except RedisError as error:
            print(f"Redis is away, events wait: {error}", flush=True)
            await anyio.sleep(PAUSE)


async def main(given: argparse.Namespace) -> None:
    async with (
        Redis.from_url(given.redis, decode_responses=True, socket_timeout=5) as redis,
        open_pusher(Options.from_url(given.url)) as client,
    ):
        signal.signal(signal.SIGTERM, lambda *_: client.stop())
        events = client.events((ChannelEvent, GapNotClosed))
        for channel in given.channel:
            client.subscribe(channel, catch_up=partial(missed, given, redis), key=given.key)
        print("relaying", flush=True)
        async for event in events:
            if isinstance(event, GapNotClosed):
                # Nothing after the gap may be written. The next start continues after the last event in Redis.
                sys.exit(f"events of {event.channel} could not be fetched: {event.reason}")
            await write(given, redis, event)


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument(
        "--channel", action="append", required=True, help="may be given several times"
    )
    parser.add_argument("--history", required=True, help="the API for missed events")
    parser.add_argument(
        "--key", default="id", help="the field of the data that identifies an event"
    )
    parser.add_argument("--redis", default="redis://localhost:6379")
    parser.add_argument("--stream", default="events", help="the name of the Redis stream")
    parser.add_argument("--maxlen", type=int, default=1_000_000, help="events that Redis keeps")
    try:
        anyio.run(main, parser.parse_args())
    except KeyboardInterrupt:
        pass
