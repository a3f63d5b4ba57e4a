"""The measurements in the process of a Python client: counts events, reads clocks, and prints one result.

The modules in `clients` connect each library to it. Every library calls the same handler, `Meter.on_event`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import anyio

from .payloads import FIRST_ID, channel_names

__all__ = ["AT_ONCE", "Meter", "measure"]

AT_ONCE = 50
"""How many of a thousand clients are opened at the same time. More would wait for the one core of the server."""


def used() -> float:
    """Return the seconds of CPU time of this process, with all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Meter:
    """The measurements of one process. `runner` makes its configuration from the workload and the client."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = json.loads(sys.argv[1])
        os.sched_setaffinity(0, self.config["cores"])
        self.kind: str = self.config["kind"]
        self.mode: str = self.config["mode"]
        self.host, self.port = (
            "localhost" if self.config["tls"] else "127.0.0.1",
            self.config["port"],
        )
        self.channels = channel_names(self.config["channels"], self.config["scope"])
        self.connections: int = self.config["connections"]
        self.tls = bool(self.config["tls"])
        self._warm, self._events = self.config["warm"], self.config["events"]
        self._next = self._warm
        self._count = 0
        self._latencies: list[int] = []
        self._cpu = self._began = 0.0
        self._orders = socket.create_connection(("127.0.0.1", self.config["orders"]))
        self._subscribed = 0
        self.on_event = self.timed if self.kind == "pace" else self.event

    # Events

    def ready(self) -> None:
        """Request the events of the warm-up, which is not measured. Call it when all handlers are bound."""
        if self.kind in ("stream", "pace"):
            self._orders.sendall(b"go %d\n" % self._warm)

    def event(self, data: Any) -> None:
        """Count one event with this data."""
        self._count += 1
        if self._count == self._next:
            self._mark(data)

    def timed(self, data: Any) -> None:
        """Count one event, and record its latency: its data has the time of sending."""
        self._latencies.append(time.monotonic_ns() - data["at"])
        self._count += 1
        if self._count == self._next:
            self._mark(data)

    def _mark(self, data: Any) -> None:
        self._check(data)
        if self._count == self._warm:
            self._next = self._warm + self._events
            self._latencies.clear()
            self._cpu, self._began = used(), time.monotonic()
            self._orders.sendall(b"go %d\n" % self._events)
            return
        cpu, wall = used() - self._cpu, time.monotonic() - self._began
        result: dict[str, Any] = {
            "cpu": cpu / self._events * 1e6,
            "wall": wall / self._events * 1e6,
        }
        if self._latencies:
            each = sorted(self._latencies)
            result |= {f"p{p}": each[len(each) * p // 100] / 1e3 for p in (50, 90, 99)}
        self.finish(**result)

    def _check(self, data: Any) -> None:
        """Check by the id in the last event that no event was lost or repeated."""
        if self.kind == "stream" and self.connections == len(self.channels) == 1:
            if isinstance(data, str | bytes):
                data = json.loads(data)
            first = data[0]
            found = first["id"] if isinstance(first, dict) else first.id
            expected = FIRST_ID + (self._count - 1) % self.config["block"]
            if found != expected:
                sys.exit(
                    f"event {self._count} is {found}, not {expected}: events were lost or repeated"
                )

    # Subscriptions

    def begin(self) -> None:
        """Start to measure subscribing, or opening many clients."""
        self._cpu, self._began = used(), time.monotonic()

    def subscribed(self) -> None:
        """Count one subscribed channel."""
        self._subscribed += 1
        if self._subscribed == len(self.channels) and self.kind == "subscribe":
            self.finish(cpu=(used() - self._cpu) * 1e3, wall=(time.monotonic() - self._began) * 1e3)

    # A roster

    def roster(self, members: int) -> None:
        """Record the time of the complete roster, and request members that join and leave."""
        if members != self.config["members"]:
            sys.exit(f"{members} members, not {self.config['members']}")
        self._roster = (used() - self._cpu) * 1e3, (time.monotonic() - self._began) * 1e3
        self._cpu, self._began = used(), time.monotonic()
        self._orders.sendall(b"go %d\n" % self._events)

    def member(self) -> None:
        """Count a member that joined or left."""
        self._count += 1
        if self._count == self._events:
            cpu = (used() - self._cpu) / self._events * 1e6
            self.finish(cpu=self._roster[0], wall=self._roster[1], change=cpu)

    # Connecting

    def connected(self) -> NoReturn:
        """Report the time and the peak memory. Call it when all clients are connected."""
        cpu, wall = used() - self._cpu, time.monotonic() - self._began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KB
        self.finish(cpu=cpu, wall=wall, peak=peak / 1024)

    # Idle connections

    def before_idling(self) -> None:
        """Record the memory with one connection. By then all modules that it uses are imported."""
        gc.collect()
        self._memory = resident()
        self._cpu = used()

    def idling(self) -> None:
        """Start to measure idle connections. Call it when all of them are open."""
        gc.collect()
        self._memory = resident() - self._memory
        self._opened = (used() - self._cpu) / (self.connections - 1)
        self._cpu, self._began = used(), time.monotonic()

    def idled(self) -> NoReturn:
        """Report the memory and CPU time of the idle connections."""
        each, seconds = self.connections - 1, time.monotonic() - self._began
        self.finish(
            memory=self._memory / each / 1024,
            cpu=(used() - self._cpu) / each / seconds * 1e6,
            opening=self._opened * 1e3,
        )

    def finish(self, **result: float) -> NoReturn:
        """Print the result, and end the process without cleaning up."""
        print(json.dumps(result), flush=True)
        self._orders.sendall(b"done\n")
        os._exit(0)


async def measure(
    meter: Meter, connect: Callable[[Meter], Awaitable[Any]], *, together: bool = True
) -> NoReturn:
    """Run one workload with an asynchronous library: `connect` returns an object with a method `subscribe(channels)`.

    Open all connections concurrently with `together`, else one after another.
    """
    connections = [await connect(meter)]
    if meter.kind == "idle":
        await connections[0].subscribe(meter.channels)
        await anyio.sleep(0.5)
        meter.before_idling()
    rest = meter.connections - 1
    if together:
        connections += await asyncio.gather(*(connect(meter) for _ in range(rest)))
    else:
        connections += [await connect(meter) for _ in range(rest)]
    meter.begin()
    for connection in connections[1 if meter.kind == "idle" else 0 :]:
        await connection.subscribe(meter.channels)
    if meter.kind == "idle":
        await anyio.sleep(1)
        meter.idling()
        await anyio.sleep(3)
        meter.idled()
    meter.ready()
    await anyio.sleep(600)
    sys.exit("the measurement did not end")
