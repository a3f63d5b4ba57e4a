"""The architecture, checked on the source: layers, purity, vocabulary, what is public, and size."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import tokenize
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import pusher_anyio
import pusher_proto
import pusher_proto.testing
import pusher_sync
import pusher_sync.pysher

SRC = Path(__file__).parents[1] / "src"
CORE = SRC / "pusher_proto"
KIT = CORE / "testing"
DRIVERS = [SRC / "pusher_anyio", SRC / "pusher_sync"]

LONGEST = 500

# A room imports from its own modules and from rows above its own. The client's vocabulary is one row: what it
# holds inside.
ROWS: list[set[str]] = [
    {"_base", "errors", "_version"},
    {"_wire"},
    {
        "auth", "backoff", "effects", "events", "gaps", "members", "names", "options",
        "_more_options", "outbox", "progress", "signing", "states", "stats",
    },
    {"_protocol"},
    {"_transports"},
    {"_connection", "_auth"},
    {"_channels"},
    {"session", "_session", "recording", "replay"},
    {"driving", "_client", "client", "closing", "laravel", "vocabulary"},
]  # fmt: skip

STRANGERS = [{"_connection", "_auth"}, {"driving", "_client"}]
"""Rooms of one row that do not know each other."""

IMPURE = {
    "anyio", "asyncio", "os", "secrets", "select", "selectors", "signal", "socket", "ssl",
    "subprocess", "sys", "threading", "time", "trio",
}  # fmt: skip
IMPURE_IN = {"driving/tls.py": {"ssl"}}
"""The one impure import of the core: TLS over bytes in memory."""
INSTALLED = {"h11", "idna", "msgspec", "nacl", "orjson", "wsproto"}
"""Packages that the core may import besides the standard library."""

FOR_ITS_CLIENTS = {"running": {"auth", "options"}, "messages": {"_wire", "errors"}}
"""Modules that parts of `testing` may know in addition, such as the one that returns options for clients."""

PROTOCOL = re.compile(r"pusher:|pusher_internal|json|websocket|http", re.IGNORECASE)

PACKAGES = [pusher_proto, pusher_proto.testing, pusher_anyio, pusher_sync, pusher_sync.pysher]

files = sorted(SRC.rglob("*.py"))
PLUGIN = KIT / "pytest_plugin.py"
"""The former home of the plugin, which belongs to pytest and not to the core: it imports the present one."""
CLI = SRC / "pusher_anyio" / "cli"
BOTH_DRIVERS = {SRC / "pusher_anyio" / "_pytest_plugin.py", *CLI.glob("*.py")}
"""Modules of one driver that use the other. The fixtures open servers of one and clients of the other; so does the
command line, whose printing must not hold up a connection: the blocking client has a thread for it."""
core_files = sorted(path for path in CORE.rglob("*.py") if path != PLUGIN)
in_every_file = pytest.mark.parametrize("path", files, ids=lambda path: str(path.relative_to(SRC)))
in_the_core = pytest.mark.parametrize(
    "path", core_files, ids=lambda path: str(path.relative_to(CORE))
)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def for_types_alone(tree: ast.Module) -> set[ast.AST]:
    """Return all that stands under `if TYPE_CHECKING:`; it is not imported when the program runs."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def imports(
    path: Path, *, for_types: bool = False
) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Yield the full name of each module that `path` imports when it runs; with `for_types` also those for types."""
    tree = parsed(path)
    unseen = set() if for_types else for_types_alone(tree)
    package = path.relative_to(SRC).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join([*above, *([node.module] if node.module else [])]), node


def within(path: Path, package: str, *, for_types: bool = False) -> set[str]:
    """Return the modules right under `package` that `path` imports."""
    found = [
        name.removeprefix(f"{package}.")
        for name, _ in imports(path, for_types=for_types)
        if name.startswith(f"{package}.")
    ]
    return {name.partition(".")[0] for name in found}


# Layers.


def rooms() -> set[str]:
    """Return the rooms and public modules of the core but the server and the kit, which are guests."""
    there = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return there - {"__init__", "__pycache__", "py", "server", "testing"}


def test_every_room_has_its_row() -> None:
    listed = [name for row in ROWS for name in row]
    assert rooms() == set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("room", sorted(rooms()))
def test_a_room_imports_only_from_rows_above_its_own(room: str) -> None:
    number = next(n for n, row in enumerate(ROWS) if room in row)
    known = {name for row in ROWS[: number + 1] for name in row}
    for strangers in STRANGERS:
        if room in strangers:
            known -= strangers - {room}
    inside = [*(CORE / room).rglob("*.py")] or [CORE / f"{room}.py"]
    for path in inside:
        assert within(path, "pusher_proto") - known == set(), path


def test_rooms_say_what_they_are_for() -> None:
    for folder in CORE.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert ast.get_docstring(parsed(folder / "__init__.py")), folder


@pytest.mark.parametrize("path", sorted((CORE / "server").glob("*.py")), ids=lambda path: path.stem)
def test_the_server_knows_little_of_the_client(path: Path) -> None:
    assert within(path, "pusher_proto") - {"server"} <= {"errors", "names", "signing"}


@pytest.mark.parametrize("path", sorted(KIT.glob("*.py")), ids=lambda path: path.stem)
def test_the_kit_knows_the_server_and_what_its_clients_are_opened_with(path: Path) -> None:
    known = {"server", "testing"} | FOR_ITS_CLIENTS.get(path.stem, set())
    assert within(path, "pusher_proto") <= known


@pytest.mark.parametrize(
    "package",
    sorted({".".join(path.relative_to(SRC).parent.parts) for path in SRC.rglob("*.py")}),
)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    """Imports for types alone count: a circle of types is one of ideas."""
    folder = SRC.joinpath(*package.split("."))
    for_types = package != "pusher_proto.server"  # its parts name each other in types
    graph = {path.stem: within(path, package, for_types=for_types) for path in folder.glob("*.py")}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


OUTSIDE = {"asyncio", "select", "selectors", "socket", "ssl", "threading", "trio"}
"""Modules that only the `_io` of a driver imports."""
BESIDE = {"testing", "__main__", "_pytest_plugin"}
"""Modules of a driver's package that are not part of the driver."""


