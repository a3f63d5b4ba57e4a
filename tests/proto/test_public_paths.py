"""Every public module can be imported by its path, and has all names that it promises."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import pytest

import pusher_proto

MODULES = sorted(
    module.name
    for module in walk_packages(pusher_proto.__path__, "pusher_proto.")
    if not any(part.startswith("_") for part in module.name.split("."))
)


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_has_the_names_that_it_promises(name: str) -> None:
    module = import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("pusher_proto.backoff", "delay_before"),
        ("pusher_proto.closing", "FAILURES"),
        ("pusher_proto.testing", "Server"),
        ("pusher_proto.recording", "replay"),
    ],
)
def test_a_path_of_the_first_preview_still_works(path: str, name: str) -> None:
    assert hasattr(import_module(path), name)
