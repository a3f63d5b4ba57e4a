"""The reference has every public name with its fields, members, methods and constants, and nothing that is internal."""

from __future__ import annotations

import enum
import inspect
import os
import re
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import pusher_anyio
import pusher_anyio.testing
import pusher_proto
import pusher_proto.driving
import pusher_proto.laravel
import pusher_proto.testing
import pusher_sync
import pusher_sync.testing
from pusher_proto import vocabulary

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.timeout(300)  # the reference is built for these tests
INTERNAL = {
    ("Binding", name): "the client's side of a handler"
    for name in (
        "came", "claims", "close", "context", "dropped", "episode", "failed", "full", "half", "limit", "look_at",
        "may_want", "name", "once", "picky", "place", "predicate_raised", "put", "quick", "seen", "served", "special",
        "take", "took", "wants", "awaits", "refuse_coroutine",
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


# Examples

CONSTRUCTED = {
    pusher_proto.Options, pusher_proto.OwnKey, pusher_proto.AuthEndpoint, pusher_proto.AuthResponse,
    pusher_proto.AuthorizationError, pusher_proto.Session, pusher_proto.laravel.Echo,
    pusher_proto.testing.App, pusher_proto.testing.MessageRate, pusher_proto.testing.Server,
    pusher_proto.testing.ServerLimits, pusher_proto.testing.ServerOptions, pusher_proto.testing.Webhook,
    pusher_sync.testing.World,    pusher_proto.driving.Driver, pusher_proto.driving.DriverOptions,
}  # fmt: skip
"""The classes that users construct: the reference has an example for each."""
MADE_HERE = {
    pusher_proto: {
        "AuthRequest", "Authorize", "AuthorizeMany", "CallApplication", "CancelCall", "CatchUp", "ChannelSnapshot",
        "CloseMessages", "CloseTransport", "EndpointResponse", "Gap", "Member", "Members", "Metadata", "OpenMessages",
        "OpenTransport", "Outbox", "Progress", "SendData", "SendMessage", "StartTls", "Stats", "UserSnapshot",
    },
    pusher_anyio: {"Binding", "Channel", "Client", "Merged", "MessageConnection", "Stream", "User"},
    pusher_sync: {"Binding", "Channel", "Client", "Merged", "MessageConnection", "Stream", "User"},
    pusher_proto.laravel: {"EchoChannel", "EchoPresence"},
    pusher_proto.testing: {
        "AuthRequest", "PublishedEvent", "ReceivedMessage", "Report", "SentWebhook", "ServerClose", "ServerRequest",
        "ServerSend", "ServerStats",
    },
    pusher_anyio.testing: {"AwaitedServer", "RunningServer", "ServerInThread"},
    pusher_sync.testing: set(),
    pusher_proto.driving: {
        "EventLoop", "IO", "LoopIO", "MessageWire", "SSLContext", "Tls", "Wire", "WireProtocol", "WireSocket",
        "WireStream",
    },
}  # fmt: skip
"""Classes whose objects the library makes, and protocols. So it makes all events, and all errors but one."""
EXAMPLES = {
    found[1]: textwrap.dedent(found[2])
    for page in sorted((ROOT / "docs" / "api").glob("*.md"))
    for found in re.finditer(
        r"^\.\. auto(?:class|exception):: (\w+)\n(?:   :.*\n)*\n"
        r"   \.\. code-block:: python\n\n((?:      .*\n|\n(?=      ))+)",
        page.read_text(),
        re.MULTILINE,
    )
}


@pytest.mark.parametrize("module", MADE_HERE, ids=lambda module: str(module.__name__))
def test_each_class_is_made_by_the_library_or_has_an_example(module: Any) -> None:
    classes = {
        name: value
        for name in names_of(module)
        if isinstance(value := getattr(module, name), type)
        and not issubclass(value, (pusher_proto.Event, enum.Enum))
    }
    plain = {name for name, value in classes.items() if not issubclass(value, Exception)}
    constructed = {name for name, value in classes.items() if value in CONSTRUCTED}
    assert plain - constructed == MADE_HERE[module]
    assert constructed - set(EXAMPLES) == set()


def test_there_is_an_example_for_nothing_else() -> None:
    assert set(EXAMPLES) == {value.__name__ for value in CONSTRUCTED}


class Api:
    """The API of an application, as examples call it."""

    is_busy = False

    def post(self, _path: str, *, socket: str, channel: str) -> dict[str, str]:
        return {"auth": self.sign(pusher_proto.AuthRequest(socket, channel))}

    def sign(self, request: pusher_proto.AuthRequest) -> str:
        return pusher_proto.OwnKey("KEY", "SECRET").authorization(request).auth


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name: str) -> None:
    assert re.search(rf"\b{name}(\.from_\w+)?\(", EXAMPLES[name])
    modules = (pusher_proto, pusher_proto.testing, pusher_proto.driving, pusher_sync.testing)
    names = {each: getattr(module, each) for module in modules for each in module.__all__}
    names |= {each: getattr(pusher_proto, each) for each in pusher_proto.__all__}
    printed: list[Any] = []
    with pusher_sync.testing.World().open_pusher() as client:
        names |= {
            "Echo": pusher_proto.laravel.Echo,
            "api": Api(),
            "client": client,
            "deliver": lambda: None,
            "errors": [],
            "context": None,
            "io": mock.Mock(time=lambda: 0.0),
            "print": printed.append,
            "serve_in_thread": pusher_anyio.testing.serve_in_thread,
            "time": time,
            "tokens": {"access": "7|token"},
        }
        exec(compile(EXAMPLES[name], name, "exec"), names)
        if "authorizer" in names:
            answer = names["authorizer"](pusher_proto.AuthRequest("1.2", "private-x"))
            assert answer.auth.startswith("KEY:")
    assert printed or "print(" not in EXAMPLES[name] or name == "Echo"
    assert names["errors"] == []