@pytest.mark.parametrize("folder", DRIVERS, ids=lambda folder: folder.name)
def test_only_the_io_of_a_driver_touches_the_world_and_it_knows_only_driving(folder: Path) -> None:
    for path in (folder / "_io").glob("*.py"):
        for name, node in imports(path, for_types=True):
            if name.partition(".")[0].startswith("pusher"):
                mine = f"{folder.name}._io"
                known = ("pusher_proto.driving", "pusher_proto.errors", mine)
                assert name.startswith(known), ast.unparse(node)
    for path in folder.glob("*.py"):
        if path.stem not in BESIDE:
            tops = {name.partition(".")[0] for name, _ in imports(path, for_types=True)}
            assert tops & OUTSIDE == set(), path


@pytest.mark.parametrize("folder", DRIVERS, ids=lambda folder: folder.name)
def test_a_driver_knows_the_public_modules_of_the_core_and_no_other_driver(folder: Path) -> None:
    others = {driver.name for driver in DRIVERS} - {folder.name}
    for path in sorted(folder.rglob("*.py")):
        for name, node in imports(path):
            parts = name.split(".")
            assert parts[0] not in others or path in BOTH_DRIVERS, ast.unparse(node)
            if parts[0] == "pusher_proto":
                assert not any(part.startswith("_") for part in parts), ast.unparse(node)


@pytest.mark.parametrize(
    "path", sorted(CLI.rglob("*.py")), ids=lambda path: str(path.relative_to(CLI))
)
def test_the_command_line_is_a_guest(path: Path) -> None:
    """It imports public names of the packages, and looks at no private attribute."""
    for name, node in imports(path, for_types=True):
        if name.startswith("pusher_") and not name.startswith("pusher_anyio.cli"):
            assert isinstance(node, ast.ImportFrom)
            names = [*name.split("."), *(each.name for each in node.names)]
            assert not any(each.startswith("_") and each != "__version__" for each in names), names
    for each in ast.walk(parsed(path)):
        if isinstance(each, ast.Attribute) and re.match("_(?!_)", each.attr):
            assert ast.unparse(each.value) == "self", ast.unparse(each)


