"""`pusher-proto completion`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pusher_anyio.__main__ import main
from pusher_anyio._cli._help import EXAMPLES, SHELLS

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="this system has no bash")


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_each_shell(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert all(command in out for command in EXAMPLES)


@needs_bash
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["d"], ["demo", "doctor"]),
        (["listen", "--ev"], ["--event"]),
        (["who", "--on"], ["--once"]),
        (["completion", "f"], ["fish"]),
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
            f"source {script}",
            f"COMP_WORDS=({' '.join(line)}); COMP_CWORD={len(words)}",
            f"COMP_LINE='{' '.join(line)}'; COMP_POINT={len(' '.join(line))}",
            "_shtab_pusher_proto pusher-proto",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], capture_output=True, text=True, cwd=tmp_path, timeout=30
    )
    assert sorted(done.stdout.split()) == expected, done.stderr


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert capfd.readouterr() == (
        "",
        "completion needs the extra `cli`: pip install 'pusher-proto[cli]'\n",
    )
