"""The same recording gives byte-identical effects and events: on two runs, and on every Python at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from determinism import reported
from fuzz.world import Weather

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[1]
NEEDED = "import sys, h11, msgspec, nacl, wsproto; assert sys.version_info >= (3, 11)"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The events of three clients in a storm, each with another way to get authorizations."""
    path = tmp_path_factory.mktemp("recordings") / "storm"
    weather = Weather(11, records=True)
    weather.run(12)
    for app in weather.apps:
        path.with_suffix(f".{app.number}").write_text("".join(app.recording))
    assert {app.source for app in weather.apps} == {"own key", "endpoint", "application"}
    return path


def of(recording: Path) -> list[Path]:
    return sorted(recording.parent.glob(f"{recording.name}.*"))


def run(python: str, path: Path, hash_seed: str) -> str:
    """Return what another process makes of it."""
    environment = {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": hash_seed}
    environment |= {"PYTHONUTF8": "1", "PATH": os.environ.get("PATH", "")}
    done = subprocess.run(
        [python, "-W", "error", str(ROOT / "tests" / "determinism.py"), str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def others() -> list[str]:
    """Return the other Pythons that have what the package needs: named by PUSHER_PROTO_PYTHONS, or on the PATH."""
    named = os.environ.get("PUSHER_PROTO_PYTHONS", "").split(os.pathsep)
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    known = [python for python in [*named, *found] if python]
    able = [
        python
        for python in known
        if subprocess.run([python, "-c", NEEDED], capture_output=True, check=False).returncode == 0
    ]
    missing = set(named) - set(able) - {""}
    assert not missing, f"these lack what the package needs: {missing}"
    return [python for python in able if Path(python) != Path(sys.executable)]


def test_two_runs_give_the_same(recording: Path) -> None:
    for path in of(recording):
        first = list(reported(path))
        assert len(first) > 100
        assert list(reported(path)) == first


def test_another_process_gives_the_same_whatever_its_hashes(recording: Path) -> None:
    path = of(recording)[0]
    expected = "".join(f"{line}\n" for line in reported(path))
    for hash_seed in ("0", "12345"):
        assert run(sys.executable, path, hash_seed) == expected


def test_every_other_python_gives_the_same(recording: Path) -> None:
    pythons = others()
    if not pythons:
        pytest.skip("no other Python at hand that has the dependencies (PUSHER_PROTO_PYTHONS)")
    for path in of(recording):
        expected = "".join(f"{line}\n" for line in reported(path))
        for python in pythons:
            assert run(python, path, "0") == expected, python
