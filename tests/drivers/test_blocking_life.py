"""The life of a blocking client: opened and closed in any form, stopped by signals, short of threads, forgotten."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pusher_anyio
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ClientClosed,
    ConnectionLost,
    ConnectionState,
    LocalProtocolError,
    Options,
)
from pusher_proto.states import ChannelState
from pusher_sync import Client, open_pusher

from .runners import Clock, client_threads, leaves_nothing, poll
from .scenarios import Authority, own_key, quick


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with leaves_nothing(), serve_in_thread() as running:
        yield running


# Opening and closing


def test_a_client_is_opened_and_closed_without_a_block(server: ServerInThread) -> None:
    client = open_pusher(quick(server))
    assert client.subscribe("room").wait_subscribed(5).name == "room"
    client.close()
    assert client.state is ConnectionState.DISCONNECTED
    client.close()
    with pytest.raises(ClientClosed):
        client.connect()


def test_a_client_may_be_closed_before_its_block_ends_and_in_any_order(
    server: ServerInThread,
) -> None:
    first, second = open_pusher(quick(server)), open_pusher(quick(server))
    first.wait_connected(5)
    first.close()
    second.wait_connected(5)
    with second:
        second.close()


def test_a_client_may_be_closed_in_another_thread(server: ServerInThread) -> None:
    client = open_pusher(quick(server))
    client.wait_connected(5)
    closing = threading.Thread(target=client.close)
    closing.start()
    closing.join(10)
    assert not client_threads()


class Service:
    """A program of the usual shape."""

    def start(self, options: Options) -> None:
        self.client = open_pusher(options)
        self.thread = threading.Thread(target=self.client.run)
        self.thread.start()

    def stop(self) -> None:
        self.client.close()
        self.thread.join(10)


def test_a_class_has_start_and_stop(server: ServerInThread) -> None:
    service = Service()
    service.start(quick(server))
    service.client.subscribe("room").wait_subscribed(5)
    service.stop()
    assert not service.thread.is_alive()


def test_a_generator_that_holds_the_block_may_be_forgotten(server: ServerInThread) -> None:
    def prices() -> Iterator[object]:
        with open_pusher(quick(server)) as client:
            room = client.subscribe("room").wait_subscribed(5)
            for n in range(3):
                server.publish("room", "price", n)
            for event in room:
                yield event.data

    for price in prices():
        assert price == 0
        break
    gc.collect()
    assert poll(lambda: not client_threads())


def test_an_exception_of_the_block_is_raised_before_an_error_of_the_client(
    server: ServerInThread,
) -> None:
    with pytest.raises(KeyError), open_pusher(quick(server)) as client:
        client._io.fail(ZeroDivisionError())
        raise KeyError


def test_W30_an_error_of_the_clients_own_parts_is_raised_by_every_wait_and_by_close(
    server: ServerInThread,
) -> None:
    client = open_pusher(quick(server))
    client.wait_connected(5)
    client._io.fail(ZeroDivisionError("a bug"))
    room = client.channel("room")
    for wait in (
        client.run,
        client.wait_connected,
        client.wait_signed_in,
        room.wait_subscribed,
        lambda: room.wait_for("n"),
        lambda: next(room.events()),
        client.close,
    ):
        with pytest.raises(ZeroDivisionError, match="a bug"):
            wait()


# Forgotten


def test_a_forgotten_client_is_closed_with_a_warning_that_says_where_it_was_opened(
    server: ServerInThread,
) -> None:
    client = open_pusher(quick(server))
    client.bind("n", client.ping)  # a circle, as in most programs
    client.wait_connected(5)
    del client
    with pytest.warns(
        ResourceWarning, match=rf"opened at {__file__}:\d+ was not closed: call close"
    ):
        gc.collect()
    assert poll(lambda: not server.connections)
    assert poll(lambda: not client_threads())


@pytest.mark.parametrize("end", [Client.close, Client.stop])
def test_a_client_that_was_closed_or_stopped_is_forgotten_in_silence(
    end: Callable[[Client], None], server: ServerInThread
) -> None:
    client = open_pusher(quick(server))
    client.wait_connected(5)
    end(client)
    del client
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert poll(lambda: not client_threads())


# Stopping


def test_stop_lets_run_return_and_closes_the_client(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        room.bind("n", lambda event: client.stop())
        server.publish("room", "n", 1)
        client.run()
        assert client.state is ConnectionState.DISCONNECTED
        with pytest.raises(ClientClosed):
            client.subscribe("other")


def test_stop_does_not_wait_and_may_be_repeated(server: ServerInThread) -> None:
    client = open_pusher(quick(server))
    client.wait_connected(5)
    server.mute()
    with Clock() as clock:
        client.stop()
        client.stop()
    assert clock.seconds < 0.2  # the server answers nothing for close_timeout
    client.run()
    client.close()
    client.stop()


def test_close_in_the_clients_own_thread_does_not_wait(server: ServerInThread) -> None:
    errors: list[BaseException] = []

    def on_event(_: object) -> None:
        try:
            client.close()
        except BaseException as error:
            errors.append(error)

    go_on = threading.Event()

    def connect(host: str, port: int) -> socket.socket:
        go_on.wait(10)  # until `client` is there
        return socket.create_connection((host, port))

    client = open_pusher(quick(server), connect=connect, on_event=on_event)
    go_on.set()
    client.run()
    client.close()
    assert errors == []


def test_call_from_thread_calls_at_once(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        room = client.call_from_thread(client.subscribe, "room")
        assert room.wait_subscribed(5) is client.channel("room")


def played(script: str, *flags: str, **values: object) -> str:
    """Run a script in its own process, and return its output; fail when it hangs."""
    text = textwrap.dedent(script)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    done = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", text],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


SIGNALS = """
    import os, random, signal, threading, time
    from pusher_proto import ClientClosed, Options, PusherError
    from pusher_sync import open_pusher

    options = Options(
        host="127.0.0.1", port={port}, tls=False, key="demo", close_timeout=0.5, auth=None
    )
    rng = random.Random({seed})
    clients = []

    def handler(*_):
        clients[-1].{end}()

    signal.signal(signal.SIGUSR1, handler)
    for _ in range({rounds}):
        with open_pusher(options) as client:
            clients.append(client)
            client.wait_connected(10)
            delay, times = rng.random() * 0.01, rng.choice((1, 2))

            def send():
                time.sleep(delay)
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGUSR1)

            sender = threading.Thread(target=send)
            sender.start()
            try:
                while True:
                    {work}
            except PusherError:
                pass
            sender.join()
            time.sleep(0)  # a signal that is pending is handled here at the latest
        assert client.state == "disconnected"
    print("ended")
