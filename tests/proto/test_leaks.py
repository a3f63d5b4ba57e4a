"""Thousands of connections, channels, requests and streams come and go, and no memory stays behind.

Most rounds are counted in blocks of the allocator, which costs nothing, and the last ones in bytes by
tracemalloc, which makes them three times as slow.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType

import pytest

from proto import fake_client
from proto.scripted import Script, connected, message, upgrading
from proto.websocket_peer import answer, frame
from pusher_proto import AuthEndpoint, AuthResponse, ConnectionState
from pusher_proto.testing import ServerLimits
from simulation import World

SUCCEEDED = "pusher_internal:subscription_succeeded"

TRACED = 1000
"""Rounds that are traced."""
BLOCKS = 500
"""This number of additional blocks of the allocator is not a leak: fewer than one in ten rounds."""
BYTES = 30_000
"""The same of bytes, in the rounds that are traced. Deadlines that were stopped are kept for a while, a few dozen."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No log record is kept by pytest: it would be taken for a leak."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def assert_flat(act: Callable[[], object], rounds: int, *, warm_up: int = 200) -> None:
    """Run `act` so often, at last some hundred times traced, and find no growth after the warm-up."""
    blocks = repeat(act, warm_up, sys.getallocatedblocks)
    assert repeat(act, rounds - TRACED - warm_up, sys.getallocatedblocks) - blocks < BLOCKS
    tracemalloc.start()
    try:
        size = repeat(act, warm_up, traced_memory)
        assert repeat(act, TRACED - warm_up, traced_memory) - size < BYTES
    finally:
        tracemalloc.stop()


def traced_memory() -> int:
    return tracemalloc.get_traced_memory()[0]


def repeat(act: Callable[[], object], rounds: int, look: Callable[[], int]) -> int:
    """Run `act` this number of times, collect garbage, and return the result of `look`."""
    for _ in range(rounds):
        act()
    gc.collect()
    return look()


def forget(script: Script) -> None:
    """Forget what the script itself wrote down."""
    script.take()
    script.acts()
    script.asked.clear()
    for stream in script.streams.values():
        stream.sent = b""


def leave(script: Script, channel: str) -> None:
    """Leave a channel, and let the server answer the subscribe, if there was one, on the WebSocket."""
    script.do(script.session.unsubscribe, channel)
    confirmed = frame(message(SUCCEEDED, "{}", channel))
    script.do(script.session.receive_data, 1, confirmed)


def test_ten_thousand_connections_leave_nothing_behind() -> None:
    script = connected(retry_base=0.01, retry_cap=0.01)
    script.subscribe("room", "private-room")

    def lose_and_return() -> None:
        script.eof("reset").retry().greet()
        script.send(SUCCEEDED, "{}", "room").send(SUCCEEDED, "{}", "private-room")
        script.send("ev", "{}", "room")
        forget(script)

    assert_flat(lose_and_return, 10_000)
    assert script.session.stats.connections > 10_000
    assert script.session.state is ConnectionState.CONNECTED


def test_attempts_that_fail_leave_nothing_behind() -> None:
    script = upgrading(retry_base=0.01, retry_cap=0.01)

    def fail_in_each_phase() -> None:
        script.fail("refused").retry().open().receive(b"rubbish\r\n\r\n").retry()
        script.open().receive(answer("503 Busy", [("Content-Length", "9")], b"half")).retry()
        script.open().wait(15).retry()
        forget(script)

    script.eof("reset").retry()
    assert_flat(fail_in_each_phase, 1500)


def test_ten_thousand_subscriptions_leave_nothing_behind() -> None:
    script = connected()
    numbers = count()

    def come_and_go() -> None:
        channel = f"private-room-{next(numbers)}"
        script.subscribe(channel).send(SUCCEEDED, "{}", channel).send("ev", "{}", channel)
        script.do(script.session.unsubscribe, channel)
        forget(script)

    assert_flat(come_and_go, 10_000)
    assert script.session.channels() == ()


