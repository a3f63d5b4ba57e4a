"""One measurement: a server process on one core, a client process on another, and the results of both."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from .development_server import measure_server
from .payloads import SHARED_SECRET
from .workloads import Client, Workload

__all__ = ["Failed", "measure", "missing"]

HERE = Path(__file__).parent
PATIENCE = 120
"""The most seconds for one measurement."""


class Failed(Exception):
    """Raised when a client did not complete a workload. The message has its last output."""


def missing(client: Client) -> str | None:
    """Return the requirement of this client that is not installed, or None."""
    for need in client.needs:
        if need == "node":
            if shutil.which("node") is None or not (HERE / "node_modules" / "pusher-js").exists():
                return "Node with pusher-js (npm ci in benchmarks/)"
        elif importlib.util.find_spec(need) is None:
            return need
    return None


def measure(
    workload: Workload, client: Client, *, quick: bool, certificate: tuple[str, str]
) -> dict[str, Any]:
    """Run one workload once with one client. Raises `Failed`.

    `certificate` names the files of the authority and of the server's certificate with its key.
    """
    if workload.kind == "server":
        try:
            return measure_server(50 if quick else workload.connections, _environment(certificate))
        except (RuntimeError, ValueError) as error:
            raise Failed(f"{client.name} failed at {workload.name}: {error}") from None
    cores = sorted(os.sched_getaffinity(0))
    config = workload.config(client, quick=quick)
    config["tls"] = certificate[1] if workload.tls else None
    environment = _environment(certificate)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", json.dumps(config | {"cores": cores[:1]})],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout is not None
        config |= json.loads(server.stdout.readline())
        config |= {"cores": cores[-1:], "shared_secret": SHARED_SECRET}
        process = _start(client, config, environment)
        if workload.kind == "reconnect":  # the server notices when all are back
            return _until_back(workload, client, server, process)
        result = _result(workload, client, process)
        return result | {"server_busy": json.loads(server.stdout.readline())["busy"]}
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _environment(certificate: tuple[str, str]) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parent / "src")]),
        "SSL_CERT_FILE": certificate[0],
        "NODE_EXTRA_CA_CERTS": certificate[0],
    }


def _start(
    client: Client, config: dict[str, Any], environment: dict[str, str]
) -> subprocess.Popen[str]:
    if client.module.endswith("js"):
        pinned = ["taskset", "-c", str(config["cores"][0])] if shutil.which("taskset") else []
        command = [*pinned, "node", "--expose-gc", str(HERE / "clients" / client.module)]
    else:
        command = [sys.executable, "-m", f"benchmarks.clients.{client.module}"]
    return subprocess.Popen(
        [*command, json.dumps(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _result(workload: Workload, client: Client, process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        errors = process.communicate()[1]
        raise Failed(f"{client.name} did not end {workload.name}: {errors[-2000:]}") from None
    try:
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"{client.name} failed at {workload.name}: {errors[-2000:]}") from None
    return result


def _until_back(
    workload: Workload,
    client: Client,
    server: subprocess.Popen[str],
    process: subprocess.Popen[str],
) -> dict[str, Any]:
    assert server.stdout is not None
    try:
        ready, _, _ = select.select([server.stdout], [], [], PATIENCE / 4)
        report = json.loads(server.stdout.readline()) if ready else {"back_after": None}
    finally:
        process.kill()
        errors = process.communicate()[1]
    if report["back_after"] is None:
        raise Failed(f"{client.name} did not come back in {workload.name}: {errors[-2000:]}")
    return {
        "wall": report["back_after"] * 1e3,
        "auth_connections": report["auth_connections"],
        "auth_requests": report["auth_requests"],
    }
