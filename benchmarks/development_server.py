"""The workload `server`: events for many connections of pusher-js on the development server."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pusher

__all__ = ["measure_server"]

HERE = Path(__file__).parent
EVENTS = 40


def measure_server(connections: int, environment: dict[str, str]) -> dict[str, Any]:
    """Return the milliseconds from a publish to the last connection, p50 and p99, and the KB of each connection.

    Raises RuntimeError if the clients do not connect, ValueError if they end early.
    """
    cores = sorted(os.sched_getaffinity(0))
    server = subprocess.Popen(
        [*_pinned(cores[0]), sys.executable, "-m", "pusher_anyio", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    clients = None
    try:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        before = _memory(server.pid)
        clients = subprocess.Popen(
            [
                *_pinned(cores[-1]),
                "node",
                str(HERE / "clients" / "many_pusher_js.cjs"),
                json.dumps({"port": ready["port"], "key": "demo", "connections": connections}),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert clients.stdout is not None
        if clients.stdout.readline() != "ready\n":
            raise RuntimeError("the clients of the development server did not connect")
        memory = (_memory(server.pid) - before) / connections
        library = pusher.Pusher(
            "1", "demo", "demo-secret", host="127.0.0.1", port=ready["port"], ssl=False
        )
        session = library._pusher_client.http.session  # noqa: SLF001 - it has no other way to ignore proxies
        session.trust_env = False
        took = []
        for number in range(EVENTS):
            began = time.monotonic_ns()
            library.trigger("room", "event", {"number": number})
            last = int(clients.stdout.readline())
            took.append((last - began) / 1e6)
            time.sleep(0.02)
        took.sort()
        return {
            "p50": statistics.median(took),
            "p99": took[int(len(took) * 0.99)],
            "kb": memory,
        }
    finally:
        for process in (clients, server):
            if process is not None:
                process.kill()
                process.communicate()


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def _memory(pid: int) -> float:
    """Return the resident memory of a process in KB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise RuntimeError("there is no VmRSS in /proc")
