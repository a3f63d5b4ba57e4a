"""Laravel's own broadcaster as the auth endpoint, and the names of Laravel Echo, on a real Reverb."""

from __future__ import annotations

import base64
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from drivers.runners import Driver, free_port
from pusher_proto import AuthEndpoint, AuthorizationError, Member
from pusher_proto.laravel import Echo, bearer_auth
from real_servers.clients import MASTER_KEY, TIMEOUT, Publisher, first, fresh, options_for
from real_servers.process import HOST, PLAIN_APP, START_TIMEOUT, RealServer
from reverb.harness import endpoint, environment

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def application(server: RealServer) -> Iterator[str]:
    """The URL of a Laravel application whose users are the bearer tokens."""
    settings = {
        "broadcasting.default": "reverb",
        "broadcasting.connections.reverb": {
            "driver": "reverb",
            "key": PLAIN_APP.key,
            "secret": PLAIN_APP.secret,
            "app_id": PLAIN_APP.id,
            "options": {
                "host": HOST,
                "port": server.port,
                "encryption_master_key_base64": base64.b64encode(MASTER_KEY).decode(),
            },
        },
    }
    port = free_port()
    process = subprocess.Popen(
        endpoint(f"{HOST}:{port}"), env=environment(settings), stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "PHP's own web server did not start"
                time.sleep(0.05)
        yield f"http://{HOST}:{port}"
    finally:
        process.kill()
        process.wait()


async def test_channels_are_authorized_by_their_rules(
    driver: Driver, server: RealServer, application: str
) -> None:
    options = options_for(server, PLAIN_APP, auth=bearer_auth(application, "7"))
    async with driver(options) as client:
        echo = Echo(client)
        orders = echo.private("orders.7")
        shipped = orders.channel.events(orders.named("OrderShipped"))
        await orders.channel.wait_subscribed(TIMEOUT)
        Publisher(server, PLAIN_APP).trigger(
            "private-orders.7", "App\\Events\\OrderShipped", {"id": 1}
        )
        assert (await first(shipped)).data == {"id": 1}
        with pytest.raises(AuthorizationError, match="403"):
            await echo.private("orders.8").channel.wait_subscribed(TIMEOUT)


async def test_an_array_of_a_rule_is_the_info_of_a_member_and_an_empty_one_keeps_it_out(
    driver: Driver, server: RealServer, application: str
) -> None:
    room = fresh("room.")
    async with driver(options_for(server, PLAIN_APP, auth=bearer_auth(application, "ann"))) as ann:
        joined = await Echo(ann).join(room).channel.wait_subscribed(TIMEOUT)
        assert joined.me == Member("ann", {"name": "Ann"})
        with pytest.raises(AuthorizationError, match="403"):
            await Echo(ann).join("empty.1").channel.wait_subscribed(TIMEOUT)
        # `true` becomes the info.
        deals = await Echo(ann).join("deals").channel.wait_subscribed(TIMEOUT)
        assert deals.me == Member("ann", True)


async def test_laravel_hands_out_the_key_of_an_encrypted_channel(
    driver: Driver, server: RealServer, application: str
) -> None:
    async with driver(options_for(server, PLAIN_APP, auth=bearer_auth(application, "7"))) as client:
        channel = await Echo(client).encrypted_private("deals").channel.wait_subscribed(TIMEOUT)
        async with channel.events("price") as prices:
            Publisher(server, PLAIN_APP, MASTER_KEY).trigger(channel.name, "price", {"eur": 1})
            assert (await first(prices)).data == {"eur": 1}


async def test_a_request_without_a_user_is_refused(
    driver: Driver, server: RealServer, application: str
) -> None:
    auth = AuthEndpoint(f"{application}/broadcasting/auth")
    async with driver(options_for(server, PLAIN_APP, auth=auth)) as client:
        with pytest.raises(AuthorizationError, match="403"):
            await client.subscribe("private-orders.7").wait_subscribed(TIMEOUT)
