"""The thread of a blocking client: one for each, which shares nothing with the others."""

from __future__ import annotations

import os
import random
import selectors
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import AuthRequest, AuthResponse, ChannelEvent
from pusher_proto.driving import READ_SIZE, SMALL_READ, WireSocket
from pusher_sync import open_pusher
from pusher_sync._io import _loop

from .runners import client_threads, leaves_nothing, open_files, poll
from .scenarios import own_key, quick


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with leaves_nothing(), serve_in_thread() as running:
        yield running


def names() -> list[str]:
    return sorted(each.name for each in client_threads())


def test_each_client_has_one_thread_whose_name_says_what_it_does(server: ServerInThread) -> None:
    with ExitStack() as stack:
        for count in range(1, 4):
            stack.enter_context(open_pusher(quick(server))).wait_connected(5)
            assert poll(lambda: names() == ["pusher-io 127.0.0.1"] * count)  # noqa: B023 - called before `count` changes
    assert names() == []


def test_other_threads_dial_and_call_functions_of_the_application(server: ServerInThread) -> None:
    seen: list[str] = []
    go_on = threading.Event()

    def connect(host: str, port: int) -> socket.socket:
        seen.append(threading.current_thread().name)
        return socket.create_connection((host, port))

    def authorizer(request: AuthRequest) -> AuthResponse:
        seen.append(threading.current_thread().name)
        assert go_on.wait(10)
        return own_key().authorization(request)

    options = quick(server, auth=None)
    with open_pusher(options, connect=connect, authorizer=authorizer) as client:
        room = client.subscribe("private-room")
        client.wait_connected(5)
        client.subscribe("other").wait_subscribed(5)  # an authorizer that hangs holds up nothing
        go_on.set()
        room.wait_subscribed(5)
    name = f"pusher-call {authorizer.__qualname__}"
    assert seen == [f"pusher-dial 127.0.0.1:{server.port}", name]


def test_each_client_receives_its_own_events(server: ServerInThread) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(open_pusher(quick(server))) for _ in range(4)]
        streams = []
        for n, client in enumerate(clients):
            streams.append(client.subscribe(f"room-{n}").wait_subscribed(5).events(ChannelEvent))
        for n in range(20):
            server.publish(f"room-{n % 4}", "n", n)
        for n, stream in enumerate(streams):
            assert [next(stream).data for _ in range(5)] == [n + 4 * i for i in range(5)]


def broken(*_: object, **__: object) -> Any:
    raise ZeroDivisionError("a bug")


