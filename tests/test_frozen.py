"""Programs frozen into a folder by PyInstaller: the client, encrypted channels and the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
import base64, sys

import pusher_anyio.__main__
from pusher_proto import AuthResponse, Options
from pusher_proto._wire.secretbox import read_key

if sys.argv[1:] == ["encrypted"]:
    from pusher_proto.session import Session

    session = Session(Options.from_host("h.test", key="k", auth=AuthResponse("k:s")))
    session.subscribe("private-encrypted-x", now=0.0)
    print(read_key(base64.b64encode(bytes(32)).decode()))
else:
    sys.exit(pusher_anyio.__main__.main())
"""


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the frozen program."""
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed")
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "PyInstaller", "--onedir", "--noconfirm", "program.py"]
    done = subprocess.run(
        [*command, "--log-level", "ERROR"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "dist" / "program" / "program"


def run(program: Path, *arguments: str) -> str:
    """Run the frozen program and return what it prints."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_W28_encrypted_channels_work_in_a_frozen_program(frozen: Path) -> None:
    assert run(frozen, "encrypted") == "Key(***)\n"


@pytest.mark.parametrize("command", ["demo", "serve", "listen", "who", "trigger", "doctor"])
def test_W28_a_frozen_command_line_has_its_commands(frozen: Path, command: str) -> None:
    assert command in run(frozen, command, "--help")


def test_W28_without_pynacl_subscribing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from pusher_proto import AuthResponse, Options, UnsupportedFeature
    from pusher_proto.session import Session

    session = Session(Options.from_host("h.test", key="k", auth=AuthResponse("k:s")))
    monkeypatch.setitem(sys.modules, "nacl.secret", None)
    with pytest.raises(
        UnsupportedFeature, match=r"need PyNaCl, which cannot be imported .* install pynacl"
    ):
        session.subscribe("private-encrypted-x", now=0.0)
    session.subscribe("private-x", now=0.0)
