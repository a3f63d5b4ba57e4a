"""Row 1.13: `connect_messages=` on every driver, with connections that a test plays."""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

import pusher_anyio
import pusher_sync
from pusher_anyio.testing import RunningServer, serve, serve_in_thread
from pusher_proto import (
    ConnectionEnded,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    ConnectionUnsafe,
    Options,
    PusherTimeout,
)
from pusher_proto.server._frames import encode

from .runners import MESSAGE_RUNNERS, Clock, Driver, play, poll, until
from .scenarios import CLOSED_IN, QUICK

GREETING = encode(
    "pusher:connection_established", data='{"socket_id":"1.1","activity_timeout":120}'
)
END = object()
on_every_driver = pytest.mark.parametrize("runner", MESSAGE_RUNNERS)


def options(**more: Any) -> Options:
    return Options.from_host("ws.test", key="demo", **(QUICK | more))


class Played:
    """A connection whose server is the test. Its calls block; `Awaited` has the same to be awaited."""

    def __init__(self) -> None:
        self.incoming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.sent: list[str] = []
        self.closed: list[tuple[int, str]] = []
        self.received = 0
        self.stuck = threading.Event()
        """Set: `close` returns."""
        self.stuck.set()
        self.has_closed = False
        """Whether `close` ran to its end."""
        self.incoming.put(GREETING)

    def send(self, text: str) -> None:
        self.sent.append(text)

    def receive(self) -> Any:
        message = self.incoming.get()
        self.received += 1
        if message is END:
            return None
        if isinstance(message, BaseException):
            raise message
        return message

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))
        self.incoming.put(END)
        self.stuck.wait()
        self.has_closed = True


class Awaited:
    def __init__(self, played: Played) -> None:
        self._played = played

    async def send(self, text: str) -> None:
        self._played.send(text)

    async def receive(self) -> Any:
        while self._played.incoming.empty():  # noqa: ASYNC110 - nothing notifies
            await anyio.sleep(0.001)
        return self._played.receive()

    async def close(self, code: int, reason: str) -> None:
        self._played.closed.append((code, reason))
        while not self._played.stuck.is_set():  # noqa: ASYNC110 - nothing notifies
            await anyio.sleep(0.001)
        self._played.has_closed = True


class Opener:
    """A `connect_messages=` that records its arguments and returns one connection after another."""

    def __init__(self, driver: Driver, *raises: BaseException) -> None:
        self._driver = driver
        self._raises = list(raises)
        self.asked: list[tuple[str, int, bool, str]] = []
        self.opened: list[Played] = []

    def _open(self, *asked: Any) -> Any:
        self.asked.append(asked)
        if self._raises:
            raise self._raises.pop(0)
        self.opened.append(Played())
        return self.opened[-1] if self._driver.is_blocking else Awaited(self.opened[-1])

    async def _open_async(self, *asked: Any) -> Any:
        return self._open(*asked)

    @property
    def connect(self) -> Callable[..., Any]:
        return self._open if self._driver.is_blocking else self._open_async


def scenario(
    runner: str, act: Callable[[Driver], Awaitable[None]], patience: float | None = None
) -> None:
    async def with_driver(driver: Driver, _: RunningServer) -> None:
        await act(driver)

    play(with_driver, runner) if patience is None else play(with_driver, runner, None, patience)


