"""Programs as they are written for Pysher, by their kind, and small ones that show where the two differ.

Each is a function of the module `pysher`, real or ours, and of a `Site`. It runs in its own process (`run.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
import queue
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NoReturn

__all__ = ["PROGRAMS", "Site"]

KEY, SECRET = "demo", "demo-secret"
ROOM = "room.1.v2"


class Site:
    """Where a program runs: the server, and the transcript of what its callbacks got."""

    def __init__(self, port: int, auth_url: str) -> None:
        self.port = port
        self.auth_url = auth_url

    @property
    def where(self) -> dict[str, Any]:
        """Arguments of `Pusher` for the server of the test."""
        return {
            "custom_host": "127.0.0.1", "port": self.port, "secure": False, "reconnect_interval": 0.2,
            "log_level": logging.CRITICAL,
        }  # fmt: skip

    def say(self, *what: object) -> None:
        """Add a line to the transcript."""
        print(json.dumps(what), flush=True)

    def leave(self, *_: object) -> NoReturn:
        """End the process, whatever its threads do."""
        self.say("end")
        os._exit(0)


def sleep_forever() -> None:
    """The end of most programs."""
    while True:
        time.sleep(1)


# Kinds of programs


def feed(pysher: Any, site: Site) -> None:
    """A trade feed: it subscribes in the connect handler, parses text, and binds one function with arguments."""
    pusher = pysher.Pusher(KEY, **site.where)

    def on_trade(data: str, pair: str, scale: int = 1) -> None:
        trade = json.loads(data)
        site.say(pair, trade["price"] * scale, type(data).__name__)

    def connected(data: str) -> None:
        site.say(sorted(json.loads(data)), pusher.connection.state)
        site.say(json.loads(data)["socket_id"] == pusher.connection.socket_id)
        for pair in ("btcusd", "ethusd"):
            channel = pusher.subscribe(f"live_trades_{pair}")
            channel.bind("trade", on_trade, pair, scale=10)
            channel.bind("end", site.leave)

    pusher.connection.bind("pusher:connection_established", connected)
    site.say(pusher.connection.state, pusher.connection.socket_id, pusher.connection.is_alive())
    pusher.connect()
    sleep_forever()


def chat(pysher: Any, site: Site) -> None:
    """A chat bot: a channel with dots, names with backslashes, data of all sorts."""
    pusher = pysher.Pusher(KEY, **site.where)

    def connected(_: str) -> None:
        channel = pusher.subscribe(ROOM)
        for event in ("App\\Events\\ChatMessageEvent", "plain", "number"):
            channel.bind(event, lambda data, event=event: site.say(event, data))
        for event in (
            "pusher_internal:subscription_succeeded",
            "pusher_internal:subscription_count",
        ):
            channel.bind(event, lambda data, event=event: site.say(event, json.loads(data)))
        channel.bind("end", site.leave)

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def dispatcher(pysher: Any, site: Site) -> None:
    """A dispatcher with the secret: it answers client events by client events."""
    pusher = pysher.Pusher(KEY, secret=SECRET, **site.where)

    def on_order(data: Any, channel: Any) -> None:
        site.say(data)
        channel.trigger("client-ack", {"id": data["id"]})
        channel.trigger("not-of-a-client", {})

    def connected(_: str) -> None:
        channel = pusher.subscribe("private-orders")
        channel.bind("client-order", on_order, channel)
        channel.bind("end", site.leave)

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def presence(pysher: Any, site: Site) -> None:
    """Presence by `user_data`."""
    me = {"user_id": "7", "user_info": {"name": "Ann"}}
    pusher = pysher.Pusher(KEY, secret=SECRET, user_data=me, **site.where)

    def connected(_: str) -> None:
        channel = pusher.subscribe("presence-room")
        for event in ("subscription_succeeded", "member_added", "member_removed"):
            name = f"pusher_internal:{event}"
            channel.bind(name, lambda data, event=event: site.say(event, decoded(data)))
        channel.bind("end", site.leave)

    def decoded(data: Any) -> Any:
        return json.loads(data) if isinstance(data, str) else ["not a string", data]

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def device(pysher: Any, site: Site) -> None:
    """A device: an auth endpoint with a header, looks at the state, leaves a channel."""
    pusher = pysher.Pusher(
        key=KEY,
        auth_endpoint=site.auth_url,
        auth_endpoint_headers={"Authorization": "Bearer token-of-a-device"},
        **site.where,
    )
    pusher.connect()
    while pusher.connection.state != "connected":
        time.sleep(0.01)
    channel = pusher.subscribe("private-device.7")
    left = threading.Event()

    def on_command(data: str) -> None:
        site.say(json.loads(data))
        pusher.unsubscribe("private-device.7")
        left.set()

    channel.bind("command", on_command)
    site.say(pusher.channel("private-device.7") is channel, pusher.channel("other"))
    left.wait(10)
    site.say(sorted(pusher.channels), pusher.connection.is_alive(), pusher.connection.daemon)
    pusher.subscribe("control").bind("end", site.leave)
    site.say("bound")
    sleep_forever()


def window(pysher: Any, site: Site) -> None:
    """A program with windows: callbacks put into a queue, the main loop takes from it."""
    waiting: queue.Queue[tuple[str, str]] = queue.Queue()
    pusher = pysher.Pusher(KEY, **site.where)

    def connected(_: str) -> None:
        channel = pusher.subscribe("prices")
        for name in ("up", "down", "end"):
            channel.bind(name, lambda data, name=name: waiting.put((name, data)))

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    while True:
        name, data = waiting.get(timeout=20)
        if name == "end":
            site.leave()
        site.say(name, data, threading.current_thread() is threading.main_thread())


def bridge(pysher: Any, site: Site) -> None:
    """A bridge to asyncio by `call_soon_threadsafe`."""

    async def main() -> None:
        loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[str, str]]()
        pusher = pysher.Pusher(KEY, **site.where)

        def put(data: str, name: str) -> None:
            loop.call_soon_threadsafe(waiting.put_nowait, (name, data))

        def connected(_: str) -> None:
            channel = pusher.subscribe("prices")
            for name in ("up", "down", "end"):
                channel.bind(name, put, name)

        pusher.connection.bind("pusher:connection_established", connected)
        pusher.connect()
        while (got := await asyncio.wait_for(waiting.get(), 20))[0] != "end":
            site.say(*got)

    asyncio.run(main())
    site.leave()


def website(pysher: Any, site: Site) -> None:
    """A web server whose pages show what a thread received, as with Flask."""
    latest: dict[str, str] = {}
    arrived = threading.Event()

    def listen() -> None:
        pusher = pysher.Pusher(KEY, **site.where)

        def keep(data: str) -> None:
            latest["price"] = data
            arrived.set()

        def connected(_: str) -> None:
            pusher.subscribe("prices").bind("up", keep)

        pusher.connection.bind("pusher:connection_established", connected)
        pusher.connect()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(latest["price"].encode())

        def log_message(self, *_: object) -> None: ...

    threading.Thread(target=listen, daemon=True).start()
    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    arrived.wait(20)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as page:
        site.say(page.read().decode())
    site.leave()


def subclasses(pysher: Any, site: Site) -> None:
    """Subclasses of `Pusher`, and a `Connection` without a `Pusher`."""

    class Feed(pysher.Pusher):  # type: ignore[misc]  # of either module
        def __init__(self, symbol: str) -> None:
            super().__init__(KEY, **site.where)
            self.symbol = symbol
            self.connection.bind("pusher:connection_established", self.connected)

        def connected(self, _: str) -> None:
            self.subscribe(self.symbol).bind("up", self.up)

        def up(self, data: str) -> None:
            site.say(self.symbol, data)
            bare.start()

    def handle(event: str, data: Any, channel: str) -> None:
        site.say(event, data if event == "up" else "", channel)
        if event == "end":
            site.leave()

    feed = Feed("prices")
    bare = pysher.Connection(handle, feed.url, None, logging.CRITICAL)
    bare.bind(
        "pusher:connection_established",
        lambda _: bare.send_event("pusher:subscribe", {"channel": "bare"}),
    )
    feed.connect()
    sleep_forever()


# Where the two differ


def _listening(pysher: Any, site: Site, channel: str = "news", **more: Any) -> Any:
    """Return a client that says each event of its channel, and each time that it is connected."""
    pusher = pysher.Pusher(KEY, **(site.where | more))

    def connected(_: str) -> None:
        site.say("connected")
        bound = pusher.subscribe(channel)
        bound.bind("n", lambda data: site.say("n", data))
        bound.bind("pusher_internal:subscription_succeeded", lambda _: site.say("subscribed"))
        bound.bind("end", site.leave)

    pusher.connection.bind("pusher:connection_established", connected)
    return pusher


def protocol(pysher: Any, site: Site) -> None:
    """The version in the URL."""
    pusher = pysher.Pusher(KEY, **site.where)
    site.say(pusher.protocol, pusher.url.rpartition("protocol=")[2])
    site.leave()


def before(pysher: Any, site: Site) -> None:
    """Subscribing before `connect()`."""
    pusher = pysher.Pusher(KEY, **site.where)
    pusher.subscribe("news").bind("n", lambda data: site.say("n", data))
    pusher.connect()
    sleep_forever()


def comes_back(pysher: Any, site: Site) -> None:
    """A channel that is subscribed once, outside of the connect handler."""
    pusher = pysher.Pusher(KEY, secret=SECRET, **site.where)
    pusher.connect()
    while pusher.connection.state != "connected":
        time.sleep(0.01)
    pusher.subscribe("private-news").bind("n", lambda data: site.say("n", data))
    sleep_forever()


def auto_sub(pysher: Any, site: Site) -> None:
    """The same with `auto_sub`."""
    pusher = pysher.Pusher(KEY, secret=SECRET, auto_sub=True, **site.where)
    pusher.connect()
    while pusher.connection.state != "connected":
        time.sleep(0.01)
    pusher.subscribe("private-news").bind("n", lambda data: site.say("n", data))
    sleep_forever()


def raising(pysher: Any, site: Site) -> None:
    """A callback that raises, and another one for the same event."""
    pusher = pysher.Pusher(KEY, **site.where)

    def connected(_: str) -> None:
        channel = pusher.subscribe("news")
        channel.bind("n", lambda data: json.loads(data)["missing"])
        channel.bind("n", lambda data: site.say("n", data, pusher.connection.state))

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def malformed(pysher: Any, site: Site) -> None:
    """A message that is not JSON, and the state after it."""
    pusher = _listening(pysher, site)
    pusher.connection.bind("look", lambda _: site.say(pusher.connection.state))
    pusher.connect()
    sleep_forever()


def listening(pysher: Any, site: Site) -> None:
    """A client that says when it is connected, subscribed, and what it gets."""
    _listening(pysher, site, "private-news", secret=SECRET).connect()
    sleep_forever()


def half_open(pysher: Any, site: Site) -> None:
    """The same, with short times for pings."""
    pusher = _listening(pysher, site)
    pusher.connection.ping_interval = pusher.connection.pong_timeout = 0.3
    pusher.connect()
    sleep_forever()


def wrong_key(pysher: Any, site: Site) -> None:
    """A key that the server does not know."""
    where = site.where
    pusher = pysher.Pusher("unknown", **where)
    pusher.connection.bind("pusher:error", lambda data: site.say(data["code"]))
    pusher.connect()
    time.sleep(1.5)
    site.say(pusher.connection.state, pusher.connection.is_alive())
    site.leave()


def leaving(pysher: Any, site: Site) -> None:
    """`disconnect()` in a callback, and `connect()` after it."""
    pusher = pysher.Pusher(KEY, **site.where)
    left = threading.Event()

    def connected(_: str) -> None:
        try:
            pusher.disconnect()
        except RuntimeError as error:
            site.say(str(error))
        site.say(pusher.connection.state)
        left.set()

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    left.wait(5)
    pusher.connection.join(5)
    try:
        left.clear()
        pusher.connect()
        left.wait(5)
    except RuntimeError as error:
        site.say(str(error))
    site.leave()


def host_of_a_subclass(pysher: Any, site: Site) -> None:
    """A subclass with its own host."""

    class Ours(pysher.Pusher):  # type: ignore[misc]  # of either module
        host = "ws.example.com"

    site.say(Ours(KEY).url.partition("/app/")[0])
    site.leave()


def url_of_a_program(pysher: Any, site: Site) -> None:
    """A program that sets `url` before `connect()`."""
    pusher = _listening(pysher, site, custom_host="127.0.0.2", port=9)
    pusher.url = f"ws://127.0.0.1:{site.port}/app/{KEY}?protocol=6&client=x&version=1.0.7"
    pusher.connect()
    sleep_forever()


def member_of_the_endpoint(pysher: Any, site: Site) -> None:
    """Presence by an endpoint that says who the member is."""
    pusher = _listening(pysher, site, "presence-room", auth_endpoint=site.auth_url)
    pusher.connect()
    sleep_forever()


def encrypted(pysher: Any, site: Site) -> None:
    """An encrypted channel, by an endpoint."""
    pusher = pysher.Pusher(KEY, auth_endpoint=site.auth_url, **site.where)

    def connected(_: str) -> None:
        bound = pusher.subscribe("private-encrypted-notes")
        bound.bind("n", lambda data: site.say("n", data if "nonce" not in data else "ciphertext"))
        bound.bind("end", site.leave)

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def refused(pysher: Any, site: Site) -> None:
    """An endpoint that says no: for one of two channels."""
    pusher = pysher.Pusher(KEY, auth_endpoint=site.auth_url, **site.where)

    def connected(_: str) -> None:
        bound = pusher.subscribe("private-no")
        bound.bind("pusher:subscription_error", lambda data: site.say(data["type"], data["status"]))
        pusher.subscribe("news").bind("n", lambda data: site.say("n", data))

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def other_messages(pysher: Any, site: Site) -> None:
    """Messages of the connection that belong to no channel."""
    pusher = _listening(pysher, site)
    pusher.connection.bind("pusher:error", lambda data: site.say(data))

    def connected(_: str) -> None:
        pusher.connection.bind("maintenance", lambda data: site.say("maintenance", data))

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


def tokens(pysher: Any, site: Site) -> None:
    """A program that signs for itself: it gives a token for each connection."""
    pusher = pysher.Pusher(KEY, **site.where)

    def connected(data: str) -> None:
        signed = f"{json.loads(data)['socket_id']}:private-news".encode()
        signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        channel = pusher.subscribe("private-news", auth=f"{KEY}:{signature}")
        channel.bind("pusher_internal:subscription_succeeded", lambda _: site.say("subscribed"))
        channel.bind("n", lambda data: site.say("n", data))
        channel.bind("end", site.leave)

    pusher.connection.bind("pusher:connection_established", connected)
    pusher.connect()
    sleep_forever()


PROGRAMS = {
    each.__name__: each
    for each in (
        feed, chat, dispatcher, presence, device, window, bridge, website, subclasses, other_messages, tokens,
        protocol, before, comes_back, auto_sub, raising, malformed, listening, half_open, wrong_key, leaving,
        host_of_a_subclass, url_of_a_program, member_of_the_endpoint, encrypted, refused,
    )
}  # fmt: skip