"""

WORK = {
    "commands": "client.subscribe('a'); client.unsubscribe('a')",
    "waits": "client.subscribe('a').wait_subscribed()",
    "looks": "client.stats; client.channels; client.subscribe('a')",
    "runs": "client.run(timeout=0.001); client.channel('x').bind('e', print).cancel()",
}


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
@pytest.mark.parametrize("end", ["close", "stop"])
@pytest.mark.parametrize("work", WORK)
def test_W36_a_signal_handler_closes_the_client_whose_call_it_interrupts(
    work: str, end: str, server: ServerInThread
) -> None:
    """Real signals at any time, one or two of them; before, most runs hung for ever."""
    printed = played(SIGNALS, port=server.port, seed=len(work), rounds=25, end=end, work=WORK[work])
    assert printed == "ended\n"


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_W36_run_returns_after_a_signal(server: ServerInThread) -> None:
    printed = played(
        """
        import os, signal, threading
        from pusher_proto import Options
        from pusher_sync import open_pusher

        options = Options(host="127.0.0.1", port={port}, tls=False, key="demo")
        for name in ("stop", "close"):
            with open_pusher(options) as client:
                signal.signal(signal.SIGUSR1, lambda *_: getattr(client, name)())
                client.wait_connected(10)
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
                client.run()
                print(name, client.state)
        """,
        port=server.port,
    )
    assert printed == "stop disconnected\nclose disconnected\n"


def test_W36_a_wait_in_a_signal_handler_within_a_call_is_refused(server: ServerInThread) -> None:
    with open_pusher(quick(server)) as client:
        with client._guard, pytest.raises(LocalProtocolError, match="cannot wait"):
            client.wait_for("never")
        client.wait_connected(5)


# The interpreter


@pytest.mark.parametrize("flags", [("-OO",), ("-X", "dev")], ids=" ".join)
def test_a_client_works_whatever_options_the_interpreter_has(
    flags: tuple[str, ...], server: ServerInThread
) -> None:
    """All of them with `-W error`: no warning comes from the client."""
    assert (
        played(
            """
            from pusher_proto import ConnectionEstablished, Options, OwnKey
            from pusher_sync import open_pusher

            auth = OwnKey("demo", "demo-secret")
            options = Options(
                host="127.0.0.1", port={port}, tls=False, key="demo", auth=auth, retry_base=0.01
            )
            with open_pusher(options) as client:
                room = client.subscribe("private-room").wait_subscribed(10)
                again = client.events(ConnectionEstablished)
                client.reconnect()
                next(again)
                print(room.wait_subscribed(10).state)
                room.trigger("client-hello", {})
            """,
            *flags,
            port=server.port,
        )
        == "subscribed\n"
    )
    assert poll(lambda: any(each.event == "client-hello" for each in server.received))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_a_client_opened_before_raises_and_one_opened_there_works(
    server: ServerInThread,
) -> None:
    printed = played(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads at a fork
        from pusher_proto import LocalProtocolError, Options
        from pusher_sync import open_pusher

        options = Options(host="127.0.0.1", port={port}, tls=False, key="demo")
        before = open_pusher(options)
        room = before.subscribe("room").wait_subscribed(10)
        child = os.fork()
        if child == 0:
            for call in (before.connect, before.run, before.close, room.wait_subscribed):
                try:
                    call()
                except LocalProtocolError as error:
                    print(str(error).partition(":")[0], flush=True)
            before.stop()
            with open_pusher(options) as own:
                print(own.subscribe("mine").wait_subscribed(10).state, flush=True)
            del before, room
            os._exit(42)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        before.ping()
        print(before.subscribe("other").wait_subscribed(10).state)
        before.close()
        """,
        port=server.port,
    )
    refused = "this client belongs to the process that opened it\n" * 4
    assert printed == f"{refused}subscribed\n42\nsubscribed\n"


