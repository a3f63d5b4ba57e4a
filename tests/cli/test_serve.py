"""`pusher-proto serve`."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from pusher_anyio.__main__ import main

from .processes import command, end, line_with


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_when_it_is_ready_and_a_signal_ends_it(signum: signal.Signals) -> None:
    with command("serve") as process:
        ready = json.loads(line_with(process.stdout, ""))
        with socket.create_connection(("127.0.0.1", ready["port"]), timeout=10):
            status, out, err = end(process, signum)
    assert ready["apps"] == [{"id": "1", "key": "demo", "secret": "demo-secret"}]
    assert (status, out) == (0, "")
    assert err == (
        f"try: pusher-proto listen --host 127.0.0.1 --port {ready['port']} --no-tls --key demo room\n"
    )


def test_it_serves_the_apps_that_it_is_given() -> None:
    with command("serve", "--app", "7:seven:s7", "--app", "8:eight:s:8") as process:
        ready = json.loads(line_with(process.stdout, ""))
        assert ready["apps"] == [
            {"id": "7", "key": "seven", "secret": "s7"},
            {"id": "8", "key": "eight", "secret": "s:8"},
        ]
        address = ["--host", "127.0.0.1", "--port", str(ready["port"]), "--no-tls"]
        event = ["private-x", "client-x", "1"]
        assert main(["trigger", *address, "--key", "eight", "--secret", "s:8", *event]) == 0
        assert main(["trigger", *address, "--key", "demo", "--secret", "s", *event]) == 3
        assert end(process, signal.SIGTERM)[0] == 0


def test_a_port_that_is_taken_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"cannot serve on port {port}: Address already in use\n"


def test_it_goes_on_when_nobody_reads_its_line() -> None:
    with command("serve", stdin=None) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        line_with(process.stderr, "try: pusher-proto listen")
        assert end(process, signal.SIGTERM)[::2] == (0, "")
