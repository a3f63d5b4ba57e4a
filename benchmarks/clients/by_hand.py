"""Programs without a Pusher client: the least code that works, on three WebSocket libraries, with orjson.

They decode the message and its data, and find the handler in a dictionary by channel and event. They do not reconnect,
check liveness or handle errors.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import Any

import orjson
from nacl.secret import SecretBox

from benchmarks.meter import Meter, measure
from benchmarks.payloads import EVENT, KEY, SHARED_SECRET

SUCCEEDED = "pusher_internal:subscription_succeeded"


class Handlers:
    """Passes messages to handlers, in the same way for all libraries."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.known: dict[tuple[str | None, str], Callable[[Any], object]] = {}
        self.greeted = asyncio.Event()
        self.known[None, "pusher:connection_established"] = lambda _: self.greeted.set()
        self.box = SecretBox(base64.b64decode(SHARED_SECRET))

    def take(self, text: str | bytes | memoryview) -> None:
        message = orjson.loads(text)
        handler = self.known.get((message.get("channel"), message["event"]))
        if handler is not None:
            handler(orjson.loads(message["data"]))

    def opened(self, data: Any) -> None:
        text = self.box.decrypt(
            base64.b64decode(data["ciphertext"]), base64.b64decode(data["nonce"])
        )
        self.meter.on_event(orjson.loads(text))

    def bind(self, channel: str) -> bytes:
        """Bind the handlers of a channel; return the message that subscribes to it."""
        meter = self.meter
        if meter.kind == "subscribe":
            self.known[channel, SUCCEEDED] = lambda _: meter.subscribed()
        self.known[channel, EVENT] = self.opened if meter.config["encrypted"] else meter.on_event
        data = {"channel": channel}
        if meter.config["encrypted"]:
            data["auth"] = f"{KEY}:0"
        return orjson.dumps({"event": "pusher:subscribe", "data": data})


class Connection:
    """One connection; `send` sends a text message."""

    def __init__(self, handlers: Handlers, send: Callable[[str], Any], task: Any = None) -> None:
        self.handlers, self.send, self.task = handlers, send, task

    async def subscribe(self, channels: list[str]) -> None:
        for channel in channels:
            sent = self.send(self.handlers.bind(channel).decode())
            if sent is not None:
                await sent


def url(meter: Meter) -> str:
    """Return the URL of the server."""
    scheme = "wss" if meter.tls else "ws"
    return f"{scheme}://{meter.host}:{meter.port}/app/{KEY}?protocol=7&client=bench&version=1"


def context(meter: Meter) -> Any:
    """Return the TLS context, or None."""
    return ssl.create_default_context() if meter.tls else None


async def with_websockets(meter: Meter) -> Connection:
    """Connect with the asyncio client of websockets."""
    import websockets

    handlers = Handlers(meter)
    socket = await websockets.connect(url(meter), ssl=context(meter), compression=None)

    async def read() -> None:
        async for text in socket:
            handlers.take(text)

    task = asyncio.ensure_future(read())
    await handlers.greeted.wait()
    return Connection(handlers, socket.send, task)


async def with_aiohttp(meter: Meter) -> Connection:
    """Connect with aiohttp."""
    import aiohttp

    handlers = Handlers(meter)
    session = aiohttp.ClientSession()
    socket = await session.ws_connect(url(meter), ssl=context(meter) or True)

    async def read() -> None:
        async for message in socket:
            handlers.take(message.data)

    task = asyncio.ensure_future(read())
    await handlers.greeted.wait()
    connection = Connection(handlers, socket.send_str, task)
    connection.session = session  # type: ignore[attr-defined]  # else it is collected, and closes
    return connection


async def with_picows(meter: Meter) -> Connection:
    """Connect with picows, which is written in Cython."""
    import picows

    handlers = Handlers(meter)

    class Listener(picows.WSListener):  # type: ignore[misc]  # it has no types here
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                handlers.take(frame.get_payload_as_memoryview())
            elif frame.msg_type == picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())

    transport, _ = await picows.ws_connect(Listener, url(meter), ssl_context=context(meter))
    await handlers.greeted.wait()
    return Connection(handlers, lambda text: transport.send(picows.WSMsgType.TEXT, text.encode()))


def blocking(meter: Meter) -> None:
    """Run a workload with the blocking client of websockets."""
    from websockets.sync.client import connect

    handlers = Handlers(meter)
    with connect(url(meter), ssl=context(meter), compression=None) as socket:
        handlers.take(socket.recv())
        meter.begin()
        for channel in meter.channels:
            socket.send(handlers.bind(channel).decode())
        meter.ready()
        for text in socket:
            handlers.take(text)


if __name__ == "__main__":
    meter = Meter()
    if meter.mode == "websockets-blocking":
        blocking(meter)
    else:
        connects = {"websockets": with_websockets, "aiohttp": with_aiohttp, "picows": with_picows}
        asyncio.run(measure(meter, connects[meter.mode]))
