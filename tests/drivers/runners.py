"""Plays a scenario on asyncio, on trio, and with the blocking client, and looks for what is left behind.

A scenario is written once, for the asynchronous client. For the blocking one an adapter has the same methods and runs
threads that wait in the pool.
"""

from __future__ import annotations

import errno
import gc
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

import pusher_anyio
import pusher_sync
from pusher_anyio.testing import RunningServer, serve
from pusher_proto import OnProgress, Options
from pusher_proto.client import HandlerErrors
from pusher_proto.testing import Server

PATIENCE = 10.0
"""Seconds that anything may take that is expected; a test that needs them has failed."""

RUNNERS = ("asyncio", "trio", "blocking")

MORE_RUNNERS = ("uvloop", "asyncio-connect", "trio-connect")
"""The same once more: with another event loop, and with a stream that the application opens."""

MESSAGE_RUNNERS = ("asyncio-messages", "trio-messages", "blocking-messages")
"""The same over whole messages: with a connection that the application opens."""


class Driver:
    """Opens clients of one kind: `async with driver(options) as client`."""

    def __init__(self, runner: str, server: RunningServer | None = None) -> None:
        self.runner = runner
        self.is_blocking = runner.startswith("blocking")
        self.over_messages = runner.endswith("-messages")
        self._server = server

    def __call__(
        self,
        options: Options,
        *,
        authorizer: Callable[..., object] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        connect: Callable[..., Any] | None = None,
        connect_messages: Callable[..., Any] | None = None,
        on_handler_error: HandlerErrors = "log",
        record: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> AbstractAsyncContextManager[pusher_anyio.Client]:
        if self.runner.endswith("-connect") and connect is None:
            connect = anyio.connect_tcp
        if self.over_messages and connect_messages is None:
            assert self._server is not None
            connect_messages = in_memory(self._server, blocking=self.is_blocking)
        opened: Any = (pusher_sync if self.is_blocking else pusher_anyio).open_pusher(
            options,
            authorizer=authorizer,
            ssl_context=ssl_context,
            connect=connect,
            connect_messages=connect_messages,
            on_handler_error=on_handler_error,
            record=record,
            on_progress=on_progress,
        )
        if self.is_blocking:
            opened = _Blocking(opened)
        return cast("AbstractAsyncContextManager[pusher_anyio.Client]", opened)

    def merge(self, streams: Iterable[Any], **more: Any) -> pusher_anyio.Merged[Any]:
        """Merge streams of clients of this kind."""
        if not self.is_blocking:
            return pusher_anyio.merge(streams, **more)
        merged = pusher_sync.merge([each._inner for each in streams], **more)
        return cast("pusher_anyio.Merged[Any]", _Blocking(merged))

    def connector(self, host: str, port: int, asked: list[tuple[str, int]]) -> Callable[..., Any]:
        """Return a `connect=` that records its arguments, and connects to `host` and `port`."""

        async def connect(wanted_host: str, wanted_port: int) -> anyio.abc.ByteStream:
            asked.append((wanted_host, wanted_port))
            return await anyio.connect_tcp(host, port)

        def connect_blocking(wanted_host: str, wanted_port: int) -> socket.socket:
            asked.append((wanted_host, wanted_port))
            return socket.create_connection((host, port))

        return connect_blocking if self.is_blocking else connect

    def failing_connector(self, error: BaseException) -> Callable[..., Any]:
        """Return a `connect=` that raises."""

        async def connect(host: str, port: int) -> anyio.abc.ByteStream:
            raise error

        def connect_blocking(host: str, port: int) -> socket.socket:
            raise error

        return connect_blocking if self.is_blocking else connect


def in_memory(server: RunningServer, *, blocking: bool) -> Callable[..., Any]:
    """Return a `connect_messages=` that leads to `server` alone, for a client on its event loop or in threads."""

    async def connect(host: str, port: int, tls: bool, target: str) -> Any:
        if (host, port) != (server.host, server.port):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return await server.connect_messages(host, port, tls, target)

    token = anyio.lowlevel.current_token()

    def connect_blocking(*args: Any) -> _MessagesFromThread:
        return _MessagesFromThread(anyio.from_thread.run(connect, *args, token=token), token)

    return connect_blocking if blocking else connect


class _MessagesFromThread:
    """A connection whose calls block, and run on the event loop of a server."""

    def __init__(self, inner: Any, token: Any) -> None:
        for name in ("send", "receive", "close"):
            call = partial(anyio.from_thread.run, getattr(inner, name), token=token)
            setattr(self, name, call)


Scenario = Callable[[Driver, RunningServer], Awaitable[None]]


class _Blocking:
    """An object of the blocking client as if it were asynchronous."""

    _WAITING = (
        *("wait_connected", "wait_disconnected", "wait_signed_in", "wait_subscribed", "wait_for"),
        *("run", "close", "flush"),
    )
    _HANDLES = (pusher_sync.Channel, pusher_sync.User, pusher_sync.Client, pusher_sync.Merged)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name in self._WAITING and not isinstance(self._inner, pusher_sync.Stream):
            return partial(_in_thread, value)
        if name == "next":
            return partial(_in_thread, value)
        if name in ("subscribe", "resubscribe", "channel", "events", "outbox"):
            return lambda *args, **kwargs: _wrapped(value(*args, **kwargs))
        return _wrapped(value)

    def __aiter__(self) -> _Blocking:
        return _Blocking(iter(self._inner))

    async def __anext__(self) -> Any:
        event = await _in_thread(next, self._inner, _END)
        if event is _END:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Any:
        return await _in_thread(self._inner.__enter__)

    async def __aexit__(self, *error: object) -> Any:
        # Leaving must not be abandoned, or the next test would find what it has not closed yet.
        with anyio.CancelScope(shield=True):
            return await _in_thread(self._inner.__exit__, *error)


_END = object()


def _wrapped(value: Any) -> Any:
    return (
        _Blocking(value) if isinstance(value, (*_Blocking._HANDLES, pusher_sync.Stream)) else value
    )


async def _in_thread(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call = partial(call, *args, **kwargs)
    return _wrapped(await anyio.to_thread.run_sync(call, abandon_on_cancel=True))


def play(
    scenario: Scenario,
    runner: str,
    server: Server | None = None,
    patience: float = PATIENCE * 2,
) -> None:
    """Run `scenario` with its own server; fail when a thread, a socket or a file is left behind."""

    async def main() -> None:
        with anyio.fail_after(patience):
            async with serve(server or Server()) as running:
                await scenario(Driver(runner, running), running)

    backend_options = {}
    if runner == "uvloop":
        uvloop = pytest.importorskip(
            "uvloop", reason="uvloop is not installed (there is none for Windows)"
        )
        uvloop.new_event_loop().close()  # the first one opens a pipe for signals, which stays
        backend_options = {"use_uvloop": True}
    with leaves_nothing():
        anyio.run(
            main,
            backend="trio" if runner.startswith("trio") else "asyncio",
            backend_options=backend_options,
        )


class leaves_nothing:
    """Fail when threads of the client, or files, are there at the end that were not at the beginning."""

    def __enter__(self) -> None:
        self._before = open_files()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            gc.collect()
            assert poll(lambda: not client_threads()), client_threads()
            assert poll(lambda: open_files() <= self._before), open_files() - self._before


def transports_of(client: Any) -> dict[int, Any]:
    """Return the byte streams of a client by number."""
    found: dict[int, Any] = client._driver.wires
    return found


def client_threads() -> list[threading.Thread]:
    """Return the threads of blocking clients that live."""
    return [each for each in threading.enumerate() if each.name.startswith("pusher")]


def open_files() -> frozenset[tuple[int, str]]:
    """Return the descriptors of this process and what they are, where the system tells."""
    found = set()
    if sys.platform == "linux":
        for each in os.listdir("/proc/self/fd"):
            try:
                found.add((int(each), os.readlink(f"/proc/self/fd/{each}")))
            except OSError:
                pass  # the descriptor of the listing itself
    return frozenset(found)


def poll(look: Callable[[], object], patience: float = PATIENCE) -> bool:
    """Wait until `look()` is true, which nothing notifies; return whether it was in time."""
    deadline = time.monotonic() + patience
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


async def until(look: Callable[[], object], patience: float = PATIENCE) -> None:
    """The same in a scenario; raises TimeoutError when it does not come."""
    with anyio.fail_after(patience):
        while not look():  # noqa: ASYNC110 - nothing notifies
            await anyio.sleep(0.002)


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Accept connections and say nothing, for the length of the block; gives the port."""

    async def hold(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for _ in stream:
                pass

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, hold)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass
class Clock:
    """Measures a block: `with Clock() as clock`, and then `clock.seconds`."""

    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began


def quickest(measure: Callable[[], float], limit: float) -> float:
    """Return the least of a few measurements, as the machine may have been busy with something else."""
    return next((taken for _ in range(3) if (taken := measure()) < limit), limit)


class Lookup:
    """Replaces the system's name lookup: knows `name.test`, and can fail or hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.failures = 0
        """How many of the next lookups fail."""
        self.answers = threading.Event()
        """Whether lookups come back at all."""
        self.answers.set()
        self._really = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **more: Any) -> list[Any]:
        # trio asks first whether it is a number, on its event loop: that cannot block.
        numeric = (more.get("flags") or (args[3] if len(args) > 3 else 0)) & socket.AI_NUMERICHOST
        if host not in ("name.test", b"name.test") or numeric:
            return self._really(host, port, *args, **more)
        self.asked += 1
        assert self.answers.wait(30)
        if self.failures:
            self.failures -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._really("127.0.0.1", port, *args, **more)
