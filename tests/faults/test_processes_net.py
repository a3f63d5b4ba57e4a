"""Clients in processes that fork, end, forget them, or are stopped for a while."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drivers.runners import RUNNERS, Clock, client_threads, leaves_nothing, poll, quickest
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import Options
from pusher_sync import open_pusher

from .rows import QUICK, written_for


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with leaves_nothing(), serve_in_thread() as running:
        yield running


def quick(server: ServerInThread, **more: Any) -> Options:
    return server.options(**(QUICK | more))


@contextmanager
def start(script: str, *, quiet: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a script in its own process, which must write nothing to its standard error if it is to be quiet."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            assert process.stderr is not None
            if quiet:
                assert process.stderr.read() == ""


def test_A7_a_blocking_client_is_forgotten(server: ServerInThread) -> None:
    """The client closes its connection, and its thread ends."""
    client = open_pusher(quick(server))
    client.wait_connected(5)
    del client
    with pytest.warns(ResourceWarning, match="opened at .*test_processes_net.py"):
        gc.collect()
    assert poll(lambda: not server.connections)
    assert poll(lambda: not client_threads())


SCRIPTS = {
    "connected": "client.wait_connected(5)",
    "trying": "server.close(); client.reconnect(); client.wait_for(ConnectionLost, timeout=5)",
    "blocked": "time.sleep(0.05)",
    "running": "threading.Thread(target=client.run, daemon=True).start(); client.wait_connected(5)",
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_A7_the_interpreter_ends_with_a_blocking_client_that_runs(
    what: str, server: ServerInThread
) -> None:
    """The client closes its connection, and the interpreter ends within a second."""
    assert quickest(lambda: end_of_interpreter(what, server), 1.0) < 1.0


def end_of_interpreter(what: str, server: ServerInThread) -> float:
    """Return how long an interpreter with an open client takes to end."""
    script = f"""
        import logging, socket, threading, time
        from pusher_proto import ConnectionLost, Options
        from pusher_sync import open_pusher

        def blocks(host, port):
            time.sleep(60)

        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1] if {what!r} == "trying" else {server.port}
        options = Options(host="127.0.0.1", port=port, tls=False, key="demo")
        logging.disable()
        opened = open_pusher(options, connect=blocks if {what!r} == "blocked" else None)
        client = opened.__enter__()
        {SCRIPTS[what]}
        server.close()
        print("end", flush=True)
    """
    with start(script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "end\n"
        with Clock() as clock:
            assert process.wait(10) == 0
        assert process.stdout.read() == ""
    assert poll(lambda: not server.connections)
    return clock.seconds


def test_A7_the_process_forks_after_a_blocking_client_has_connected(server: ServerInThread) -> None:
    """In the child each call raises an error that says that the client belongs to the parent; the parent is not
    affected.
    """
    script = f"""
        import os, warnings
        warnings.simplefilter("ignore")
        from pusher_proto import LocalProtocolError, Options
        from pusher_sync import open_pusher

        options = Options(host="127.0.0.1", port={server.port}, tls=False, key="demo")
        with open_pusher(options) as client:
            room = client.subscribe("room").wait_subscribed(5)
            stream, binding = room.events(), room.bind("n", print)
            sockets = [each.moved_by._socket.fileno() for each in client._driver.wires.values()]
            child = os.fork()
            if child == 0:
                calls = [
                    client.wait_connected, client.close, client.run, client.connect, lambda: client.state,
                    lambda: client.subscribe("x"), room.wait_subscribed, lambda: next(stream), stream.close,
                    binding.cancel, lambda: room.wait_for("n"), lambda: room.members,
                ]
                for call in calls:
                    try:
                        call()
                    except LocalProtocolError as error:
                        assert "fork" in str(error)
                    else:
                        os._exit(1)
                for each in sockets:
                    try:
                        os.fstat(each)
                    except OSError:
                        continue
                    os._exit(2)
                os._exit(42)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
            print(room.wait_for("n", timeout=5).data)
    """
    with start(script) as process:
        assert poll(lambda: [server.publish("room", "n", 7)] and process.poll() is not None)
        assert process.stdout is not None
        assert process.stdout.read().splitlines()[-1:] == ["7"]


NEVER_LEFT = """
    import anyio
    from pusher_anyio import open_pusher
    from pusher_proto import Options

    async def main():
        opened = open_pusher(Options(host="127.0.0.1", port={port}, tls=False, key="demo"))
        client = await opened.__aenter__()
        await client.wait_connected(5)
        print("connected", flush=True)

    anyio.run(main, backend=BACKEND)
"""


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_A7_the_event_loop_ends_with_an_asynchronous_client_that_was_never_left(
    runner: str, server: ServerInThread
) -> None:
    """The event loop ends at once, and asyncio or trio warns about the block that was not left."""
    script = written_for(runner, NEVER_LEFT.format(port=server.port))
    with start(script, quiet=False) as process:
        out, said = process.communicate(timeout=15)
    assert out == "connected\n"
    assert "open_pusher" in said
    assert poll(lambda: not server.connections)


STOPPED = """
    import logging
    import anyio
    from pusher_anyio import open_pusher
    from pusher_proto import ConnectionLost, Options

    logging.disable()
    options = Options(
        host="127.0.0.1", port={port}, tls=False, key="demo",
        activity_override={activity}, pong_timeout={pong}, close_timeout=0.2,
    )

    async def main():
        async with open_pusher(options) as client:
            lost = client.events(ConnectionLost)
            await client.wait_connected(5)
            print("connected", flush=True)
            print((await anext(lost)).code)
            await client.wait_connected(5)
            print("connected", flush=True)

    anyio.run(main, backend=BACKEND)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="the system cannot stop processes")
@pytest.mark.parametrize("runner", RUNNERS)
def test_K1_the_process_is_stopped_while_the_server_closes(
    runner: str, server: ServerInThread
) -> None:
    """Received data counts before due timers: the close is seen, and the client reconnects at once."""
    activity, pong = 0.2, 2.0
    script = written_for(runner, STOPPED.format(port=server.port, activity=activity, pong=pong))
    with start(script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        server.mute()  # so that the answer to the ping is overdue
        assert poll(lambda: any(each.event == "pusher:ping" for each in server.received))
        process.send_signal(signal.SIGSTOP)
        server.unmute()
        server.drop(4200, "restart")
        time.sleep(activity + pong + 0.2)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "4200\nconnected\n"
