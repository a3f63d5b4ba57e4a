"""Expectations of tests on an event loop: they are awaited while the tested program runs."""

from __future__ import annotations

import anyio
import pytest

from pusher_anyio import open_pusher
from pusher_anyio.testing import ServerInThread, serve
from pusher_proto import Options, OwnKey

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"]),
]


async def test_expectations_of_a_server_in_a_thread_are_awaited(
    pusher_server: ServerInThread,
) -> None:
    async with open_pusher(pusher_server.options()) as client:
        room = client.subscribe("private-room")
        await pusher_server.aio.expect_subscribed("private-room")
        await pusher_server.aio.expect_connections()
        await room.wait_subscribed(timeout=10)
        room.trigger("client-n", 1)
        sent = await pusher_server.aio.expect_sent("client-n", "private-room", 1)
        assert (sent.event, sent.data) == ("client-n", 1)
        assert [each.data for each in pusher_server.aio.sent("client-n")] == [1]
        with pytest.raises(AssertionError, match=r"expected 'client-m' within 0\.01 s"):
            await pusher_server.aio.expect_sent("client-m", timeout=0.01)


async def test_a_wait_that_is_cancelled_ends(pusher_server: ServerInThread) -> None:
    with anyio.move_on_after(0.01) as scope:
        await pusher_server.aio.expect_subscribed("room", timeout=0.2)
    assert scope.cancelled_caught


async def test_expectations_of_a_server_on_this_loop_are_awaited() -> None:
    async with serve() as server, open_pusher(server.options()) as client:
        room = client.subscribe("private-room")
        await server.expect_connections(1)
        await server.expect_subscribed("private-room")
        await room.wait_subscribed(timeout=10)
        room.trigger("client-n", 1)
        assert (await server.expect_sent("client-n")).data == 1
        server.forget_sent()
        assert server.sent("client-n") == []
        room.unsubscribe()
        await server.expect_subscribed("private-room", 0)


async def test_the_environment_of_a_server_is_enough_for_options(
    pusher_server: ServerInThread,
) -> None:
    options = Options.from_env(pusher_server.env)
    assert options.auth == OwnKey("demo", "demo-secret")
    async with open_pusher(options) as client:
        await client.subscribe("private-room").wait_subscribed(timeout=10)
