"""The types that type checkers infer for Laravel's names on each client. Nothing here runs: mypy checks it."""

from __future__ import annotations

from typing import Any, assert_type

import pusher_anyio
import pusher_sync
from pusher_proto import ChannelEvent, Options
from pusher_proto.laravel import Echo, EchoChannel, EchoPresence, bearer_auth


async def over_the_asynchronous_client(options: Options) -> None:
    async with pusher_anyio.open_pusher(options) as client:
        echo = Echo(client)
        assert_type(echo, Echo[pusher_anyio.Channel])
        orders = echo.private("orders.1")
        assert_type(orders, EchoChannel[pusher_anyio.Channel])
        assert_type(orders.channel, pusher_anyio.Channel)
        assert_type(echo.join("room"), EchoPresence[pusher_anyio.Channel])

        @orders.listen("OrderShipped")
        async def shipped(event: ChannelEvent) -> int:
            return len(event.name)

        event: Any = None
        assert_type(await shipped(event), int)


def over_the_blocking_client(options: Options) -> None:
    with pusher_sync.open_pusher(options) as client:
        orders = Echo(client, namespace=None).encrypted_private("orders.1")
        assert_type(orders.channel, pusher_sync.Channel)
        assert_type(orders.listen("OrderShipped", print), EchoChannel[pusher_sync.Channel])
        assert_type(orders.notification(print), EchoChannel[pusher_sync.Channel])


def a_token_may_be_text_or_a_function() -> None:
    bearer_auth("https://shop.test", "token", body="json")
    bearer_auth("https://shop.test", lambda: "token", refresh=print)
