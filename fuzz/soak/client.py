"""One client process of the soak: `python -m fuzz.soak.client SETUP`.

Reads commands from standard input and writes answers to standard output, one line of JSON each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import trio

import pusher_anyio
import pusher_sync
from fuzz.soak.application import FIXED, REFUSED, WRONG, Application, Logs, Setup
from fuzz.soak.growth import sample
from fuzz.soak.watch import EVENT, Watch
from pusher_proto import AuthRequest, AuthResponse, ChannelEvent, ConnectionEstablished, PusherError

TICK = 0.1
_LONG = 1e9


class Process:
    """The process of one application: its commands, its reports, and its planted leak."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.watch = Watch({REFUSED, *WRONG})
        self.logs = Logs(self.watch)
        self.orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.kept: list[Any] = []
        self.spawn: Callable[[], None] = lambda: None
        """Starts a task or thread that never ends."""
        self.app: Application | None = None
        logging.getLogger().addHandler(self.logs)
        logging.getLogger().setLevel(logging.INFO)
        sys.unraisablehook = partial(self._unexpected, "unraisable")
        threading.excepthook = partial(self._unexpected, "thread")
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def _unexpected(self, kind: str, what: Any) -> None:
        self.watch.breaches.append(f"{kind}: {what.exc_value!r}")

    def _read(self) -> None:
        for line in sys.stdin:
            self.orders.put(json.loads(line))
        self.orders.put({"do": "end"})

    def say(self, **fields: Any) -> None:
        """Write one line of JSON."""
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    def opened(self, client: Any) -> Application:
        """Start the application on a client."""
        self.app = Application(self.setup, client, self.watch)
        self.app.start()
        return self.app

    def on_event(self, event: Any) -> None:
        """Watch every event; leak at each connection if a leak is planted."""
        self.watch.on_event(event)
        if self.setup.plant and isinstance(event, ConnectionEstablished):
            # Three at once, so that few connections exceed the slack.
            for _ in range(3):
                self._leak()

    def _leak(self) -> None:
        assert self.app is not None
        match self.setup.plant:
            case "file":
                self.kept.append(open("/dev/null", "rb"))  # noqa: SIM115 - this is the planted leak
            case "timer":
                timers = self.app.client._session._timers
                timers.put(("planted", len(self.kept)), time.monotonic() + _LONG)
                self.kept.append(None)
            case _:
                self.spawn()

    def step(self, tasks: Callable[[], int]) -> bool:
        """Carry out commands and let the application act. Return whether to continue."""
        assert self.app is not None
        while not self.orders.empty():
            order = self.orders.get()
            match order["do"]:
                case "calm":
                    self.app.calm = order["calm"]
                    self.setup.mood.update(order["mood"])
                case "report":
                    self.say(
                        **self.app.report(),
                        logs=dict(self.logs.counts),
                        log_errors=self.logs.errors[-5:],
                    )
                    self.logs.errors.clear()
                case "sample":
                    self.say(**sample(self.app.client, tasks()))
                case "end":
                    return False
        self.app.tick(time.monotonic())
        return True


# Asynchronous clients


async def asynchronous(process: Process) -> None:
    """Run the client on the current event loop, asyncio or trio."""
    runner = process.setup.runner

    async def authorize(request: AuthRequest) -> AuthResponse:
        assert process.app is not None
        await anyio.sleep(process.app.hangs())
        return process.app.answer(request)

    def authorize_in_thread(request: AuthRequest) -> AuthResponse:
        assert process.app is not None
        time.sleep(process.app.hangs())
        return process.app.answer(request)

    def tasks() -> int:
        if runner == "trio":
            return trio.lowlevel.current_statistics().tasks_living
        return len(asyncio.all_tasks())

    if runner == "asyncio":
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: process.watch.breaches.append(f"event loop: {context}")
        )
    opened = pusher_anyio.open_pusher(
        process.setup.options(),
        ssl_context=process.setup.ssl_context(),
        authorizer=authorize_in_thread if runner == "trio" else authorize,
        on_event=process.on_event,
    )
    before = tasks()
    async with opened as client:
        app = process.opened(client)
        async with anyio.create_task_group() as group:

            def never_ends() -> None:
                group.start_soon(anyio.sleep, _LONG)

            process.spawn = never_ends
            group.start_soon(_stream, process, client)
            group.start_soon(_waits, process, client)
            group.start_soon(_passing, app)
            while process.step(tasks):  # noqa: ASYNC110 - orders come from a pipe, and time passes
                await anyio.sleep(TICK)
            group.cancel_scope.cancel()
        began = time.monotonic()
    seconds = time.monotonic() - began
    # The last tasks of the client end.
    await anyio.sleep(0.3)
    process.say(seconds=seconds, tasks=max(0, tasks() - before), threads=_threads())


