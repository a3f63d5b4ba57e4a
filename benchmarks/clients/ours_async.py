"""pusher_anyio. The mode is the way of consuming events, and the event loop."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from benchmarks.clients.ours import context_of, options_of
from benchmarks.meter import AT_ONCE, Meter, measure
from benchmarks.payloads import EVENT, KEY, ME, SHARED_SECRET
from pusher_anyio import Client, open_pusher
from pusher_proto import (
    AuthResponse,
    MemberAdded,
    MemberRemoved,
    Subscribed,
)
from pusher_proto._protocol import channel_messages


class Order(msgspec.Struct):
    """The data of an event, for typed streams."""

    id: int
    symbol: str
    price: float
    size: int
    side: str
    open: bool
    note: str | None


class Connection:
    """One client with its consumers."""

    def __init__(self, meter: Meter, client: Client, group: Any) -> None:
        self.meter, self.client, self.group = meter, client, group

    async def subscribe(self, channels: list[str]) -> None:
        meter, client = self.meter, self.client
        if meter.kind == "subscribe":
            client.bind(Subscribed, lambda _: meter.subscribed())
        if meter.kind == "roster":
            self.follow_roster(channels[0])
        elif meter.mode.startswith("handler"):
            for name in channels:
                client.channel(name).bind(EVENT, lambda event: meter.on_event(event.data))
        elif meter.kind in ("stream", "pace"):
            self.group.start_soon(self.iterate, channels[0] if len(channels) == 1 else None)
            await anyio.lowlevel.checkpoint()
        for name in channels:
            if meter.config["encrypted"]:
                client.subscribe(
                    name, auth=AuthResponse(auth=f"{KEY}:0", shared_secret=SHARED_SECRET)
                )
            elif meter.kind == "roster":
                client.subscribe(name, auth=AuthResponse(auth=f"{KEY}:0", channel_data=ME))
            else:
                client.subscribe(name)

    async def iterate(self, name: str | None) -> None:
        meter = self.meter
        source: Any = self.client if name is None else self.client.channel(name)
        if meter.mode.startswith("untouched"):
            async for event in source.events(EVENT):
                meter.on_event(event.raw_data)
        elif meter.mode.startswith("typed"):
            async for event in source.events(EVENT, type=list[Order]):
                meter.on_event(event.data)
        else:
            async for event in source.events(EVENT):
                meter.on_event(event.data)

    def follow_roster(self, name: str) -> None:
        meter, channel = self.meter, self.client.channel(name)
        channel.bind(Subscribed, lambda _: meter.roster(len(channel.members)))
        for kind in (MemberAdded, MemberRemoved):
            channel.bind(kind, lambda _: meter.member())


async def main(meter: Meter) -> None:
    """Open the connections of the workload."""
    if meter.mode == "msgspec":
        channel_messages._loads = None  # noqa: SLF001 - as if orjson was not installed
    options, context = options_of(meter), context_of(meter)
    async with AsyncExitStack() as stack, anyio.create_task_group() as group:

        async def connect(meter: Meter) -> Connection:
            client = await stack.enter_async_context(open_pusher(options, ssl_context=context))
            await client.wait_connected(timeout=10)
            return Connection(meter, client, group)

        if meter.kind == "connect":
            meter.begin()
            for first in range(0, meter.connections, AT_ONCE):
                clients = [
                    await stack.enter_async_context(open_pusher(options))
                    for _ in range(first, min(first + AT_ONCE, meter.connections))
                ]
                for client in clients:
                    await client.wait_connected(timeout=60)
            meter.connected()
        await measure(meter, connect, together=False)


if __name__ == "__main__":
    meter = Meter()
    loop = meter.mode.partition("-")[2]
    if loop == "trio":
        anyio.run(main, meter, backend="trio")
    else:
        anyio.run(main, meter, backend_options={"use_uvloop": loop == "uvloop"})
