"""The relay and the workers on a real Redis: whatever is killed or restarted, every event is handled."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from redis import Redis

from example_programs.applications import Quiet, serving
from example_programs.processes import Program, running, url_of
from pusher_anyio.testing import ServerInThread, serve_in_thread
from real_servers import redis
from real_servers.fixtures import require

CHANNEL = "orders"
EVENTS = 120
PATIENCE = 30.0


class Application:
    """An application that publishes numbered events and answers which were published since one of them."""

    def __init__(self, server: ServerInThread) -> None:
        self.log: list[dict[str, Any]] = []
        self._server = server

    def publish(self, data: Any = None) -> None:
        data = data or {"id": len(self.log) + 1}
        self.log.append({"event": "placed", "data": data})
        self._server.publish(CHANNEL, "placed", data)

    def since(self, query: str) -> list[dict[str, Any]]:
        given = parse_qs(query)
        assert given["channel"] == [CHANNEL]
        return self.log[int(given.get("after", ["0"])[0]) :]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer over HTTP until the end of the block; yield the URL."""
        application = self

        class History(Quiet):
            def do_GET(self) -> None:
                self.answer_json(application.since(urlsplit(self.path).query))

        with serving(History) as address:
            yield f"{address}/events"


class Plant:
    """An application, a server, a Redis, one relay and two workers, each of which may be killed."""

    idle = "2"
    """Seconds after which a worker claims what another one took: longer than ten events take on a busy machine."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = folder
        self.server = stack.enter_context(serve_in_thread())
        self.application = Application(self.server)
        self._history = stack.enter_context(self.application.serving())
        self.redis = redis.Redis(folder=folder)
        stack.callback(lambda: self.redis.stop())
        self.url = f"redis://127.0.0.1:{self.redis.port}"
        self.workers: list[Program] = []
        self.start_relay()
        for _ in range(2):
            self.start_worker()

    def start_relay(self) -> None:
        options = ("--url", url_of(self.server), "--channel", CHANNEL, "--history", self._history)
        self.relay = self._run("relay_redis.py", *options)
        self.server.wait_until(lambda machine: machine.subscriptions(CHANNEL), PATIENCE)

    def start_worker(self) -> None:
        name = f"worker-{len(self.workers)}"
        options = ("--name", name, "--idle", self.idle, "--seconds", "0.02")
        self.workers.append(self._run("worker_redis.py", *options))

    def _run(self, name: str, *options: str) -> Program:
        return self._stack.enter_context(running(name, "--redis", self.url, *options))

    def restart_redis(self) -> None:
        port = self.redis.port
        self.redis.stop()
        self.publish(10)
        self.redis = redis.Redis(port, self._folder)

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.application.publish()
            time.sleep(0.005)

    def handled(self) -> Counter[int]:
        """Return how often each event was handled, by its id."""
        lines = [line for worker in self.workers for line in tuple(worker.lines)]
        found = (re.fullmatch(r"handled orders placed: \{'id': (\d+)\}", line) for line in lines)
        return Counter(int(match[1]) for match in found if match)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (sorted(self.handled()), self.relay.lines[-3:])
            time.sleep(0.02)


@pytest.fixture
def redis_ready() -> None:
    """Skip the test where there is no Redis, or fail it if PUSHER_PROTO_REQUIRE_REDIS=1."""
    require("Redis", redis.prepare())


@pytest.fixture
def plant(redis_ready: None, tmp_path: Path) -> Iterator[Plant]:
    """Return a server, a relay and two workers with their own Redis."""
    with ExitStack() as stack:
        yield Plant(tmp_path, stack)


def kill_relay(plant: Plant) -> None:
    plant.relay.process.kill()
    plant.relay.end()
    plant.publish(20)
    plant.start_relay()


def kill_worker(plant: Plant) -> None:
    plant.wait(lambda: any("handled" in line for line in plant.workers[0].lines))
    plant.workers[0].process.kill()
    plant.workers[0].end()


def lose_connection(plant: Plant) -> None:
    plant.server.drop()
    plant.publish(20)


def restart_redis(plant: Plant) -> None:
    plant.restart_redis()
    plant.publish(10)


@pytest.mark.parametrize(
    "trouble", [kill_relay, kill_worker, lose_connection, restart_redis], ids=lambda it: it.__name__
)
def test_nothing_is_lost(plant: Plant, trouble: Callable[[Plant], None]) -> None:
    plant.publish(EVENTS // 2)
    trouble(plant)
    plant.publish(EVENTS // 2)
    every = range(1, len(plant.application.log) + 1)
    plant.wait(lambda: set(plant.handled()) == set(every))
    twice = sum(count > 1 for count in plant.handled().values())
    assert twice <= 10  # what a killed worker had taken, or what Redis took and could not confirm
    assert all(worker.lines for worker in plant.workers)


@pytest.mark.smoke
def test_each_event_is_handled_by_one_worker(plant: Plant) -> None:
    plant.publish(EVENTS)
    plant.wait(lambda: len(plant.handled()) == EVENTS)
    assert set(plant.handled().values()) == {1}
    assert all(len(worker.lines) > EVENTS // 10 for worker in plant.workers)


def test_an_event_that_always_fails_is_put_aside_and_the_others_are_handled(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in plant.workers:
        worker.process.kill()
    monkeypatch.setattr(Plant, "idle", "0.2")
    plant.start_worker()
    plant.publish(1)
    plant.wait(
        plant.handled
    )  # the relay has caught up: an event without an id is not fetched again
    plant.application.publish("no JSON")
    plant.publish(2)
    with Redis.from_url(plant.url, decode_responses=True) as client:
        plant.wait(lambda: client.xlen("events:failed"))
        [(_, failed)] = client.xrange("events:failed")
        assert failed == {"channel": CHANNEL, "event": "placed", "data": "no JSON"}
        assert client.xpending("events", "workers")["pending"] == 0
    assert set(plant.handled()) == {1, 3, 4}
    failures = [line for line in plant.workers[-1].lines if "failed, and is tried again" in line]
    assert len(failures) == 5