# Purity.


@in_the_core
def test_the_core_has_no_sockets_threads_clocks_or_environment(path: Path) -> None:
    impure = IMPURE - IMPURE_IN.get(path.relative_to(CORE).as_posix(), set())
    for name, node in imports(path):
        top = name.partition(".")[0]
        assert name not in impure, ast.unparse(node)
        assert top not in impure, ast.unparse(node)
        known = top == "pusher_proto" or top in sys.stdlib_module_names or top in INSTALLED
        known = known or (top == "hypothesis" and path.stem == "strategies")  # for users' tests
        assert known, ast.unparse(node)


@in_the_core
def test_the_core_has_no_random_source(path: Path) -> None:
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "random" or [a.name for a in node.names] == ["Random"]
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random":
            assert node.attr == "Random", ast.unparse(node)


@in_the_core
def test_the_core_does_not_read_a_clock(path: Path) -> None:
    asked = [
        ast.unparse(node)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and ast.unparse(node.value).split(".")[-1] in ("datetime", "date")
    ]
    assert asked == []


# States.

STATES_OF_THEIR_OWN = {
    "_wire/frames.py": "it cannot import `states`, and its state only moves forward",
    "_wire/websocket.py": "the same",
    "driving/wire.py": "it has a table of its own, `WIRE`",
}
"""Modules whose states are not in `states.py`, with the reason. The docstring of `states` lists the first two."""


