"""`pusher-proto completion`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pusher_anyio.__main__ import main
from pusher_anyio.cli._help import EXAMPLES

SHELLS = ("bash", "zsh", "fish")
PROGRAM = Path(sys.executable).with_name("pusher-proto")

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="this system has no bash")
needs_program = pytest.mark.skipif(not PROGRAM.exists(), reason="the package is not installed")


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_each_shell(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert f"_PUSHER_PROTO_COMPLETE={shell}_complete" in out


@needs_bash
@needs_program
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["d"], ["demo", "doctor"]),
        (["listen", "--ev"], ["--event"]),
        (["who", "--on"], ["--once"]),
        (["completion", "f"], ["fish"]),
        (["serve", "--dialect", "r"], ["reverb"]),
        (["replay", "rec"], ["recording.jsonl"]),
    ],
    ids=" ".join,
)
def test_bash_completes_commands_options_and_files(
    words: list[str], expected: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capfd.readouterr().out)
    (tmp_path / "recording.jsonl").touch()
    line = ["pusher-proto", *words]
    asked = "\n".join(
        [
            f"source {script} 2>/dev/null",  # `compopt` wants a shell that completes right now
            "compopt() { [ $2 = default ] && COMPREPLY=($(compgen -f -- ${COMP_WORDS[COMP_CWORD]})); }",
            f"COMP_WORDS=({' '.join(line)}); COMP_CWORD={len(words)}",
            f"_pusher_proto_completion pusher-proto {words[-1]}",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    path = {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", asked],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | path,
        timeout=30,
    )
    assert sorted(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize("library", ["click", "rich"])
@pytest.mark.parametrize("line", [["completion", "bash"], ["--help"]], ids=" ".join)
def test_without_a_library_of_the_extra_one_line_says_what_to_install(
    library: str,
    line: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert main(line) == 1
    expected = (
        "pusher-proto: the command line needs the extra `cli`: pip install 'pusher-proto[cli]', "
        "or pip install '.[cli]' in a clone\n"
    )
    assert capfd.readouterr() == ("", expected)


def test_every_command_can_be_completed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capfd.readouterr().out
    assert "complete -o nosort -F _pusher_proto_completion pusher-proto" in script
    assert set(EXAMPLES) >= {"completion"}
