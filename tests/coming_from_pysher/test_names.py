"""Names, arguments and bad input of `pusher_sync.pysher`, and what a program can change before it connects."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pysher as original
import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import (
    PROTOCOL,
    InvalidName,
    Options,
    UnsupportedFeature,
)
from pusher_proto.signing import sign_channel
from pusher_sync import pysher

METHODS = {
    "Pusher": ("__init__", "connect", "disconnect", "subscribe", "unsubscribe", "channel"),
    "Connection": ("__init__", "bind", "disconnect", "reconnect", "send_event"),
}


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running:
        yield running


def where(server: ServerInThread, **more: Any) -> dict[str, Any]:
    return {"custom_host": "127.0.0.1", "port": server.port, "secure": False, **more}


@pytest.fixture
def opened() -> Iterator[list[pysher.Pusher]]:
    """Clients that are disconnected at the end."""
    pushers: list[pysher.Pusher] = []
    yield pushers
    for each in pushers:
        each.disconnect()
        each.connection.join(5)
        assert not each.connection.is_alive()


def shape(function: Any) -> list[tuple[str, object, object]]:
    return [
        (each.name, each.kind, each.default)
        for each in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(("cls", "name"), [(c, n) for c, names in METHODS.items() for n in names])
def test_arguments_and_defaults_are_those_of_pysher(cls: str, name: str) -> None:
    ours, theirs = (getattr(getattr(module, cls), name) for module in (pysher, original))
    assert shape(ours) == shape(theirs)


@pytest.mark.parametrize("name", ["bind", "trigger", "__init__"])
def test_a_channel_has_the_methods_of_pysher(name: str) -> None:
    theirs = getattr(original.pusher.Channel, name)
    assert shape(getattr(pysher.Channel, name)) == shape(theirs)


def test_objects_have_the_attributes_of_pysher() -> None:
    ours, theirs = (module.Pusher("key") for module in (pysher, original))
    assert [name for name in vars(theirs) if not hasattr(ours, name)] == []
    wanted = {
        "event_handler", "url", "reconnect_handler", "socket_id", "event_callbacks", "disconnect_called",
        "reconnect_interval", "pong_timeout", "ping_interval", "state", "logger", "daemon", "name",
    }  # fmt: skip
    for each in (ours.connection, theirs.connection):
        assert [name for name in wanted if not hasattr(each, name)] == []
    for name in ("state", "socket_id", "daemon", "name", "ping_interval", "pong_timeout"):
        assert getattr(ours.connection, name) == getattr(theirs.connection, name)
    assert isinstance(ours.connection, threading.Thread)


@pytest.mark.parametrize("module", [pysher, original], ids=["ours", "pysher"])
def test_an_unknown_argument_is_a_type_error(module: Any) -> None:
    with pytest.raises(TypeError):
        module.Pusher("key", no_such_argument=1)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"cluster": True}, TypeError, "cluster"),
        ({"user_data": "7", "secret": "s"}, TypeError, "member"),
        ({"reconnect_interval": -1}, ValueError, "reconnect_interval"),
        ({"reconnect_interval": "10"}, ValueError, "reconnect_interval"),
        ({"custom_host": "https://example.com"}, ValueError, "without scheme"),
        ({"http_proxy_host": "proxy"}, ValueError, "http://host:port"),
        ({"auth_endpoint": "/pusher/auth"}, UnsupportedFeature, "absolute"),
    ],
)
def test_wrong_arguments_raise_at_once(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pysher.Pusher("key", **arguments)


def test_arguments_of_websocket_client_raise_and_say_what_to_use() -> None:
    url = pysher.Pusher("key").url
    with pytest.raises(TypeError, match=r"'sslopt'.*open_pusher"):
        pysher.Connection(print, url, socket_kwargs={"sslopt": {}})
    assert pysher.Connection(print, url, socket_kwargs={"ping_timeout": 100}).state == "initialized"


def options(url: str, **socket_kwargs: Any) -> Options:
    return pysher.Connection(print, url, socket_kwargs=socket_kwargs)._options()


def test_a_url_gives_host_port_path_and_key() -> None:
    found = options("ws://example.com:6001/prefix/app/KEY?protocol=6&client=js")
    assert (found.host, found.port, found.tls, found.path) == (
        "example.com",
        6001,
        False,
        "/prefix",
    )
    assert found.key == "KEY"
    assert found.query == {"protocol": str(PROTOCOL), "client": "js"}
    assert found.origin == "http://example.com:6001"
    assert options("wss://ws-eu.pusher.com/app/KEY").origin == "https://ws-eu.pusher.com"


def test_a_proxy_is_that_of_the_arguments_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "wss://example.com/app/KEY"
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://of-the-environment:3128")
    assert options(url).parsed_proxy().host == "of-the-environment"  # type: ignore[union-attr]  # there is one
    given = {
        "http_proxy_host": "given",
        "http_proxy_port": 8080,
        "http_proxy_auth": ("me@home", "the-password-of-the-proxy"),
    }
    proxy = options(url, **given).parsed_proxy()
    assert proxy is not None
    assert (proxy.host, proxy.port) == ("given", 8080)
    assert options(url, **given, http_no_proxy=["example.com"]).proxy is None
    assert options(url, **given, http_no_proxy="other.com,example.com").proxy is None
    assert options(url, **given, http_no_proxy=["other.com"]).proxy is not None
    socks = options(url, **given, proxy_type="socks5").parsed_proxy()
    assert socks is not None
    assert socks.scheme == "socks5"


def test_a_host_or_a_key_that_is_set_later_counts(
    server: ServerInThread, opened: list[Any]
) -> None:
    pusher = pysher.Pusher(b"other", port=server.port, secure=False)
    opened.append(pusher)
    pusher.host, pusher.key = "127.0.0.1", "demo"
    pusher.connect()
    server.wait_until(lambda s: s.connections)
    assert pusher.url == pusher.connection.url
    assert pusher.url.startswith(f"ws://127.0.0.1:{server.port}/app/demo?")


def test_the_url_of_the_connection_wins(server: ServerInThread, opened: list[Any]) -> None:
    pusher = pysher.Pusher("other", cluster="eu")
    opened.append(pusher)
    assert pusher.host == "ws-eu.pusher.com"
    pusher.connection.url = f"ws://127.0.0.1:{server.port}/app/demo"
    pusher.connect()
    server.wait_until(lambda s: s.connections)


def test_a_private_channel_needs_a_way_to_authorize_it() -> None:
    pusher = pysher.Pusher("key")
    with pytest.raises(NotImplementedError, match="auth_endpoint"):
        pusher.subscribe("private-room")
    assert pusher.channels == {}


def test_a_name_that_pusher_has_not_raises_and_changes_nothing(
    server: ServerInThread, opened: list[Any]
) -> None:
    pusher = pysher.Pusher("demo", **where(server))
    opened.append(pusher)
    pusher.connect()
    with pytest.raises(InvalidName):
        pusher.subscribe("")
    assert pusher.channels == {}
    pusher.subscribe("room")
    server.wait_until(lambda s: s.subscriptions("room"))


def test_a_wrong_name_before_connect_raises_there_and_nothing_is_opened(
    server: ServerInThread, opened: list[Any]
) -> None:
    pusher = pysher.Pusher("demo", **where(server))
    opened.append(pusher)
    pusher.subscribe("room")
    pusher.subscribe("")
    with pytest.raises(InvalidName):
        pusher.connect()
    assert (pusher.connection.state, pusher.connection.is_alive()) == ("initialized", False)
    pusher.unsubscribe("")
    pusher.connect()
    server.wait_until(lambda s: s.subscriptions("room"))


def test_install_is_refused_once_the_other_one_is_imported() -> None:
    with pytest.raises(RuntimeError, match=r"pysher is imported already: call install\(\)"):
        pysher.install()
    assert sys.modules["pysher"] is original


INSTALL = """
from pusher_sync import pysher
pysher.install(); pysher.install()
import pusherclient, pysher as other
from pysher.connection import Connection
from pusherclient.pusher import Pusher
assert other is pusherclient is pysher and Connection is pysher.Connection and Pusher is pysher.Pusher
"""


def test_install_puts_all_modules_in_place() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", INSTALL], check=True, timeout=30)


FOREVER = """
import sys, time
from pusher_sync import pysher
pusher = pysher.Pusher("demo", custom_host="127.0.0.1", port=int(sys.argv[1]), secure=False)
pusher.connection.bind("pusher:connection_established", lambda data: print("connected", flush=True))
pusher.connect()
while True:
    time.sleep(1)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
