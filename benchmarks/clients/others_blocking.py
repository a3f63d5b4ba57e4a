"""Pysher, and `pusher_sync.pysher`, which has its names: callbacks in a thread of the library, with data as text.

With Pysher the callbacks decode the data. With `pusher_sync.pysher` they do not, for the comparison with
`ours-blocking-untouched`.
"""

from __future__ import annotations

import importlib
import json
import logging
import threading
import time
from typing import Any

from benchmarks.meter import Meter
from benchmarks.payloads import EVENT, KEY


def connect(meter: Meter) -> Any:
    """Open one connection."""
    module: Any = importlib.import_module(
        "pysher" if meter.mode == "pysher" else "pusher_sync.pysher"
    )
    pusher = module.Pusher(
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
            if meter.mode == "pysher":
                channel.bind(EVENT, lambda text: meter.on_event(json.loads(text)))
            else:
                channel.bind(EVENT, lambda text: meter.on_event(text))
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
