"""The metadata of the package."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pusher_proto

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CONSTRAINTS = ROOT / "tests" / "constraints-lowest.txt"

# Dependencies of tests and development are not tested at their lower bounds: they may be new.
OPTIONAL = PROJECT["optional-dependencies"]
REQUIRED = [*PROJECT["dependencies"], *OPTIONAL["cli"], *OPTIONAL["fast"], *OPTIONAL["trio"]]


def lower_bounds() -> dict[str, str]:
    """Return the lowest version of each dependency; each has one, and no upper bound."""
    matches = [re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+)", requirement) for requirement in REQUIRED]
    return {match[1]: match[2] for match in matches if match is not None}


def test_each_dependency_has_a_lower_bound_and_no_upper_one() -> None:
    assert len(lower_bounds()) == len(REQUIRED)


def test_the_constraints_for_the_lowest_versions_are_the_lower_bounds() -> None:
    lines = CONSTRAINTS.read_text().splitlines()
    constraints = [line for line in lines if not line.startswith("#")]
    assert constraints == [f"{name}=={low}" for name, low in sorted(lower_bounds().items())]


# Modules that an import must not load, because a program that starts often pays for them each time.
HEAVY = {
    "pusher_proto": {
        "anyio",
        "argparse",
        "asyncio",
        "nacl",
        "pusher_proto.testing",
        "socket",
        "ssl",
        "trio",
    },
    "pusher_sync": {"anyio", "argparse", "asyncio", "nacl", "pusher_proto.testing", "trio"},
    "pusher_anyio": {"argparse", "asyncio", "nacl", "pusher_proto.testing", "trio"},
}


@pytest.mark.parametrize("package", HEAVY)
def test_importing_a_package_brings_in_nothing_heavy_that_it_can_do_without(package: str) -> None:
    names = "Session" if package == "pusher_proto" else "open_pusher"
    code = f"import sys; from {package} import {names}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert package in modules
    assert modules & HEAVY[package] == set()


def test_the_version_is_in_one_place() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "version" in PROJECT["dynamic"]
    assert re.findall(r"^## ([0-9.]+)", text, re.MULTILINE)[0] == pusher_proto.__version__


# The long description on a package index.


def described() -> str:
    """Return the README as the build writes it into the package."""
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert hook["fragments"] == [{"path": "README.md"}]
    text = (ROOT / "README.md").read_text()
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    return text


def test_the_description_has_no_link_that_is_dead_on_a_package_index() -> None:
    links = re.findall(r"\[[^\]]+\]\(([^)]+)\)", described())
    assert "https://pusher.com/docs/channels/" in links
    repository = PYPROJECT["tool"]["pusher-proto"]["repository"]
    ours = [link for link in links if not link.startswith("https://pusher.com/")]
    if repository:
        assert all(link.startswith((f"{repository}/", "#")) for link in ours)
        assert f"{repository}/blob/main/docs/index.md" in ours
        assert PROJECT["urls"]["Repository"] == repository
    else:
        assert ours == []
        assert "urls" not in PROJECT
    assert "[all pages]" not in described()


def test_the_package_is_described_by_what_the_build_makes_of_the_readme(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    pytest.importorskip(
        "hatch_fancy_pypi_readme", reason="hatch-fancy-pypi-readme is not installed"
    )
    code = (
        "from hatchling.metadata.core import ProjectMetadata; from hatchling.plugin.manager import PluginManager; "
        f"print(ProjectMetadata({str(ROOT)!r}, PluginManager()).core.readme)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == described().strip()
