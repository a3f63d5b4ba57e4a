"""The asynchronous client, cancelled at every checkpoint of everything that waits."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import product
from typing import Any

import anyio
import anyio.abc
import pytest
import trustme
from anyio.lowlevel import checkpoint

from drivers.checkpoints import Checkpoints, CountedStream, run, tasks
from drivers.runners import poll, until
from pusher_anyio import Channel, Client, open_pusher
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ClientClosed,
    Closed,
    ConnectionState,
    Event,
    Options,
    OwnKey,
    StateChanged,
)
from pusher_proto.testing import DEMO_APP

KEY = OwnKey(DEMO_APP.key, DEMO_APP.secret, user={"id": "ada"})
BACKENDS = ("asyncio", "trio")
on_both = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


def options(server: ServerInThread, **more: Any) -> Options:
    settings: dict[str, Any] = {"close_timeout": 1.0, "retry_base": 0.01, "auth": KEY}
    return server.options(**(settings | more))


@asynccontextmanager
async def opened(server: ServerInThread) -> AsyncIterator[Client]:
    """Open a client, and see that nothing in it is held by what was cancelled, and nothing of it is left."""
    before = tasks()
    async with open_pusher(options(server)) as client:
        yield client
        assert client._lifecycle.waiters == []
        assert [sink for sink in client._delivery.router if sink.once or sink.signal.waiters] == []
    assert tasks() == before
    assert poll(lambda: not server.connections)


# One call, on a client that lives on


@on_both
def test_waiting_for_the_connection_may_be_cancelled_anywhere(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        for chosen in Checkpoints.each():
            async with opened(server) as client:
                with chosen.scope:
                    await chosen.counted(client.wait_connected())
                assert await client.wait_connected(5) == client.socket_id

    run(main, backend)


@on_both
def test_waiting_for_a_channel_may_be_cancelled_anywhere(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        for chosen in Checkpoints.each():
            async with opened(server) as client, client.subscribe("private-room") as room:
                with chosen.scope:
                    await chosen.counted(room.wait_subscribed())
                assert await room.wait_subscribed(5) is room
                room.trigger("client-hello", {})

    run(main, backend)


@on_both
def test_waiting_for_the_user_may_be_cancelled_anywhere(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        for chosen in Checkpoints.each():
            async with opened(server) as client:
                client.signin()
                with chosen.scope:
                    await chosen.counted(client.wait_signed_in())
                assert await client.wait_signed_in(5) == "ada"

    run(main, backend)


class _Waits:
    """The events of a channel, each waited for."""

    def __init__(self, room: Channel) -> None:
        self._room = room

    async def __anext__(self) -> Any:
        return await self._room.wait_for("n", timeout=5)


@on_both
@pytest.mark.parametrize("way", ["wait_for", "stream"])
def test_what_was_to_be_taken_when_it_was_cancelled_is_taken_next(
    server: ServerInThread, backend: str, way: str
) -> None:
    async def main() -> None:
        for chosen in Checkpoints.each():
            async with opened(server) as client:
                room = await client.subscribe("room").wait_subscribed(5)
                steps: Any = room.events("n") if way == "stream" else _Waits(room)
                taken: list[object] = []
                for n in range(3):
                    server.publish("room", "n", n)
                with chosen.scope:
                    taken.append((await chosen.counted(anext(steps))).data)
                while len(taken) < 3:
                    taken.append((await anext(steps)).data)
                assert taken == [0, 1, 2]

    run(main, backend)


@on_both
@pytest.mark.parametrize("first", ["event", "cancellation"])
def test_an_event_that_arrives_together_with_the_cancellation_is_not_lost(
    server: ServerInThread, backend: str, first: str
) -> None:
    async def main() -> None:
        async with opened(server) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            taken: list[object] = []

            def accept(event: Event) -> bool:
                if first == "cancellation":
                    scope.cancel()
                else:
                    (waiting,) = client._delivery.waits
                    waiting.signal.add(scope.cancel)
                return True

            async def publish() -> None:
                """Publish once the wait can be woken: before that it ends at its own checkpoint."""
                await until(lambda: any(wait.signal.waiters for wait in client._delivery.waits))
                server.publish("room", "n", 1)

            async with anyio.create_task_group() as group:
                group.start_soon(publish)
                with anyio.CancelScope() as scope:
                    taken.append((await room.wait_for("n", accept)).data)
            assert scope.cancelled_caught == (first == "cancellation")
            if not taken:
                taken.append((await room.wait_for("n", timeout=5)).data)
            assert taken == [1]

    run(main, backend)


def test_an_event_is_kept_when_asyncio_cancels_who_was_woken_for_it(
    server: ServerInThread,
) -> None:
    async def main() -> None:
        async with opened(server) as client:
            room = await client.subscribe("room").wait_subscribed(5)

            def accept(event: Event) -> bool:
                (waiting,) = client._delivery.waits
                waiting.signal.add(waiter.cancel)
                return True

            waiter = asyncio.create_task(room.wait_for("n", accept))
            await checkpoint()
            server.publish("room", "n", 1)
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert (await room.wait_for("n", timeout=5)).data == 1

    run(main, "asyncio")


@on_both
def test_running_and_closing_may_be_cancelled_anywhere(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        for chosen in Checkpoints.each():
            async with opened(server) as client:
                await client.wait_connected(5)
                async with anyio.create_task_group() as group:
                    with chosen.scope:
                        await chosen.counted(checkpoint())
                        group.start_soon(client.close)
                        await chosen.counted(client.run())
                await client.close()
                with pytest.raises(ClientClosed):
                    client.connect()
        for chosen in Checkpoints.each():
            async with opened(server) as client:
                await client.wait_connected(5)
                with chosen.scope:
                    await chosen.counted(client.close())
                await client.run()
                await client.close()

    run(main, backend)


# The whole block


@pytest.mark.parametrize(
    ("what", "backend"),
    [
        *product(["block", "stream", "tls", "endpoint", "authorizer", "handler"], BACKENDS),
        ("task", "asyncio"),
    ],
)
def test_A3_everything_is_cancelled_at_every_checkpoint(what: str, backend: str) -> None:
    """Nothing is left: no task, thread, file or lock, and nothing is received or started afterwards."""
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)

    async def main() -> None:
        for chosen in Checkpoints.each():
            before = tasks()
            await live(running, chosen, what, trusting)
            assert tasks() == before
            assert poll(lambda: not running.connections)

    with serve_in_thread(ssl_context=serving if what == "tls" else None) as running:
        run(main, backend)


async def live(
    server: ServerInThread, chosen: Checkpoints, what: str, trusting: ssl.SSLContext
) -> None:
    """Do all that a client does, and check that after the block, left by a cancellation, nothing comes or begins."""
    late: list[object] = []
    over = False

    def note(what: object) -> None:
        if over:  # until then the client's own tasks, which the cancelled scope does not hold, may have another turn
            late.append(what)

    async def two_steps(of: str) -> None:
        for _ in range(2):
            await (chosen.counted(checkpoint()) if what == of else checkpoint())

    async def connect(host: str, port: int) -> anyio.abc.ByteStream:
        note("connect")
        if what not in ("stream", "tls", "endpoint"):
            return await anyio.connect_tcp(host, port)
        return CountedStream(await chosen.counted(anyio.connect_tcp(host, port)), chosen)

    async def authorizer(request: AuthRequest) -> AuthResponse:
        note(request)
        await two_steps("authorizer")
        return KEY.authorization(request)

    async def handler(event: Event) -> None:
        note(event)
        await two_steps("handler")
        handled.set()

    async def block() -> None:
        asks = endpoint if what == "endpoint" else options(server, auth=None)
        async with open_pusher(
            asks, authorizer=authorizer, ssl_context=trusting, connect=connect
        ) as client:
            client.bind(None, note)
            client.bind(ChannelEvent, handler)
            room = client.subscribe("private-room")
            await client.wait_connected()
            await room.wait_subscribed()
            server.publish("private-room", "n", 1)
            await room.wait_for("n")
            await handled.wait()

    handled = anyio.Event()
    endpoint = server.options(auth_endpoint=True, close_timeout=1.0)
    if what == "task":  # asyncio's own cancellation knows no scopes
        task = asyncio.ensure_future(chosen.counted(block()))
        chosen.cancel = task.cancel
        with suppress(asyncio.CancelledError):
            await task
    else:
        with chosen.scope:
            await (chosen.counted(block()) if what == "block" else block())
    over = True
    await checkpoint()
    assert late == []


@on_both
def test_a_cancelled_client_that_is_still_held_reports_its_end(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        heard: list[object] = []
        there = anyio.Event()

        async def outside() -> None:
            await there.wait()
            with pytest.raises(ClientClosed):
                await client.subscribe("room").wait_for("n")

        async with anyio.create_task_group() as group:
            group.start_soon(outside)
            with anyio.CancelScope() as scope:
                async with open_pusher(options(server)) as client:
                    await client.wait_connected(5)
                    events = client.events()
                    client.bind(None, heard.append)
                    there.set()
                    await checkpoint()
                    scope.cancel()
                    await anyio.sleep_forever()
            assert client.state is ConnectionState.DISCONNECTED
            left = [type(event) async for event in events]
            assert left[-2:] == [StateChanged, Closed]
        assert heard == []
        await client.close()
        with pytest.raises(ClientClosed):
            await client.wait_connected()

    run(main, backend)
