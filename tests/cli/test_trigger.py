"""`pusher-proto trigger`."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from pusher_anyio.__main__ import main
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.testing import App, Server

from .processes import command, end, line_with

EVENT = ["private-x", "client-note", '{"text": "hello"}']


@pytest.fixture
def own_key(address: list[str]) -> list[str]:
    return [*address, "--secret", "demo-secret"]


def test_the_event_is_out_when_it_ends(
    running: ServerInThread, own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["trigger", *own_key, *EVENT]) == 0
    last = running.wait_until(
        lambda server: [each for each in server.received if each.event == "client-note"]
    )
    assert [(each.channel, each.data) for each in last] == [("private-x", {"text": "hello"})]
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("sent client-note to private-x\n")


def test_F12_an_event_that_the_server_refuses_is_status_4(
    capfd: pytest.CaptureFixture[str],
) -> None:
    app = App(id="1", key="demo", secret="demo-secret", client_events=False)
    with serve_in_thread(Server(apps=[app])) as server:
        address = ["--host", "127.0.0.1", "--port", str(server.port), "--no-tls", "--key", "demo"]
        assert main(["trigger", *address, "--secret", "demo-secret", *EVENT]) == 4
    err = capfd.readouterr().err
    assert "the server refused client-note on private-x: " in err
    assert "sent client-note" not in err


def test_it_reaches_the_listeners(address: list[str]) -> None:
    own_key = [*address, "--secret", "demo-secret"]
    with command("listen", *own_key, "--count", "1", "private-x") as listener:
        line_with(listener.stderr, "subscribed to private-x")
        with command("trigger", *own_key, *EVENT) as process:
            assert end(process)[0] == 0
        status, out, _ = end(listener)
    assert status == 0
    assert json.loads(out) == {
        "channel": "private-x",
        "event": "client-note",
        "data": {"text": "hello"},
    }


def test_an_app_that_is_refused_is_status_3(
    running: ServerInThread, own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse(code=4003, reason="disabled")
    assert main(["trigger", *own_key, *EVENT]) == 3
    assert "4003" in capfd.readouterr().err


def test_a_channel_that_is_refused_is_status_4(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["trigger", *address, "--secret", "wrong", *EVENT]) == 4
    assert "private-x" in capfd.readouterr().err


def test_no_connection_in_time_is_status_5(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = str(unused.getsockname()[1])
        address = ["--host", "127.0.0.1", "--port", port, "--no-tls", "--key", "demo"]
        assert main(["trigger", *address, "--secret", "s", "--timeout", "0.2", *EVENT]) == 5
    assert "within 0.2 s" in capfd.readouterr().err


def test_data_that_servers_refuse_is_a_usage_error(
    own_key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps("x" * 20_000)
    assert main(["trigger", *own_key, "private-x", "client-note", text]) == 2
    err = capfd.readouterr().err
    assert "pusher-proto: the data of 'client-note' has 20002 bytes" in err
    assert "xxx" not in err


def test_ctrl_c_before_the_event_is_sent_is_not_a_success(
    running: ServerInThread, own_key: list[str]
) -> None:
    running.refuse_channel("private-x", shape="silent")
    with command("trigger", *own_key, *EVENT) as process:
        line_with(process.stderr, "connected")
        assert end(process, signal.SIGINT) == (130, "", "")
