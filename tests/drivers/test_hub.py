"""One thread sees to all blocking clients of a process, and none of them to another's cost."""

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
from itertools import pairwise
from typing import Any

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import ChannelEvent, Event, LocalProtocolError, Options
from pusher_sync import _hub, _ready, open_pusher

from .runners import by_select, client_threads, leaves_nothing, open_files, poll
from .scenarios import QUICK


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with leaves_nothing(), serve_in_thread() as running:
        yield running


def quick(server: ServerInThread, **more: Any) -> Options:
    return server.options(**(QUICK | more))


def names() -> list[str]:
    return [each.name for each in client_threads()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which files are open")
def test_many_clients_have_one_thread_and_a_socket_each(server: ServerInThread) -> None:
    with ExitStack() as stack:
        opened = []
        for _ in range(5):
            client = stack.enter_context(open_pusher(quick(server)))
            client.wait_connected(5)
            assert poll(lambda: names() == ["pusher-loop"])  # those that dialled are over
            opened.append({fd for fd, what in open_files() if what.startswith("socket:")})
    # The other end of each belongs to the server, which lives in this process.
    assert [len(after - before) for before, after in pairwise(opened)] == [2] * 4


def test_each_hears_its_own(server: ServerInThread) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(open_pusher(quick(server))) for _ in range(4)]
        streams = []
        for n, client in enumerate(clients):
            streams.append(client.subscribe(f"room-{n}").wait_subscribed(5).events(ChannelEvent))
        for n in range(20):
            server.publish(f"room-{n % 4}", "n", n)
        for n, stream in enumerate(streams):
            assert [next(stream).data for _ in range(5)] == [n + 4 * i for i in range(5)]


def test_the_thread_ends_with_the_last_client_and_another_begins_with_the_next(
    server: ServerInThread,
) -> None:
    for _ in range(3):
        with open_pusher(quick(server)) as one:
            one.wait_connected(5)
            thread = one._loop._hub._thread
            with open_pusher(quick(server)) as other:
                other.wait_connected(5)
                assert other._loop._hub._thread is thread
            assert thread.is_alive()
        assert not thread.is_alive()


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


def test_who_waits_hears_that_it_broke_though_nothing_follows(server: ServerInThread) -> None:
    options = quick(server, activity_override=3000.0)
    with pytest.raises(ZeroDivisionError), open_pusher(options) as bad:
        bad.wait_connected(5)
        bad._session.receive_data = broken  # type: ignore[method-assign]  # broken on purpose
        bad.ping()
        bad.wait_for("never")


def test_when_the_thread_breaks_all_hear_of_it_and_the_next_client_has_another(
    server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(open_pusher(quick(server))) for _ in range(3)]
        for client in clients:
            client.wait_connected(5)

        hub = clients[0]._loop._hub
        with monkeypatch.context() as patch:
            patch.setattr(hub._sockets, "wait", broken)
            clients[0].ping()
            for client in clients:
                with pytest.raises(ZeroDivisionError):
                    client.run()
        assert poll(lambda: not client_threads())
        with open_pusher(quick(server)) as client:
            client.wait_connected(5)
            assert client._loop._hub is not hub
        with pytest.raises(ZeroDivisionError):
            stack.close()


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


@pytest.mark.parametrize("readiness", [_ready.readiness, _ready.Selected, by_select])
def test_a_socket_that_is_closed_behind_our_back_costs_nobody_else(
    server: ServerInThread, readiness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may give its number to the next socket at once."""
    monkeypatch.setattr(_hub, "readiness", readiness)
    made: list[socket.socket] = []

    def connect(host: str, port: int) -> socket.socket:
        made.append(socket.create_connection((host, port)))
        return made[-1]

    with ExitStack() as stack:
        unlucky = stack.enter_context(
            open_pusher(quick(server, activity_override=30.0), connect=connect)
        )
        unlucky.wait_connected(5)
        number = made[0].fileno()
        made[0].close()

        def same_number(host: str, port: int) -> socket.socket:
            sock = socket.create_connection((host, port))
            if sock.fileno() != number:
                os.dup2(sock.fileno(), number)
                sock.close()
                sock = socket.socket(fileno=number)
            return sock

        with open_pusher(quick(server), connect=same_number) as other:
            other.wait_connected(5)
            unlucky.reconnect()
            unlucky.wait_connected(5)
            other.subscribe("room").wait_subscribed(5)
            assert other.stats.attempts == 1


def test_nobody_waits_for_another_client_in_the_thread_of_all(server: ServerInThread) -> None:
    """Or it would wait for itself."""
    raised: list[Exception] = []
    with open_pusher(quick(server)) as one:
        one.wait_connected(5)

        def on_event(_: Event) -> None:
            try:
                one.wait_for("never", timeout=5)
            except Exception as error:
                raised.append(error)

        with open_pusher(quick(server), on_event=on_event) as other:
            other.wait_connected(5)
    assert {type(each) for each in raised} == {LocalProtocolError}


def test_clients_come_and_go_in_many_threads_at_once(server: ServerInThread) -> None:
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
    assert _hub._current is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_opens_clients_of_its_own(server: ServerInThread) -> None:
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


class Turned:
    """Stands for a loop, and for its transport; counts its turns."""

    def __init__(self) -> None:
        self.loop = self
        self.turns: list[tuple[int, bool]] = []

    def turn(self, sockets: list[Any], due: float | None) -> None:
        self.turns.append((len(sockets), due is not None))


@pytest.mark.parametrize("by", ["woken", "due", "ready"])
def test_a_socket_that_is_always_ready_holds_up_nobody(by: str) -> None:
    hub = _hub.Hub()
    busy, other = Turned(), Turned()
    loop: Any = other  # by what the hub does with it
    ready = [(busy, 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub._sockets, "wait", lambda _: ready)
        hub._turn()
        if by == "woken":
            hub.wake(loop)
        elif by == "due":
            hub.wake_at(loop, 0.0)
        else:
            ready.append((other, 1))
        hub._turn()
    assert (busy.turns, other.turns) == ([(1, False)] * 2, [(int(by == "ready"), by == "due")])
    hub.release()


@pytest.mark.parametrize("selector", [selectors.DefaultSelector, selectors.SelectSelector])
def test_a_system_without_epoll_does_as_well(
    server: ServerInThread, selector: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS, where there is kqueue, and Windows, where there is only `select`."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    monkeypatch.setattr(_hub, "readiness", _ready.Selected)
    with open_pusher(quick(server)) as client:
        client.subscribe("room").wait_subscribed(5)
        client.reconnect()
        client.wait_connected(5)
