"""`pusher-proto demo`: a server and two clients in one process, and a connection that breaks and comes back."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from pusher_anyio import Client, open_pusher
from pusher_anyio.testing import RunningServer, serve
from pusher_proto import (
    ChannelEvent,
    ConnectionEstablished,
    ConnectionLost,
    Event,
    Options,
    OwnKey,
    Subscribed,
)
from pusher_proto.testing import DEMO_APP, Server

from ._arguments import Arguments, Exit
from ._output import as_text, describe, give_up_stdout, print_line, print_stderr
from ._signals import until_signal
from ._terminal import painter

__all__ = ["run"]

PUBLIC, PRIVATE = "news", "private-orders"
PRESENCE, ENCRYPTED = "presence-room", "private-encrypted-notes"
CHANNELS = (PUBLIC, PRIVATE, PRESENCE, ENCRYPTED)
_COLOURS = {"server": "yellow", "client": "cyan", "event": "bold green"}
_NEXT = (
    "Next: pusher-proto listen --cluster CLUSTER --key KEY CHANNEL  (your app)",
    "      pusher-proto serve --port 6001                           (a server)",
)
_PAUSE = 0.4  # seconds, so that a person can follow
_LIMIT = 9.0  # seconds; within one machine the demonstration never takes so long


def run(arguments: Arguments) -> int:
    """Run the demonstration, and return the exit status."""
    try:
        return anyio.run(_keep if arguments.keep else _show)
    except BrokenPipeError:
        give_up_stdout()
        return Exit.DONE
    except OSError as error:  # a TimeoutError is one too
        print_stderr(f"the demo got stuck: {error.strerror or type(error).__name__}")
        return Exit.TROUBLE


class _Screen:
    """Prints events as they arrive, and waits for the next one."""

    def __init__(self) -> None:
        self._back: list[str] = []
        self._began = time.monotonic()
        self._events = 0
        self._printed = anyio.Event()
        self._paint = painter()

    def say(self, who: str, text: str) -> None:
        """Print a line with the time."""
        took = self._paint(f"{time.monotonic() - self._began:4.1f} s", "dim")
        print_line(f"{took}  {self._paint(f'{who:<7}', _COLOURS[who])} {text}")

    def show(self, event: Event) -> None:
        """Print an event of the client. This handler is bound to all events."""
        if isinstance(event, ChannelEvent):
            self.say("event", as_text(event))
            self._events += 1
            self._printed.set()
            self._printed = anyio.Event()
        elif isinstance(event, Subscribed) and event.offline_for is not None:
            self._back.append(event.channel)
            if len(self._back) == len(CHANNELS):
                self.say("client", f"subscribed to all {len(CHANNELS)} channels again")
        elif isinstance(event, ConnectionLost):
            self.say("client", f"no connection; next attempt in {event.retry_in or 0.0:.1f} s")
        elif isinstance(event, ConnectionEstablished | Subscribed):
            self.say("client", describe(event, "") or "")

    async def next_event(self) -> None:
        """Wait until one more event was printed; call it before anything can print one."""
        before = self._events
        while self._events == before:
            await self._printed.wait()


async def _show(pause: float = _PAUSE) -> int:
    """Run the demonstration once."""
    with anyio.fail_after(_LIMIT):
        async with _opened() as (running, client, other):
            await _play(running, client, other, pause)
    for line in _NEXT:
        print_line(line)
    return Exit.DONE


async def _keep(pause: float = _PAUSE) -> int:
    """Run the demonstration, then publish until a signal."""

    async def play_and_publish() -> int:
        await _play(running, client, other, pause)
        print_line("In another terminal, until Ctrl+C here:")
        print_line(
            f"  pusher-proto listen --host {running.host} --port {running.port} --no-tls "
            f"--key {DEMO_APP.key} --secret {DEMO_APP.secret} {PUBLIC} {PRIVATE}"
        )
        while True:
            # Nothing waits for these to arrive: if the machine sleeps, the client reconnects afterwards.
            await anyio.sleep(4 * pause)
            running.publish(PUBLIC, "headline", {"text": "Still here"})

    async with _opened() as (running, client, other):
        return await until_signal(play_and_publish)


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[RunningServer, Client, Client]]:
    """Open a server and two clients of it."""
    # The first client's handler prints: if stdout is closed, it raises, which ends the demonstration.
    async with (
        serve(Server(rng=random.Random())) as running,  # noqa: S311 - no secrets
        open_pusher(_options(running, "ada"), on_handler_error="raise") as client,
        open_pusher(_options(running, "bob")) as other,
    ):
        yield running, client, other


def _options(running: RunningServer, name: str) -> Options:
    """Return options for a member with this name."""
    member = {"user_id": name, "user_info": {"name": name.title()}}
    key = DEMO_APP.encryption_master_key
    return running.options(
        auth=OwnKey(DEMO_APP.key, DEMO_APP.secret, member=member, master_key=key)
    )


async def _play(running: RunningServer, client: Client, other: Client, pause: float) -> None:
    screen = _Screen()
    print_line("A server and two clients of it, in this process.")
    screen.say("server", f"listens on ws://{running.host}:{running.port}, app key {DEMO_APP.key}")
    client.bind(None, screen.show)
    for name in CHANNELS:
        await client.subscribe(name).wait_subscribed()
    note = await other.subscribe(PRIVATE).wait_subscribed()
    await other.subscribe(PRESENCE).wait_subscribed()
    room = client.channel(PRESENCE)
    await running.wait_until(lambda _server: len(room.members) == 2)
    screen.say("client", f"{' and '.join(room.members)} are in {PRESENCE}")
    await _publish(running, screen, pause)

    note.trigger("client-note", {"text": "From the other client"})
    await screen.next_event()
    await anyio.sleep(pause)

    await _break(running, client, screen, pause)
    await _publish(running, screen, pause)
    count = client.stats.connections
    screen.say("client", f"had {count} connections and kept its channels across them")


async def _publish(running: RunningServer, screen: _Screen, pause: float) -> None:
    """Publish to a channel of each kind that carries messages here."""
    for name, event, data in (
        (PUBLIC, "headline", {"text": "Anyone may read this"}),
        (PRIVATE, "created", {"order": 42, "total": "19.90"}),
        (ENCRYPTED, "note", {"text": "Sealed for readers"}),
    ):
        running.publish(name, event, data)
        await screen.next_event()
        await anyio.sleep(pause)


async def _break(running: RunningServer, client: Client, screen: _Screen, pause: float) -> None:
    """Break the client's connection as a crash would, and wait until all channels are back."""
    screen.say("server", "breaks the client's connection")
    numbers = {socket_id: number for number, socket_id in running.connections.items()}
    assert client.socket_id is not None
    running.drop(connection=numbers[client.socket_id])
    running.publish(PUBLIC, "headline", {"text": "Missed by everyone"})
    screen.say("server", f"publishes to {PUBLIC} while no client is connected")
    # In the view of the server: the client may not have noticed the loss yet.
    await running.wait_until(
        lambda server: (
            all(server.subscriptions(name) for name in CHANNELS)
            and len(server.subscriptions(PRIVATE)) == len(server.subscriptions(PRESENCE)) == 2
        )
    )
    await anyio.sleep(pause)