def test_a_program_that_ends_by_ctrl_c_ends(server: ServerInThread) -> None:
    command = [sys.executable, "-W", "error", "-c", FOREVER, str(server.port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "Warning" not in errors
    server.wait_until(lambda s: not s.connections)


def test_disconnect_returns_though_a_callback_does_not(
    server: ServerInThread, opened: list[Any]
) -> None:
    pusher = pysher.Pusher("demo", **where(server))
    opened.append(pusher)
    inside, go = threading.Event(), threading.Event()

    def connected(_: str) -> None:
        inside.set()
        go.wait(20)

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    assert inside.wait(10)
    began = time.monotonic()
    pusher.disconnect(timeout=0.1)
    assert time.monotonic() - began < 4
    assert pusher.connection.is_alive()
    go.set()


def test_connecting_twice_raises(server: ServerInThread, opened: list[Any]) -> None:
    pusher = pysher.Pusher("demo", **where(server))
    opened.append(pusher)
    pusher.connect()
    with pytest.raises(RuntimeError, match="disconnect"):
        pusher.connect()


def test_disconnect_and_reconnect_before_connect_do_nothing() -> None:
    pusher = pysher.Pusher("demo")
    pusher.connection.reconnect()
    pusher.disconnect()
    assert pusher.connection.state == "initialized"


def test_what_cannot_be_sent_is_logged(
    server: ServerInThread, opened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    pusher = pysher.Pusher("demo", log_level=logging.ERROR, **where(server))
    opened.append(pusher)
    pusher.connection.send_event("hello", {})
    channel = pusher.subscribe("room")
    pusher.connect()
    server.wait_until(lambda s: s.subscriptions("room"))
    channel.trigger("hello", {})
    channel.trigger("client-hello", {})
    pusher.connection.send_event("pusher:subscribe", {})
    for says in (
        "connect() first",
        "write 'client-hello'",
        "'client-hello' was not sent",
        "'pusher:subscribe' was",
    ):
        assert says in caplog.text
    pusher.connection.send_event("whisper", {"a": 1}, "room")
    server.wait_until(lambda s: any(each.event == "whisper" for each in s.received))


def test_a_token_counts_for_its_connection_and_headers_may_change(
    server: ServerInThread, opened: list[Any]
) -> None:
    headers = {"X-Turn": "1", "Content-Type": "application/json"}
    pusher = pysher.Pusher(
        "demo", auth_endpoint=server.auth_url, auth_endpoint_headers=headers, **where(server)
    )
    opened.append(pusher)
    failed = threading.Event()
    pusher.connect()
    server.wait_until(lambda s: s.connections)
    pusher.subscribe("private-by-endpoint")
    server.wait_until(lambda s: s.subscriptions("private-by-endpoint"))
    token = sign_channel("demo", "demo-secret", pusher.connection.socket_id, "private-by-token")
    channel = pusher.subscribe("private-by-token", auth=token)
    channel.bind("pusher:subscription_error", lambda data: failed.set())
    server.wait_until(lambda s: s.subscriptions("private-by-token"))
    headers["X-Turn"] = "2"
    pusher.connection.reconnect()
    assert failed.wait(10)
    server.wait_until(lambda s: s.subscriptions("private-by-endpoint"))
    turns = [asked.headers["x-turn"] for asked in server.auth_requests]
    assert turns == ["1", "2"]
    token = sign_channel("demo", "demo-secret", pusher.connection.socket_id, "private-by-token")
    pusher.subscribe("private-by-token", auth=token)
    server.wait_until(lambda s: s.subscriptions("private-by-token"))


def test_a_refusal_without_a_message_is_given_to_pusher_error(
    server: ServerInThread, opened: list[Any]
) -> None:
    server.refuse(status=401)
    pusher = pysher.Pusher("demo", reconnect_interval=0.05, **where(server))
    opened.append(pusher)
    errors: list[Any] = []
    pusher.connection.bind("pusher:error", errors.append)
    pusher.connect()
    pusher.connection.join(20)
    assert pusher.connection.state == "failed"
    assert [error["code"] for error in errors] == [401]
    server.allow()
    # The same object connects again.
    pusher.connect()
    server.wait_until(lambda s: s.connections)


def test_the_reconnect_handler_is_called_at_each_connection_but_the_first(
    server: ServerInThread,
) -> None:
    calls: list[str] = []
    connected = threading.Semaphore(0)
    url = f"ws://127.0.0.1:{server.port}/app/demo"
    connection = pysher.Connection(print, url, reconnect_handler=lambda: calls.append("again"))
    connection.bind("pusher:connection_established", lambda _: calls.append("connected"))
    connection.bind("pusher:connection_established", lambda _: connected.release())
    connection.start()
    assert connected.acquire(timeout=10)
    connection.reconnect()
    assert connected.acquire(timeout=10)
    connection.disconnect()
    assert calls == ["connected", "again", "connected"]
    assert connection.state == "disconnected"
