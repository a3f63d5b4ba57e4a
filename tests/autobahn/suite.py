"""The Autobahn test suite, installed once for CPython 2.7, and its results for our client.

The fuzzing server listens on all addresses. So it runs in its own network namespace, together
with the client: nothing else reaches it.

    PYTHONPATH=tests python -m autobahn.suite 1 2 3 4 5 6 7 9 10
    PYTHONPATH=tests python -m autobahn.suite 12.1 12.4 13

The second are compressed texts (the client echoes no compressed binary messages): they take long, and each has a
time limit that a busy machine exceeds, so they are for a person to run.

A few cases are NON-STRICT by how reads fall; `FRAMES_IN_ONE_READ` in `test_autobahn` says which and why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SECTIONS", "AutobahnError", "Result", "prepare", "run"]

SECTIONS = ("1", "2", "3", "4", "5", "6", "7", "10")
"""All but the large messages of 9, which take minutes; 8 does not exist, and 12 and 13 are compression."""

_RELEASE = "0.8.2"
_HERE = Path(__file__).parent
_INSTALLED = _HERE / ".cache" / f"autobahntestsuite-{_RELEASE}"
_INSTALL_TIMEOUT = 300.0
_RUN_TIMEOUT = 900.0
# The process and all that it starts end with us, however we end.
_OWN_NETWORK = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--")
_PORT = 9001


class AutobahnError(RuntimeError):
    """The suite did not run to its end."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case."""

    case: str
    behavior: str
    """OK, INFORMATIONAL, NON-STRICT, UNIMPLEMENTED or FAILED."""
    close: str
    """The same for the way the connection was closed: OK, INFORMATIONAL, or what was wrong."""

    @property
    def passed(self) -> bool:
        good = ("OK", "INFORMATIONAL")
        return self.behavior in good and self.close in good

    @property
    def section(self) -> str:
        return self.case.partition(".")[0]


def prepare() -> str | None:
    """Install the suite, unless it is there. Return None, or why it cannot run here."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if (reason := _why_not([*_OWN_NETWORK, "true"])) is not None:
        return f"no network namespace of its own (which needs root): {reason}"
    python = _python()
    if python is None:
        return "there is no CPython 2.7"
    return None if _INSTALLED.exists() else _install(python)


def run(sections: Sequence[str], piece: int = 65536) -> list[Result]:
    """Run all cases of `sections` (or single cases), what is received given to our layer in pieces of this many bytes.

    `prepare` must have succeeded before.
    """
    python = _python()
    assert python is not None
    with tempfile.TemporaryDirectory() as directory:
        spec = Path(directory, "spec.json")
        reports = Path(directory, "reports")
        spec.write_text(
            json.dumps(
                {
                    "url": f"ws://127.0.0.1:{_PORT}",
                    "outdir": str(reports),
                    "cases": [
                        section if section.count(".") == 2 else f"{section}.*"
                        for section in sections
                    ],
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                    # A busy machine is not to be taken for a wrong answer.
                    "options": {"openHandshakeTimeout": 60, "closeHandshakeTimeout": 60},
                }
            )
        )
        # A file rather than a pipe: no one reads while it runs.
        with Path(directory, "log").open("w+b") as log:
            compression = any(section.startswith(("12", "13")) for section in sections)
            command = [*_OWN_NETWORK, sys.executable, str(_HERE / "testee.py"), str(piece)]
            command.append("compression" if compression else "plain")
            command += [python, "-u", "-c"]
            start = f"import sys; sys.path.insert(0, {str(_INSTALLED)!r})\n"
            start += "from autobahntestsuite.wstest import run; run()"
            options = ["-m", "fuzzingserver", "-s", str(spec), "-u", "0"]
            try:
                done = subprocess.run(
                    [*command, start, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=_RUN_TIMEOUT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise AutobahnError(
                    f"not done within {_RUN_TIMEOUT:g} s\n{_tail(log.name)}"
                ) from None
            if done.returncode != 0 or not (reports / "index.json").exists():
                raise AutobahnError(f"ended with {done.returncode}\n{_tail(log.name)}")
        return list(_read(json.loads((reports / "index.json").read_text())))


def _read(index: dict[str, dict[str, dict[str, str]]]) -> Iterator[Result]:
    (cases,) = index.values()
    for case in sorted(cases, key=lambda case: [int(part) for part in case.split(".")]):
        yield Result(case, cases[case]["behavior"], cases[case]["behaviorClose"])


def _tail(path: str) -> str:
    return Path(path).read_text(errors="replace")[-4000:]


def _python() -> str | None:
    """Return a CPython 2.7 that runs: on the PATH, or among the versions of pyenv."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which("python2.7"), *map(str, root.glob("versions/2.7.*/bin/python2.7"))]
    return next(
        (path for path in found if path and _why_not([path, "-m", "pip", "-V"]) is None), None
    )


def _why_not(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")


def _install(python: str) -> str | None:
    """Install into a directory beside, and move it into its place when it is whole."""
    _INSTALLED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_INSTALLED.parent) as directory:
        site = Path(directory, "site")
        pip = [python, "-m", "pip", "install", "--quiet", f"--target={site}"]
        pip.append(f"autobahntestsuite=={_RELEASE}")
        try:
            done = subprocess.run(
                pip, capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"pip cannot be run: {error}"
        if done.returncode != 0:
            return f"pip ended with {done.returncode}:\n{done.stderr[-2000:]}"
        # Without this the namespace package is found only through the .pth file that --target leaves out.
        (site / "zope" / "__init__.py").touch()
        try:
            site.rename(_INSTALLED)
        except OSError:
            if not _INSTALLED.exists():  # else another process was faster
                raise
    return None


def main(sections: Sequence[str]) -> int:
    """Print how many cases of each section ended how; return 1 when one failed."""
    if (reason := prepare()) is not None:
        print(reason, file=sys.stderr)  # noqa: T201 - it is the output
        return 2
    results = run(sections)
    for section in sections:
        mine = [result for result in results if f"{result.case}.".startswith(f"{section}.")]
        counts = {
            kind: sum(r.behavior == kind for r in mine) for kind in {r.behavior for r in mine}
        }
        print(f"section {section:>2}: {len(mine):3} cases, {counts}")  # noqa: T201 - it is the output
    bad = [result for result in results if not result.passed]
    for result in bad:
        print(f"  {result.case}: {result.behavior}, close {result.close}")  # noqa: T201 - it is the output
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or SECTIONS))
