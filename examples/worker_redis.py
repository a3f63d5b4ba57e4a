"""Handle events from a Redis stream together with other workers: each event is handled by one of them.

    pip install redis
    python examples/worker_redis.py --redis redis://localhost:6379

relay_redis.py writes the stream. Run as many workers as you need. A worker acknowledges an event when it has handled
it. Events that a worker took and did not acknowledge, because it was killed or its handler raised, are claimed by
another one after `--idle` seconds. So an event may be handled twice: make handlers idempotent. An event that failed
five times goes to the stream STREAM:failed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from typing import Any

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

TRIES = 5
AT_ONCE = 10
Entry = tuple[str, dict[str, str]]


async def handle(given: argparse.Namespace, event: dict[str, str]) -> None:
    """Here: print it. In your program: write to a database, send a mail."""
    data = json.loads(event["data"])
    await anyio.sleep(given.seconds)
    print(f"handled {event['channel']} {event['event']}: {data}", flush=True)


async def handle_all(given: argparse.Namespace, redis: Redis, entries: list[Entry]) -> None:
    """Handle entries of the stream, and acknowledge each that was handled."""
    for number, event in entries:
        try:
            await handle(given, event)
        except Exception as error:
            print(f"{number} failed, and is tried again: {error!r}", flush=True)
        else:
            await redis.xack(given.stream, given.group, number)


async def claim(given: argparse.Namespace, redis: Redis) -> list[Entry]:
    """Return entries that another worker took and did not acknowledge; entries that failed too often go to
    STREAM:failed."""
    idle = int(given.idle * 1000)
    answer: Any = await redis.xautoclaim(
        given.stream, given.group, given.name, min_idle_time=idle, count=AT_ONCE
    )
    claimed: list[Entry] = []
    for number, event in answer[1]:
        found: Any = await redis.xpending_range(given.stream, given.group, number, number, 1)
        if found and found[0]["times_delivered"] <= TRIES:
            claimed.append((number, event))
            continue
        async with redis.pipeline(transaction=True) as both:
            both.xadd(f"{given.stream}:failed", event)
            both.xack(given.stream, given.group, number)
            await both.execute()
    return claimed


async def work(given: argparse.Namespace, redis: Redis) -> None:
    """Handle events until Redis is away."""
    try:
        await redis.xgroup_create(given.stream, given.group, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # the group exists
            raise
    after = "0"  # first the events that this worker had taken before it ended
    while True:
        await handle_all(given, redis, await claim(given, redis))
        found: Any = await redis.xreadgroup(
            given.group, given.name, {given.stream: after}, count=AT_ONCE, block=1000
        )
        entries: list[Entry] = found[0][1] if found else []
        await handle_all(given, redis, entries)
        if after != ">":
            after = entries[-1][0] if entries else ">"


async def main(given: argparse.Namespace) -> None:
    async with Redis.from_url(
        given.redis, decode_responses=True, socket_timeout=5, protocol=2
    ) as redis:
        while True:
            try:
                await work(given, redis)
            except RedisError as error:
                print(f"Redis is away, trying again: {error}", flush=True)
                await anyio.sleep(0.5)


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--redis", default="redis://localhost:6379")
    parser.add_argument("--stream", default="events", help="the name of the Redis stream")
    parser.add_argument("--group", default="workers", help="each group gets every event once")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    parser.add_argument(
        "--idle",
        type=float,
        default=60.0,
        help="seconds after which another worker takes over; longer than any handler runs",
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="seconds that the handler takes")
    try:
        anyio.run(main, parser.parse_args())
    except KeyboardInterrupt:
        pass
