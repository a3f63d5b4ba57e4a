"""A hundred thousand events against a consumer that does not read: what is kept, and what it costs."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest

from drivers.runners import poll
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.server._frames import encode

from .rows import written_for

EVENTS = 100_000
KILOBYTE = 1000
BUFFER = 1000
LIMIT = 20 * 1024 * 1024
PINGS = 3
BATCH = 500

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="resident memory is read from /proc/self/statm"
)

SCRIPT = """
    import json, resource, sys, time
    import anyio
    from pusher_anyio import open_pusher
    from pusher_proto import Options, StreamOverflow

    EVENTS, PINGS = {events}, {pings}
    highest = 0

    def resident():
        global highest
        with open("/proc/self/statm") as statm:
            now = int(statm.read().split()[1]) * resource.getpagesize()
        highest = max(highest, now)
        return now

    async def until(look):
        while not look():
            resident()
            await anyio.sleep(0.005)

    async def main():
        options = Options.from_host(
            "127.0.0.1", port={port}, tls=False, key="demo", activity_timeout=0.1, pong_timeout=60.0,
            receive_buffer=8 * 1024 * 1024,
        )
        async with open_pusher(options) as client:
            room = await client.subscribe("room").wait_subscribed(10)
            stream = room.events("n", overflow={overflow!r})
            number = next(iter(client._driver.wires))
            before = resident()
            print("ready", flush=True)
            if {overflow!r} == "wait":
                await until(lambda: not client._session.wants_data(number))
                sent = client.stats.bytes_sent
                await until(lambda: client.stats.bytes_sent > sent + PINGS * 40)
            else:
                await until(lambda: client.stats.messages_received > EVENTS)
            read, raised = [], 0
            try:
                while {overflow!r} == "raise" or len(read) + stream.dropped < EVENTS:
                    event = await anext(stream)
                    read.append(json.loads(event.wire_data)["n"])
                    if len(read) % 1000 == 0:
                        resident()
            except StreamOverflow:
                raised = 1
            print(json.dumps(dict(
                first=read[0], read=len(read), in_order=read == [*range(read[0], read[0] + len(read))],
                dropped=stream.dropped, total=client.stats.dropped, raised=raised, grown=highest - before,
            )), flush=True)

    anyio.run(main, backend={backend!r})
"""


def frames(first: int) -> bytes:
    """Return a batch of numbered events of a kilobyte each, as a server frames them."""
    framed = []
    for n in range(first, first + BATCH):
        data = encode(
            "n", channel="room", data=json.dumps({"n": n, "pad": "x" * KILOBYTE})
        ).encode()
        framed.append(struct.pack("!BBH", 0x81, 126, len(data)) + data)
    return b"".join(framed)


def flood(server: ServerInThread) -> None:
    """Send all events, no faster than they are taken."""
    (peer,) = server._running._peers.values()
    for first in range(0, EVENTS, BATCH):
        batch = frames(first)
        server.do(lambda *_, batch=batch: peer.write(batch))
        assert poll(lambda: peer.unsent < 1024 * 1024 or peer.end is not None)


@pytest.mark.parametrize(
    ("overflow", "backend"),
    [
        *product(["wait", "drop_oldest", "drop_newest", "raise"], ["asyncio"]),
        ("wait", "trio"),
        ("wait", "blocking"),
    ],
)
def test_R5_the_consumer_is_slow(overflow: str, backend: str) -> None:
    """Memory stays small: reading stops and nothing is lost, or events beyond the buffer are dropped and counted."""
    with serve_in_thread() as server, ThreadPoolExecutor(1) as thread:
        script = textwrap.dedent(SCRIPT).format(
            events=EVENTS, pings=PINGS, port=server.port, overflow=overflow, backend=backend
        )
        script = written_for(backend, script)
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            flooding = thread.submit(flood, server)
            found: dict[str, Any] = json.loads(process.stdout.readline() or "{}")
            flooding.result()
        pings = [each for each in server.received if each.event == "pusher:ping"]
    grown = found.pop("grown")
    kept, dropped = (EVENTS, 0) if overflow == "wait" else (BUFFER, EVENTS - BUFFER)
    assert found == {
        "first": dropped if overflow == "drop_oldest" else 0,
        "read": kept,
        "in_order": True,
        "dropped": dropped,
        "total": dropped,
        "raised": overflow == "raise",
    }
    assert grown <= LIMIT
    assert overflow != "wait" or len(pings) >= PINGS
