"""The contents of the wheel and of the sdist: `python -m tests.contents FOLDER`, after `python -m build`.

The wheel has every module, the marks of typed packages, the licence, and nothing else; the sdist has everything that is
needed to build it and to run the tests.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PACKAGES = ("pusher_proto", "pusher_anyio", "pusher_sync")
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
SHIPPED = BUILD["sdist"]["include"]


def tracked() -> set[str]:
    """Return the files of the repository, as git knows them."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.splitlines())


def in_wheel(path: Path) -> list[str]:
    """Return what is wrong with the wheel, line by line."""
    names = set(zipfile.ZipFile(path).namelist())
    meta = {name for name in names if PurePosixPath(name).parts[0].endswith(".dist-info")}
    wanted = {
        name.removeprefix("src/")
        for name in tracked()
        if name.startswith("src/") and name.endswith((".py", "py.typed"))
    }
    wrong = [f"the wheel lacks {name}" for name in sorted(wanted - names)]
    wrong += [f"the wheel has {name}" for name in sorted(names - meta - wanted)]
    wrong += [f"{each} has no py.typed" for each in PACKAGES if f"{each}/py.typed" not in names]
    for ending in ("licenses/LICENSE", "entry_points.txt"):
        if not any(name.endswith(ending) for name in meta):
            wrong.append(f"the wheel has no {ending}")
    return wrong


def in_sdist(path: Path) -> list[str]:
    """Return what is wrong with the sdist, line by line."""
    with tarfile.open(path) as archive:
        members = [each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()]
    wanted = {name for name in tracked() if name in SHIPPED or name.partition("/")[0] in SHIPPED}
    made = {"PKG-INFO", ".gitignore"}
    names = set(members)
    wrong = [f"the sdist lacks {name}" for name in sorted(wanted - names)]
    wrong += [f"the sdist has {name}" for name in sorted(names - wanted - made)]
    wrong += [f"there is no {name}" for name in SHIPPED if not (ROOT / name).exists()]
    return wrong


def main(folder: Path) -> int:
    """Print what is wrong, or one line that says that nothing is, and return the exit status."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    wrong = in_wheel(wheel) + in_sdist(sdist)
    good = f"{wheel.name} and {sdist.name} hold what they should"
    sys.stdout.write(("\n".join(wrong) or good) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
