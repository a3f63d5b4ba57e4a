"""Every Python block of docs/receiving.md runs, against a server that publishes prices."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

import pusher_proto
from pusher_anyio import open_pusher
from pusher_anyio.testing import serve

RECEIVING = (Path(__file__).parents[1] / "docs" / "receiving.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", RECEIVING, re.DOTALL)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_the_examples_about_receiving_run(number: int) -> None:
    printed: list[Any] = []
    names = {name: getattr(pusher_proto, name) for name in pusher_proto.__all__}
    names |= {"anyio": anyio, "msgspec": msgspec, "print": lambda *values: printed.append(values)}
    code = f"async def example(client, prices):\n{textwrap.indent(BLOCKS[number], '    ')}"
    exec(compile(code, "receiving.md", "exec"), names)
    async with (
        serve() as server,
        open_pusher(server.options()) as client,
        anyio.create_task_group() as group,
    ):
        prices = client.subscribe("prices")

        async def publish() -> None:
            await server.wait_until(lambda machine: machine.subscriptions("prices"))
            while True:
                server.publish("prices", "price", {"of": "tea", "cents": 250})
                await anyio.sleep(0.01)

        group.start_soon(publish)
        with anyio.fail_after(10):
            await names["example"](client, prices)
        group.cancel_scope.cancel()
    assert printed or "print" not in BLOCKS[number] or "bind" in BLOCKS[number]
