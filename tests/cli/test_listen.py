"""`pusher-proto listen`, in this process and in its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pusher
import pytest
import trustme

from pusher_anyio.__main__ import main
from pusher_anyio.cli import _following
from pusher_anyio.cli._arguments import Arguments
from pusher_anyio.cli._server import options_from
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import Options, PusherTimeout
from pusher_sync import Client, open_pusher

from .conftest import WhenSubscribed
from .processes import command, end, line_with


def objects(text: str) -> list[object]:
    return [json.loads(line) for line in text.splitlines()]


def test_events_are_printed_as_json_and_counted(
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
    capfd: pytest.CaptureFixture[str],
) -> None:
    when_subscribed("private-b", lambda: running.publish(["a", "private-b"], "price", {"n": 1}))
    listen = ["listen", *address, "--secret", "demo-secret", "--count", "2", "a", "private-b"]
    assert main(listen) == 0
    out, err = capfd.readouterr()
    assert objects(out) == [
        {"channel": "a", "event": "price", "data": {"n": 1}},
        {"channel": "private-b", "event": "price", "data": {"n": 1}},
    ]
    reported = err.splitlines()
    assert reported[0].startswith("connected, socket id ")
    assert reported[1:] == ["subscribed to a", "subscribed to private-b"]


def test_the_first_connection_is_shown_on_a_slow_machine(
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def slow(options: Options, **more: Any) -> Client:
        client = open_pusher(options, **more)
        with suppress(PusherTimeout):
            client.wait_connected(timeout=0.5)
        return client

    monkeypatch.setattr(_following, "open_pusher", slow)
    when_subscribed("room", lambda: running.publish("room", "e", 1))
    assert main(["listen", *address, "--count", "1", "room"]) == 0
    assert capfd.readouterr().err.startswith("connected, socket id ")


def test_only_events_of_the_requested_names_are_printed(
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def publish() -> None:
        for name in ("one", "two", "three"):
            running.publish("room", name, name)

    when_subscribed("room", publish)
    wanted = ["--event", "two", "--event", "three", "--count", "2"]
    assert main(["listen", *address, *wanted, "room"]) == 0
    assert [one["event"] for one in map(json.loads, capfd.readouterr().out.splitlines())] == [
        "two",
        "three",
    ]


def test_an_endpoint_is_asked_for_an_authorization(
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
    capfd: pytest.CaptureFixture[str],
) -> None:
    when_subscribed("private-x", lambda: running.publish("private-x", "price", 1))
    endpoint = ["--auth-url", running.auth_url, "--header", "Authorization: Bearer token"]
    assert main(["listen", *address, *endpoint, "--count", "1", "private-x"]) == 0
    (request,) = running.auth_requests
    assert request.headers["authorization"] == "Bearer token"
    assert len(objects(capfd.readouterr().out)) == 1


def test_the_sender_of_a_client_event_on_a_presence_channel_is_named(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    secret = [*address, "--secret", "demo-secret"]

    def trigger() -> int:
        running.wait_until(lambda server: server.subscriptions("presence-x"))
        return main(["trigger", *secret, "presence-x", "client-hello", '{"to": "all"}'])

    with ThreadPoolExecutor(1) as pool:
        triggered = pool.submit(trigger)
        assert main(["listen", *secret, "--count", "1", "presence-x"]) == 0
        assert triggered.result(10) == 0
    out, err = capfd.readouterr()
    (event,) = map(json.loads, out.splitlines())
    sender = event.pop("user_id")
    assert event == {"channel": "presence-x", "event": "client-hello", "data": {"to": "all"}}
    assert f"presence-x: {sender} joined\n" in err


def test_a_lost_connection_is_reported_and_replaced(
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def drop_and_publish() -> None:
        running.drop(4200, "later")
        running.wait_until(lambda server: server.subscriptions("room"))
        running.publish("room", "price", 1)

    when_subscribed("room", drop_and_publish)
    assert main(["listen", *address, "--count", "1", "room"]) == 0
    err = capfd.readouterr().err
    for text in ("(code 4200, later); next attempt now\n", "subscribed to room again"):
        assert text in err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0(
    signum: signal.Signals,
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
) -> None:
    when_subscribed("room", lambda: os.kill(os.getpid(), signum))
    assert main(["listen", *address, "room"]) == 0
    running.wait_until(lambda server: not server.connections)


def test_an_app_that_is_refused_is_status_3(
    running: ServerInThread, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"ws://{running.host}:{running.port}/app/unknown"
    assert main(["listen", "--url", url, "room"]) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert "4001" in err


def test_a_certificate_that_is_not_trusted_is_status_3_and_with_its_authority_it_is_fine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    authority, path = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serve_in_thread(ssl_context=context) as running, ThreadPoolExecutor(1) as pool:
        address = ["--host", "127.0.0.1", "--port", str(running.port), "--key", "demo"]
        assert main(["listen", *address, "room"]) == 3
        assert "certificate" in capfd.readouterr().err

        def publish() -> None:
            running.wait_until(lambda server: server.subscriptions("room"))
            running.publish("room", "price", 1)

        published = pool.submit(publish)
        assert main(["listen", *address, "--ca", str(path), "--count", "1", "room"]) == 0
        published.result(10)


def test_a_channel_that_is_refused_is_status_4(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["listen", *address, "--secret", "wrong", "room", "private-x"]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert "private-x" in err.splitlines()[-1]


def test_an_endpoint_that_refuses_is_status_4(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.auth_answer(403, "no")
    assert main(["listen", *address, "--auth-url", running.auth_url, "private-x"]) == 4
    assert "403" in capfd.readouterr().err


def test_an_endpoint_that_fails_for_the_moment_is_not_a_refusal(
    running: ServerInThread,
    address: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def impatient(arguments: Arguments, channels: Iterable[str]) -> Options:
        return replace(options_from(arguments, channels), auth_attempts=1)

    monkeypatch.setattr(_following, "options_from", impatient)
    running.auth_answer(503, "later")
    endpoint = ["--auth-url", running.auth_url]
    assert main(["listen", *address, *endpoint, "--timeout", "0.5", "private-x"]) == 5
    assert "; next request in " in capfd.readouterr().err


def test_nothing_in_time_is_status_5(address: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", *address, "--timeout", "0.2", "room"]) == 5
    assert capfd.readouterr().err.endswith("timed out after 0.2 s; connected\n")


def test_listening_for_some_seconds_is_status_0(
    running: ServerInThread,
    address: list[str],
    when_subscribed: WhenSubscribed,
    capfd: pytest.CaptureFixture[str],
) -> None:
    when_subscribed("room", lambda: running.publish("room", "price", 1))
    assert main(["listen", *address, "--for", "1.5", "--timeout", "60", "room"]) == 0
    out, err = capfd.readouterr()
    assert len(objects(out)) == 1
    assert "timed out" not in err


def test_a_refusal_is_one_line(running: ServerInThread, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"ws://{running.host}:{running.port}/app/unknown"
    assert main(["listen", "--url", url, "room"]) == 3
    assert capfd.readouterr().err.count("\n") == 1


def test_no_connection_in_time_is_status_5(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = str(unused.getsockname()[1])
        address = ["--host", "127.0.0.1", "--port", port, "--no-tls", "--key", "demo"]
        assert main(["listen", *address, "--timeout", "0.2", "room"]) == 5
    assert capfd.readouterr().err == "timed out after 0.2 s; connecting\n"


def test_an_error_of_the_library_is_raised_unchanged(
    address: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("pusher_sync.Client.subscribe", broken)
    with pytest.raises(KeyError, match="a bug"):
        main(["listen", *address, "room"])


def test_a_terminal_gets_json_when_asked(
    running: ServerInThread, address: list[str], when_subscribed: WhenSubscribed
) -> None:
    when_subscribed("room", lambda: running.publish("room", "price", "é"))
    ours, theirs = pty.openpty()
    with command("listen", *address, "--json", "--count", "1", "room", stdout=theirs) as process:
        os.close(theirs)
        event = json.loads(os.read(ours, 1000))
        assert event == {"channel": "room", "event": "price", "data": "é"}
        assert end(process)[0] == 0
    os.close(ours)


def test_each_line_is_flushed_at_once(running: ServerInThread, address: list[str]) -> None:
    with command("listen", *address, "room") as process:
        line_with(process.stderr, "subscribed to room")
        for number in range(3):
            running.publish("room", "count", number)
            assert json.loads(line_with(process.stdout, "count"))["data"] == number
        assert end(process, signal.SIGINT) == (0, "", "")


def test_it_ends_quietly_when_its_output_is_closed(
    running: ServerInThread, address: list[str]
) -> None:
    with command("listen", *address, "room") as process:
        line_with(process.stderr, "subscribed to room")
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        running.publish("room", "price", 1)
        assert end(process)[::2] == (0, "")


def test_a_signal_ends_it_while_its_output_is_not_read(
    running: ServerInThread, address: list[str]
) -> None:
    with command("listen", *address, "room") as process:
        line_with(process.stderr, "subscribed to room")
        running.publish("room", "long", "x" * 500_000)
        assert process.stdout is not None
        begin = process.stdout.read(20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert begin == '{"channel":"room","e'


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_reported(running: ServerInThread, address: list[str]) -> None:
    with (
        open("/dev/full", "w") as full,
        command("listen", *address, "room", stdout=full) as process,
    ):
        line_with(process.stderr, "subscribed to room")
        running.publish("room", "price", 1)
        assert end(process) == (1, "", "cannot write: No space left on device\n")


def test_the_official_library_publishes_from_outside_to_listen_and_serve() -> None:
    with command("serve", "--app", "7:key7:secret7") as server:
        port = json.loads(line_with(server.stdout, "port"))["port"]
        address = ["--host", "127.0.0.1", "--port", str(port), "--no-tls", "--key", "key7"]
        listen = ["listen", *address, "--secret", "secret7", "--count", "2", "room", "private-x"]
        with command(*listen) as listener:
            line_with(listener.stderr, "subscribed to private-x")
            publisher = pusher.Pusher(
                "7", "key7", "secret7", ssl=False, host="127.0.0.1", port=port
            )
            publisher.trigger(["room"], "price", {"n": 1})
            publisher.trigger(["private-x"], "price", "é")
            publisher._pusher_client.http.session.close()
            status, out, _ = end(listener)
        assert end(server, signal.SIGTERM)[0] == 0
    assert status == 0
    assert objects(out) == [
        {"channel": "room", "event": "price", "data": {"n": 1}},
        {"channel": "private-x", "event": "price", "data": "é"},
    ]
