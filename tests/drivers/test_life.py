"""The life of a client belongs to no task: every way to open and close one, on asyncio and trio."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import socket
import ssl
import sys
import threading
import time
import unittest
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
from anyio.lowlevel import checkpoint

from pusher_anyio import Client, open_pusher
from pusher_anyio.testing import ServerInThread, serve, serve_in_thread
from pusher_proto import (
    AuthEndpoint,
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ChannelState,
    ClientClosed,
    ConnectionFailed,
    ConnectionState,
    Gap,
    LocalProtocolError,
    Options,
    OwnKey,
)
from pusher_proto.driving import tls
from pusher_proto.testing import DEMO_APP

from .checkpoints import tasks
from .runners import PATIENCE, Clock, Lookup, leaves_nothing, poll, silent_server, until
from .scenarios import quick

BACKENDS = ["asyncio", "trio"]
on_both = pytest.mark.parametrize("backend", BACKENDS)
forms = pytest.mark.parametrize("form", ["client", "server"])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


def run(main: Callable[[], Awaitable[None]], backend: str) -> None:
    with leaves_nothing():
        anyio.run(main, backend=backend)


class MyOwn(Exception):
    """An exception of the test."""


# Forms


@on_both
def test_a_client_is_awaited_and_closed(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        client = await open_pusher(quick(server))
        await client.wait_connected(5)
        await client.close()
        assert client.state is ConnectionState.DISCONNECTED
        await client.close()
        with pytest.raises(ClientClosed):
            client.connect()

    run(main, backend)


@on_both
def test_it_may_be_entered_after_it_was_opened_and_closed_by_aclosing(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        async with await open_pusher(quick(server)) as client:
            await client.wait_connected(5)
        async with aclosing(await open_pusher(quick(server))) as other:
            await other.wait_connected(5)
        assert other.state is client.state is ConnectionState.DISCONNECTED

    run(main, backend)


@on_both
def test_what_is_neither_awaited_nor_entered_says_what_to_do(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        opening = open_pusher(quick(server))
        with pytest.raises(AttributeError, match="`await` it, or enter it"):
            opening.subscribe("room")
        client = await opening
        with pytest.raises(LocalProtocolError, match="opened before"):
            await opening
        await client.close()

    run(main, backend)


# Tasks


async def _opened(form: str, server: ServerInThread) -> Any:
    return await (open_pusher(quick(server)) if form == "client" else serve())


def _entered(form: str, server: ServerInThread) -> Any:
    return open_pusher(quick(server)) if form == "client" else serve()


async def _works(opened: Any) -> None:
    if isinstance(opened, Client):
        await opened.wait_connected(5)
    else:
        async with open_pusher(opened.options()) as client:
            await client.wait_connected(5)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # of trio, which reports each
@forms
@on_both
def test_an_async_generator_that_holds_the_block_may_be_left_by_break(
    server: ServerInThread, backend: str, form: str
) -> None:
    async def prices() -> AsyncIterator[int]:
        async with _entered(form, server) as opened:
            await _works(opened)
            for n in range(3):
                yield n

    async def main() -> None:
        with anyio.fail_after(10):
            async for n in prices():  # noqa: B007 - it is left at the first
                break
            gc.collect()
            await anyio.sleep(0.05)
        assert n == 0

    run(main, backend)


@forms
@on_both
def test_two_are_closed_in_the_order_in_which_they_were_opened(
    server: ServerInThread, backend: str, form: str
) -> None:
    async def main() -> None:
        one, other = _entered(form, server), _entered(form, server)
        first, second = await one.__aenter__(), await other.__aenter__()
        await _works(first)
        await one.__aexit__(None, None, None)
        await _works(second)
        await other.__aexit__(None, None, None)

    run(main, backend)


@pytest.mark.parametrize("opener", ["finished", "alive", "cancelled"])
@pytest.mark.parametrize("entered", [False, True])
@forms
@on_both
def test_one_task_opens_and_another_one_closes(
    server: ServerInThread, backend: str, form: str, entered: bool, opener: str
) -> None:
    async def main() -> None:
        ready, done = anyio.Event(), anyio.Event()
        there: list[Any] = []

        async def opens() -> None:
            if entered:
                there.append(block := _entered(form, server))
                there.append(await block.__aenter__())
            else:
                there.append(await _opened(form, server))
            await _works(there[-1])
            ready.set()
            if opener != "finished":
                await done.wait()

        async with anyio.create_task_group() as group:
            async with anyio.create_task_group() as inner:
                inner.start_soon(opens)
                await ready.wait()
                if opener == "cancelled":
                    inner.cancel_scope.cancel()
                if opener == "alive":
                    await _close(there, entered)
                    done.set()
            if opener != "alive":
                group.start_soon(_close, there, entered)

    run(main, backend)


async def _close(there: list[Any], entered: bool) -> None:
    await _works(there[-1])
    if entered:
        await there[0].__aexit__(None, None, None)
    else:
        await there[0].close()


@forms
@on_both
def test_a_stack_is_closed_in_another_task(server: ServerInThread, backend: str, form: str) -> None:
    async def main() -> None:
        stack = AsyncExitStack()

        async def opens() -> None:
            with anyio.move_on_after(5):
                await _works(await stack.enter_async_context(_entered(form, server)))

        async with anyio.create_task_group() as group:
            group.start_soon(opens)
        async with anyio.create_task_group() as group:
            group.start_soon(stack.aclose)

    run(main, backend)


@forms
def test_two_calls_of_run_until_complete(server: ServerInThread, form: str) -> None:
    with leaves_nothing():
        loop = asyncio.new_event_loop()
        opened = loop.run_until_complete(_opened(form, server))
        if form == "client":
            opened.subscribe("room")  # while the loop does not run
        loop.run_until_complete(_works(opened))
        loop.run_until_complete(opened.close())
        loop.close()


@on_both
def test_a_class_that_is_started_and_stopped(server: ServerInThread, backend: str) -> None:
    class Service:
        async def start(self) -> None:
            self.client = await open_pusher(quick(server))
            self.room = self.client.subscribe("room")

        async def stop(self) -> None:
            await self.client.close()

    async def main() -> None:
        service = Service()
        async with anyio.create_task_group() as group:
            group.start_soon(service.start)
        await service.room.wait_subscribed(5)
        async with anyio.create_task_group() as group:
            group.start_soon(service.stop)

    run(main, backend)


def test_a_test_case_of_unittest(server: ServerInThread) -> None:
    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            self.client = await self.enterAsyncContext(open_pusher(quick(server)))
            self.running = await self.enterAsyncContext(serve())

        async def test_it(self) -> None:
            await self.client.wait_connected(5)
            await _works(self.running)

    with leaves_nothing():
        result = unittest.TestResult()
        Case("test_it").run(result)
    assert result.wasSuccessful(), result.errors + result.failures
    assert result.testsRun == 1


pytest_plugins = ["pytester"]


@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("scope", ["function", "session"])
def test_fixtures_of_pytest_asyncio(pytester: pytest.Pytester, mode: str, scope: str) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    mark = f'@pytest.mark.asyncio(loop_scope="{scope}")'
    pytester.makepyfile(
        f"""
        import pytest, pytest_asyncio
        from pusher_anyio import open_pusher
        from pusher_anyio.testing import serve

        @pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")
        async def server():
            async with serve() as running:
                yield running

        @pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")
        async def client(server):
            async with open_pusher(server.options()) as client:
                yield client

        {mark}
        async def test_one(client, server):
            await client.subscribe("room").wait_subscribed(5)
            server.publish("room", "x", 1)
            assert (await client.wait_for("x", timeout=5)).data == 1

        {mark}
        async def test_other(client):
            await client.wait_connected(5)
        """
    )
    others = ("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error", "--asyncio-mode", mode)
    result = pytester.runpytest_subprocess(*others)
    result.assert_outcomes(passed=2)


def test_a_lifespan_of_fastapi(server: ServerInThread) -> None:
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_pusher(quick(server)) as client:
            app.state.client = client
            yield

    async def main() -> None:
        app = FastAPI(lifespan=lifespan)
        said: asyncio.Queue[str] = asyncio.Queue()
        begin, end = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
        to_say = iter([begin, end])
        over = asyncio.Event()

        async def receive() -> dict[str, str]:
            message = next(to_say)
            if message is end:
                await over.wait()
            return message

        async def send(message: Any) -> None:
            said.put_nowait(message["type"])

        # As servers do: a task for the lifespan, others for requests.
        living = asyncio.create_task(app({"type": "lifespan", "state": {}}, receive, send))
        assert await said.get() == "lifespan.startup.complete"
        await asyncio.create_task(app.state.client.wait_connected(5))
        over.set()
        assert await said.get() == "lifespan.shutdown.complete"
        await living

    run(main, "asyncio")


# Errors of the client's own parts


def _fails(_: object) -> None:
    raise MyOwn


@on_both
def test_W30_an_error_is_raised_by_run_every_wait_and_close(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        client = await open_pusher(quick(server), on_handler_error="raise")
        room = client.subscribe("room")
        stream = room.events()
        client.bind(None, _fails)

        async def read_all() -> None:
            async for _ in stream:
                pass

        calls: list[Callable[[], Awaitable[object]]] = [
            client.run,
            client.wait_connected,
            lambda: room.wait_for("never"),
            read_all,
            client.close,
            client.close,
        ]
        for call in calls:
            with pytest.raises(MyOwn), anyio.fail_after(5):
                await call()
        assert client.state is ConnectionState.DISCONNECTED

    run(main, backend)


@on_both
def test_an_error_interrupts_the_body_of_a_block_wherever_it_waits(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        with anyio.fail_after(5), pytest.raises(MyOwn):
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                client.bind(None, _fails)
                await anyio.sleep_forever()
        with anyio.fail_after(5), pytest.raises(MyOwn):
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                client.bind(None, _fails)
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)
                    with anyio.CancelScope():
                        await anyio.sleep_forever()
        await checkpoint()  # nothing of it is left
        if backend == "asyncio":
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    run(main, backend)


@on_both
def test_a_body_that_catches_the_error_and_continues_is_not_interrupted(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        went_on = False
        with pytest.raises(MyOwn):
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                client.bind(None, _fails)
                with pytest.raises(MyOwn):
                    await client.run()
                await anyio.sleep(0.05)
                went_on = True
        assert went_on

    run(main, backend)


@on_both
def test_a_body_that_never_waits_gets_the_error_at_the_end(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        with pytest.raises(MyOwn):
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                client._broke(MyOwn())
        await checkpoint()

    run(main, backend)


@on_both
def test_cancelling_the_block_from_outside_wins(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            async with open_pusher(quick(server)) as client:
                await client.wait_connected(5)
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert client.state is ConnectionState.DISCONNECTED

    run(main, backend)


# A forgotten client


@on_both
def test_a_forgotten_client_says_where_it_was_opened_and_is_closed(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        client = await open_pusher(quick(server))
        await client.wait_connected(5)
        driver = client._driver
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del client
            gc.collect()
        (warning,) = [each for each in seen if each.category is ResourceWarning]
        assert f"{__file__}:" in str(warning.message)
        assert "was not closed: call close()" in str(warning.message)
        await until(lambda: driver.session.closed)
        await until(lambda: not driver.wires)

    run(main, backend)


@on_both
def test_a_client_with_handlers_is_not_forgotten(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        heard: list[object] = []

        async def begin() -> Any:
            client = await open_pusher(quick(server))
            room = await client.subscribe("room").wait_subscribed(5)
            binding = room.bind("x", lambda event: heard.append(event.data))
            return client._driver, binding.cancel

        _, cancel = await begin()
        gc.collect()
        server.publish("room", "x", 1)
        await until(lambda: heard == [1])
        client = cancel.__self__._client
        del cancel
        await client.close()

    run(main, backend)


# From where commands may be given


def test_W35_callbacks_of_the_loop_may_give_any_command(server: ServerInThread) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        options = quick(server, auth=OwnKey(DEMO_APP.key, DEMO_APP.secret))
        async with open_pusher(options) as client:
            await client.wait_connected(5)
            first = client.socket_id
            loop.call_soon(client.subscribe, "private-x")
            loop.call_soon_threadsafe(client.subscribe, "room")
            await until(lambda: len(client.channels) == 2)
            for channel in client.channels.values():
                await channel.wait_subscribed(5)
            loop.call_later(0.01, client.reconnect)
            await until(lambda: client.socket_id not in (None, first))
            if sys.platform != "win32":
                second = client.socket_id
                loop.add_signal_handler(signal.SIGUSR1, client.reconnect)
                os.kill(os.getpid(), signal.SIGUSR1)
                await until(lambda: client.socket_id not in (None, second))
                loop.remove_signal_handler(signal.SIGUSR1)

    run(main, "asyncio")


def test_W35_a_callback_of_the_loop_opens_a_stream_of_the_application(
    server: ServerInThread,
) -> None:
    async def main() -> None:
        async with open_pusher(quick(server), connect=anyio.connect_tcp) as client:
            await client.wait_connected(5)
            first = client.socket_id
            asyncio.get_running_loop().call_soon(client.reconnect)
            await until(lambda: client.socket_id not in (None, first))

    run(main, "asyncio")


@on_both
@pytest.mark.parametrize("wrong", [None, 5, socket.socket])
def test_W11_what_connect_returns_has_to_be_a_stream(
    server: ServerInThread, backend: str, wrong: object
) -> None:
    async def connect(*_: object) -> Any:
        return wrong

    async def main() -> None:
        async with open_pusher(quick(server, max_attempts=2), connect=connect) as client:
            with pytest.raises(
                ConnectionFailed, match="connect= returns a byte stream with receive"
            ):
                await client.run()
            assert client.stats.attempts == 2

    run(main, backend)


@on_both
def test_W11_a_stream_whose_close_raises_ends_no_client(
    server: ServerInThread, backend: str
) -> None:
    streams: list[Any] = []

    class Stream:
        def __init__(self, stream: Any) -> None:
            self.receive, self.send = stream.receive, stream.send
            streams.append(stream)

        async def aclose(self) -> None:
            raise ValueError("of a proxy library")

    async def connect(host: str, port: int) -> Any:
        return Stream(await anyio.connect_tcp(host, port))

    async def main() -> None:
        async with open_pusher(quick(server), connect=connect) as client:
            await client.wait_connected(5)
            first = client.socket_id
            client.reconnect()
            await until(lambda: client.socket_id not in (None, first))
        for stream in streams:
            await stream.aclose()

    run(main, backend)


def test_W35_callbacks_of_a_run_of_trio_may_give_any_command(server: ServerInThread) -> None:
    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            await client.wait_connected(5)
            first = client.socket_id
            trio.lowlevel.current_trio_token().run_sync_soon(client.reconnect)
            await until(lambda: client.socket_id not in (None, first))

    run(main, "trio")


@on_both
def test_W17_another_thread_gets_an_error_that_says_what_to_call_before_anything_has_changed(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            await client.wait_connected(5)
            channel = client.channel("private-room")
            stream, binding = channel.events(), channel.bind("x", print)

            def elsewhere() -> None:
                for command in (channel.outbox, channel.unbind, binding.cancel, stream.close):
                    with pytest.raises(LocalProtocolError, match="call_from_thread"):
                        command()
                for command in (client.connect, client.reconnect, client.ping, client.disconnect):
                    with pytest.raises(LocalProtocolError, match="call_from_thread"):
                        command()
                with pytest.raises(LocalProtocolError, match="another thread"):
                    client.subscribe("room")
                with pytest.raises(LocalProtocolError, match="call_from_thread"):
                    client.bind("x", print)
                with pytest.raises(LocalProtocolError, match="call_from_thread"):
                    client.events()

            await anyio.to_thread.run_sync(elsewhere)
            assert client.channels == {}
            assert client.state is ConnectionState.CONNECTED
            with pytest.raises(LocalProtocolError, match="not subscribed"):  # there is no outbox
                channel.trigger("client-x", 1)
            server.publish("private-room", "x", 1)
            channel.subscribe()
            assert (await stream.next(5)) is not None

    run(main, backend)


@on_both
def test_W17_another_event_loop_gets_the_error_as_well(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            await client.wait_connected(5)

            async def there() -> None:
                with pytest.raises(LocalProtocolError, match=r"event loop|thread"):
                    await client.wait_connected(5)
                with pytest.raises(LocalProtocolError, match=r"event loop|thread"):
                    await client.close()

            await anyio.to_thread.run_sync(lambda: anyio.run(there, backend=backend))
            assert client.state is ConnectionState.CONNECTED

    run(main, backend)


def test_W17_one_event_loop_after_another_in_one_thread(server: ServerInThread) -> None:
    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    client = one.run_until_complete(_opened("client", server))

    async def there() -> None:
        with pytest.raises(LocalProtocolError, match="another event loop"):
            client.subscribe("room")

    other.run_until_complete(there())
    one.run_until_complete(client.close())
    one.close()
    other.close()


@on_both
def test_W17_any_thread_may_read_while_everything_changes(
    server: ServerInThread, backend: str
) -> None:
    done = threading.Event()
    seen = set[ConnectionState]()

    def read(client: Client) -> None:
        while not done.is_set():
            seen.add(client.state)
            assert not client.closed
            assert client.socket_id is not None
            assert (client.last_error, client.retry_at) == (None, None)
            assert client.options is not None
            assert client.stats.attempts == 1
            for channel in client.channels.values():
                assert isinstance(channel.state, ChannelState)
                assert (channel.last_error, channel.subscription_count) == (None, None)

    async def change(client: Client) -> None:
        kept = [client.channel(f"kept-{n}").events("a") for n in range(200)]
        with anyio.move_on_after(0.5):
            while True:
                rooms = [client.subscribe(f"room-{n}") for n in range(20)]
                streams = [room.events("a") for room in rooms]
                for room, stream in zip(rooms, streams, strict=True):
                    stream.close()
                    room.unsubscribe()
                await checkpoint()
        done.set()
        assert all(stream.dropped == 0 for stream in kept)

    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            await client.wait_connected(5)
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, read, client)
                group.start_soon(change, client)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        run(main, backend)
    finally:
        sys.setswitchinterval(before)
    assert seen == {ConnectionState.CONNECTED}


@on_both
def test_call_from_thread_calls_awaits_and_raises(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        async with open_pusher(quick(server)) as client:

            def elsewhere() -> None:
                assert client.call_from_thread(client.subscribe, "room").name == "room"
                assert "." in client.call_from_thread(client.wait_connected, 5)
                with pytest.raises(MyOwn):
                    client.call_from_thread(_fails, None)
                with pytest.raises(ClientClosed):
                    client.call_from_thread(_raises, ClientClosed("so"))

            await anyio.to_thread.run_sync(elsewhere)
            with pytest.raises(LocalProtocolError, match="other threads"):
                client.call_from_thread(client.ping)

    run(main, backend)


async def _raises(error: Exception) -> None:
    raise error


@on_both
def test_call_from_thread_does_not_wait_for_a_loop_that_has_ended(
    server: ServerInThread, backend: str
) -> None:
    kept: list[Client] = []

    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            kept.append(client)

    run(main, backend)
    outcome: list[BaseException] = []

    def elsewhere() -> None:
        try:
            kept[0].call_from_thread(print)
        except RuntimeError as error:
            outcome.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert "ended" in str(outcome[0])


@on_both
def test_call_from_thread_ends_with_the_loop_while_it_waits(
    server: ServerInThread, backend: str
) -> None:
    outcome: list[BaseException] = []

    began = threading.Event()

    async def for_ever() -> None:
        began.set()
        await anyio.sleep_forever()

    def elsewhere(client: Client) -> None:
        try:
            client.call_from_thread(for_ever)
        except BaseException as error:
            outcome.append(error)

    threads: list[threading.Thread] = []

    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            threads.append(threading.Thread(target=elsewhere, args=(client,)))
            threads[0].start()
            await until(began.is_set)

    run(main, backend)
    threads[0].join(10)
    assert type(outcome[0]) is RuntimeError
    assert "ended" in str(outcome[0])


# stop()


@on_both
def test_stop_ends_run_and_closes_the_client(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        client = await open_pusher(quick(server))
        await client.wait_connected(5)
        async with anyio.create_task_group() as group:
            group.start_soon(client.run)
            await checkpoint()
            with Clock() as clock:
                client.stop()
                client.stop()
            assert clock.seconds < 0.05
        await until(lambda: not client._io.wires)
        await until(lambda: not client._io.tasks)

    run(main, backend)


@on_both
def test_stop_may_be_called_in_another_thread(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            await client.wait_connected(5)
            await anyio.to_thread.run_sync(client.stop)
            with anyio.fail_after(5):
                await client.run()

    run(main, backend)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes there")
@on_both
def test_stop_may_be_called_in_a_signal_handler(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            await client.wait_connected(5)
            before = signal.signal(signal.SIGUSR1, lambda *_: client.stop())
            try:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
                with anyio.fail_after(5):
                    await client.run()
            finally:
                signal.signal(signal.SIGUSR1, before)

    run(main, backend)


# Contexts, names, threads


@on_both
def test_a_handler_runs_in_a_copy_of_the_context_of_its_bind(
    server: ServerInThread, backend: str
) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    async def main() -> None:
        heard: list[str] = []

        def plain(_: object) -> None:
            heard.append(who.get())
            who.set("a handler")

        async def waits(_: object) -> None:
            await checkpoint()
            plain(_)

        async with open_pusher(quick(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            for name, handler in (
                ("one", plain),
                ("two", plain),
                ("three", waits),
                ("four", waits),
            ):
                who.set(name)
                room.bind("x", lambda event, handler=handler: handler(event))
            who.set("the body")
            server.publish("room", "x", 1)
            await until(lambda: len(heard) == 4)
            assert sorted(heard) == ["four", "one", "three", "two"]
            assert who.get() == "the body"

    run(main, backend)


@on_both
def test_tasks_and_threads_say_what_they_do(server: ServerInThread, backend: str) -> None:
    names: list[str] = []

    def authorizer(request: AuthRequest) -> AuthResponse:
        names.append(threading.current_thread().name)
        return OwnKey(DEMO_APP.key, DEMO_APP.secret).authorization(request)

    async def handler(_: object) -> None:
        names.append(anyio.get_current_task().name or "")

    async def main() -> None:
        async with open_pusher(quick(server, auth=None), authorizer=authorizer) as client:
            room = client.subscribe("private-room")
            room.bind("x", handler)
            await room.wait_subscribed(5)
            server.publish("private-room", "x", 1)
            await until(lambda: len(names) == 2)

    run(main, backend)
    assert all(name.startswith("pusher ") for name in names)
    assert names[0].endswith("authorizer")
    assert names[1].endswith("handler")


@on_both
def test_a_slow_authorizer_holds_up_nothing_and_is_not_waited_for(
    server: ServerInThread, backend: str
) -> None:
    release = threading.Event()

    def hangs(_: object) -> None:
        release.wait(10)

    async def main() -> None:
        async with open_pusher(quick(server, auth=None), authorizer=hangs) as client:
            for n in range(8):
                client.subscribe(f"private-{n}")
            with anyio.fail_after(5):
                await client.subscribe("room").wait_subscribed(5)
                await anyio.to_thread.run_sync(int)  # the pool of anyio is free
            with Clock() as clock:
                await client.close()
        assert clock.seconds < 3

    anyio.run(main, backend=backend)
    release.set()
    assert poll(lambda: not [t for t in threading.enumerate() if t.name.startswith("pusher")])


@pytest.mark.parametrize("is_async", [False, True])
@on_both
def test_functions_of_the_auth_endpoint_may_be_async_or_slow(
    server: ServerInThread, backend: str, is_async: bool
) -> None:
    asked: list[str] = []
    went_on = threading.Event()
    """Set by the event loop: where a function holds the loop up, it is not set in time."""

    def headers() -> dict[str, str]:
        asked.append(threading.current_thread().name)
        assert went_on.wait(5)
        return {"X-Token": "one"}

    async def async_headers() -> dict[str, str]:
        asked.append(threading.current_thread().name)
        await until(went_on.is_set)
        return {"X-Token": "one"}

    async def main() -> None:
        options = quick(server, auth_endpoint=True)
        assert isinstance(options.auth, AuthEndpoint)
        auth = replace(options.auth, headers=async_headers if is_async else headers)
        async with open_pusher(quick(server, auth=auth)) as client:
            room = client.subscribe("private-room")
            await client.subscribe("other").wait_subscribed(5)
            await until(lambda: asked)
            assert room.state is ChannelState.AUTHORIZING
            went_on.set()
            await room.wait_subscribed(5)

    run(main, backend)
    (name,) = asked
    assert name.startswith("pusher ") is not is_async


@on_both
def test_W9_too_few_threads_are_a_failure_for_now(
    server: ServerInThread, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    start = threading.Thread.start

    def few(thread: threading.Thread) -> None:
        if thread.name.startswith("pusher ") and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    def authorizer(request: AuthRequest) -> AuthResponse:
        return OwnKey(DEMO_APP.key, DEMO_APP.secret).authorization(request)

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", few)
        async with open_pusher(quick(server, auth=None), authorizer=authorizer) as client:
            await client.subscribe("private-room").wait_subscribed(10)
            assert len(refused) == 2

    run(main, backend)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_tasks_that_begin_within_the_call(server: ServerInThread) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        async with open_pusher(quick(server)) as client:
            heard: list[object] = []

            async def handler(event: ChannelEvent) -> None:
                heard.append(event.data)

            room = await client.subscribe("room").wait_subscribed(5)
            room.bind("x", handler)
            server.publish("room", "x", 1)
            await until(lambda: heard == [1])
            client.reconnect()
            await client.wait_connected(5)

    run(main, "asyncio")


# The event loop ends


def test_W34_an_event_loop_that_ends_with_a_listener_alive_is_silent(
    server: ServerInThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_: object) -> None:
        heard.append(1)
        await anyio.sleep_forever()

    async def listens() -> None:
        async with open_pusher(quick(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            for _ in range(3):
                room.bind("x", handler)
            server.publish("room", "x", 1)
            await client.run()

    async def main() -> None:
        task = asyncio.create_task(listens())
        await until(lambda: len(heard) == 3)
        assert not task.done()

    heard: list[int] = []
    with caplog.at_level("ERROR"):
        asyncio.run(main())
    assert caplog.records == []


@on_both
@pytest.mark.parametrize("phase", ["dialing", "moving", "connected", "authorizing", "fetching"])
def test_W34_an_event_loop_that_ends_with_a_client_alive_is_silent(
    server: ServerInThread, backend: str, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is tried again when the loop has ended, so nothing says so."""
    began: list[str] = []

    async def never(*_: object) -> Any:
        began.append(phase)
        await anyio.sleep_forever()

    async def main() -> None:
        connect: Any = {"dialing": never, "moving": anyio.connect_tcp}.get(phase)
        client = await open_pusher(quick(server), connect=connect)
        clients.append(client)
        if phase == "authorizing":
            client.subscribe("private-room", auth=never)
        elif phase == "fetching":
            client.subscribe("room", catch_up=never)
        if phase != "dialing":
            await client.wait_connected(5)
        if phase in ("dialing", "authorizing", "fetching"):
            await until(lambda: began)

    clients: list[Client] = []
    with caplog.at_level("WARNING", "pusher_proto"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # nothing closed the client
        anyio.run(main, backend=backend)
        assert [line.message for line in caplog.records if line.name != "asyncio"] == []
        clients.clear()
        gc.collect()


def test_tasks_that_something_else_cancels_are_tried_again(server: ServerInThread) -> None:
    """Some programs cancel all tasks of the event loop, and continue."""
    began: list[int] = []

    async def connect(host: str, port: int) -> Any:
        began.append(port)
        if len(began) == 1:
            await anyio.sleep_forever()
        return await anyio.connect_tcp(host, port)

    async def fetch(_: Gap) -> list[tuple[str, int]]:
        began.append(0)
        if began.count(0) == 1:
            await anyio.sleep_forever()
        return [("x", 1)]

    async def main() -> None:
        async with open_pusher(quick(server), connect=connect) as client:
            channel = client.subscribe("room", catch_up=fetch)
            for what in (server.port, 0):  # the dial, then the fetch
                await until(lambda: what in began)  # noqa: B023 - it is called in this turn of the loop
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    if "pusher" in task.get_name():
                        task.cancel()
            assert (await channel.wait_for("x", timeout=5)).data == 1

    run(main, "asyncio")


@on_both
def test_W13_leaving_in_the_turn_that_opened_it_gives_the_dial_up_at_once(backend: str) -> None:
    async def never(host: str, port: int) -> Any:
        await anyio.sleep_forever()

    async def main() -> None:
        options = Options.from_host("10.255.255.1", key="demo", tls=False)
        for connect in (None, never):
            with Clock() as clock:
                async with open_pusher(options, connect=connect) as client:
                    pass
                async with open_pusher(options, connect=connect) as client:
                    client.disconnect()
            assert clock.seconds < 0.5
            assert client.state is ConnectionState.DISCONNECTED

    run(main, backend)


@on_both
def test_W14_a_TLS_error_at_the_first_step_is_reported_at_once(backend: str) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA")
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # above the most
        async with silent_server() as port:
            options = Options.from_host("127.0.0.1", port=port, key="demo", max_attempts=1)
            with Clock() as clock, pytest.raises(Exception, match=r"(?i)protocol|version"):
                async with open_pusher(options, ssl_context=context) as client:
                    await client.wait_connected(5)
            assert clock.seconds < 2

    run(main, backend)


@on_both
def test_there_is_one_context_for_all_clients_and_it_is_made_in_a_thread(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(threading.current_thread().name)
        time.sleep(0.05)
        return make()

    monkeypatch.setattr(ssl, "create_default_context", counted)
    monkeypatch.setattr(tls, "_cached", None)

    async def main() -> None:
        async with silent_server() as port, AsyncExitStack() as stack:
            options = Options.from_host("127.0.0.1", port=port, key="demo", close_timeout=0.1)
            for _ in range(2):
                client = await stack.enter_async_context(open_pusher(options))
                await until(tls.cached_context)
                await anyio.sleep(0.2)
                assert client.state is ConnectionState.CONNECTING

    run(main, backend)
    (thread,) = made
    assert thread.startswith("pusher ")


@on_both
def test_a_recording_is_closed_with_the_client(
    server: ServerInThread, backend: str, tmp_path: Path
) -> None:
    async def main() -> None:
        client = await open_pusher(quick(server), record=tmp_path / "record")
        await client.wait_connected(5)
        await client.close()
        assert client._setup.file is not None
        assert client._setup.file.closed
        with pytest.raises(FileNotFoundError):
            await open_pusher(quick(server), record=tmp_path / "nowhere" / "record")

    run(main, backend)


@on_both
def test_a_handler_may_close_the_client(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        client = await open_pusher(quick(server))

        async def handler(_: ChannelEvent) -> None:
            await client.close()
            closed.set()

        closed = anyio.Event()
        room = await client.subscribe("room").wait_subscribed(5)
        room.bind("x", handler)
        server.publish("room", "x", 1)
        with anyio.fail_after(5):
            await client.run()
            await closed.wait()

    run(main, backend)


@on_both
def test_several_handlers_and_a_task_may_close_the_client_at_once(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        before = tasks()
        closed: list[object] = []

        async def close(who: object = "a task") -> None:
            await client.close()
            closed.append(who)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                client = await open_pusher(quick(server))
                room = await client.subscribe("room").wait_subscribed(5)
                for _ in range(2):
                    room.bind("x", close)
                server.publish("room", "x", 1)
                await room.wait_for("x", timeout=5)
                group.start_soon(close)
                await client.run()
            await until(lambda: "a task" in closed)
        await until(lambda: tasks() == before)  # a handler that closes may be cancelled by another

    run(main, backend)


@on_both
def test_a_close_that_is_cancelled_ends_it_at_once(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        async with silent_server() as port:
            options = Options.from_host("127.0.0.1", port=port, key="demo", tls=False)
            client = await open_pusher(options)
            await until(lambda: client.stats.bytes_sent)
            with anyio.move_on_after(0.01):
                await client.close()
            assert not client._io.wires
            assert client.state is ConnectionState.DISCONNECTED

    run(main, backend)


@on_both
def test_a_server_breaks_in_its_own_block(backend: str) -> None:
    async def main() -> None:
        with anyio.fail_after(5), pytest.raises(MyOwn):
            async with serve() as running:
                running._broke(MyOwn())
                await anyio.sleep_forever()
        running = await serve()
        running._broke(MyOwn())
        with pytest.raises(MyOwn):
            await running.close()

    run(main, backend)


# Name lookups


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookup]:
    """A name lookup that hangs until the test is over, and fails then."""
    with leaves_nothing():
        lookup = Lookup(monkeypatch)
        lookup.answers.clear()
        lookup.failures = 1000
        yield lookup
        lookup.answers.set()
        assert poll(lambda: not [t for t in threading.enumerate() if t.name.startswith("pusher")])


@on_both
def test_the_event_loop_ends_while_a_name_lookup_hangs(backend: str, lookup: Lookup) -> None:
    async def main() -> None:
        async with open_pusher(Options.from_host("name.test", key="k")):
            await until(lambda: lookup.asked)

    with Clock() as clock:
        anyio.run(main, backend=backend)
    assert clock.seconds < PATIENCE / 2


def test_hanging_name_lookups_leave_the_thread_pool_of_the_event_loop_to_the_program(
    lookup: Lookup,
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with open_pusher(Options.from_host("name.test", key="k")):
            await until(lambda: lookup.asked)
            async with asyncio.timeout(PATIENCE / 2):
                assert await asyncio.to_thread(int) == 0

    anyio.run(main)