def states_assigned(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield each value that is assigned to an attribute for a state, or that is a state, but not the first ones."""
    kinds = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("states")
        for alias in node.names
        if alias.name.endswith("State")
    }
    for statement in tree.body:  # S, G = SessionState, SessionInput
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                pairs = zip(names, values, strict=True)
                kinds |= {ast.unparse(name) for name, each in pairs if ast.unparse(each) in kinds}
    first = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in first or not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        attributes = {
            inner.attr
            for target in targets
            for inner in ast.walk(target)
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
        }
        if node.value is None or not attributes:
            continue
        is_state = any(
            isinstance(part, ast.Attribute) and ast.unparse(part.value) in kinds
            for part in (node.value, *ast.iter_child_nodes(node.value))
        )
        if attributes & {"state", "_state"} or (
            is_state and not isinstance(node.value, ast.Compare | ast.Call | ast.BoolOp)
        ):
            yield node.value


@pytest.mark.parametrize(
    "path",
    [path for path in core_files if path.relative_to(CORE).parts[0] not in ("server", "testing")],
    ids=lambda path: str(path.relative_to(CORE)),
)
def test_only_advance_assigns_a_state(path: Path) -> None:
    found = list(states_assigned(parsed(path)))
    others = [each for each in found if not ast.unparse(each).startswith("advance(")]
    known = path.relative_to(CORE).as_posix() in STATES_OF_THEIR_OWN
    assert bool(others) == known, [ast.unparse(each) for each in others]


def test_a_state_that_is_assigned_elsewhere_is_found() -> None:
    source = """
from ..states import CallState, advance
S, G = CallState, CallInput
class Call:
    def __init__(self):
        self.state = S.WAITING
    def move(self, given):
        self.state = advance(CALL, self.state, given)
    def hang(self):
        self.state = S.HANGING
    def forget(self):
        self.left = S.ENDED if self.was else CallState.RUNNING
        self.was = self.state is S.ENDED
"""
    found = [ast.unparse(each) for each in states_assigned(ast.parse(source))]
    assert found == [
        "advance(CALL, self.state, given)",
        "S.HANGING",
        "S.ENDED if self.was else CallState.RUNNING",
    ]


# Vocabulary.


def words_of(path: Path) -> Iterator[str]:
    """Yield all names and strings of a file but docstrings and comments."""
    tree = parsed(path)
    # A string that stands alone says something about what is above it.
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said:
            yield node.value
        for field in ("id", "attr", "name", "arg", "asname", "module", "names"):
            value = getattr(node, field, None)
            yield from [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    "path",
    [
        *(
            SRC / "pusher_anyio" / f"_{name}.py"
            for name in ("client", "channel", "bindings", "waiting", "leaving")
        ),
        *sorted((SRC / "pusher_sync").glob("*.py")),
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_driver_knows_no_word_of_the_protocol(path: Path) -> None:
    assert [word for word in words_of(path) if PROTOCOL.search(word)] == []


# Public names.


def modules() -> list[ModuleType]:
    found = []
    for package in (pusher_proto, pusher_anyio, pusher_sync):
        found.append(package)
        names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
        found += [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_all_names_of_a_package_that_are_public_are_exported(package: ModuleType) -> None:
    for name in package.__all__:
        getattr(package, name)  # some packages import a name on first use
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    } - {"annotations", "TYPE_CHECKING"}  # of the future, and of type checkers
    if hasattr(package, "__version__"):
        public.add("__version__")
    assert set(package.__all__) == public
    assert len(package.__all__) == len(public)


FOR_EMBEDDERS = {
    "CLIENT", "PROTOCOL", "Authorize", "AuthorizeMany", "CallApplication", "CancelCall", "CatchUp", "ChannelSnapshot",
    "CloseMessages", "CloseTransport", "Effect", "OpenMessages", "OpenTransport", "Outbox", "SendData", "SendMessage",
    "Session", "StartTls", "UserSnapshot", "__version__",
}  # fmt: skip
"""Names of the core that only a program needs which drives a session itself."""


@pytest.mark.parametrize("client", [pusher_anyio, pusher_sync], ids=lambda client: client.__name__)
def test_a_client_exports_all_names_that_its_programs_need(client: ModuleType) -> None:
    assert set(pusher_proto.__all__) - FOR_EMBEDDERS - set(client.__all__) == set()


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_all_that_a_module_exports_is_there(module: ModuleType) -> None:
    missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
    assert missing == []


@in_every_file
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parsed(path))


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_public_class_function_and_method_has_a_docstring(module: ModuleType) -> None:
    silent = []
    assert module.__file__ is not None
    for node in parsed(Path(module.__file__)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                silent.append(node.name)
            if isinstance(node, ast.ClassDef):
                cls = getattr(module, node.name)
                silent += [
                    f"{node.name}.{name}" for name in methods_of(node) if not doc_of(cls, name)
                ]
    assert silent == []


def methods_of(cls: ast.ClassDef) -> set[str]:
    return {
        node.name
        for node in cls.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
    }


def doc_of(cls: type, name: str) -> str | None:
    """Return the docstring of a method, or of the method that it overrides."""
    return inspect.getdoc(inspect.getattr_static(cls, name)) or inspect.getdoc(getattr(cls, name))


# Size.


@in_every_file
def test_no_file_is_too_long(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{lines} lines: it holds more than one idea"


MOST_CODE = {
    "pusher_anyio/_io": 293,
    "pusher_anyio": 520,
    "pusher_sync/_io": 250,
    "pusher_sync": 364,
    "pusher_anyio/_io/_messages.py": 41,
    "pusher_anyio/_merging.py": 45,
    "pusher_sync/_merging.py": 53,
    "pusher_sync/_io/_messages.py": 97,
    "pusher_sync/pysher": 300,
}
"""The most lines of code of each room of a driver, without the rooms in it, the modules `BESIDE`, and modules with a
separate line."""
ROOM_LEFT = 15
"""How many lines a room may be below its limit; below that, lower the limit. Drivers only get smaller."""


def lines_of_code(path: Path) -> int:
    """Return the number of lines that hold code."""
    tree = parsed(path)
    said = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    skipped |= {tokenize.ENCODING, tokenize.ENDMARKER}
    with path.open("rb") as file:
        lines = {
            line
            for token in tokenize.tokenize(file.readline)
            if token.type not in skipped
            for line in range(token.start[0], token.end[0] + 1)
        }
    return len(lines - said)


@pytest.mark.parametrize("room", MOST_CODE)
def test_a_driver_stays_thin(room: str) -> None:
    alone = [SRC / each for each in MOST_CODE if each.endswith(".py")]
    paths = [SRC / room] if room.endswith(".py") else sorted((SRC / room).glob("*.py"))
    paths = [
        path for path in paths if path.stem not in BESIDE and (path not in alone or len(paths) == 1)
    ]
    lines = sum(map(lines_of_code, paths))
    assert lines <= MOST_CODE[room], (
        "move what both drivers need to the core, and delete what neither does"
    )
    assert lines >= MOST_CODE[room] - ROOM_LEFT, f"only {lines} lines: lower the limit"


# Pysher's names.

PYSHER = SRC / "pusher_sync" / "pysher"


@pytest.mark.parametrize("path", sorted(PYSHER.glob("*.py")), ids=lambda path: path.stem)
def test_the_room_of_pysher_knows_public_names_alone(path: Path) -> None:
    ours = {name for name, _ in imports(path) if name.partition(".")[0].startswith("pusher_")}
    room = {
        "pusher_sync.pysher",
        *(f"pusher_sync.pysher.{each.stem}" for each in PYSHER.glob("*.py")),
    }
    assert ours <= {"pusher_proto", "pusher_sync", *room}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr):
            assert ast.unparse(node.value) == "self", ast.unparse(node)


# The I/O of the drivers.

IO_ROOM = SRC / "pusher_sync" / "_io"
IO_MODULES = {"asyncio", "select", "selectors", "socket", "ssl", "threading", "trio"}


@pytest.mark.parametrize("path", sorted(IO_ROOM.glob("*.py")), ids=lambda path: path.stem)
def test_the_io_of_the_blocking_client_knows_driving_and_itself(path: Path) -> None:
    ours = {name for name, _ in imports(path) if name.partition(".")[0].startswith("pusher_")}
    room = {f"pusher_sync._io.{each.stem}" for each in IO_ROOM.glob("*.py")}
    ours = {name for name in ours if not name.startswith("pusher_proto.driving.")}
    assert ours <= {"pusher_proto.driving", "pusher_proto.errors", *room}


@pytest.mark.parametrize(
    "path", sorted((SRC / "pusher_sync").glob("*.py")), ids=lambda path: path.stem
)
def test_the_blocking_client_does_io_in_one_room_only(path: Path) -> None:
    assert {name for name, _ in imports(path)} & IO_MODULES == set()


MOST_BRANCHES = 15
MANY_BRANCHES: dict[str, str] = {}
"""Functions of the core that may have more branches, each with its reason."""

MOST_PARAMETERS = 6


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def branches(function: ast.AST) -> int:
    """Count the places where a function can go one way or another, without the functions within it."""
    count, nodes = 0, list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        count += isinstance(
            node,
            ast.If | ast.IfExp | ast.For | ast.While | ast.ExceptHandler | ast.match_case
            | ast.comprehension,
        )  # fmt: skip
        nodes += ast.iter_child_nodes(node)
    return count


@in_the_core
def test_no_function_has_too_many_branches(path: Path) -> None:
    where = path.relative_to(CORE).as_posix()
    found = {f"{where}:{each.name}": branches(each) for each in functions_of(path)}
    many = {name for name, count in found.items() if count > MOST_BRANCHES}
    assert many == {name for name in MANY_BRANCHES if name.startswith(f"{where}:")}


@in_the_core
def test_no_constructor_takes_too_many_parameters(path: Path) -> None:
    most = max(
        (
            len(each.args.posonlyargs + each.args.args + each.args.kwonlyargs) - 1
            for each in functions_of(path)
            if each.name == "__init__"
        ),
        default=0,
    )
    assert most <= MOST_PARAMETERS


MOST_ATTRIBUTES = 29
"""CPython gives an object with more of them its own dict, of 1.6 KB, in each idle client."""


@in_the_core
def test_no_object_has_too_many_attributes(path: Path) -> None:
    for each in ast.walk(parsed(path)):
        if isinstance(each, ast.ClassDef):
            found = {
                node.attr
                for node in ast.walk(each)
                if isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            }
            assert len(found) <= MOST_ATTRIBUTES, f"{each.name}: {len(found)}"


def test_a_function_with_sixteen_branches_is_found() -> None:
    body = "".join(f"    if {n}: pass\n" for n in range(16))
    [function] = ast.parse(f"def f():\n{body}").body
    assert branches(function) == MOST_BRANCHES + 1
