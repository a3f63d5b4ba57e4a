"""Pysher: handlers called by its own thread, data as text that each handler decodes."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from benchmarks.meter import Meter
from benchmarks.payloads import EVENT, KEY


def connect(meter: Meter) -> Any:
    """Connect one."""
    import pysher

    pusher = pysher.Pusher(
        KEY, custom_host=meter.host, port=meter.port, secure=meter.tls, log_level=logging.ERROR
    )
    connected = threading.Event()
    pusher.connection.bind("pusher:connection_established", lambda _: connected.set())
    pusher.connect()
    connected.wait(10)
    return pusher


def main(meter: Meter) -> None:
    """Run one workload."""
    pushers = [connect(meter)]
    if meter.kind == "idle":
        meter.before_idling()
    pushers += [connect(meter) for _ in range(meter.connections - 1)]
    meter.begin()
    for pusher in pushers:
        for name in meter.channels:
            channel = pusher.subscribe(name)
            channel.bind(EVENT, lambda text: meter.on_event(json.loads(text)))
            if meter.kind == "subscribe":
                channel.bind("pusher_internal:subscription_succeeded", lambda _: meter.subscribed())
    if meter.kind == "idle":
        time.sleep(1)
        meter.idling()
        time.sleep(3)
        meter.idled()
    meter.ready()
    time.sleep(600)


if __name__ == "__main__":
    main(Meter())
