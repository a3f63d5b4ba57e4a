"""Exceptions leave the block of an asynchronous client unchanged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pusher_anyio import open_pusher
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import (
    ChannelEvent,
    Closed,
    ConnectionEstablished,
    ConnectionLost,
    Options,
    PusherTimeout,
    RetryScheduled,
    StateChanged,
)

from .checkpoints import run
from .runners import until

on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


def quick(server: ServerInThread, **more: Any) -> Options:
    return server.options(close_timeout=0.5, **more)


class MyOwn(Exception):
    """An exception of an application."""


def of_its_own() -> list[BaseException]:
    groups = ExceptionGroup("of its own", [ExceptionGroup("within", [MyOwn()])])
    return [MyOwn(), groups, SystemExit(3)]


@on_both
def test_an_exception_of_the_block_is_raised_unchanged(
    server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        for raised in (*of_its_own(), StopAsyncIteration()):
            cause, context = OSError("the cause"), OSError("the context")
            with pytest.raises(type(raised)) as caught:
                async with open_pusher(quick(server)):
                    try:
                        raise context
                    except OSError:
                        raise raised from cause
            assert caught.value is raised
            assert raised.__cause__ is cause
            assert raised.__context__ is context

    run(main, backend)


def raising(error: BaseException, cause: BaseException) -> tuple[Callable[..., Any], ...]:
    def plain(_: object) -> None:
        raise error from cause

    async def waits(_: object) -> None:
        await checkpoint()
        raise error from cause

    return plain, waits


@on_both
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_exception_of_a_handler_is_raised_unchanged(
    kind: str, server: ServerInThread, backend: str
) -> None:
    async def main() -> None:
        for raised in (*of_its_own(), GeneratorExit()):
            cause, heard = OSError("the cause"), list[object]()
            plain, waits = raising(raised, cause)
            with pytest.raises(type(raised)) as caught:
                async with open_pusher(quick(server), on_handler_error="raise") as client:
                    client.bind(StateChanged, plain if kind == "plain" else waits)
                    client.bind((ConnectionLost, RetryScheduled, Closed), heard.append)
                    await client.run()
            assert caught.value is raised
            assert raised.__cause__ is cause
            assert raised.__context__ is None
            assert heard == []

    run(main, backend)


@on_both
def test_two_exceptions_are_raised_together(server: ServerInThread, backend: str) -> None:
    async def main() -> None:
        def fails_with(error: Exception) -> Callable[[object], Awaitable[None]]:
            async def handler(_: object) -> None:
                waiting.append(error)
                await now.wait()
                raise error

            return handler

        one, other = MyOwn("one"), KeyError("other")
        waiting, now = list[object](), anyio.Event()
        with pytest.raises(ExceptionGroup) as caught:
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                for error in (one, other):
                    client.bind(ConnectionEstablished, fails_with(error))
                await until(lambda: len(waiting) == 2)

                def set_in(turns: int) -> None:
                    if turns:
                        client._io.soon(set_in, turns - 1)
                    else:
                        now.set()

                set_in(10)  # `run` waits by then
                await client.run()
        assert sorted(caught.value.exceptions, key=repr) == [other, one]

        with pytest.raises(ExceptionGroup) as caught:
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                client.bind(ConnectionEstablished, fails_with(one))
                try:
                    await client.run()
                finally:
                    raise other
        assert caught.value.exceptions == (one, other)

    run(main, backend)


@on_both
def test_a_consequence_of_an_exception_is_not_raised_beside_it(
    server: ServerInThread, backend: str
) -> None:
    def fails(_: object) -> None:
        raise MyOwn

    async def fails_at_the_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError

    async def main() -> None:
        with pytest.raises(MyOwn):
            async with open_pusher(quick(server), on_handler_error="raise") as client:
                client.bind(ConnectionEstablished, fails)
                with anyio.CancelScope(shield=True):
                    await client.wait_for("never")  # raises ClientClosed
        with pytest.raises(MyOwn):
            async with (
                open_pusher(quick(server), on_handler_error="raise") as client,
                anyio.create_task_group() as group,
            ):
                client.bind(ConnectionEstablished, fails)
                group.start_soon(client.run)
                await client.wait_for("never")
        with pytest.raises(ExceptionGroup) as caught, anyio.CancelScope() as scope:
            async with open_pusher(quick(server)), anyio.create_task_group() as group:
                group.start_soon(fails_at_the_end)
                await checkpoint()
                scope.cancel()
                await anyio.sleep_forever()
        assert [*map(repr, caught.value.exceptions)] == ["KeyError()"]

    run(main, backend)


@on_both
def test_exceptions_of_handlers_are_logged_and_end_nothing(
    server: ServerInThread, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(event: ChannelEvent) -> None:
        raise MyOwn

    async def waits_and_fails(event: ChannelEvent) -> None:
        await checkpoint()
        raise ExceptionGroup("several", [MyOwn(), KeyError()])

    async def main() -> None:
        async with open_pusher(quick(server)) as client:
            room = await client.subscribe("room").wait_subscribed(5)
            for handler in (fails, waits_and_fails):
                room.bind("n", handler)
            for n in range(3):
                server.publish("room", "n", n)
            await until(lambda: len(caplog.records) == 6)
            assert client.socket_id is not None

    with caplog.at_level("ERROR", "pusher_proto.client"):
        run(main, backend)
    logged = [(each.exc_info or [None])[0] for each in caplog.records]
    assert logged.count(MyOwn) == logged.count(ExceptionGroup) == 3


def test_a_cancelled_task_that_a_handler_or_an_authorizer_waits_for_ends_nothing(
    server: ServerInThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_: object) -> None:
        task = asyncio.ensure_future(anyio.sleep_forever())
        await checkpoint()
        task.cancel()
        await task

    async def main() -> None:
        async with open_pusher(quick(server, auth=None), authorizer=fails) as client:
            with pytest.raises(
                PusherTimeout, match=r"will be tried again: .* the call was cancelled"
            ):
                await client.subscribe("private-room").wait_subscribed(0.5)
            room = await client.subscribe("room").wait_subscribed(5)
            room.bind("n", fails)
            for n in range(2):
                server.publish("room", "n", n)
            await until(lambda: len(failures()) == 2)

    def failures() -> list[logging.LogRecord]:
        return [each for each in caplog.records if each.name == "pusher_proto.client"]

    with caplog.at_level("ERROR", "pusher_proto.client"):
        run(main, "asyncio")