@on_every_driver
def test_1_13_a_function_opens_a_fresh_connection_for_each_attempt(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(options(path="/p"), connect_messages=opener.connect) as client:
            assert await client.wait_connected(5) == "1.1"
            client.subscribe("room")
            first = opener.opened[0]
            await until(lambda: first.sent)
            assert first.sent == ['{"event":"pusher:subscribe","data":{"channel":"room"}}']
            first.incoming.put(ConnectionEnded(4200, "restart"))
            await until(lambda: len(opener.opened) == 2 and opener.opened[1].sent)
        assert [played.closed for played in opener.opened] == [[(1000, "")], [(1000, "")]]
        host, port, tls, target = opener.asked[0]
        assert (host, port, tls) == ("ws.test", 443, True)
        assert target.startswith("/p/app/demo?")
        assert opener.asked == [opener.asked[0]] * 2

    scenario(runner, act)


@on_every_driver
@pytest.mark.parametrize(
    ("end", "code"),
    [
        (END, 1006),
        (OSError("cable"), 1006),
        (ConnectionEnded(4100, "full"), 4100),
        (EOFError(), 1006),
        (3, 1006),
    ],
    ids=["None", "OSError", "ConnectionEnded", "EOFError", "int"],
)
def test_each_way_to_end_is_a_loss_that_is_followed_by_another_attempt(
    runner: str, end: Any, code: int
) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(options(), connect_messages=opener.connect) as client:
            await client.wait_connected(5)
            losses = client.events(ConnectionLost)
            opener.opened[0].incoming.put(end)
            loss = await losses.next(timeout=5)
            assert (loss.code, loss.will_retry) == (code, True)
            if isinstance(end, OSError):
                assert loss.error is end

    scenario(runner, act)


@on_every_driver
def test_what_the_function_raises_is_an_attempt_that_failed(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver, EOFError("of the library"), ConnectionEnded(503, "busy"))
        async with driver(
            options(max_attempts=2, auto_connect=False), connect_messages=opener.connect
        ) as client:
            losses = client.events(ConnectionLost)
            client.connect()
            assert "of the library" in (await losses.next(timeout=5)).reason
            with pytest.raises(ConnectionFailed, match="busy") as caught:
                await client.run()
            assert caught.value.code == 503

    scenario(runner, act)


@on_every_driver
def test_a_certificate_that_is_not_accepted_is_final(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver, ConnectionUnsafe("not good", verify_code=18))
        async with driver(options(), connect_messages=opener.connect) as client:
            with pytest.raises(ConnectionFailed, match="not good"):
                await client.wait_connected(5)

    scenario(runner, act)


@on_every_driver
def test_an_object_that_is_not_a_connection_is_named(runner: str) -> None:
    async def act(driver: Driver) -> None:
        async def connect(*_: Any) -> Any:
            return object()

        function = (lambda *_: object()) if driver.is_blocking else connect
        async with driver(options(max_attempts=1), connect_messages=function) as client:
            with pytest.raises(ConnectionFailed, match="an object with send, receive and close"):
                await client.wait_connected(5)

    scenario(runner, act)


@on_every_driver
def test_a_silent_connection_is_pinged_and_then_replaced(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        silence = options(activity_override=0.05, pong_timeout=0.1)
        async with driver(silence, connect_messages=opener.connect) as client:
            losses = client.events(ConnectionLost)
            assert (await losses.next(timeout=5)).reason == "the server did not answer a ping"
            first = opener.opened[0]
            assert first.sent == ['{"event":"pusher:ping","data":{}}']
            await until(lambda: first.closed and len(opener.opened) > 1)

    scenario(runner, act)


@on_every_driver
def test_a_ping_of_the_server_is_answered(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(options(), connect_messages=opener.connect) as client:
            await client.wait_connected(5)
            opener.opened[0].incoming.put(encode("pusher:ping", data={}))
            await until(lambda: opener.opened[0].sent)
            assert opener.opened[0].sent == ['{"event":"pusher:pong","data":{}}']

    scenario(runner, act)


@on_every_driver
def test_an_error_of_sending_ends_the_connection_when_receiving_ends(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(options(), connect_messages=opener.connect) as client:
            await client.wait_connected(5)
            first = opener.opened[0]
            failed: list[bool] = []

            def send(text: str) -> None:
                failed.append(True)
                raise BrokenPipeError("gone")

            first.send = send  # type: ignore[method-assign]  # of this connection alone
            losses = client.events(ConnectionLost)
            client.subscribe("room")
            await until(lambda: failed)
            first.incoming.put(ConnectionEnded(4200, "restart"))
            assert (await losses.next(timeout=5)).code == 4200
            await client.wait_connected(5)

    scenario(runner, act)


@on_every_driver
def test_leaving_while_the_connection_is_opened(runner: str) -> None:
    async def act(driver: Driver) -> None:
        go_on = threading.Event()
        began: list[bool] = []
        late = Played()

        def connect(*_: Any) -> Any:
            began.append(True)
            go_on.wait()
            return late

        async def connect_async(*_: Any) -> Any:
            began.append(True)
            await anyio.sleep_forever()

        function = connect if driver.is_blocking else connect_async
        with Clock() as clock:
            async with driver(options(), connect_messages=function) as client:
                await until(lambda: began)
                with pytest.raises(PusherTimeout):
                    await client.wait_connected(0.01)
        go_on.set()
        assert clock.seconds < CLOSED_IN
        if driver.is_blocking:  # the function cannot be interrupted, and what it returned is closed
            await until(lambda: late.closed)

    scenario(runner, act)


@on_every_driver
def test_leaving_while_the_close_hangs(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        with Clock() as clock:
            async with driver(options(), connect_messages=opener.connect) as client:
                await client.wait_connected(5)
                opener.opened[0].stuck.clear()
        assert QUICK["close_timeout"] <= clock.seconds + 0.01
        assert clock.seconds < CLOSED_IN
        assert client.state is ConnectionState.DISCONNECTED
        opener.opened[0].stuck.set()

    scenario(runner, act)


@on_every_driver
def test_a_message_past_the_limit_closes_with_its_code(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(options(max_message_size=100), connect_messages=opener.connect) as client:
            await client.wait_connected(5)
            opener.opened[0].incoming.put(encode("e", channel="room", data="x" * 100))
            await until(lambda: opener.opened[0].closed)
            assert opener.opened[0].closed == [(1009, "message of more than 100 bytes")]

    scenario(runner, act)


@pytest.mark.parametrize("how", ["a message", "an error", "the session"])
@on_every_driver
def test_a_close_that_takes_its_time_runs_to_its_end(runner: str, how: str) -> None:
    """Whatever ended the connection: a message that was received, an exception of `receive`, or the client."""

    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(options(max_message_size=100), connect_messages=opener.connect) as client:
            await client.wait_connected(5)
            [played] = opener.opened
            played.stuck.clear()
            if how == "the session":
                client.disconnect()
            elif how == "an error":
                played.incoming.put(OSError("broken"))
            else:
                played.incoming.put(encode("e", channel="room", data="x" * 100))
            await until(lambda: played.closed)
            played.stuck.set()
            await until(lambda: played.has_closed)

    scenario(runner, act)


@on_every_driver
def test_nothing_more_is_received_while_the_application_takes_nothing(runner: str) -> None:
    async def act(driver: Driver) -> None:
        opener = Opener(driver)
        async with driver(
            options(receive_buffer=10_000), connect_messages=opener.connect
        ) as client:
            await client.wait_connected(5)
            room = client.subscribe("room")
            first = opener.opened[0]
            first.incoming.put(encode("pusher_internal:subscription_succeeded", channel="room"))
            await room.wait_subscribed(5)
            stream = room.events("n")
            count = 2000
            for n in range(count):
                first.incoming.put(encode("n", channel="room", data=str(n)))
            await until(lambda: not client._session.wants_data(1))
            await anyio.sleep(0.05)
            assert first.received < count - 500
            assert [(await anext(stream)).data for _ in range(count)] == list(range(count))

    scenario(runner, act)


def test_the_blocking_client_refuses_an_asynchronous_function() -> None:
    async def connect(host: str, port: int, tls: bool, target: str) -> Any: ...

    with pytest.raises(TypeError, match="connect_messages is a plain function"):
        pusher_sync.open_pusher(options(), connect_messages=connect)  # type: ignore[arg-type]  # that is the point


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_plain_function_may_return_the_connection_in_the_asynchronous_client() -> None:
    played = Played()

    def connect(host: str, port: int, tls: bool, target: str) -> Any:
        return Awaited(played)

    async with pusher_anyio.open_pusher(options(), connect_messages=connect) as client:
        assert await client.wait_connected(5) == "1.1"


# Connections of the package websockets.


class OfWebsockets:
    """A connection of `websockets.sync` or `websockets.asyncio`: their methods have the same names."""

    def __init__(self, websocket: Any) -> None:
        self.send = websocket.send
        self.receive = websocket.recv
        self.close = websocket.close


def url(host: str, port: int, target: str) -> str:
    return f"ws://{host}:{port}{target}"


def of_websockets(driver: Driver) -> Callable[..., Any]:
    reason = "it is in the extra `test`"
    library = pytest.importorskip("websockets", reason=reason)
    blocking = pytest.importorskip("websockets.sync.client", reason=reason)

    def connect_blocking(host: str, port: int, tls: bool, target: str) -> OfWebsockets:
        opened = blocking.connect(url(host, port, target), ping_interval=None)
        return OfWebsockets(opened.__enter__())  # newer versions warn without it

    async def connect(host: str, port: int, tls: bool, target: str) -> OfWebsockets:
        return OfWebsockets(await library.connect(url(host, port, target), ping_interval=None))

    return connect_blocking if driver.is_blocking else connect


@pytest.mark.parametrize("runner", ["asyncio-messages", "blocking-messages"])
def test_a_connection_of_websockets_lives_through_a_restart_and_a_refusal(runner: str) -> None:
    async def act(driver: Driver, server: RunningServer) -> None:
        options = server.options(**QUICK)
        async with driver(options, connect_messages=of_websockets(driver)) as client:
            losses = client.events(ConnectionLost)
            room = client.subscribe("private-room")
            await room.wait_subscribed(5)
            server.publish("private-room", "price", {"n": 1})
            assert (await room.wait_for("price", timeout=5)).data == {"n": 1}
            server.refuse(status=503, times=1)
            server.drop(4200, "restart")
            seen = [await losses.next(timeout=5) for _ in range(2)]
            assert [(each.code, each.will_retry) for each in seen] == [(4200, True), (503, True)]
            await room.wait_subscribed(5)
            assert len(server.connections) == 1
            server.drop()
            assert (await losses.next(timeout=5)).code == 1006
            await room.wait_subscribed(5)
        assert server.connections == {}

    play(act, runner)


@pytest.mark.parametrize("runner", ["asyncio-messages", "blocking-messages"])
def test_a_wrong_key_is_final_over_websockets(runner: str) -> None:
    async def act(driver: Driver, server: RunningServer) -> None:
        options = server.options(key="stale", **QUICK)
        async with driver(options, connect_messages=of_websockets(driver)) as client:
            with pytest.raises(ConnectionFailed) as caught:
                await client.wait_connected(5)
            assert caught.value.code == 4001

    play(act, runner)


def test_the_double_of_a_server_in_a_thread_is_used_by_the_blocking_client() -> None:
    with serve_in_thread() as server:
        open_ = partial(pusher_sync.open_pusher, connect_messages=server.connect_messages)
        with open_(server.options(**QUICK)) as client:
            room = client.subscribe("private-room")
            room.wait_subscribed(5)
            server.publish("private-room", "price", {"n": 1})
            assert room.wait_for("price", timeout=5).data == {"n": 1}
            server.refuse(status=503, times=1)
            server.drop(4200)
            assert poll(lambda: client.stats.connections == 2)
            assert client.stats.attempts == 3
        assert server.connections == {}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_double_of_a_server_in_a_thread_is_used_on_an_event_loop() -> None:
    with serve_in_thread() as server:
        connect = server.aio.connect_messages
        async with pusher_anyio.open_pusher(
            server.options(**QUICK), connect_messages=connect
        ) as client:
            room = client.subscribe("private-room")
            await room.wait_subscribed(5)
            server.publish("private-room", "price", {"n": 1})
            assert (await room.wait_for("price", timeout=5)).data == {"n": 1}
            server.drop(4200)
            await until(lambda: client.stats.connections == 2)
        assert server.connections == {}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_server_that_is_closed_drops_its_clients_in_memory() -> None:
    server = await serve()
    connection = await server.connect_messages("h", 1, False, "/app/demo?protocol=7")
    assert "connection_established" in (await connection.receive() or "")
    await server.close()
    assert await connection.receive() is None
    assert server.connections == {}
