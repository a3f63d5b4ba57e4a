"""asyncpusher and sockudo-python, as their documentation shows them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from benchmarks.meter import Meter, measure
from benchmarks.payloads import EVENT, KEY, ME, SHARED_SECRET


class AsyncPusher:
    """asyncpusher."""

    def __init__(self, meter: Meter, pusher: Any) -> None:
        self.meter, self.pusher = meter, pusher

    async def subscribe(self, channels: list[str]) -> None:
        meter = self.meter

        async def on_event(data: Any) -> None:
            meter.on_event(data)

        async def on_success(data: Any) -> None:  # noqa: ARG001 - the other library's call
            meter.subscribed()

        for name in channels:
            channel = await self.pusher.subscribe(name)
            channel.bind(EVENT, on_event)
            if meter.kind == "subscribe":
                channel.bind("pusher_internal:subscription_succeeded", on_success)


async def with_asyncpusher(meter: Meter) -> AsyncPusher:
    """Open one connection."""
    from asyncpusher.pusher import Pusher

    more: dict[str, Any] = {"ssl": ssl.create_default_context()} if meter.tls else {}
    pusher = Pusher(KEY, custom_host=meter.host, custom_port=meter.port, secure=meter.tls, **more)
    await pusher.connect()
    return AsyncPusher(meter, pusher)


class Sockudo:
    """sockudo-python."""

    def __init__(self, meter: Meter, client: Any) -> None:
        self.meter, self.client = meter, client

    async def subscribe(self, channels: list[str]) -> None:
        meter = self.meter

        def on_event(data: Any, _: Any) -> None:
            meter.on_event(data)

        def on_success(*_: Any) -> None:
            if meter.kind == "subscribe":
                meter.subscribed()
            elif meter.kind == "roster":
                meter.roster(channel.members.count)

        for name in channels:
            channel = self.client.subscribe(name)
            channel.bind(EVENT, on_event)
            channel.bind("sockudo:subscription_succeeded", on_success)
            channel.bind("pusher:subscription_succeeded", on_success)
            for change in ("member_added", "member_removed"):
                channel.bind(f"sockudo:{change}", lambda *_: meter.member())
                channel.bind(f"pusher:{change}", lambda *_: meter.member())


async def with_sockudo(meter: Meter) -> Sockudo:
    """Open one connection."""
    from sockudo_python import client as library

    async def authorize(request: Any) -> Any:  # noqa: ARG001 - the other library's call
        return library.ChannelAuthorizationData(
            auth=f"{KEY}:0", channel_data=ME, shared_secret=SHARED_SECRET
        )

    auth = library.ChannelAuthorizationOptions(custom_handler=authorize)
    if meter.kind == "reconnect":
        auth = library.ChannelAuthorizationOptions(endpoint=f"http://127.0.0.1:{meter.port}/auth")
    options = library.SockudoOptions(
        cluster="x",
        protocol_version=1,
        force_tls=meter.tls,
        ws_host=meter.host,
        ws_port=meter.port,
        wss_port=meter.port,
        activity_timeout=meter.config["activity"],
        channel_authorization=auth,
    )
    client = library.SockudoClient(KEY, options)
    connected = asyncio.Event()
    client.bind("connected", lambda *_: connected.set())
    await client.connect()
    await connected.wait()
    return Sockudo(meter, client)


if __name__ == "__main__":
    meter = Meter()
    connects: Any = {"asyncpusher": with_asyncpusher, "sockudo": with_sockudo}
    asyncio.run(measure(meter, connects[meter.mode]))
