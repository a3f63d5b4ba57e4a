"""Behaviour of the blocking client alone: threads, signals, processes, sockets in every state."""

from __future__ import annotations

import dataclasses
import gc
import io
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import (
    ChannelEvent,
    ClientClosed,
    Closed,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    LocalProtocolError,
    Options,
    PusherError,
    PusherTimeout,
)
from pusher_proto.driving import sockets as reading_sockets
from pusher_sync import Client, open_pusher
from pusher_sync._io import _loop

from .runners import Clock, client_threads, free_port, leaves_nothing, poll, quickest
from .scenarios import CLOSED_IN, Authority, lost_port, quick

AT_ONCE = 0.1
"""Seconds in which a person sees no delay."""


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    with leaves_nothing():
        yield


@pytest.fixture
def server(_leaves_nothing: None) -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def silent(_leaves_nothing: None) -> Iterator[Options]:
    """Options for a server that accepts and says nothing: the backlog accepts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield Options(host="127.0.0.1", port=port, tls=False, key="demo", close_timeout=0.2)


# Ctrl+C, and other threads

WAITS: dict[str, Callable[[Client], object]] = {
    "wait_connected": lambda client: client.wait_connected(),
    "wait_connected_timeout": lambda client: client.wait_connected(timeout=60),
    "wait_subscribed": lambda client: client.subscribe("room").wait_subscribed(),
    "wait_for": lambda client: client.subscribe("room").wait_for("price"),
    "iteration": lambda client: next(iter(client.subscribe("room"))),
    "run": lambda client: client.run(),
    "run_timeout": lambda client: client.run(timeout=60),
}


class Later:
    """Calls a function in another thread once the main thread waits, and tells when that was."""

    def __init__(self, client: Client, function: Callable[[], object]) -> None:
        self.at = 0.0
        self._client = client
        self._function = function
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        assert poll(self._is_waited)
        self.at = time.monotonic()
        self._function()

    def _is_waited(self) -> bool:
        with self._client._guard:
            signals = (
                self._client._lifecycle,
                *(each.signal for each in self._client._delivery.router),
            )
            return any(each.waiters for each in signals)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_ends_a_wait_at_once(wait: Callable[[Client], object], silent: Options) -> None:
    def measure() -> float:
        with pytest.raises(KeyboardInterrupt), Later(client, interrupt) as later:
            try:
                wait(client)
            finally:
                end = time.monotonic()
        assert not client._lifecycle.waiters
        return end - later.at

    with open_pusher(silent) as client:
        assert quickest(measure, AT_ONCE) < AT_ONCE


def test_ctrl_c_in_a_handler_is_raised_by_the_block(server: ServerInThread) -> None:
    def handler(event: object) -> None:
        interrupt()
        time.sleep(10)

    with Clock() as clock, pytest.raises(KeyboardInterrupt), open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        room.bind("n", handler)
        server.publish("room", "n", 1)
        client.run()
    assert clock.seconds < CLOSED_IN + 5


def test_ctrl_c_ends_waiting_for_the_end(server: ServerInThread) -> None:
    def measure() -> float:
        end = 0.0
        with (
            pytest.raises(KeyboardInterrupt),
            open_pusher(quick(server, close_timeout=0.3)) as client,
        ):
            client.wait_connected(5)
            server.mute()
            with Later(client, interrupt) as later:
                try:
                    client.close()
                finally:
                    end = time.monotonic()
        assert client._io.over, "closing again, at the end of the block, waits again"
        server.unmute()
        return end - later.at

    assert quickest(measure, AT_ONCE) < AT_ONCE


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_closing_in_another_thread_ends_a_wait(
    wait: Callable[[Client], object], silent: Options
) -> None:
    with open_pusher(silent) as client, Later(client, client.close):
        try:
            assert wait(client) is None  # what runs ends without an error
        except (ClientClosed, StopIteration):
            pass
        assert client.state is ConnectionState.DISCONNECTED


def test_the_number_of_threads_stays_the_same_over_reconnects(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        for _ in range(20):
            before = client.wait_connected(5)
            assert poll(lambda: len(client_threads()) == 1)
            client.reconnect()
            assert poll(lambda: client.socket_id not in (None, before))  # noqa: B023 - called before the next round of the loop
        assert client.stats.connections >= 20


def test_many_threads_may_wait_for_the_same(server: ServerInThread) -> None:
    ids: list[str] = []
    with open_pusher(quick(server)) as client:
        threads = [
            threading.Thread(target=lambda: ids.append(client.wait_connected(5))) for _ in range(10)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert ids == [client.socket_id] * 10


def test_a_function_that_the_clients_own_thread_calls_cannot_wait(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        stream = room.events(lambda event: room.wait_for("never"))
        server.publish("room", "price", 1)
        with pytest.raises(LocalProtocolError, match="cannot wait"):
            next(stream)


def test_a_function_that_the_clients_own_thread_calls_may_give_commands(
    server: ServerInThread,
) -> None:
    def subscribes(event: object) -> bool:
        client.subscribe("second")
        return isinstance(event, ChannelEvent)

    with open_pusher(quick(server)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        stream = room.events(subscribes)
        server.publish("room", "price", 1)
        assert next(stream).data == 1
        client.channel("second").wait_subscribed(5)


# Running handlers


def test_run_with_no_time_handles_waiting_events(server: ServerInThread) -> None:
    seen: list[object] = []
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        binding = room.bind("price", lambda event: seen.append(event.data))
        for n in range(5):
            server.publish("room", "price", n)
        assert poll(lambda: len(binding.queue) == 5)
        assert seen == []
        client.run(timeout=0)
        assert seen == [0, 1, 2, 3, 4]
        client.run(timeout=0)


def test_run_returns_after_its_timeout(server: ServerInThread) -> None:
    def slow(event: object) -> None:
        server.publish("room", "price", 1)  # there is always one more
        time.sleep(0.02)

    with open_pusher(quick(server)) as client:
        with Clock() as clock:
            client.run(timeout=0.1)
        assert 0.1 <= clock.seconds < 5
        room = client.subscribe("room")
        room.bind("price", slow)
        room.wait_subscribed(5)
        server.publish("room", "price", 0)
        with Clock() as clock:
            client.run(timeout=0.1)
        assert 0.1 <= clock.seconds < 5


def test_handlers_are_called_in_the_order_of_arrival_over_all(server: ServerInThread) -> None:
    seen: list[str] = []
    with open_pusher(quick(server)) as client:
        one, other = client.subscribe("one"), client.subscribe("other")
        one.wait_subscribed(5)
        other.wait_subscribed(5)
        one.bind("n", lambda event: seen.append(f"one {event.data}"))
        last = other.bind("n", lambda event: seen.append(f"other {event.data}"))
        for n, name in enumerate(("one", "one", "other", "one", "other")):
            server.publish(name, "n", n)
        assert poll(lambda: len(last.queue) == 2)
        client.run(timeout=0)
        assert seen == ["one 0", "one 1", "other 2", "one 3", "other 4"]


def test_what_a_cancelled_binding_had_not_handled_is_forgotten(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        binding = room.bind("n", lambda event: pytest.fail("it was cancelled"))
        server.publish("room", "n", 1)
        assert poll(lambda: binding.queue)
        binding.cancel()
        assert not client._calls
        client.run(timeout=0)


def test_run_handles_events_before_the_end(server: ServerInThread) -> None:
    seen: list[object] = []
    with open_pusher(quick(server, reconnect=False)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        room.bind("n", lambda event: seen.append(event.data))
        server.publish("room", "n", 1)
        server.drop(4001, "no such app")
        with pytest.raises(ConnectionFailed):
            client.wait_for("never")
        with pytest.raises(ConnectionFailed):
            client.run()
        assert seen == [1]


def test_only_one_thread_runs_the_handlers(server: ServerInThread) -> None:
    problems: list[str] = []

    def handler(event: object) -> None:
        try:
            client.run()
        except LocalProtocolError as error:
            problems.append(str(error))
        client.close()

    with open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        room.bind("n", handler)
        server.publish("room", "n", 1)
        client.run()
    assert problems == ["run() is running already: one thread calls the handlers"]


def test_it_is_reported_once_that_no_thread_runs_the_handlers(
    server: ServerInThread, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.name == "pusher_proto.client"]

    with caplog.at_level(logging.WARNING), open_pusher(quick(server)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        room.bind("n", lambda event: None)
        for n in range(1100):
            server.publish("room", "n", n)
        assert poll(said)
        client.run(timeout=0)
        for n in range(1100):
            server.publish("room", "n", n)
        client.run(timeout=0)
        assert said() == [
            "events wait for handlers, but client.run() is not running: call it, or start a thread for it"
        ]


def test_handlers_are_cancelled_by_another_thread_while_they_are_called(
    server: ServerInThread,
) -> None:
    """Clients that stay get every event, in order."""
    heard: list[int] = []
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        room.bind("n", lambda event: heard.append(event.data))
        running = threading.Thread(target=client.run)
        running.start()
        for n in range(300):
            others = [room.bind("n", lambda _: None) for _ in range(3)]
            server.publish("room", "n", n)
            for binding in others:
                binding.cancel()
        assert poll(lambda: len(heard) == 300)
        assert heard == list(range(300))
        assert poll(lambda: not client._calls)
        client.close()
        running.join()


def test_a_handler_that_is_cancelled_before_its_first_call_leaves_nothing(
    server: ServerInThread,
) -> None:
    heard: list[int] = []
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        room.bind("n", lambda event: heard.append(event.data))
        gone = room.bind("n", heard.append)
        server.publish("room", "n", 1)
        assert poll(lambda: gone.queue)
        gone.cancel()
        assert len(client._calls) == 1
        client.run(timeout=0)
        assert heard == [1]


# The end of clients, of threads, of processes


def test_goodbye_is_said_at_the_end_of_the_interpreter(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        client.wait_connected(5)
        _loop._each(_loop.Loop.say_goodbye)
        assert poll(lambda: not server.connections)
        assert poll(lambda: not client_threads())
    _loop._each(_loop.Loop.say_goodbye)


def test_a_recording_of_a_client_that_is_forgotten_breaks_nothing(
    server: ServerInThread, tmp_path: Path
) -> None:
    file = tmp_path / "recording"
    client = open_pusher(quick(server), record=file)
    client.wait_connected(5)
    del client
    with pytest.warns(ResourceWarning, match=r"a client opened at .*test_blocking.py:\d+ was not"):
        gc.collect()
    assert poll(lambda: not server.connections)
    assert poll(lambda: '"transport_closed"' in file.read_text())


def test_an_error_of_the_loop_is_raised_by_every_call(server: ServerInThread) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"), open_pusher(quick(server)) as client:
        client.wait_connected(5)
        client._session.receive_data = broken  # type: ignore[method-assign]  # broken on purpose
        client.ping()
        for wait in (client.run, lambda: client.wait_for("never"), client.wait_connected):
            with pytest.raises(ZeroDivisionError):
                wait()


def test_what_a_stream_had_not_read_at_the_end_can_be_read(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room")
        room.wait_subscribed(5)
        assert poll(lambda: room.subscription_count is not None)
        before = client.stats.messages_received
        stream = room.events("n", buffer=2)
        for n in range(10):
            server.publish("room", "n", n)
        assert poll(lambda: client.stats.messages_received == before + 10)
        client.close()
        assert [event.data for event in stream] == list(range(10))


def test_a_stream_is_notified_of_the_end(server: ServerInThread) -> None:
    for _ in range(20):
        with open_pusher(lost_port(retry_base=30.0)) as client:
            ends = client.events(Closed)
            assert poll(lambda: client._session.retry_at)
            client.close()
            assert next(ends) == Closed()


# Sockets


def test_a_lookup_that_hangs_delays_neither_the_wait_nor_the_close(
    silent: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        assert go_on.wait(10)
        raise socket.gaierror("the application has left")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with Clock() as clock, open_pusher(silent) as client, pytest.raises(PusherTimeout):
        client.wait_connected(0.05)
    assert clock.seconds < CLOSED_IN
    assert len(client_threads()) == 1
    go_on.set()


def test_what_is_opened_too_late_is_closed(server: ServerInThread) -> None:
    go_on = threading.Event()
    opened: list[socket.socket] = []

    def late(host: str, port: int) -> socket.socket:
        assert go_on.wait(10)
        opened.append(socket.create_connection((host, port)))
        return opened[0]

    with open_pusher(quick(server), connect=late):
        pass
    go_on.set()
    assert poll(lambda: opened and opened[0].fileno() == -1)


@pytest.mark.parametrize("wrong", [None, 5, io.BytesIO()])
def test_W11_what_connect_returns_has_to_be_a_socket(server: ServerInThread, wrong: Any) -> None:
    options = quick(server, max_attempts=2)
    with open_pusher(options, connect=lambda *_: wrong) as client:
        with pytest.raises(ConnectionFailed, match="connect= returns a connected socket, not"):
            client.run()
        assert client.stats.attempts == 2


def test_an_attempt_that_takes_too_long_is_given_up(silent: Options) -> None:
    options = Options(host="127.0.0.1", port=silent.port, key="demo", connect_timeout=0.1)
    with open_pusher(options) as client:
        lost = client.wait_for(ConnectionLost, timeout=5)
        assert "name lookup, TCP or TLS did not end" in lost.reason
        assert poll(lambda: client.stats.attempts >= 2)


def test_no_handshake_is_begun_for_an_attempt_that_was_given_up(silent: Options) -> None:
    given_up, made = threading.Event(), list[socket.socket]()

    def connect(host: str, port: int) -> socket.socket:
        if made:
            raise OSError("once is enough")
        made.append(socket.create_connection((host, silent.port)))
        given_up.wait(30)
        return made[0]

    class Context(ssl.SSLContext):
        wrapped = 0

        def wrap_socket(self, *args: Any, **kw: Any) -> ssl.SSLSocket:
            self.wrapped += 1
            return super().wrap_socket(*args, **kw)

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    options = Options(host="127.0.0.1", port=1, key="demo", connect_timeout=0.1)
    with open_pusher(options, connect=connect, ssl_context=context) as client:
        client.wait_for(ConnectionLost, timeout=5)
        given_up.set()
        assert poll(lambda: made[0].fileno() == -1)
    assert context.wrapped == 0


class Moody(socket.socket):
    """A socket that fails on demand."""

    is_full = False
    """Whether nothing can be written for the moment."""
    failure: OSError | None = None
    """Raised by the next call."""

    @classmethod
    def connector(cls, made: list[Moody]) -> Callable[[str, int], socket.socket]:
        """Return a `connect=` that appends what it makes to `made`."""

        def connect(host: str, port: int) -> socket.socket:
            made.append(cls(fileno=socket.create_connection((host, port)).detach()))
            return made[-1]

        return connect

    def _fail(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def recv(self, *args: Any) -> bytes:
        self._fail()
        return super().recv(*args)

    def send(self, *args: Any) -> int:
        self._fail()
        if self.is_full:
            raise BlockingIOError
        return super().send(*args)


def test_a_stream_is_closed_after_the_bytes_that_wait_to_be_written(server: ServerInThread) -> None:
    sockets: list[Moody] = []
    options = quick(server, close_timeout=60.0)
    with open_pusher(options, connect=Moody.connector(sockets)) as client:
        room = client.subscribe("private-room").wait_subscribed(5)
        assert poll(lambda: room.subscription_count)
        lost = client.events(ConnectionLost)
        sockets[0].is_full = True
        room.trigger("client-hello", {})
        server.drop(4200, "restart")
        assert next(lost).code == 4200
        assert sockets[0].fileno() != -1
        sockets[0].is_full = False
        assert poll(lambda: sockets[0].fileno() == -1)


@pytest.mark.parametrize("way", ["reading", "writing"])
def test_a_stream_that_fails_is_replaced(way: str, server: ServerInThread) -> None:
    sockets: list[Moody] = []
    with open_pusher(quick(server), connect=Moody.connector(sockets)) as client:
        room = client.subscribe("private-room").wait_subscribed(5)
        assert poll(lambda: room.subscription_count)
        lost = client.events(ConnectionLost)
        sockets[0].failure = ConnectionResetError("on the way")
        if way == "writing":
            client.ping()
        else:
            server.publish("private-room", "n", 1)
        assert "on the way" in next(lost).reason
        assert poll(lambda: len(sockets) == 2)
        room.wait_subscribed(5)
        assert sockets[0].fileno() == -1


def test_the_socket_of_the_application_may_speak_tls_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Data that TLS has decrypted already is read, though no selector reports it."""
    monkeypatch.setattr(reading_sockets, "READ_SIZE", 1000)
    authority = Authority()

    def connect(host: str, port: int) -> socket.socket:
        sock = socket.create_connection((host, port))
        return authority.client.wrap_socket(sock, server_hostname="127.0.0.1")

    with serve_in_thread(ssl_context=authority.server) as server:
        options = dataclasses.replace(quick(server), tls=False)
        with open_pusher(options, connect=connect) as client:
            room = client.subscribe("private-room").wait_subscribed(5)
            stream = room.events("n")
            for n in range(3):
                server.publish("private-room", "n", [n, "x" * 20_000])
            assert [next(stream).data[0] for _ in range(3)] == [0, 1, 2]


def test_much_is_written_over_tls() -> None:
    authority = Authority()
    with serve_in_thread(ssl_context=authority.server) as server, ExitStack() as stack:
        options = quick(server, outbox_limit=10_000_000)
        one, other = (
            stack.enter_context(open_pusher(options, ssl_context=authority.client))
            for _ in range(2)
        )
        mine = one.subscribe("private-room").wait_subscribed(5)
        yours = other.subscribe("private-room").wait_subscribed(5)
        stream = yours.events("client-n")
        for n in range(400):
            mine.trigger("client-n", [n, "x" * 10_000])
        assert [next(stream).data[0] for _ in range(400)] == list(range(400))


def test_a_port_that_refuses_is_an_error_of_the_network() -> None:
    options = Options(host="127.0.0.1", port=free_port(), tls=False, key="demo", reconnect=False)
    with open_pusher(options) as client, pytest.raises(PusherError, match=r"[Rr]efused"):
        client.wait_connected(5)
