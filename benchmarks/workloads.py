"""The workloads, and the clients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["CLIENTS", "WORKLOADS", "Client", "Workload"]


@dataclass(frozen=True)
class Workload:
    """One kind of work for a client, and its size."""

    name: str
    what: str
    kind: str = "stream"
    size: int = 100
    channels: int = 1
    connections: int = 1
    scope: str = "public"
    tls: bool = False
    events: int = 100_000
    """Events for the fastest clients. Slower ones get fewer, so that all are measured for about the same time."""
    unit: str = "µs CPU per event"

    @property
    def encrypted(self) -> bool:
        """Whether events are encrypted."""
        return self.scope == "private-encrypted"

    def config(self, client: Client, *, quick: bool) -> dict[str, Any]:
        """Return the configuration of the processes."""
        events = self.events
        if self.kind in ("stream", "roster"):
            least = 100 * self.connections
            events = max(least, int(events / client.slowness / (100 if quick else 1)))
            events -= events % (2 * self.connections)
        elif quick:
            events = min(events, 100)
        connections = (
            min(self.connections, 50) if quick and self.kind == "connect" else self.connections
        )
        channels = min(self.channels, 100) if quick else self.channels
        warm = {"stream": max(channels, 2000 // min(client.slowness, 10)), "pace": 200}.get(
            self.kind, 1
        )
        return {
            "kind": self.kind,
            "mode": client.mode,
            "size": self.size,
            "channels": channels,
            "scope": self.scope,
            "connections": connections,
            "encrypted": self.encrypted,
            "warm": warm - warm % self.connections if self.kind == "stream" else warm,
            "events": events,
            "block": max(channels, 1000 if self.size < 10_000 else 200),
            "members": 500 if quick else 10_000,
            "activity": 1 if self.kind == "idle" else 120,
        }


def _stream(name: str, what: str, size: int, events: int, **more: Any) -> Workload:
    return Workload(name, what, size=size, events=events, **more)


WORKLOADS = {
    each.name: each
    for each in (
        _stream("100B", "100 B of data, one channel", 100, 100_000),
        _stream("1KB", "1 KB of data, one channel", 1000, 30_000),
        _stream("10KB", "10 KB of data, one channel", 10_000, 5_000),
        _stream("1000-channels", "100 B, a thousand channels in turn", 100, 100_000, channels=1000),
        _stream(
            "10000-channels", "100 B, ten thousand channels in turn", 100, 100_000, channels=10_000
        ),
        _stream(
            "100-connections", "100 B, a hundred connections at once", 100, 100_000, connections=100
        ),
        _stream("encrypted", "100 B, an encrypted channel", 100, 60_000, scope="private-encrypted"),
        _stream("tls", "100 B, over TLS", 100, 100_000, tls=True),
        _stream("tls-10KB", "10 KB, over TLS", 10_000, 6_000, tls=True),
        Workload(
            "latency",
            "one event a millisecond",
            "pace",
            events=2000,
            unit="µs from write to handler, p50",
        ),
        Workload(
            "subscribe",
            "subscribing to a thousand channels",
            "subscribe",
            channels=1000,
            unit="ms CPU in all",
        ),
        Workload(
            "idle", "idle connections, pinged each second", "idle", connections=101, unit="KB each"
        ),
        Workload(
            "idle-tls",
            "idle connections over TLS, pinged each second",
            "idle",
            connections=101,
            tls=True,
            unit="KB each",
        ),
        Workload(
            "1000-clients-tls",
            "opening a thousand clients over TLS in one process",
            "connect",
            connections=1000,
            tls=True,
            unit="s CPU in all",
        ),
        Workload(
            "roster",
            "a presence roster of 10 000",
            "roster",
            scope="presence",
            events=4000,
            unit="ms CPU for the roster",
        ),
        Workload(
            "reconnect",
            "back after a drop: a thousand private channels, one auth endpoint",
            "reconnect",
            channels=1000,
            scope="private",
            unit="ms to all subscribed",
        ),
        Workload(
            "server",
            "five hundred connections on the development server",
            "server",
            connections=500,
            unit="ms from a publish to the last connection, p50",
        ),
    )
}


@dataclass(frozen=True)
class Client:
    """One library, or one way of using it."""

    name: str
    module: str
    mode: str
    needs: tuple[str, ...] = ()
    """The packages that must be importable; "node" for Node with pusher-js."""
    slowness: int = 1
    kinds: tuple[str, ...] = ("stream", "pace", "subscribe", "idle")
    only: tuple[str, ...] = ()
    """The workloads that it runs; empty for all of its kinds."""
    without: tuple[str, ...] = ()
    """Workloads that it does not run."""
    encrypted: bool = True
    tls: bool = True
    ours: bool = False

    def does(self, workload: Workload) -> bool:
        """Return whether the client runs this workload."""
        if workload.name in self.without or (self.only and workload.name not in self.only):
            return False
        if workload.kind not in self.kinds:
            return False
        return (self.encrypted or not workload.encrypted) and (self.tls or not workload.tls)


_ALL = ("stream", "pace", "subscribe", "idle", "connect", "roster", "reconnect")
_DATA = ("100B", "1KB", "10KB", "tls", "tls-10KB", "encrypted", "1000-channels", "10000-channels")
_async = Client("", "ours_async", "", ours=True, kinds=_ALL)
_hand = Client("", "by_hand", "", slowness=2)

CLIENTS = {
    each.name: each
    for each in (
        replace(_async, name="ours", mode="iterate"),
        replace(_async, name="ours-handler", mode="handler"),
        replace(_async, name="ours-untouched", mode="untouched", kinds=("stream",), only=_DATA),
        replace(_async, name="ours-typed", mode="typed", kinds=("stream",), only=_DATA),
        replace(
            _async, name="ours-msgspec", mode="msgspec", kinds=("stream",), only=("1KB", "10KB")
        ),
        replace(_async, name="ours-uvloop", mode="iterate-uvloop", needs=("uvloop",)),
        replace(_async, name="ours-trio", mode="iterate-trio", needs=("trio",)),
        Client(
            "ours-blocking",
            "ours_blocking",
            "iterate",
            ours=True,
            kinds=_ALL,
            without=("100-connections",),  # it would need a hundred threads
        ),
        Client(
            "ours-blocking-handler",
            "ours_blocking",
            "handler",
            ours=True,
            kinds=("stream", "pace"),
            without=("100-connections",),
        ),
        Client(
            "ours-blocking-untouched",
            "ours_blocking",
            "handler-untouched",
            ours=True,
            kinds=("stream",),
            only=_DATA,
        ),
        Client(
            "ours-pysher",
            "others_blocking",
            "ours-pysher",
            ours=True,
            kinds=("stream",),
            only=("100B", "1KB", "10KB"),
        ),
        replace(_hand, name="picows+orjson", mode="picows", needs=("picows", "orjson"), slowness=1),
        replace(_hand, name="aiohttp+orjson", mode="aiohttp", needs=("aiohttp", "orjson")),
        replace(_hand, name="websockets+orjson", mode="websockets", needs=("websockets", "orjson")),
        replace(
            _hand,
            name="websockets-blocking+orjson",
            mode="websockets-blocking",
            needs=("websockets", "orjson"),
            only=("100B", "1KB", "10KB", "latency"),
        ),
        Client("pusher-js", "pusher_js.cjs", "", ("node",), slowness=3, kinds=(*_ALL, "server")),
        Client(
            "asyncpusher",
            "others_async",
            "asyncpusher",
            ("asyncpusher",),
            slowness=4,
            encrypted=False,
        ),
        Client(
            "sockudo-python",
            "others_async",
            "sockudo",
            ("sockudo_python",),
            slowness=5,
            kinds=_ALL,
            without=("reconnect",),  # it does not reconnect after the drop
        ),
        Client("pysher", "others_blocking", "pysher", ("pysher",), slowness=40, encrypted=False),
    )
}
