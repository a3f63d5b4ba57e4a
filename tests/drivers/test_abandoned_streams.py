"""Leaving a loop over a channel closes its stream: events that it held up are delivered, without another command."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import pusher_sync
from pusher_anyio import Channel, Stream, open_pusher
from pusher_anyio.testing import serve, serve_in_thread
from pusher_proto import ChannelEvent

from .checkpoints import leaves_no_trace
from .runners import until


async def begun(channel: Channel, server: Any) -> Stream[ChannelEvent]:
    """Return a stream of which one event was read, and that holds up more than it keeps."""
    stream: Stream[ChannelEvent] = channel.events("count")
    for n in range(200):
        server.publish("room", "count", n)
        server.publish("room", "padding", "x" * 5000)  # else one read may bring all events
    async for event in stream:
        assert event.data == 0
        break
    return stream


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_asynchronous_client_continues_after_a_break_out_of_a_loop() -> None:
    async with (
        serve() as server,
        open_pusher(server.options(receive_buffer=2000)) as client,
    ):
        channel = await client.subscribe("room").wait_subscribed(5)
        seen: list[int] = []
        done = anyio.Event()

        @client.bind("count")
        def count(event: object) -> None:
            seen.append(event.data)  # type: ignore[attr-defined]  # a message
            if event.data == 199:  # type: ignore[attr-defined]  # a message
                done.set()

        stream = await begun(channel, server)
        with anyio.move_on_after(0.2):
            await done.wait()
        assert len(seen) < 200  # held up by the stream, which no one reads
        del stream
        with anyio.fail_after(5):
            await done.wait()
        assert seen == list(range(200))


def test_a_handler_that_waits_continues_where_the_loop_is_not_anyios() -> None:
    async def main() -> None:
        seen: list[int] = []
        async with open_pusher(server.options(receive_buffer=2000)) as client:
            channel = await client.subscribe("room").wait_subscribed(5)

            @client.bind("count")
            async def count(event: object) -> None:
                seen.append(event.data)  # type: ignore[attr-defined]  # a message

            stream = await begun(channel, server)
            with anyio.move_on_after(0.2):
                await until(lambda: len(seen) == 200)
            assert len(seen) < 200  # held up by the stream, which no one reads
            del stream
            await until(lambda: seen == list(range(200)))

    with serve_in_thread() as server:
        asyncio.run(main())


def test_time_passes_where_the_loop_is_not_anyios() -> None:
    async def main() -> None:
        async with open_pusher(server.options(activity_override=0.01)) as client:
            await client.wait_connected(5)
            await until(lambda: client.stats.round_trip is not None)

    with serve_in_thread() as server:
        asyncio.run(main())


def test_the_blocking_client_continues_after_a_break_out_of_a_loop() -> None:
    with serve_in_thread() as server, pusher_sync.open_pusher(server.options()) as client:
        channel = client.subscribe("room").wait_subscribed(5)
        everything = client.events("count")
        stream = channel.events("count", buffer=2)
        for n in range(20):
            server.publish("room", "count", n)
        for event in stream:
            assert event.data == 0
            break
        del stream
        assert [next(everything).data for _ in range(20)] == list(range(20))


def test_a_stream_that_is_dropped_as_the_last_thing_leaves_nothing_to_do() -> None:
    async def main() -> None:
        async with open_pusher(server.options()) as client:
            await client.wait_connected(5)
            streams.append(client.events())
        streams.clear()

    streams: list[object] = []
    with serve_in_thread() as server, leaves_no_trace():
        asyncio.run(main())
