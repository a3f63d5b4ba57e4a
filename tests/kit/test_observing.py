"""docs/observing.md: the loggers and counts that it names, the hook in both clients, and the metrics."""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

import pusher_sync
from pusher_anyio import open_pusher
from pusher_anyio.testing import ServerInThread
from pusher_proto import ChannelEvent, Event, Stats

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_names_each_logger() -> None:
    made = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"= (?:logging\.getL|l)ogger\(\"([\w.]+)\"\)", path.read_text())
    }
    named = {f"pusher_proto.{name.removeprefix('pusher_proto.')}" for name in made}
    assert set(re.findall(r"^\| `(pusher_proto\.\w+)`", PAGE, re.MULTILINE)) == named


def test_the_page_names_each_count() -> None:
    table = PAGE.partition("## The counts")[2]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert sorted(named) == sorted(Stats.__struct_fields__)


@pytest.mark.messages_logged
def test_the_log_is_switched_on_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[Any] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: configured.append(options))
    logger = logging.getLogger("pusher_proto")
    before = logger.level
    logger.setLevel(logging.NOTSET)
    try:
        exec(compile(BLOCKS[0], "observing.md", "exec"), {})
        assert configured == [{"level": logging.INFO}]
        assert logging.getLogger("pusher_proto.protocol").isEnabledFor(logging.DEBUG)
    finally:
        logger.setLevel(before)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_hook_that_is_shown_counts(pusher_server: ServerInThread) -> None:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[1], "observing.md", "exec"), names)
    async with anyio.create_task_group() as group:
        group.start_soon(names["main"], pusher_server.options(retry_base=0.01))
        await pusher_server.aio.expect_connections()
        pusher_server.drop(4200, "again")
        await pusher_server.aio.wait_until(lambda server: server.stats.websockets == 2)
        group.cancel_scope.cancel()
    assert names["lost"] == 1


def test_the_hook_of_the_blocking_client_needs_no_run(pusher_server: ServerInThread) -> None:
    seen: list[Event] = []
    with pusher_sync.open_pusher(pusher_server.options(), on_event=seen.append) as client:
        room = client.subscribe("room").wait_subscribed(timeout=10)
        pusher_server.publish("room", "price", 1)
        assert room.wait_for("price", timeout=10).data == 1
    assert [event.data for event in seen if isinstance(event, ChannelEvent)] == [1]
    assert type(seen[-1]).__name__ == "Closed"


def example() -> ModuleType:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
    path = ROOT / "examples" / "opentelemetry_metrics.py"
    spec = importlib.util.spec_from_file_location("opentelemetry_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_metrics_count_events_and_connections(pusher_server: ServerInThread) -> None:
    module = example()
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    measured = module.Metrics(provider.get_meter("test"))
    pusher_server.refuse_channel("refused", code=4009)
    options = pusher_server.options(retry_base=0.01)
    async with open_pusher(options, on_event=measured.on_event) as client:
        measured.observe(client)
        room = await client.subscribe("room").wait_subscribed(timeout=10)
        client.subscribe("refused")
        await client.wait_for("pusher:subscription_error", timeout=10)
        pusher_server.publish("room", "price", 1)
        await room.wait_for("price", timeout=10)
        pusher_server.drop(4200, "again")
        await client.wait_for("pusher:connection_established", timeout=10)
        values = _values(reader)
    provider.shutdown()
    assert values["pusher.connections"] == {(): 2}
    assert values["pusher.messages"] == {(): 1}
    assert values["pusher.subscriptions.failed"][()] >= 1
    assert values["pusher.connections.lost"] == {(("code", "4200"), ("will_retry", True)): 1}
    assert values["pusher.connected"] == {(): 1}
    assert values["pusher.bytes_received"][()] > 100
    assert values["pusher.offline"][()] > 0
    assert "pusher.violations" not in values


def _values(reader: Any) -> dict[str, dict[tuple[Any, ...], float]]:
    """Return the value of each metric by its labels; of a histogram the sum."""
    data = reader.get_metrics_data()
    return {
        metric.name: {
            tuple(sorted(point.attributes.items())): point.value
            if hasattr(point, "value")
            else point.sum
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