# Short of threads


class NoThreads:
    """Lets the start of threads fail as the system does, for those whose name begins so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
        self.refused = 0
        self.on = True
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if self.on and thread.name.startswith(prefix):
                self.refused += 1
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)


def test_W9_no_thread_to_dial_with_is_an_attempt_that_failed(
    server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_pusher(quick(server)) as client:
        client.wait_connected(5)
        threads = NoThreads(monkeypatch, "pusher-dial")
        client.reconnect()
        assert "can't start new thread" in client.wait_for(ConnectionLost, timeout=5).reason
        assert poll(lambda: threads.refused >= 3)
        threads.on = False
        client.wait_connected(5)


def test_W9_no_thread_for_the_authorizer_is_not_a_final_refusal_of_the_channel(
    server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def authorizer(request: AuthRequest) -> AuthResponse:
        return own_key().authorization(request)

    options = quick(server, auth=None)
    with open_pusher(options, authorizer=authorizer) as client:
        client.wait_connected(5)
        threads = NoThreads(monkeypatch, "pusher-call")
        room = client.subscribe("private-room")
        assert poll(lambda: threads.refused >= 1)
        threads.on = False
        assert poll(lambda: room.state is ChannelState.SUBSCRIBED)


def test_W9_a_client_that_breaks_says_so(server: ServerInThread) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    client = open_pusher(quick(server))
    client.wait_connected(5)
    client._session.receive_data = broken  # type: ignore[method-assign]  # broken on purpose
    client.ping()
    with pytest.raises(ZeroDivisionError):
        client.run()
    assert poll(lambda: not client_threads())
    assert client.state is ConnectionState.DISCONNECTED


# TLS and dialling


def test_W13_disconnecting_gives_up_a_slow_dial_at_once(server: ServerInThread) -> None:
    go_on = threading.Event()

    def slow(host: str, port: int) -> socket.socket:
        go_on.wait(30)
        return socket.create_connection((host, port))

    with open_pusher(quick(server), connect=slow) as client:
        with Clock() as clock:
            client.disconnect()
            assert poll(lambda: client.state is ConnectionState.DISCONNECTED)
        assert clock.seconds < 1
    go_on.set()


def test_W14_a_tls_error_at_the_first_step_is_reported_at_once(server: ServerInThread) -> None:
    authority = Authority()
    authority.client.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    authority.client.maximum_version = authority.client.minimum_version = (
        authority.client.minimum_version.__class__.TLSv1_2
    )
    authority.server.minimum_version = authority.client.minimum_version.__class__.TLSv1_3
    with serve_in_thread(ssl_context=authority.server) as secure, Clock() as clock:
        options = quick(secure, connect_timeout=20.0)
        with open_pusher(options, ssl_context=authority.client) as client:
            lost = client.wait_for(ConnectionLost, timeout=10)
            assert "SSL" in lost.reason
    assert clock.seconds < 5


def test_W15_the_end_of_tls_is_noticed_at_once_though_tcp_stays_open(
    server: ServerInThread,
) -> None:
    authority = Authority()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def say_goodbye() -> None:
            sock, _ = listener.accept()
            with authority.server.wrap_socket(sock, server_side=True) as secured:
                secured.recv(1000)
                with suppress(OSError):  # the client closes TCP as the answer
                    secured.unwrap()
                go_on.wait(20)

        go_on = threading.Event()
        thread = threading.Thread(target=say_goodbye)
        thread.start()
        options = Options(
            host="127.0.0.1", port=listener.getsockname()[1], key="demo", connect_timeout=30.0
        )
        with Clock() as clock, open_pusher(options, ssl_context=authority.client) as client:
            client.wait_for(ConnectionLost, timeout=20)
        go_on.set()
        thread.join()
    assert clock.seconds < 10


# Contexts


name = contextvars.ContextVar("name", default="nobody")


def test_a_handler_runs_in_a_copy_of_the_context_of_its_bind(server: ServerInThread) -> None:
    seen: list[tuple[str, str]] = []

    def handler(who: str) -> Callable[[object], None]:
        def handle(_: object) -> None:
            seen.append((who, name.get()))
            name.set(f"{who} was here")

        return handle

    with open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        for who in ("ann", "bob"):
            token = name.set(who)
            room.bind("n", handler(who))
            name.reset(token)
        server.publish("room", "n", 1)
        server.publish("room", "n", 2)
        assert poll(lambda: len(client._calls) == 4)
        client.run(timeout=0)
    assert name.get() == "nobody"
    first, second = seen[:2], seen[2:]
    assert first == [("ann", "ann"), ("bob", "bob")]
    assert second == [("ann", "ann was here"), ("bob", "bob was here")]


# Bad input


@pytest.mark.parametrize("what", ["on_event", "on_progress", "wall_clock"])
def test_a_function_that_no_client_awaits_is_refused_when_the_client_is_opened(what: str) -> None:
    async def function(*_: object) -> None: ...

    given: dict[str, Any] = {what: function}
    options = Options(host="127.0.0.1", port=1, tls=False, key="demo")
    for open_ in (open_pusher, pusher_anyio.open_pusher):
        with leaves_nothing(), pytest.raises(TypeError, match=f"^{what} is a plain function bec"):
            open_(options, **given)


def test_a_wrong_argument_leaves_the_file_of_the_last_recording(tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    file.write_text("the last recording")
    options = Options(host="127.0.0.1", port=1, tls=False, key="demo")
    wrong: Any = False
    for open_ in (open_pusher, pusher_anyio.open_pusher):
        with leaves_nothing(), pytest.raises(TypeError, match=r"^ssl_context is an ssl.SSLContext"):
            open_(options, ssl_context=wrong, record=file)
    assert file.read_text() == "the last recording"


def test_a_handler_that_returns_a_coroutine_is_logged(
    server: ServerInThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(event: ChannelEvent) -> None: ...

    with open_pusher(quick(server)) as client:
        room = client.subscribe("room").wait_subscribed(5)
        with pytest.raises(TypeError, match=r"^a handler is a plain function in blocking code"):
            room.bind("news", later)
        room.bind("news", lambda event: later(event))
        room.bind("news", lambda _: client.stop())
        server.publish("room", "news", 1)
        client.run()
    assert "TypeError: the handler returned a coroutine" in caplog.text


@pytest.mark.parametrize("what", ["authorizer", "connect"])
def test_W39_a_coroutine_function_is_refused_when_the_client_is_opened(what: str) -> None:
    async def function(*_: object) -> None: ...

    given: dict[str, Any] = {what: function}
    with leaves_nothing(), pytest.raises(TypeError, match=f"{what} is a plain function in block"):
        open_pusher(Options(host="127.0.0.1", port=1, tls=False, key="demo"), **given)


@pytest.mark.parametrize("what", ["headers", "params", "refresh"])
def test_W39_a_coroutine_function_of_the_endpoint_is_refused_when_the_client_is_opened(
    what: str,
) -> None:
    async def function() -> dict[str, str]:
        return {}

    given: dict[str, Any] = {what: function}
    auth = AuthEndpoint("http://127.0.0.1/auth", **given)
    options = Options(host="127.0.0.1", port=1, tls=False, key="demo", auth=auth)
    with leaves_nothing(), pytest.raises(TypeError, match=f"{what} is a plain function in block"):
        open_pusher(options)


def test_W39_a_coroutine_function_for_one_channel_is_refused_at_the_call(
    server: ServerInThread,
) -> None:
    async def function(*_: object) -> None: ...

    with open_pusher(quick(server, auth=None)) as client:
        for auth in (function, AuthEndpoint("http://127.0.0.1/auth", refresh=function)):
            with pytest.raises(TypeError, match="is a plain function in blocking code"):
                client.subscribe("private-room", auth=auth)
        assert client.channels == {}


def test_W39_an_authorizer_whose_result_is_to_be_awaited_is_refused_with_a_clear_error(
    server: ServerInThread,
) -> None:
    async def later(request: AuthRequest) -> AuthResponse:
        return own_key().authorization(request)

    options = quick(server, auth=None)
    with open_pusher(options, authorizer=lambda request: later(request)) as client:
        room = client.subscribe("private-room")
        with pytest.raises(AuthorizationError, match="returned an awaitable: use a plain function"):
            room.wait_subscribed(5)
