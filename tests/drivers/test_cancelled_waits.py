"""A wait that asyncio cancels loses no event: `asyncio.timeout` and `wait_for` may fire while the wait returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pusher_anyio import Channel, open_pusher
from pusher_anyio.testing import serve
from pusher_proto import ChannelEvent, Event

from .runners import PATIENCE
from .scenarios import quick

Take = Callable[[], Coroutine[Any, Any, ChannelEvent]]


def takes(how: str, channel: Channel) -> Take:
    """Return a function that takes one event."""
    if how == "wait_for":
        return lambda: channel.wait_for("number")
    stream = channel.events("number")
    if how == "a step":
        return stream.__anext__
    return lambda: stream.next(PATIENCE if how == "next with a timeout" else None)


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("how", ["a step", "next", "next with a timeout", "wait_for"])
@pytest.mark.parametrize("order", ["the event is there", "the event comes later"])
def test_a_cancelled_wait_loses_no_event(order: str, how: str, turns: int) -> None:
    async def main() -> None:
        came = asyncio.Event()

        def on_event(event: Event) -> None:
            if isinstance(event, ChannelEvent):
                came.set()

        async with serve() as server, open_pusher(quick(server), on_event=on_event) as client:
            channel = client.subscribe("numbers")
            await channel.wait_subscribed(PATIENCE)
            take = takes(how, channel)
            received: list[object] = []

            async def collect() -> None:
                received.append((await take()).data)

            collecting = None if order == "the event is there" else asyncio.create_task(collect())
            server.publish("numbers", "number", 0)
            await asyncio.wait_for(came.wait(), PATIENCE)
            collecting = collecting or asyncio.create_task(collect())
            for _ in range(turns):
                await asyncio.sleep(0)
            collecting.cancel()
            await asyncio.wait((collecting,))
            server.publish("numbers", "number", 1)
            while 1 not in received:
                await asyncio.wait_for(collect(), PATIENCE)
            assert received == [0, 1]

    asyncio.run(main())