async def _stream(process: Process, client: pusher_anyio.Client) -> None:
    async with client.events(EVENT) as stream:
        async for _ in stream:
            process.watch.heard["stream"] += 1


async def _waits(process: Process, client: pusher_anyio.Client) -> None:
    """Wait for one event after another, as a loop of waits does."""
    channel = client.channel(FIXED[0])
    while True:
        try:
            await channel.wait_for(EVENT, timeout=5.0)
            process.watch.counts["waits that returned"] += 1
        except PusherError:
            process.watch.counts["waits that raised"] += 1
            await anyio.sleep(0.5)


async def _passing(app: Application) -> None:
    """Open and leave streams, and cancel waits."""
    while True:
        with anyio.move_on_after(0.5), suppress(PusherError):
            async with app.client.channel(FIXED[1]).events(ChannelEvent) as stream:
                async for _ in stream:
                    break
        with anyio.move_on_after(0.2), suppress(PusherError):
            await app.client.channel(FIXED[2]).wait_for(EVENT, timeout=1.0)
        await anyio.sleep(1.0)


# The blocking client


def blocking(process: Process) -> None:
    """Run the blocking client: handlers in the thread of `run`, a stream and waits in threads."""

    def authorize(request: AuthRequest) -> AuthResponse:
        assert process.app is not None
        time.sleep(process.app.hangs())
        return process.app.answer(request)

    def never_ends() -> None:
        threading.Thread(target=time.sleep, args=(10_000,), daemon=True).start()

    process.spawn = never_ends
    before = threading.active_count()
    client = pusher_sync.open_pusher(
        process.setup.options(),
        ssl_context=process.setup.ssl_context(),
        authorizer=authorize,
        on_event=process.on_event,
    )
    # Open it before the application subscribes: its thread may start after the first event.
    stream = client.events(EVENT)
    app = process.opened(client)
    threads = [
        threading.Thread(target=each, args=(process, of), name=each.__name__, daemon=True)
        for each, of in (
            (_run, client),
            (_blocking_stream, stream),
            (_blocking_waits, client),
        )
    ]
    for thread in threads:
        thread.start()
    while process.step(lambda: 0):
        time.sleep(TICK)
    assert app.client is client
    began = time.monotonic()
    client.close()
    for thread in threads:
        thread.join(5)
    seconds = time.monotonic() - began
    time.sleep(0.3)
    process.say(seconds=seconds, tasks=threading.active_count() - before, threads=_threads())


def _run(process: Process, client: pusher_sync.Client) -> None:
    client.run()


def _blocking_stream(process: Process, stream: pusher_sync.Stream[Any]) -> None:
    with suppress(PusherError), stream:
        for _ in stream:
            process.watch.heard["stream"] += 1


def _blocking_waits(process: Process, client: pusher_sync.Client) -> None:
    channel = client.channel(FIXED[0])
    while not client.closed:
        try:
            channel.wait_for(EVENT, timeout=5.0)
            process.watch.counts["waits that returned"] += 1
        except PusherError:
            process.watch.counts["waits that raised"] += 1
            time.sleep(0.2)


def _threads() -> int:
    """Return the number of live threads of clients, without daemon threads of calls that hang."""
    names = [each.name for each in threading.enumerate()]
    return sum(name.startswith("pusher") and not name.startswith("pusher-call") for name in names)


def main() -> None:
    """Run the client that the argument describes."""
    setup = Setup(**json.loads(sys.argv[1]))
    process = Process(setup)
    if setup.runner == "blocking":
        blocking(process)
    else:
        anyio.run(asynchronous, process, backend=setup.runner)


if __name__ == "__main__":
    main()