def test_channels_left_at_once_leave_nothing_behind() -> None:
    script = connected()
    numbers = count()

    def go_at_once() -> None:
        channel = f"room-{next(numbers)}"
        script.subscribe(channel)
        leave(script, channel)
        forget(script)

    assert_flat(go_at_once, 2000)
    assert script.session.channels() == ()


def test_requests_to_an_auth_endpoint_leave_nothing_behind() -> None:
    script = connected(auth=AuthEndpoint("http://auth.test/"))
    body = b'{"auth":"key:signature"}'
    authorized = answer("200 OK", [("Content-Length", str(len(body)))], body)
    numbers = count()

    def ask() -> None:
        transport = script.transport
        channel = f"private-{next(numbers)}"
        script.subscribe(channel)
        if script.transport != transport:
            script.open()
        script.receive(authorized)
        leave(script, channel)
        if next(numbers) % 3 == 0:
            script.eof()  # else the connection is kept for the next request
        forget(script)

    assert_flat(ask, 2000)
    assert script.transport > 500


def test_requests_to_an_authorizer_leave_nothing_behind() -> None:
    script = connected(auth=None)
    numbers = count()

    def ask() -> None:
        channel = f"private-{next(numbers)}"
        script.subscribe(channel)
        if next(numbers) % 4:
            request = script.asked[-1].request
            script.do(script.session.authorized, request, AuthResponse("key:signature"))
        leave(script, channel)
        forget(script)

    assert_flat(ask, 2000)


def test_members_that_join_and_leave_leave_nothing_behind() -> None:
    script = connected()
    channel = "presence-room"
    script.subscribe(channel, auth=AuthResponse("key:x", channel_data='{"user_id":"me"}'))
    script.send(SUCCEEDED, '{"presence":{"ids":["me"],"hash":{"me":null},"count":1}}', channel)
    numbers = count()

    def come_and_go() -> None:
        data = json.dumps({"user_id": str(next(numbers))})
        script.send("pusher_internal:member_added", data, channel)
        script.send("pusher_internal:member_removed", data, channel)
        forget(script)

    assert_flat(come_and_go, 2000)
    assert list(script.session.channel(channel).members) == ["me"]


def test_streams_and_bindings_of_a_client_leave_nothing_behind() -> None:
    world = World(limits=ServerLimits(log=100))
    client = fake_client.connected(world)
    numbers = count()

    def listen() -> None:
        channel = client.subscribe(f"room-{next(numbers)}")
        with channel.events("ev") as stream:
            channel.bind("ev", print).cancel()
            world.run(0.1)
            world.publish(channel.name, "ev", 1)
            assert len(stream.ready()) == 1
        channel.unsubscribe()
        world.run(0.1)

    assert_flat(listen, 2000)


@pytest.mark.parametrize(
    ("kind", "most"), [("news", 384), ("private-x", 389), ("presence-x", 762), ("cache-x", 387)]
)
def test_an_idle_channel_takes_few_bytes(kind: str, most: int) -> None:
    """No more than in the version before the first release that was measured, on Python 3.11."""
    sizes = []
    for count_of in (100, 1100):
        world = World()
        device = world.connected(world.options(auth=world.own_key(member={"user_id": "me"})))
        device.subscribe(*(f"{kind}-{number}" for number in range(count_of)))
        world.run(31)  # the deadlines of the subscribes are over
        device.take()
        sizes.append(size_of(device.session))
    assert (sizes[1] - sizes[0]) / 1000 <= most


def size_of(root: object) -> int:
    """Return the bytes of all objects that hang on `root`, leaving out code."""
    code = (type, ModuleType, FunctionType, BuiltinFunctionType, MappingProxyType)
    seen, waiting, total = {id(root)}, [root], 0
    while waiting:
        one = waiting.pop()
        total += sys.getsizeof(one)
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, code):
                seen.add(id(other))
                waiting.append(other)
    return total
