"""The asynchronous client within other structures: stacks, nurseries, a server's lifespan, a busy event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint

from pusher_anyio import Client, _bindings, open_pusher
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import ChannelEvent, ClientClosed, Closed, EventsDropped, Options
from pusher_proto._client import streams
from pusher_proto.client import AT_ONCE, TURN

from .checkpoints import ENOUGH, Checkpoints, CountedStream, run, tasks
from .runners import poll, until

on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


def options(server: ServerInThread) -> Options:
    return server.options(close_timeout=0.5)


class MyOwn(Exception):
    """An exception of an application."""


@on_both
@pytest.mark.parametrize("fails", [False, True])
def test_two_clients_live_in_one_stack(server: ServerInThread, backend: str, fails: bool) -> None:
    async def main() -> None:
        before = tasks()
        with pytest.raises(MyOwn) if fails else nullcontext():
            async with AsyncExitStack() as stack:
                rooms = [
                    (await stack.enter_async_context(open_pusher(options(server)))).subscribe(
                        "private-room"
                    )
                    for _ in range(2)
                ]
                stream = await stack.enter_async_context(rooms[1].events("client-n"))
                for room in rooms:
                    await room.wait_subscribed(5)
                rooms[0].trigger("client-n", 1)
                assert (await anext(stream)).data == 1
                if fails:
                    raise MyOwn
        assert tasks() == before
        assert poll(lambda: not server.connections)

    run(main, backend)


@on_both
def test_an_exception_of_a_sibling_ends_the_client_and_is_raised_alone(
    server: ServerInThread, backend: str
) -> None:
    async def listens(client_there: anyio.Event) -> None:
        async with open_pusher(options(server)) as client:
            client.bind(None, heard.append)
            await client.wait_connected(5)
            await until(lambda: heard)
            client_there.set()
            await client.run()

    async def fails(client_there: anyio.Event) -> None:
        await client_there.wait()
        heard.clear()
        raise raised

    async def in_a_group() -> None:
        there = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(listens, there)
            group.start_soon(fails, there)

    async def in_what_the_library_has() -> None:
        there = anyio.Event()
        if backend == "trio":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listens, there)
                nursery.start_soon(fails, there)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(listens(there))
                group.create_task(fails(there))

    async def main() -> None:
        before = tasks()
        for way in (in_a_group, in_what_the_library_has):
            with pytest.raises(ExceptionGroup) as caught:
                await way()
            assert caught.value.exceptions == (raised,)
            assert heard == []
            assert tasks() == before
            assert poll(lambda: not server.connections)

    heard: list[object] = []
    raised = MyOwn()
    run(main, backend)


@on_both
def test_a_group_in_the_block_may_fail(server: ServerInThread, backend: str) -> None:
    async def consumes(client: Client) -> None:
        async for _ in client.subscribe("room"):
            raise raised

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_pusher(options(server)) as client, anyio.create_task_group() as group:
                await client.subscribe("room").wait_subscribed(5)
                group.start_soon(consumes, client)
                group.start_soon(client.run)
                server.publish("room", "n", 1)
                await client.wait_for("never")
        assert caught.value.exceptions == (raised,)

    raised = MyOwn()
    run(main, backend)


class Application:
    """As in a web framework: the lifespan is entered and left in one task, and requests are others."""

    def __init__(self, server: ServerInThread) -> None:
        self.server = server
        self.client: Client

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with open_pusher(options(self.server)) as self.client:
            self.client.subscribe("private-room")
            yield

    async def serve(self, stop: anyio.Event, started: anyio.Event) -> None:
        async with self.lifespan():
            started.set()
            await stop.wait()

    async def request(self, n: int, answers: list[object]) -> None:
        room = await self.client.channel("private-room").wait_subscribed(5)
        self.server.publish("private-room", f"n{n}", n)
        answers.append((await room.wait_for(f"n{n}", timeout=5)).data)


@on_both
def test_a_client_lives_as_long_as_an_application(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        app, stop, started = Application(server), anyio.Event(), anyio.Event()
        answers: list[object] = []
        async with anyio.create_task_group() as group:
            group.start_soon(app.serve, stop, started)
            await started.wait()
            async with anyio.create_task_group() as requests:
                for n in range(10):
                    requests.start_soon(app.request, n, answers)
                with anyio.move_on_after(0):
                    await app.client.wait_for("never")  # a request whose client has gone
            stop.set()
        assert sorted(map(str, answers)) == [str(n) for n in range(10)]
        with pytest.raises(ClientClosed):
            await app.request(10, answers)

    run(main, backend)


@on_both
def test_a_client_serves_the_cleaning_up_of_its_cancelled_block(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with open_pusher(options(server)) as client:
                room = await client.subscribe("private-room").wait_subscribed(5)
                scope.cancel()
                try:
                    await checkpoint()
                finally:
                    with anyio.CancelScope(shield=True):
                        room.trigger("client-bye", 1)
                        server.publish("private-room", "n", 1)
                        assert (await room.wait_for("n", timeout=5)).data == 1
        assert poll(lambda: "client-bye" in [each.event for each in server.received])

    run(main, backend)


@on_both
def test_handlers_are_called_for_an_orderly_end_and_for_nothing_later(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        heard: list[type] = []
        async with open_pusher(options(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            client.bind((Closed, EventsDropped), lambda event: heard.append(type(event)))
            stream = room.events("n", buffer=1, overflow="drop_newest")
            for n in range(3):
                server.publish("room", "n", n)
            await until(lambda: stream.dropped == 2)
        assert heard == [Closed]
        stream.close()  # logs the dropped events, and the client is gone
        await checkpoint()
        assert heard == [Closed]

    run(main, backend)


# The event loop


@on_both
def test_a_consumer_that_never_waits_lets_others_run_and_can_be_cancelled(
    server: ServerInThread, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "TURN", 1e-9)

    async def main() -> None:
        count = (AT_ONCE + 1) * 5
        async with open_pusher(options(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            read: list[object] = []
            async with room.events("n") as stream:
                for n in range(count):
                    server.publish("room", "n", n)
                await until(lambda: len(stream._sink.queue) == count)
                with anyio.CancelScope() as scope:
                    async for event in stream:
                        read.append(event.data)
                        scope.cancel()
                assert len(read) == AT_ONCE + 1
                while len(read) < count:
                    read.append((await anext(stream)).data)
            assert read == list(range(count))

    run(main, backend)


@on_both
def test_a_handler_that_never_waits_lets_others_run_and_can_be_cancelled(
    server: ServerInThread, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bindings, "TURN", 1e-9)

    async def main() -> None:
        def handler(event: ChannelEvent) -> None:
            calls.append(event.data)
            scope.cancel()

        calls: list[Any] = []
        with anyio.CancelScope() as scope:
            async with open_pusher(options(server)) as client:
                room = await client.subscribe("room").wait_subscribed(5)
                for n in range(20):
                    server.publish("room", "n", n)
                server.publish("room", "last", None)
                await room.wait_for("last", timeout=5)
                room.bind("n", handler)  # has all of them at once
                await client.run()
        # On trio, whose turns are in random order, the handlers may have a few more before the block.
        assert calls == [*range(len(calls))]
        assert 1 <= len(calls) < 10

    run(main, backend)


@on_both
def test_a_consumer_that_is_quick_continues_until_its_turn_is_over(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        count = 500
        async with open_pusher(options(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            read: list[object] = []
            stream = room.events("n")
            for n in range(count):
                server.publish("room", "n", n)
            await until(lambda: len(stream._sink.queue) == count)
            began = client._io.time()
            with pytest.MonkeyPatch.context() as patch, anyio.CancelScope() as scope:
                patch.setattr(client._io, "time", lambda: began + len(read) * TURN / 100)
                async for event in stream:
                    read.append(event.data)
                    if len(read) == AT_ONCE + 2:
                        scope.cancel()  # after the first pause, which comes early
            assert AT_ONCE + 1 + 100 <= len(read) < 2 * (AT_ONCE + 1) + 100

    run(main, backend)


@on_both
def test_a_consumer_that_is_slow_lets_others_run_after_each_step(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        count = 500
        read: list[object] = []
        seen: list[int] = []

        async def other() -> None:
            while True:
                seen.append(len(read))
                await checkpoint()

        async with open_pusher(options(server)) as client, anyio.create_task_group() as group:
            room = await client.subscribe("room").wait_subscribed(5)
            stream = room.events("n")
            for n in range(count):
                server.publish("room", "n", n)
            await until(lambda: len(stream._sink.queue) == count)
            group.start_soon(other)
            began = client._io.time()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(client._io, "time", lambda: began + len(read) * 4 * TURN)
                async for event in stream:
                    read.append(event.data)
                    if len(read) == count:
                        break
            group.cancel_scope.cancel()
        assert seen[0] <= AT_ONCE + 2  # before it is known
        assert max(later - earlier for earlier, later in pairwise(seen)) <= 2

    run(main, backend)


@on_both
def test_a_handler_that_is_quick_continues_until_its_turn_is_over(
    server: ServerInThread, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(
        _bindings, "time", SimpleNamespace(monotonic=lambda: len(calls) * TURN / 100)
    )

    async def main() -> None:
        def handler(event: ChannelEvent) -> None:
            calls.append(event.data)
            scope.cancel()

        with anyio.CancelScope() as scope:
            async with open_pusher(options(server)) as client:
                room = await client.subscribe("room").wait_subscribed(5)
                for n in range(900):
                    server.publish("room", "n", n)
                server.publish("room", "last", None)
                await room.wait_for("last", timeout=5)
                room.bind("n", handler)
                await client.run()
        # Turns of 100 events. On trio, whose order is random, there may be a few before the block ends.
        assert calls == [*range(len(calls))]
        assert 100 <= len(calls) < 900

    run(main, backend)


@on_both
def test_a_plain_handler_may_return_what_is_to_be_awaited(
    server: ServerInThread, backend: str
) -> None:
    async def waits(event: ChannelEvent) -> None:
        began.append(event.data)
        await gates[event.data].wait()
        ended.append(event.data)

    async def main() -> None:
        gates.extend(anyio.Event() for _ in range(3))
        async with open_pusher(options(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            room.bind("n", lambda event: waits(event))
            room.bind("n", lambda event: others.append(event.data))
            for number in range(3):
                server.publish("room", "n", number)
            await until(lambda: others == [0, 1, 2])  # which do not wait for the first
            for number in range(3):
                await until(lambda n=number: len(began) == n + 1)  # type: ignore[misc]  # bound now
                assert ended == list(range(number))  # one call at a time
                gates[number].set()
            await until(lambda: ended == [0, 1, 2])

    began: list[int] = []
    ended: list[int] = []
    others: list[int] = []
    gates: list[anyio.Event] = []
    run(main, backend)


@on_both
def test_a_handler_that_holds_up_the_event_loop_is_named(
    server: ServerInThread,
    backend: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def computes(event: ChannelEvent) -> None:
        clock.now += event.data

    async def main() -> None:
        async with open_pusher(options(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            room.bind("n", computes)
            for seconds in (0.5, 1.0, 1.5):
                server.publish("room", "n", seconds)
            await until(lambda: clock.now == 3.0)
            await checkpoint()

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(_bindings, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with caplog.at_level("WARNING", "pusher_proto.client"):
        run(main, backend)
    (record,) = caplog.records
    assert "computes held up the event loop for 1.5 s" in record.getMessage()


@on_both
def test_closing_again_after_a_recording_has_ended_is_harmless(
    server: ServerInThread, backend: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with open_pusher(options(server), record=tmp_path / "recording") as client:
            await client.wait_connected(5)
        recorded = (tmp_path / "recording").read_text()
        await client.close()
        assert (tmp_path / "recording").read_text() == recorded
        assert recorded.count('"input":"close"') == 1

    run(main, backend)


class Read(bytes):
    """A value that was read; it records when it is garbage-collected."""

    alive = 0

    def __new__(cls, data: bytes) -> Self:
        cls.alive += 1
        return super().__new__(cls, data)

    def __del__(self) -> None:
        Read.alive -= 1


class ReadStream(CountedStream):
    """A byte stream that gives what it reads as `Read`."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return Read(await super().receive(max_bytes))


@on_both
def test_a_client_that_waits_does_not_hold_what_it_read_last(
    server: ServerInThread, backend: str
) -> None:
    async def connect(host: str, port: int) -> ReadStream:
        return ReadStream(await anyio.connect_tcp(host, port), Checkpoints(ENOUGH))

    async def main() -> None:
        async with open_pusher(options(server), connect=connect) as client:
            await client.subscribe("room").wait_subscribed(5)
            await until(lambda: not Read.alive)

    run(main, backend)


@on_both
def test_an_error_of_a_timer_is_raised_by_the_block(
    server: ServerInThread, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle_timeout(*, now: float) -> None:
        raise MyOwn

    async def main() -> None:
        before = tasks()
        with pytest.raises(MyOwn):
            async with open_pusher(replace(options(server), activity_override=0.05)) as client:
                monkeypatch.setattr(client._session, "handle_timeout", handle_timeout)
                await client.run()
        assert tasks() == before

    run(main, backend)
