"""The harness itself: servers start, serve and end, and what is missing is said."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trustme
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from real_servers.process import (
    DEFAULT_APPS,
    HOST,
    PLAIN_APP,
    USERS_APP,
    App,
    RealServer,
    ServerError,
    StartServer,
    Tls,
)
from soketi.harness import SERVER, Soketi, prepare

TIMEOUT = 10.0
GOING_DOWN = {
    "event": "pusher:error",
    "data": {"code": 4200, "message": "Server closed. Please reconnect shortly."},
}


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over, with the code of the close frame, or 1006 when there was none."""

    code: int


class Wire:
    """A blocking WebSocket to one application: JSON in, JSON out."""

    def __init__(self, server: RealServer, key: str) -> None:
        self._events: deque[Event] = deque()
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._socket = socket.create_connection((HOST, server.port), timeout=TIMEOUT)
        try:
            request = Request(host=f"{HOST}:{server.port}", target=f"/app/{key}?protocol=7")
            self._socket.sendall(self._websocket.send(request))
            assert isinstance(self._next(), AcceptConnection)
        except BaseException:
            self._socket.close()
            raise

    def send(self, event: str, **fields: object) -> None:
        text = json.dumps({"event": event, **fields})
        self._socket.sendall(self._websocket.send(TextMessage(text)))

    def receive(self) -> object:
        match self._next():
            case TextMessage(data=text, message_finished=True):
                return json.loads(text)
            case CloseConnection(code=code):
                return Closed(int(code))
            case other:
                raise AssertionError(f"unexpected {other!r}")

    def greet(self) -> None:
        match self.receive():
            case {"event": "pusher:connection_established"}:
                pass
            case other:
                raise AssertionError(f"no greeting but {other!r}")

    def subscribe(self, channel: str) -> None:
        self.send("pusher:subscribe", data={"channel": channel})
        assert self.receive() == {
            "event": "pusher_internal:subscription_succeeded",
            "channel": channel,
        }

    def _next(self) -> Event:
        while not self._events:
            self._websocket.receive_data(self._socket.recv(65536) or None)
            self._events.extend(self._websocket.events())
        return self._events.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()


def test_a_server_starts_and_reports_its_port_and_apps(server: RealServer) -> None:
    assert 0 < server.port < 65536
    assert server.apps == DEFAULT_APPS
    assert server.returncode is None


def test_two_servers_have_two_ports(server: RealServer, start_server: StartServer) -> None:
    assert start_server().port != server.port


@pytest.mark.parametrize("app", DEFAULT_APPS, ids=["plain", "users"])
def test_what_the_http_library_publishes_reaches_a_subscriber(server: RealServer, app: App) -> None:
    with Wire(server, app.key) as wire:
        wire.greet()
        wire.subscribe("news")
        assert server.http_client(app).trigger("news", "headline", {"text": "hi"}) == {"ok": True}
        assert wire.receive() == {"event": "headline", "channel": "news", "data": '{"text": "hi"}'}


def test_an_unknown_key_is_closed_with_4001(server: RealServer) -> None:
    with Wire(server, "nobody") as wire:
        assert wire.receive() == {
            "event": "pusher:error",
            "data": {"code": 4001, "message": "App key nobody does not exist."},
        }
        assert wire.receive() == Closed(4001)


def test_a_disabled_app_is_closed_with_4003(start_server: StartServer) -> None:
    server = start_server([replace(PLAIN_APP, enabled=False)])
    with Wire(server, PLAIN_APP.key) as wire:
        assert wire.receive() == {
            "event": "pusher:error",
            "data": {"code": 4003, "message": "The app is not enabled."},
        }
        assert wire.receive() == Closed(4003)


def test_client_messages_can_be_disabled(start_server: StartServer) -> None:
    server = start_server([replace(PLAIN_APP, client_messages=False)])
    with Wire(server, PLAIN_APP.key) as wire:
        wire.greet()
        wire.subscribe("news")
        wire.send("client-hello", channel="news", data={})
        assert wire.receive() == {
            "event": "pusher:error",
            "channel": "news",
            "data": {
                "code": 4301,
                "message": "The app does not have client messaging enabled.",
            },
        }


def test_stop_ends_the_process_in_good_order(start_server: StartServer) -> None:
    server = start_server()
    with Wire(server, PLAIN_APP.key) as wire:
        wire.greet()
        server.stop()
        assert server.returncode == 0
        assert wire.receive() == GOING_DOWN
        assert wire.receive() == Closed(4200)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port), timeout=TIMEOUT)


def test_terminate_says_4200_to_everyone(start_server: StartServer) -> None:
    server = start_server()
    with Wire(server, USERS_APP.key) as wire:
        wire.greet()
        server.terminate()
        assert server.returncode == 0
        assert wire.receive() == GOING_DOWN
        assert wire.receive() == Closed(4200)


def test_kill_leaves_no_close_frame(start_server: StartServer) -> None:
    server = start_server()
    with Wire(server, PLAIN_APP.key) as wire:
        wire.greet()
        server.kill()
        assert server.returncode == -9
        assert wire.receive() == Closed(1006)


def test_a_server_may_be_ended_again(start_server: StartServer) -> None:
    server = start_server()
    server.kill()
    server.terminate()
    server.stop()
    assert server.returncode == -9


