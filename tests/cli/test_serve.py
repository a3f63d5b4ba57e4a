"""`pusher-proto serve`."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
import trustme

import pusher_sync
from pusher_anyio.__main__ import main
from pusher_proto import ConnectionLost, Event, Options

from .processes import command, end, line_with
from .terminal import at_terminal


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


DEMO = {
    "id": "1",
    "key": "demo",
    "secret": "demo-secret",
    "encryption_master_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_when_it_is_ready_and_a_signal_ends_it(signum: signal.Signals) -> None:
    with command("serve") as process:
        ready = json.loads(line_with(process.stdout, ""))
        with socket.create_connection(("127.0.0.1", ready["port"]), timeout=10):
            status, out, err = end(process, signum)
    port = ready["port"]
    assert ready == {
        "host": "127.0.0.1",
        "port": port,
        "scheme": "http",
        "dialect": "pusher",
        "urls": {
            "websocket": f"ws://127.0.0.1:{port}/app",
            "http_api": f"http://127.0.0.1:{port}/apps",
            "auth": f"http://127.0.0.1:{port}/pusher/auth",
            "user_auth": f"http://127.0.0.1:{port}/pusher/user-auth",
            "health": f"http://127.0.0.1:{port}/up",
        },
        "apps": [DEMO],
    }
    assert (status, out) == (0, "")
    assert err == (
        f"try: pusher-proto listen --host 127.0.0.1 --port {port} --no-tls --key demo room\n"
    )


def test_it_serves_the_apps_that_it_is_given() -> None:
    with command("serve", "--app", "7:seven:s7", "--app", "8:eight:s:8") as process:
        ready = json.loads(line_with(process.stdout, ""))
        apps = [(each["id"], each["key"], each["secret"]) for each in ready["apps"]]
        assert apps == [("7", "seven", "s7"), ("8", "eight", "s:8")]
        address = ["--host", "127.0.0.1", "--port", str(ready["port"]), "--no-tls"]
        event = ["private-x", "client-x", "1"]
        assert main(["trigger", *address, "--key", "eight", "--secret", "s:8", *event]) == 0
        assert main(["trigger", *address, "--key", "demo", "--secret", "s", *event]) == 3
        status, _, err = end(process, signal.SIGTERM)
        assert status == 0
        assert "the keys here are seven, eight: set one of them" in err


def test_clients_are_closed_with_4200_at_the_end() -> None:
    with command("serve") as process:
        ready = json.loads(line_with(process.stdout, ""))
        options = Options.from_host("127.0.0.1", key="demo", port=ready["port"], tls=False)
        events: list[Event] = []
        with pusher_sync.open_pusher(options, on_event=events.append) as client:
            client.wait_connected(10)
            assert end(process, signal.SIGTERM)[0] == 0
            client.wait_for(ConnectionLost, timeout=10)
    lost = next(event for event in events if isinstance(event, ConnectionLost))
    assert (lost.code, lost.reason) == (4200, "Server is shutting down")


def test_both_loopback_addresses_are_served() -> None:
    with command("serve") as process:
        port = json.loads(line_with(process.stdout, ""))["port"]
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        if has_ipv6():
            socket.create_connection(("::1", port), timeout=10).close()
        assert end(process, signal.SIGTERM)[0] == 0


def test_a_host_that_others_reach_is_warned_of() -> None:
    with command("serve", "--host", "0.0.0.0", "--port", "0") as process:
        ready = json.loads(line_with(process.stdout, ""))
        assert ready["host"] == "127.0.0.1"
        _, _, err = end(process, signal.SIGTERM)
    assert err.startswith("WARNING: other machines can reach 0.0.0.0: ")


def test_tls_with_a_certificate_from_files(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "both.pem")
    )
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with command("serve", "--tls-cert", str(tmp_path / "both.pem")) as process:
        ready = json.loads(line_with(process.stdout, ""))
        assert ready["urls"]["websocket"].startswith("wss://")
        address = ["--host", "127.0.0.1", "--port", str(ready["port"])]
        address += ["--ca", str(tmp_path / "ca.pem"), "--key", "demo"]
        assert main(["doctor", *address, "room"]) == 0
        assert end(process, signal.SIGTERM)[0] == 0


def test_files_for_other_programs_are_written_for_the_owner_only(tmp_path: Path) -> None:
    ready_file, env_file = tmp_path / "ready.json", tmp_path / ".env"
    given = ["--ready-file", str(ready_file), "--env-file", str(env_file), "--app", "7:key:a $b"]
    with command("serve", *given) as process:
        ready = json.loads(line_with(process.stdout, ""))
        assert end(process, signal.SIGTERM)[0] == 0
    assert json.loads(ready_file.read_text()) == ready
    env = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert env["PUSHER_APP_SECRET"] == env["REVERB_APP_SECRET"] == '"a \\$b"'
    assert env["PUSHER_PORT"] == env["VITE_REVERB_PORT"] == str(ready["port"])
    assert env["VITE_PUSHER_APP_KEY"] == "key"
    assert env["PUSHER_AUTH_URL"] == ready["urls"]["auth"]
    assert {path.stat().st_mode & 0o777 for path in (ready_file, env_file)} == {0o600}


def test_refusals_are_logged_as_json() -> None:
    with command("serve", "--log", "json") as process:
        ready = json.loads(line_with(process.stdout, ""))
        address = ["--host", "127.0.0.1", "--port", str(ready["port"]), "--no-tls"]
        assert main(["listen", *address, "--key", "wrong", "room"]) == 3
        _, _, err = end(process, signal.SIGTERM)
    [line] = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert (line["kind"], line["code"], line["key"]) == ("connection refused", 4001, "wrong")


def test_at_a_terminal_everything_that_happens_is_logged() -> None:
    with at_terminal("serve", size=(24, 200)) as at:
        at.wait_until(lambda lines: any('"port"' in line for line in lines))
        ready = json.loads(next(line for line in at.lines if line.startswith("{")))
        url = f"ws://127.0.0.1:{ready['port']}/app/demo"
        event = ["private-x", "client-x", "1"]
        assert main(["trigger", "--url", url, "--secret", "demo-secret", *event]) == 0
        for text in ("connected to app demo", "subscribed to private-x", "client event client-x"):
            at.wait_until(lambda lines, text=text: any(text in line for line in lines))  # type: ignore[misc]  # mypy cannot infer a default
        at.process.send_signal(signal.SIGTERM)
        assert at.end() == 0


def test_the_control_api_is_served_on_demand() -> None:
    with command("serve", "--control") as process:
        ready = json.loads(line_with(process.stdout, ""))
        with urllib.request.urlopen(f"{ready['urls']['control']}/connections") as answer:
            assert json.load(answer) == []
        assert end(process, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--app", "7:seven"], "--app is written ID:KEY:SECRET"),
        (["--app", "1:a:b", "--app", "1:c:d"], "two apps have the same id or key"),
        (["--user", "x"], "--user is written TOKEN=ID:NAME"),
        (["--tls-key", "k.pem"], "--tls-key needs --tls-cert"),
        (["--tls-cert", "nowhere.pem"], "nowhere.pem: not a certificate and its key in PEM: "),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["--webhook", "back.test"], "--webhook: a webhook has an http or https URL"),
        (["--encryption-master-key", "AAAA"], "an encryption master key has 32 bytes"),
        (["--env-file", "/nowhere/.env"], "/nowhere/.env: No such file or directory"),
    ],
)
def test_invalid_settings_end_with_status_2(
    flags: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *flags]) == 2
    assert message in capfd.readouterr().err


def test_a_port_that_is_taken_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"cannot serve on port {port}: Address already in use\n"


def test_it_keeps_serving_when_its_line_is_not_read() -> None:
    with command("serve", stdin=None) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        line_with(process.stderr, "try: pusher-proto listen")
        assert end(process, signal.SIGTERM)[::2] == (0, "")
