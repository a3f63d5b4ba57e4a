"""The commands and programs of docs/certificates.md, against a server with such certificates."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

import pusher_sync
from pusher_anyio.testing import serve_in_thread
from pusher_proto import ConnectionFailed, Options
from pusher_proto.testing import App, Server, ServerOptions
from pusher_sync import open_pusher

TEXT = (Path(__file__).parents[2] / "docs" / "certificates.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def served_by(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_a_self_signed_certificate_is_refused_until_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl is not installed")
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[0].partition("pusher-proto")[0]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    with serve_in_thread(ssl_context=context) as server:
        options = Options.from_host("localhost", key="demo", port=server.port)
        with open_pusher(options) as client, pytest.raises(ConnectionFailed) as raised:
            client.wait_connected(5)
        assert "self-signed certificate" in str(raised.value)
        exec(BLOCKS[0].replace("6443", str(server.port)), {})
        assert re.fullmatch(r"\d+\.\d+\n", capsys.readouterr().out)
    names: dict[str, Any] = {}
    exec(BLOCKS[1], names)
    assert names["options"].auth.ssl_context is names["context"]


@pytest.mark.parametrize("name", ["localhost", "app.test"])
def test_a_private_authority_and_a_wrong_name_have_the_messages_of_the_page(name: str) -> None:
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    with serve_in_thread(ssl_context=served_by(authority, name)) as server:
        options = Options.from_host("localhost", key="demo", port=server.port)
        context = None if name == "localhost" else trusted
        with (
            open_pusher(options, ssl_context=context) as client,
            pytest.raises(ConnectionFailed) as raised,
        ):
            client.wait_connected(5)
    rows = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)
    message = rows[1] if name == "localhost" else rows[2]
    assert message in str(raised.value).lower()


def test_a_site_of_valet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The site's names lead to the test server, and the file of the authority is where Valet has it."""
    authority = trustme.CA()
    path = tmp_path / ".config" / "valet" / "CA" / "LaravelValetCASelfSigned.pem"
    path.parent.mkdir(parents=True)
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    machine = Server([App(id="1", key="KEY", secret="secret")], ServerOptions(dialect="reverb"))
    asked: list[tuple[str, int]] = []
    with serve_in_thread(machine, ssl_context=served_by(authority, "app.test")) as server:

        def connect(host: str, port: int) -> socket.socket:
            asked.append((host, port))
            return socket.create_connection(("127.0.0.1", server.port))

        monkeypatch.setattr(pusher_sync, "open_pusher", partial(open_pusher, connect=connect))
        names: dict[str, Any] = {}
        exec(BLOCKS[2], names)
    assert capsys.readouterr().out == "private-orders\n"
    assert asked == [("app.test", 8080), ("app.test", 443)]


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    names: dict[str, Any] = {}
    exec(BLOCKS[3], names)
    assert names["options"].parsed_proxy().host == "proxy.test"