def test_one_that_breaks_breaks_alone(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as good:
        room = good.subscribe("room").wait_subscribed(5)
        with pytest.raises(ZeroDivisionError), open_pusher(quick(server)) as bad:
            bad.wait_connected(5)
            bad._session.receive_data = broken  # type: ignore[method-assign]  # broken on purpose
            bad.ping()
            bad.run()
        stream = room.events("n")
        server.publish("room", "n", 1)
        assert next(stream).data == 1
        assert good.stats.attempts == 1


def test_a_wait_raises_when_the_loop_broke_though_nothing_follows(server: ServerInThread) -> None:
    options = quick(server, activity_override=3000.0)
    with pytest.raises(ZeroDivisionError), open_pusher(options) as bad:
        bad.wait_connected(5)
        bad._session.receive_data = broken  # type: ignore[method-assign]  # broken on purpose
        bad.ping()
        bad.wait_for("never")


def test_without_room_for_a_thread_nothing_is_left_open(
    server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        before = open_files()
        with pytest.raises(RuntimeError, match="start new thread"), open_pusher(quick(server)):
            pass
        assert open_files() <= before
    with open_pusher(quick(server)) as client:
        client.wait_connected(5)


SELECTORS = [selectors.DefaultSelector, selectors.SelectSelector]
"""The selector of Linux, and the one of every system: Windows has only `select`."""


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_socket_that_the_application_closes_is_replaced(
    server: ServerInThread, selector: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    made: list[socket.socket] = []

    def connect(host: str, port: int) -> socket.socket:
        made.append(socket.create_connection((host, port)))
        return made[-1]

    with open_pusher(quick(server, activity_override=30.0), connect=connect) as client:
        client.wait_connected(5)
        made[0].close()
        client.ping()  # nothing reports a closed socket before it is used
        assert poll(lambda: len(made) == 2)
        client.subscribe("room").wait_subscribed(5)


@pytest.mark.parametrize("selector", SELECTORS)
def test_the_next_socket_may_have_the_number_of_one_that_the_application_closed(
    selector: type[selectors.BaseSelector],
) -> None:
    reading: Any = SimpleNamespace(has_to_write=False, wants_data=True, over=False)
    with leaves_nothing(), selector() as watched, ExitStack() as stack:
        first, second, peer = (stack.enter_context(each) for each in three_sockets())
        before = WireSocket(reading, first, watched)
        before.attend()
        number = first.detach()  # closed by the application, and still watched
        os.dup2(second.fileno(), number)
        next_one = stack.enter_context(socket.socket(fileno=number))
        after = WireSocket(reading, next_one, watched)
        after.attend()
        peer.send(b"hello")
        assert [key.data for key, _ in watched.select(5)] == [after.ready]
        before.close()
        assert [key.data for key, _ in watched.select(5)] == [after.ready]
        after.close()
        assert watched.select(0) == []


def test_an_idle_socket_is_read_with_a_small_buffer_and_a_busy_one_with_a_large_one() -> None:
    """768 KB in each thread for pings of 10 bytes took 7 KB of memory of each client."""
    asked: list[int] = []

    class Counting(socket.socket):
        def recv(self, size: int, *_: int) -> bytes:
            asked.append(size)
            return super().recv(size)

    came: list[int] = []
    wire: Any = SimpleNamespace(
        has_to_write=False,
        wants_data=True,
        over=False,
        received=lambda data: came.append(len(data)),
    )
    with leaves_nothing(), selectors.DefaultSelector() as watched, ExitStack() as stack:
        one, peer = map(stack.enter_context, socket.socketpair())
        mine = stack.enter_context(Counting(fileno=one.detach()))
        pipe = WireSocket(wire, mine, watched)
        for size in (10, 10, 2 * SMALL_READ, 10, 10, 10):
            peer.sendall(bytes(size))
            pipe.ready(selectors.EVENT_READ)
        assert asked == [*[SMALL_READ] * 3, READ_SIZE, READ_SIZE, SMALL_READ]
        assert came == [10, 10, SMALL_READ, SMALL_READ + 10, 10, 10]


def three_sockets() -> tuple[socket.socket, socket.socket, socket.socket]:
    second, peer = socket.socketpair()
    return socket.socket(), second, peer


def test_clients_are_opened_and_closed_in_many_threads_at_once(server: ServerInThread) -> None:
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(10):
                with open_pusher(quick(server)) as client:
                    if rng.random() < 0.7:
                        client.wait_connected(20)
                    if rng.random() < 0.5:
                        client.subscribe("room").wait_subscribed(20)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert poll(lambda: not client_threads())
    assert not _loop._alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_opens_its_own_clients(server: ServerInThread) -> None:
    script = f"""
        import os, warnings
        warnings.simplefilter("ignore")
        from pusher_proto import Options
        from pusher_sync import open_pusher

        options = Options(host="127.0.0.1", port={server.port}, tls=False, key="demo")
        with open_pusher(options) as client:
            room = client.subscribe("room").wait_subscribed(5)
            child = os.fork()
            if child == 0:
                with open_pusher(options) as own:
                    print(own.subscribe("mine").wait_subscribed(5).wait_for("n", timeout=5).data, flush=True)
                os._exit(42)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(status, flush=True)
            print(room.wait_for("n", timeout=5).data, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        for channel in ("mine", "room"):
            assert poll(lambda: channel in server.channels())  # noqa: B023 - it is called at once
            server.publish(channel, "n", channel)
        assert process.stdout is not None
        assert process.stdout.read() == "mine\n42\nroom\n"


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_client_works_with_every_selector(
    server: ServerInThread, selector: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS, where there is kqueue, and Windows, where there is only `select`."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    with open_pusher(quick(server)) as client:
        client.subscribe("room").wait_subscribed(5)
        client.reconnect()
        client.wait_connected(5)
        assert client.stats.connections == 2


def test_a_signal_handler_that_raises_within_a_wake_up_does_not_lose_the_next(
    server: ServerInThread,
) -> None:
    """SIGTERM with `sys.exit` came there, and the client then waited for its deadline to close."""

    class Bell:
        """Rings once the signal handler has raised."""

        def __init__(self, bell: socket.socket) -> None:
            self.bell = bell
            self.raises = True

        def send(self, data: bytes) -> int:
            if self.raises:
                self.raises = False
                raise SystemExit
            return self.bell.send(data)

        def close(self) -> None:
            self.bell.close()

    with open_pusher(quick(server)) as client:
        client.wait_connected(5)
        loop: Any = client._io
        assert poll(lambda: loop._asleep)
        loop._bell = Bell(loop._bell)
        with pytest.raises(SystemExit):
            client.subscribe("room")
        channel = client.subscribe("other")
        channel.wait_subscribed(5)
