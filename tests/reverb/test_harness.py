"""The harness itself: servers start, serve and end, and a missing application is named."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from real_servers.process import DEFAULT_APPS, HOST, PLAIN_APP, ServerError, StartServer
from reverb.harness import VARIABLE, VERSION, Reverb, prepare


def test_a_server_starts_publishes_and_ends(start_server: StartServer) -> None:
    server = start_server()
    assert server.apps == DEFAULT_APPS
    assert server.http_client(PLAIN_APP).trigger("news", "headline", "hi") == {}
    assert server.get(PLAIN_APP, "/channels") == {"channels": []}
    server.stop()
    assert server.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port), timeout=10)


def test_a_server_restarts_on_its_port_after_a_kill(start_server: StartServer) -> None:
    server = start_server()
    server.kill()
    assert server.returncode == -9
    assert start_server(port=server.port).port == server.port


def test_a_server_that_does_not_start_is_an_error_with_its_log(
    reverb_ready: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("real_servers.process.START_TIMEOUT", 5.0)
    settings: dict[str, Any] = {"reverb.servers.reverb": None}
    with pytest.raises(ServerError, match="the server ended before it was ready"):
        Reverb.start(**settings)


@pytest.mark.parametrize(
    ("packages", "reason"),
    [
        (None, "is no Laravel application"),
        ([], f"has laravel/reverb None; the tests are for {VERSION}"),
        ([{"name": "laravel/reverb", "version": "v1.0.0"}], "has laravel/reverb 1.0.0;"),
        ([{"name": "laravel/reverb", "version": f"v{VERSION}"}], None),
    ],
)
def test_the_variable_names_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: object, reason: str | None
) -> None:
    monkeypatch.setattr("reverb.harness.shutil.which", lambda _: "/usr/bin/php")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    if packages is not None:
        (tmp_path / "vendor/composer").mkdir(parents=True)
        file = tmp_path / "vendor/composer/installed.json"
        file.write_text(json.dumps({"packages": packages}))
    prepare.cache_clear()
    found = prepare()
    prepare.cache_clear()
    assert found is None if reason is None else reason in (found or "")


def test_without_the_variable_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverb.harness.shutil.which", lambda _: "/usr/bin/php")
    monkeypatch.delenv(VARIABLE, raising=False)
    prepare.cache_clear()
    assert VARIABLE in (prepare() or "")
    prepare.cache_clear()
