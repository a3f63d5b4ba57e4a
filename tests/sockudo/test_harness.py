"""The harness itself: servers start, serve and end, and a missing binary is named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import real_servers.process
from real_servers.process import (
    DEFAULT_APPS,
    HOST,
    PLAIN_APP,
    RealServer,
    ServerError,
    StartServer,
)
from sockudo.harness import INSTALL, VERSION, Sockudo, find_binary, prepare


@pytest.fixture
def fake_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that replaces the binary, named by the variable."""
    binary = tmp_path / "sockudo"
    monkeypatch.setenv("PUSHER_PROTO_SOCKUDO", str(binary))
    return binary


def write(binary: Path, script: str) -> None:
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)


def test_a_server_starts_publishes_and_ends(start_server: StartServer) -> None:
    server = start_server()
    assert 0 < server.port < 65536
    assert server.apps == DEFAULT_APPS
    assert server.http_client(PLAIN_APP).trigger("news", "headline", "hi") == {"ok": True}
    assert server.get(PLAIN_APP, "/channels") == {"channels": {}}
    server.stop()
    assert server.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port), timeout=10)


def test_a_server_restarts_on_its_port_after_a_kill(start_server: StartServer) -> None:
    first = start_server()
    first.kill()
    first.terminate()
    assert first.returncode == -9
    assert start_server(port=first.port).port == first.port


def test_a_served_port_is_refused(server: RealServer) -> None:
    with pytest.raises(ServerError, match=f"^port {server.port} is still served"):
        Sockudo.start(port=server.port)


def test_a_server_ends_with_the_process_that_started_it(sockudo_ready: None) -> None:
    program = (
        "import os; from sockudo.harness import Sockudo; s = Sockudo.start(); "
        "print(s._process.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        timeout=30,
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and has no parent to take its status does not."""
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_server_that_does_not_start_is_an_error_with_its_log(fake_binary: Path) -> None:
    write(fake_binary, "echo no config >&2; exit 3")
    with pytest.raises(ServerError, match=r"^the server ended before it was ready\nno config"):
        Sockudo.start()


def test_a_server_that_never_serves_is_an_error(
    fake_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("real_servers.process.START_TIMEOUT", 0.2)
    monkeypatch.setattr(real_servers.process, "START_TIMEOUT", 0.2)
    write(fake_binary, "exec sleep 60")
    with pytest.raises(ServerError, match=r"^the server did not get ready in 0\.2 s"):
        Sockudo.start()


def test_the_variable_names_the_binary(fake_binary: Path) -> None:
    assert find_binary() == str(fake_binary)
    prepare.cache_clear()
    write(fake_binary, "echo sockudo 4.0.0")
    assert prepare() == f"{fake_binary} is sockudo 4.0.0; get {VERSION} by: {INSTALL}"
    prepare.cache_clear()
    write(fake_binary, "exit 1")
    reason = prepare()
    assert reason is not None
    assert reason.startswith(f"{fake_binary} cannot be run")
    prepare.cache_clear()


def test_without_a_binary_the_reason_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATH", "CARGO_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("PUSHER_PROTO_SOCKUDO", raising=False)
    prepare.cache_clear()
    reason = prepare()
    assert reason is not None
    assert reason.startswith(f"get it by: {INSTALL}")
    prepare.cache_clear()