@pytest.mark.parametrize("end", [Soketi.stop, Soketi.terminate, Soketi.kill])
def test_a_server_restarts_on_its_port(
    start_server: StartServer, end: Callable[[RealServer], None]
) -> None:
    first = start_server()
    with Wire(first, PLAIN_APP.key) as wire:
        wire.greet()
        end(first)
    second = start_server(port=first.port)
    assert second.port == first.port
    with Wire(second, PLAIN_APP.key) as wire:
        wire.greet()


def test_a_served_port_is_refused(server: RealServer) -> None:
    with pytest.raises(ServerError, match=f"^port {server.port} is still served"):
        Soketi.start(port=server.port)


def test_a_server_speaks_tls(start_server: StartServer, tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert(HOST)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(tls.ca)
    certificate.cert_chain_pems[0].write_to_path(tls.cert)
    certificate.private_key_pem.write_to_path(tls.key)
    server = start_server(tls=tls)
    assert server.http_client(PLAIN_APP).trigger("news", "headline", "hi") == {"ok": True}


def test_a_server_that_does_not_start_is_an_error_with_its_log(
    soketi_ready: None, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere.pem"
    with pytest.raises(ServerError, match=r"^the server ended before it was ready\n.+"):
        Soketi.start(tls=Tls(nowhere, nowhere, nowhere))


def test_a_server_without_its_binary_is_refused(
    soketi_ready: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UWS_USE_FALLBACK", "1")
    with pytest.raises(ServerError, match=r"the binary of uWebSockets\.js did not load"):
        Soketi.start()


def test_pusher_js_loads_in_node(soketi_ready: None) -> None:
    done = subprocess.run(
        ["node", "-p", "typeof require('pusher-js')"],
        cwd=SERVER,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert done.stdout == "function\n"


def test_the_lock_names_no_registry_and_no_path_of_a_machine() -> None:
    lock = json.loads((SERVER / "package-lock.json").read_text())
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert packages
    assert [path for path, package in packages.items() if "resolved" in package] == []
    assert [path for path, package in packages.items() if "integrity" not in package] == []
    assert [path for path in packages if not path.startswith("node_modules/")] == []


FAKE_SERVER = """\
import http.server, json, sys, threading
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(json.dumps({"port": server.server_port}), flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""


class FakeTools:
    """A directory to install in, and scripts as the only node and npm on the PATH."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packages = path / "packages"
        self._tools = path / "tools"
        self._tools.mkdir()
        monkeypatch.setenv("PATH", str(self._tools))
        self.lock("first")
        self.add("node", "echo v20.0.0")
        self.add("npm", 'echo "$@" >> npm.log; PATH=/usr/bin:/bin mkdir -p node_modules')

    def add(self, name: str, script: str) -> None:
        tool = self._tools / name
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    def remove(self, name: str) -> None:
        (self._tools / name).unlink()

    def lock(self, text: str) -> None:
        self.packages.mkdir(exist_ok=True)
        (self.packages / "package-lock.json").write_text(text)

    @property
    def installations(self) -> list[str]:
        return (self.packages / "npm.log").read_text().splitlines()


@pytest.fixture
def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return FakeTools(tmp_path, monkeypatch)


NPM_CI = "ci --ignore-scripts --omit=optional --no-audit --no-fund"


def test_a_server_that_is_not_soketi_is_refused(fake_tools: FakeTools) -> None:
    (fake_tools.packages / "fake.py").write_text(FAKE_SERVER)
    fake_tools.add("node", f"exec '{sys.executable}' '{fake_tools.packages / 'fake.py'}'")
    with pytest.raises(ServerError, match=r"/ready has the header uWebSockets None"):
        Soketi.start()


def test_what_is_installed_is_not_installed_again(fake_tools: FakeTools) -> None:
    assert prepare(fake_tools.packages) is None
    assert prepare(fake_tools.packages) is None
    assert fake_tools.installations == [NPM_CI]


def test_another_lock_is_installed(fake_tools: FakeTools) -> None:
    assert prepare(fake_tools.packages) is None
    fake_tools.lock("second")
    assert prepare(fake_tools.packages) is None
    assert fake_tools.installations == [NPM_CI, NPM_CI]


def test_a_failed_installation_is_reported_by_its_last_lines_and_tried_again(
    fake_tools: FakeTools,
) -> None:
    fake_tools.add("npm", "i=0; while [ $i -lt 50 ]; do echo line $((i += 1)) >&2; done; exit 3")
    last_lines = "\n".join(f"line {n}" for n in range(11, 51))
    assert prepare(fake_tools.packages) == f"`npm {NPM_CI}` ended with 3:\n{last_lines}"
    fake_tools.add("npm", "PATH=/usr/bin:/bin mkdir node_modules")
    assert prepare(fake_tools.packages) is None


def test_a_missing_node_is_the_reason(fake_tools: FakeTools) -> None:
    fake_tools.remove("node")
    assert prepare(fake_tools.packages) == "there is no node on the PATH"


def test_a_broken_node_is_the_reason(fake_tools: FakeTools) -> None:
    fake_tools.add("node", "exit 1")
    reason = prepare(fake_tools.packages)
    assert reason is not None
    assert reason.startswith("node cannot be run: ")


def test_a_node_without_a_binary_is_the_reason(fake_tools: FakeTools) -> None:
    fake_tools.add("node", "echo v22.1.0")
    reason = prepare(fake_tools.packages)
    assert reason == "node is v22.1.0, and uWebSockets.js has a binary for 18 or 20 only"


def test_a_missing_npm_is_the_reason(fake_tools: FakeTools) -> None:
    fake_tools.remove("npm")
    assert prepare(fake_tools.packages) == "there is no npm on the PATH"
