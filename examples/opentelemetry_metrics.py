"""Metrics of a client with OpenTelemetry: counters for events, gauges for the current state.

    pip install opentelemetry-sdk
    python examples/opentelemetry_metrics.py --url wss://ws-eu.pusher.com/app/KEY prices

In your own program copy `Metrics`, and give its `on_event` to `open_pusher`. Here the numbers are printed every ten
seconds; any exporter of OpenTelemetry sends them to your dashboards.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import anyio
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

from pusher_anyio import (
    ChannelEvent,
    Client,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    DecryptionFailed,
    Event,
    EventsDropped,
    Options,
    ProtocolViolation,
    ServerError,
    SubscriptionFailed,
    open_pusher,
)

# Names of events and channels are not used as labels: some contain ids, and would make metrics without limit.
COUNTED: dict[type[Event], str] = {
    ChannelEvent: "pusher.messages",
    ConnectionEstablished: "pusher.connections",
    ServerError: "pusher.server_errors",
    SubscriptionFailed: "pusher.subscriptions.failed",
    DecryptionFailed: "pusher.messages.undecryptable",
    ProtocolViolation: "pusher.violations",
}


class Metrics:
    """Counts the events of one client. Give `on_event` to `open_pusher`, and the client to `observe`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counters = {kind: meter.create_counter(name) for kind, name in COUNTED.items()}
        self._lost = meter.create_counter("pusher.connections.lost")
        self._dropped = meter.create_counter("pusher.messages.dropped")
        self._offline = meter.create_histogram("pusher.offline", unit="s")

    def on_event(self, event: Event) -> None:
        """Count an event. Called with every event, so it must be quick."""
        for kind, counter in self._counters.items():
            if isinstance(event, kind):
                counter.add(1)
        match event:
            case ConnectionEstablished(offline_for=float(seconds)):
                self._offline.record(seconds)
            case ConnectionLost():
                self._lost.add(1, {"code": str(event.code), "will_retry": event.will_retry})
            case EventsDropped():
                self._dropped.add(event.count)

    def observe(self, client: Client) -> None:
        """Register gauges that read the client at each export."""

        def connected(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(int(client.state is ConnectionState.CONNECTED))

        def round_trip(_: CallbackOptions) -> Iterable[Observation]:
            if (seconds := client.stats.round_trip) is not None:
                yield Observation(seconds)

        def received(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(client.stats.bytes_received)

        self._meter.create_observable_gauge("pusher.connected", [connected])
        self._meter.create_observable_gauge("pusher.round_trip", [round_trip], unit="s")
        self._meter.create_observable_counter("pusher.bytes_received", [received], unit="By")


async def main(options: Options, channels: list[str]) -> None:
    measured = Metrics(metrics.get_meter("pusher"))
    async with open_pusher(options, on_event=measured.on_event) as client:
        measured.observe(client)
        for name in channels:
            client.subscribe(name).bind(None, lambda event: print(event))
        await client.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("channels", nargs="+")
    given = parser.parse_args()
    reader = PeriodicExportingMetricReader(ConsoleMetricExporter(), export_interval_millis=10_000)
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    anyio.run(main, Options.from_url(given.url), given.channels)
