"""What an event loop may do to a transport, at any time: where asyncio's own and uvloop are not alike."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_anyio._loop_transport import LoopTransport
from pusher_anyio.testing import RunningServer

from .runners import Driver, play


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_a_connection_that_is_given_up_in_the_turn_that_makes_it_ends(
    runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = LoopTransport.connection_made
    given_up: list[LoopTransport] = []

    def giving_up(self: LoopTransport, wire: Any) -> None:
        if not given_up:
            given_up.append(self)
            self.close(abort=True)
        made(self, wire)

    monkeypatch.setattr(LoopTransport, "connection_made", giving_up)

    async def scenario(driver: Driver, server: RunningServer) -> None:
        async with driver(server.options(retry_base=0.01)) as client:
            await client.wait_connected(timeout=5)
            assert given_up[0] not in client._transports.values()
            assert client.stats.attempts == 2

    play(scenario, runner)
