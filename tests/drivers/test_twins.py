"""Both clients have the same names, parameters, defaults, annotations and docstrings."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import pusher_anyio
import pusher_sync

CLASSES = ("Client", "Channel", "Stream", "Merged", "Binding", "User")
TWINS = {
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
}
ONLY_ASYNC = {"Client": {"aclose"}}
"""Names of the asynchronous twin alone: `contextlib.aclosing` calls it."""
OTHER_PARAMETERS = {"Client.call_from_thread"}
"""Methods that await an awaitable in the asynchronous twin, and return it in the blocking one."""
MORE_IN_BLOCKING = {"Client.run": {"timeout"}}
"""Parameters that only the blocking twin has: it calls the handlers in `run`, and so must be able to come back."""
OTHER_WORDS = {
    "Client", "Client.run", "Client.stop", "Client.close", "Client.call_from_thread", "open_pusher", "Binding._run",
}  # fmt: skip
"""Where the docstrings say how the twins differ; all others are the same."""


def members(cls: type) -> dict[str, Any]:
    """Return what belongs to the vocabulary of a class, under the names of the blocking twin."""
    found: dict[str, Any] = {}
    for name in dir(cls):
        if not name.startswith("_") or name in TWINS or name in TWINS.values():
            found[TWINS.get(name, name)] = inspect.getattr_static(cls, name)
    for name in ONLY_ASYNC.get(cls.__name__, ()):
        found.pop(name, None)
    return found


def function_of(member: Any) -> FunctionType | None:
    if isinstance(member, property):
        member = member.fget
    member = getattr(member, "__func__", member)
    return member if isinstance(member, FunctionType) else None


def parameters(function: Any, more: frozenset[str] = frozenset()) -> list[str]:
    signature = inspect.signature(function)
    return [
        *(str(each) for name, each in signature.parameters.items() if name not in more),
        f"-> {signature.return_annotation}".replace("Opening[Client]", "Client"),
    ]


def words(documented: Any) -> str:
    text = inspect.getdoc(documented) or ""
    return re.sub(r"\b(?:async|await) ", "", text)


def test_both_packages_export_the_same_names() -> None:
    assert pusher_anyio.__all__ == pusher_sync.__all__


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_have_the_same_members(name: str) -> None:
    one, other = getattr(pusher_anyio, name), getattr(pusher_sync, name)
    assert members(one).keys() == members(other).keys()
    assert [each.__name__ for each in one.__mro__ if each.__name__ != "Leaving"] == [
        each.__name__ for each in other.__mro__
    ]
    if name not in OTHER_WORDS:
        assert words(one) == words(other)


@pytest.mark.parametrize("name", CLASSES)
def test_the_methods_have_the_same_parameters_and_docstrings(name: str) -> None:
    one, other = members(getattr(pusher_anyio, name)), members(getattr(pusher_sync, name))
    for method, mine in one.items():
        where, mine, yours = f"{name}.{method}", function_of(mine), function_of(other[method])
        assert (mine is None) == (yours is None), where
        if mine is None:
            continue
        more = frozenset(MORE_IN_BLOCKING.get(where, ()))
        assert where in OTHER_PARAMETERS or parameters(mine) == parameters(yours, more), where
        assert not more or more <= inspect.signature(yours).parameters.keys()  # type: ignore[arg-type]  # a function, as its twin is
        if where not in OTHER_WORDS:
            assert words(mine) == words(yours), where


def test_clients_are_opened_in_the_same_way() -> None:
    assert parameters(pusher_anyio.open_pusher) == parameters(pusher_sync.open_pusher)


def test_streams_are_merged_in_the_same_way() -> None:
    assert parameters(pusher_anyio.merge) == parameters(pusher_sync.merge)
    assert words(pusher_anyio.merge) == words(pusher_sync.merge)


@pytest.mark.parametrize("module", ["_client", "_channel", "_merging"])
def test_the_files_have_the_same_order(module: str) -> None:
    mine, yours = (definitions(package, module) for package in (pusher_anyio, pusher_sync))
    common = set(mine) & set(yours)
    assert [each for each in mine if each in common] == [each for each in yours if each in common]
    extra = {f"{cls}.{name}" for cls, names in ONLY_ASYNC.items() for name in names}
    assert {each for each in mine if not each.split(".")[-1].startswith("_")} - extra <= common


def definitions(package: Any, module: str) -> list[str]:
    """Return the classes and functions of a module, in the order of the file."""
    tree = ast.parse(Path(package.__file__).with_name(f"{module}.py").read_text())
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.name)
        if isinstance(node, ast.ClassDef):
            found += [
                f"{node.name}.{TWINS.get(each.name, each.name)}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
    return list(dict.fromkeys(found))


OTHERS = ("testing", "__main__", "_pytest_plugin")
"""The parts of the package besides the driver: a server for tests, and the command line."""


@pytest.mark.parametrize(
    "package", [pusher_anyio, pusher_sync], ids=lambda package: package.__name__
)
def test_a_driver_contains_no_word_of_the_protocol(package: Any) -> None:
    folder = Path(package.__file__).parent
    files = [each for each in folder.glob("*.py") if each.stem not in OTHERS]
    files += (folder / "_io").glob("*.py")
    assert len(files) >= 7
    for file in files:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):  # what is documentation may say anything
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]  # the nodes looked at have a body
        code = ast.unparse(tree).lower()
        for word in ("pusher:", "json", "websocket", "http"):
            assert word not in code, (file, word)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
