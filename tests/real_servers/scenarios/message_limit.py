"""A limit of the messages that a connection may send, on real servers: F7 for Reverb, K10 for Sockudo."""

from __future__ import annotations

from functools import partial

import anyio
import anyio.to_thread
import pytest

from drivers.runners import Driver, until
from pusher_proto import ChannelState
from real_servers.clients import TIMEOUT, fresh, options_for
from real_servers.process import App, StartServer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("terminates", [False, True], ids=["refuses", "terminates"])
async def test_a_limit_of_messages_delays_channels_and_loses_none(
    driver: Driver, start_server: StartServer, message_limit: str, terminates: bool
) -> None:
    """`message_limit` is the name of the limit in the server's settings of an app."""
    limit = {
        "enabled": True,
        "max_attempts": 10,
        "decay_seconds": 1,
        "terminate_on_limit": terminates,
    }
    app = App(id="1010", key="rate-key", secret="rate-secret", more={message_limit: limit})
    server = await anyio.to_thread.run_sync(partial(start_server, [app]))
    async with driver(options_for(server, app)) as client:
        channels = [client.subscribe(fresh("news")) for _ in range(25)]
        with anyio.fail_after(4 * TIMEOUT):
            await until(
                lambda: all(each.state is ChannelState.SUBSCRIBED for each in channels),
                patience=4 * TIMEOUT,
            )
