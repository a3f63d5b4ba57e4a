"""The programs of docs/servers.md and docs/laravel.md run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import pusher_sync
from pusher_anyio import open_pusher
from pusher_anyio.testing import ServerInThread
from pusher_proto import Options, OwnKey
from pusher_proto.laravel import NOTIFICATION, Echo, event_name

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def run(page: str, number: int, **names: Any) -> dict[str, Any]:
    exec(compile(blocks(page)[number], page, "exec"), names)
    return names


def test_the_options_for_each_server_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    made = run("servers.md", 0)
    hosts = [made[name].host for name in ("pusher", "reverb", "soketi", "other")]
    assert hosts == ["ws-eu.pusher.com", "ws.example.com", "soketi.example.com", "push.example.com"]
    assert run("servers.md", 1)["options"] == Options.for_reverb(key="KEY", port=8080, tls=False)
    assert len(blocks("servers.md")) == 2


def test_every_option_that_the_page_about_servers_names_exists() -> None:
    named = re.findall(r"`(?:[a-z_]+\(.*?)?(\w+)=", (DOCS / "servers.md").read_text())
    known = set(Options.__dataclass_fields__) | {"ssl_context", "tls"}
    assert set(named) <= known
    assert {"strict_names", "metadata", "origin", "resolve_url"} <= set(named)


def test_the_names_of_the_page_about_laravel_are_those_on_the_wire() -> None:
    rows = re.findall(
        r"^\| .*? \| `listen\(\"(.*?)\"\).*?\| `(.*?)` \|$",
        (DOCS / "laravel.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 4
    for event, name in rows:
        assert event_name(event.encode().decode("unicode_escape")) == name


class Printed(list[Any]):
    """The output of a program; `enough` is set once it has `wanted` entries."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.enough = anyio.Event()

    def __call__(self, *values: Any) -> None:
        self.append(values)
        if len(self) == self.wanted:
            self.enough.set()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.pusher(auth_token="7|token")
async def test_the_program_for_laravel_runs(
    pusher_server: ServerInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = Printed(2)
    app_url = pusher_server.auth_url.removesuffix("/pusher/auth")
    names = run("laravel.md", 0, print=printed)
    bearer_auth = names["bearer_auth"]
    names["bearer_auth"] = lambda _url, token, path: bearer_auth(app_url, token, path=path)
    monkeypatch.setattr(
        Options,
        "for_reverb",
        lambda host, key, **more: pusher_server.options(auth=more["auth"], origin=more["origin"]),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(names["main"], "7|token")
        await pusher_server.aio.expect_subscribed("private-orders.1")
        await pusher_server.aio.expect_subscribed("private-App.Models.User.7")
        pusher_server.publish("private-orders.1", r"App\Events\OrderShipped", {"id": 17})
        pusher_server.publish("private-App.Models.User.7", NOTIFICATION, {"type": "Invoice"})
        with anyio.fail_after(10):
            await printed.enough.wait()
        group.cancel_scope.cancel()
    assert sorted(printed) == [("Invoice",), ("shipped", 17)]
    assert {request.path for request in pusher_server.auth_requests} == {"/api/broadcasting/auth"}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_events_can_be_awaited_by_laravels_names(pusher_server: ServerInThread) -> None:
    printed = Printed(1)
    names = run("laravel.md", 1, print=printed)
    async with open_pusher(pusher_server.options()) as client, anyio.create_task_group() as group:
        group.start_soon(names["shipped"], Echo(client))
        await pusher_server.aio.expect_subscribed("private-orders.1")
        pusher_server.publish("private-orders.1", r"App\Events\OrderShipped", {"id": 17})
        with anyio.fail_after(10):
            await printed.enough.wait()
        group.cancel_scope.cancel()
    assert printed == [(17,)]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_handlers_of_the_asynchronous_client_may_be_async(
    pusher_server: ServerInThread,
) -> None:
    send, receive = anyio.create_memory_object_stream[Any](2)
    auth = OwnKey("demo", "demo-secret", member={"user_id": "1"})
    async with send, receive, open_pusher(pusher_server.options(auth=auth)) as client:
        room = Echo(client).join("room")

        async def here(members: Any) -> None:
            await send.send(sorted(members))

        async def joining(member: Any) -> None:
            await send.send(member.id)

        room.here(here)
        room.joining(joining)
        with anyio.fail_after(10):
            # Handlers of two bindings run side by side: the one is waited for before the other has a reason to run.
            assert await receive.receive() == ["1"]
            pusher_server.join("presence-room", "7")
            assert await receive.receive() == "7"


def test_the_blocking_client_speaks_laravels_names_too(pusher_server: ServerInThread) -> None:
    got: list[Any] = []
    with pusher_sync.open_pusher(pusher_server.options()) as client:
        orders = Echo(client).private("orders.1")

        @orders.listen("OrderShipped")
        def shipped(event: Any) -> None:
            got.append(event.data)
            client.close()

        pusher_server.expect_subscribed("private-orders.1")
        pusher_server.publish("private-orders.1", r"App\Events\OrderShipped", {"id": 17})
        client.run(timeout=10)
    assert got == [{"id": 17}]
