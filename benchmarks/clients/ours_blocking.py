"""pusher_sync: a `for` loop over a stream, or handlers called by `run`."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks.clients.ours import context_of, options_of
from benchmarks.meter import AT_ONCE, Meter
from benchmarks.payloads import EVENT, KEY, ME, SHARED_SECRET
from pusher_proto import (
    AuthResponse,
    MemberAdded,
    MemberRemoved,
    Subscribed,
)
from pusher_sync import Client, open_pusher


def subscribe(meter: Meter, client: Client) -> None:
    """Subscribe to all channels of the workload."""
    for name in meter.channels:
        if meter.config["encrypted"]:
            client.subscribe(name, auth=AuthResponse(auth=f"{KEY}:0", shared_secret=SHARED_SECRET))
        elif meter.kind == "roster":
            client.subscribe(name, auth=AuthResponse(auth=f"{KEY}:0", channel_data=ME))
        else:
            client.subscribe(name)


def main(meter: Meter) -> None:
    """Run one workload."""
    options, context = options_of(meter), context_of(meter)
    with ExitStack() as stack:
        if meter.kind == "connect":
            meter.begin()
            for first in range(0, meter.connections, AT_ONCE):
                opened = [
                    stack.enter_context(open_pusher(options))
                    for _ in range(first, min(first + AT_ONCE, meter.connections))
                ]
                for client in opened:
                    client.wait_connected(timeout=60)
            meter.connected()
        clients = []
        for _ in range(meter.connections):
            client = stack.enter_context(open_pusher(options, ssl_context=context))
            client.wait_connected(timeout=10)
            clients.append(client)
            if meter.kind == "idle" and len(clients) == 1:
                subscribe(meter, client)
                time.sleep(0.5)
                meter.before_idling()
        client = clients[0]
        meter.begin()
        channel = client.channel(meter.channels[0])
        if meter.kind == "subscribe":
            client.bind(Subscribed, lambda _: meter.subscribed())
        elif meter.kind == "roster":
            channel.bind(Subscribed, lambda _: meter.roster(len(channel.members)))
            for kind in (MemberAdded, MemberRemoved):
                channel.bind(kind, lambda _: meter.member())
        elif meter.mode == "handler":
            for name in meter.channels:
                client.channel(name).bind(EVENT, lambda event: meter.on_event(event.data))
        elif meter.mode == "handler-untouched":
            for name in meter.channels:
                client.channel(name).bind(EVENT, lambda event: meter.on_event(event.raw_data))
        stream = None
        if meter.mode == "iterate" and meter.kind in ("stream", "pace"):
            stream = (channel if len(meter.channels) == 1 else client).events(EVENT)
        for each in clients:
            subscribe(meter, each)
        if meter.kind == "idle":
            time.sleep(1)
            meter.idling()
            time.sleep(3)
            meter.idled()
        meter.ready()
        if stream is not None:
            for event in stream:
                meter.on_event(event.data)
        client.run()


if __name__ == "__main__":
    main(Meter())
