"""What the package says of itself to pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = ROOT / "tests" / "constraints-lowest.txt"

# What only tests and development need is not held at its lower bound: their tools may be new.
REQUIRED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["trio"]]


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
