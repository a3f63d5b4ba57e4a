"""The reference has every public name with its fields, members, methods and constants, and nothing that is internal."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

import pusher_anyio
import pusher_anyio.testing
import pusher_proto
import pusher_proto.laravel
import pusher_proto.testing
import pusher_sync
import pusher_sync.testing
from pusher_proto import vocabulary

ROOT = Path(__file__).parents[1]
INTERNAL = {
    ("Binding", name): "the client's side of a handler"
    for name in (
        "came", "claims", "close", "context", "dropped", "episode", "failed", "full", "half", "limit", "look_at",
        "may_want", "name", "once", "picky", "place", "predicate_raised", "put", "quick", "seen", "served", "special",
        "take", "took", "wants",
    )
}  # fmt: skip
"""Public attributes that are not for users, with the reason."""


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the full names of everything in the reference, which is built for this."""
    pytest.importorskip("sphinx", reason="the extra `dev` has Sphinx")
    built = tmp_path_factory.mktemp("reference")
    settings = ("root_doc=api/pusher_proto", "exclude_patterns=*.md", "html_theme=basic")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-Q", *(f"-D{one}" for one in settings), "docs", built],
        cwd=ROOT,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    # Four lines of text, then compressed lines of a name, its kind and three more fields.
    inventory = (built / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(inventory).decode().splitlines()
    return {line.split(" ")[0] for line in lines if " py:" in line and " py:module " not in line}


def names_of(module: Any) -> list[str]:
    shared = set(vocabulary.__all__) if module in (pusher_anyio, pusher_sync) else set()
    return sorted(set(module.__all__) - shared)


def parts_of(value: type) -> set[str]:
    """Return the public attributes of a class that come from this project."""
    parts: set[str] = set()
    for base in value.__mro__:
        if base.__module__.startswith("pusher_"):
            parts |= {*vars(base), *inspect.get_annotations(base)}
    return {
        part for part in parts if not part.startswith("_") and not re.fullmatch(r"meaning", part)
    }


MODULES = [
    pusher_proto,
    pusher_anyio,
    pusher_sync,
    pusher_proto.laravel,
    pusher_proto.testing,
    pusher_anyio.testing,
    pusher_sync.testing,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_every_public_name_and_its_parts_are_in_the_reference(
    module: Any, documented: set[str]
) -> None:
    missing = []
    short = {".".join(name.split(".")[-2:]) for name in documented}
    for name in names_of(module):
        value, full = getattr(module, name), f"{module.__name__}.{name}"
        if full not in documented:
            missing.append(full)
        elif isinstance(value, type):
            # A part may be with a base class that has an entry itself.
            homes = [base.__name__ for base in value.__mro__]
            found = {
                part
                for part in parts_of(value)
                if (name, part) not in INTERNAL
                and not any(f"{home}.{part}" in short for home in homes)
            }
            missing += sorted(f"{full}.{part}" for part in found)
    assert missing == []


def test_no_internals_of_bindings_are_in_the_reference(documented: set[str]) -> None:
    shown = {name for name in documented if re.match(r"pusher_\w+\.Binding\.", name)}
    parts = {name.rpartition(".")[2] for name in shown}
    assert {part for part in parts if not part.startswith("_")} == {"cancel", "handler"}


def test_nothing_of_another_project_is_in_the_reference(documented: set[str]) -> None:
    assert {name for name in documented if not name.startswith("pusher_")} == set()
