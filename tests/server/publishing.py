"""One list of requests of publishers for a real Reverb and for its dialect, and how their answers are compared.

`tests/reverb/record.py` plays `STEPS` on a real Reverb and writes the answers to `recordings/reverb-http.json`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from pusher_proto.signing import sign
from pusher_proto.testing import App

__all__ = ["APP", "RECORDING", "STEPS", "Side", "play"]

RECORDING = Path(__file__).parent / "recordings" / "reverb-http.json"
APP = App(id="1001", key="app-key", secret="app-secret")

Step = dict[str, Any]
Answer = dict[str, Any]


class Side(Protocol):
    """A server with named clients: a real one, or the machine."""

    def join(self, client: str, channel: str, channel_data: str | None) -> None:
        """Subscribe; a client that is new connects first."""

    def leave(self, client: str) -> None:
        """Disconnect."""

    def socket_id(self, client: str) -> str:
        """Return the socket id of a client."""

    def http(self, data: bytes) -> bytes:
        """Send bytes on a new connection; return everything received until it ended."""

    def heard(self) -> dict[str, list[Any]]:
        """Return what each client has received since, "end" for the end of its connection."""


def join(client: str, channel: str, user_id: object = None, **info: Any) -> Step:
    data = None if user_id is None else json.dumps({"user_id": user_id, "user_info": info or None})
    return {"join": client, "channel": channel, "channel_data": data}


def leave(client: str) -> Step:
    return {"leave": client}


def request(
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    signed_path: str | None = None,
    **query: str,
) -> Step:
    """Return a signed request below the app, or for the whole path when it begins with two slashes.

    A body other than text is sent as JSON. `{NAME}` in it is the socket id of a client. Keywords overwrite the
    parameters that a library would send.
    """
    return {
        "request": f"{method} {path}",
        "body": "" if body is None else body if isinstance(body, str) else json.dumps(body),
        "headers": list(headers),
        "without": list(without),
        "signed_path": signed_path,
        "query": query,
    }


def get(path: str, **more: Any) -> Step:
    return request("GET", path, **more)


def event(body: Any = None, **fields: Any) -> Step:
    return request("POST", "/events", body if body is not None else EVENT | fields)


def batch(*events: Any) -> Step:
    return request("POST", "/batch_events", {"batch": list(events)})


def terminate(user: str) -> Step:
    return request("POST", f"/users/{user}/terminate_connections", {})


EVENT = {"name": "e", "channel": "news", "data": "1"}


def without(name: str, /, **fields: Any) -> dict[str, Any]:
    return {key: value for key, value in (EVENT | fields).items() if key != name}


STEPS: list[Step] = [
    # No one is subscribed.
    get("/channels"),
    get("/channels", info="user_count"),
    get("/channels", filter_by_prefix="presence-"),
    get("/channels/news"),
    get("/channels/news", info="user_count,subscription_count,cache"),
    get("/channels/presence-room/users"),
    get("/connections"),
    get("//up"),
    event(),
    event(info="subscription_count,user_count"),
    event(info="nothing"),
    terminate("1"),
    # Paths and methods.
    get("//apps"),
    get("//apps/1001"),
    get("/"),
    get("/nothing"),
    get("/channels/"),
    get("/channels/a/b"),
    get("/events"),
    request("POST", "/channels", {}),
    request("PUT", "/events", EVENT),
    request("DELETE", "/channels"),
    request("HEAD", "/channels"),
    request("OPTIONS", "/events"),
    request("POST", "//apps/9/events", EVENT),
    get("//apps/9/channels"),
    request("POST", "/channels/news/events", EVENT),
    # Signatures.
    get("/channels", without=("auth_signature",)),
    get("/channels", auth_signature="0" * 64),
    get("/channels", auth_signature="x"),
    get("/channels", without=("auth_key", "auth_version", "auth_timestamp")),
    get("/channels", auth_key="other"),
    get("/channels", auth_timestamp="never"),
    get("/channels", body_md5="d41d8cd98f00b204e9800998ecf8427e"),
    get("/channels", appId="7"),
    get("/channels", zebra="two words + ü&=", alpha=""),
    get("/channels", Upper="x", under_score="x"),
    request("POST", "/events", EVENT, body_md5="0" * 32),
    request("POST", "/events", EVENT, without=("body_md5",)),
    get("/channels/news%20%C3%BC"),
    get("/channels/news%20%C3%BC", signed_path="/channels/news ü"),
    get("/channels/a@b,c;d=e"),
    get("/channels/a%40b"),
    get("/channels/a%20b/users"),
    # Bodies.
    event("no JSON"),
    event(""),
    event("[]"),
    event("{}"),
    event("null"),
    event("5"),
    event('"text"'),
    event([EVENT]),
    event('{"name": "e", "channel": "news", "data": "1"'),
    event('{"name": "e", "channel": "news", "data": "1"}\n'),
    event('{"name": "\\ud800", "channel": "news", "data": "1"}'),
    event(data="x" * 9_000),
    event(data="x" * 9_900),
    event(data="x" * 10_000),
    get("/channels", headers=("X-Long: " + "x" * 10_000,)),
    # Fields of an event.
    event(without("name")),
    event(without("data")),
    event(without("channel")),
    event(name=""),
    event(name="  "),
    event(name=5),
    event(name=None),
    event(name=["e"]),
    event(data=""),
    event(data=" "),
    event(data=None),
    event(data=0),
    event(data=False),
    event(data=1.5),
    event(data={}),
    event(data=[]),
    event(data={"a": 1}),
    event(data=["a"]),
    event(channel=""),
    event(channel=None),
    event(channel=5),
    event(channel=["news"]),
    event(without("channel", channels=[])),
    event(without("channel", channels="news")),
    event(without("channel", channels={})),
    event(without("channel", channels={"a": "news"})),
    event(without("channel", channels=None)),
    event(without("channel", channels=[5])),
    event(without("channel", channels=[""])),
    event(channels=["other"]),
    event(channels=[]),
    event(channels=None),
    event(channels="other"),
    event(socket_id=None),
    event(socket_id=""),
    event(socket_id=5),
    event(socket_id="nonsense"),
    event(info=None),
    event(info=""),
    event(info=["user_count"]),
    event({}),
    event({"name": 5, "data": {}, "channels": "x", "socket_id": 5, "info": 5}),
    # Batches.
    batch(),
    request("POST", "/batch_events", {}),
    request("POST", "/batch_events", {"batch": "x"}),
    request("POST", "/batch_events", {"batch": {}}),
    request("POST", "/batch_events", {"batch": {"a": EVENT}}),
    request("POST", "/batch_events", [EVENT]),
    request("POST", "/batch_events", "no JSON"),
    request("POST", "/batch_events", EVENT),
    batch(EVENT),
    batch(*[EVENT] * 20),
    batch("text"),
    batch(5),
    batch([]),
    batch({}),
    batch(without("name")),
    batch(EVENT, without("data"), without("channel", name=5)),
    batch(without("channel", channels=["news"])),
    batch(EVENT | {"channel": 5}),
    batch(EVENT | {"socket_id": 5}),
    batch(EVENT | {"info": 5}),
    batch(EVENT | {"info": ""}),
    batch(EVENT | {"info": "subscription_count"}),
    batch(EVENT | {"socket_id": "1.2"}),
    # With clients.
    join("ann", "presence-room", "1", name="Ann"),
    join("bob", "presence-room", 2),
    join("eve", "presence-room", 2),
    join("carl", "news"),
    join("carl", "cache-news"),
    join("dora", "private-orders"),
    join("dora", "news"),
    join("fred", "presence-cache-desk", "7"),
    join("gus", "private-encrypted-x"),
    join("gus", "private-cache-last"),
    get("/connections"),
    get("/channels"),
    get("/channels", info="user_count"),
    get("/channels", info="subscription_count"),
    get("/channels", info="user_count,subscription_count"),
    get("/channels", info="cache,subscription_count"),
    get("/channels", info="nothing"),
    get("/channels", info=""),
    get("/channels", info="user_count, subscription_count"),
    get("/channels", filter_by_prefix="presence-"),
    get("/channels", filter_by_prefix="presence-", info="user_count"),
    get("/channels", filter_by_prefix=""),
    get("/channels", filter_by_prefix="nothing"),
    get("/channels", filter_by_prefix="news"),
    get("/channels", filter_by_prefix="oo"),
    get("/channels/news"),
    get("/channels/news", info="subscription_count"),
    get("/channels/news", info="user_count"),
    get("/channels/news", info="occupied"),
    get("/channels/news", info=""),
    get("/channels/presence-room"),
    get("/channels/presence-room", info="user_count,subscription_count"),
    get("/channels/presence-room", info="subscription_count"),
    get("/channels/private-orders", info="user_count,subscription_count,cache"),
    get("/channels/cache-news", info="cache"),
    get("/channels/presence-room/users"),
    get("/channels/presence-cache-desk/users"),
    get("/channels/news/users"),
    get("/channels/private-orders/users"),
    get("/channels/nobody/users"),
    event(),
    event(data='{"a": 1, "b": "\\u00fc/"}'),
    event(data="text ü / \U0001f600"),
    event(name="pusher:anything"),
    event(name="pusher_internal:subscription_succeeded", data="{}"),
    event(name="client-hello"),
    event(name="ü / e"),
    event(channel="presence-room"),
    event(channel="nobody"),
    event(without("channel", channels=["news", "presence-room", "nobody"])),
    event(without("channel", channels=["news", "news"])),
    event(
        without(
            "channel", channels=["news", "presence-room", "x"], info="user_count,subscription_count"
        )
    ),
    event(channel="presence-room", info="user_count"),
    event(channel="news", info="user_count"),
    event(socket_id="{carl}"),
    event(channel="presence-room", socket_id="{ann}", info="user_count"),
    event(channel="news", socket_id="{ann}"),
    event(channels=["presence-room"]),
    event(channel="cache-news", data='{"last": 1}'),
    get("/channels/cache-news", info="cache"),
    get("/channels/cache-news", info="cache,subscription_count"),
    get("/channels", info="cache"),
    event(channel="cache-news", data='{"last": 2}', info="cache"),
    event(channel="presence-cache-desk", data="text"),
    get("/channels/presence-cache-desk", info="cache,user_count"),
    event(channel="private-cache-last", data="x"),
    get("/channels/private-cache-last", info="cache"),
    join("hal", "private-cache-last"),
    join("hal", "presence-cache-desk", "8"),
    join("hal", "cache-news"),
    batch(EVENT, EVENT | {"channel": "presence-room"}),
    batch(EVENT | {"info": "subscription_count"}, EVENT),
    batch(EVENT | {"info": "user_count"}),
    batch(EVENT | {"channel": "nobody", "info": "subscription_count"}),
    batch(EVENT | {"channel": "presence-room", "info": "user_count,subscription_count"}),
    batch(EVENT | {"socket_id": "1.2"}),
    batch(EVENT | {"data": "first"}, EVENT | {"data": "2", "socket_id": "{carl}"}, EVENT),
    batch(EVENT | {"channel": "presence-room", "socket_id": "{carl}"}),
    # Users.
    leave("carl"),
    leave("dora"),
    leave("gus"),
    leave("hal"),
    get("/connections"),
    get("/channels"),
    terminate("nobody"),
    terminate("7"),
    get("/channels"),
    terminate("2"),
    get("/channels/presence-room/users"),
    join("ivy", "news"),
    join("jan", "presence-room", "9"),
    terminate("1"),
    get("/channels"),
    terminate("9"),
    get("/channels/presence-room/users"),
    request("POST", "/users/9/terminate_connections"),
    leave("ivy"),
    join("kim", "presence-room", "a b"),
    terminate("a%20b"),
    get("/connections"),
]


def play(side: Side, steps: list[Step]) -> list[Answer]:
    """Return what the server did at each step."""
    return [_play(side, step) for step in steps]


def _play(side: Side, step: Step) -> Answer:
    answer: Answer = {}
    if "join" in step:
        side.join(step["join"], step["channel"], step["channel_data"])
    elif "leave" in step:
        side.leave(step["leave"])
    else:
        answer = _read(side.http(_bytes_of(side, step)))
        if step["request"].startswith("HEAD "):
            # Reverb sends one, against the rules of HTTP.
            del answer["body"]
    if heard := side.heard():
        answer["heard"] = heard
    return answer


def _bytes_of(side: Side, step: Step) -> bytes:
    method, path = step["request"].split(" ")
    body = step["body"]
    if "{" in body:
        for client in ("ann", "bob", "carl"):
            if f"{{{client}}}" in body:
                body = body.replace(f"{{{client}}}", side.socket_id(client))
    content: bytes = body.encode()
    query = {"auth_key": APP.key, "auth_timestamp": "1000", "auth_version": "1.0"}
    if content:
        query["body_md5"] = hashlib.md5(content).hexdigest()
    query |= step["query"]
    query = {name: value for name, value in query.items() if name not in step["without"]}
    signed = _full(step["signed_path"] or path)
    pairs = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
    if "auth_signature" not in query and "auth_signature" not in step["without"]:
        query["auth_signature"] = sign(APP.secret, f"{method}\n{signed}\n{pairs}")
    lines = [f"{method} {_full(path)}?{urlencode(query)} HTTP/1.1", "Host: test", *step["headers"]]
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def _full(path: str) -> str:
    return path[1:] if path.startswith("//") else f"/apps/{APP.id}{path}"


def _read(raw: bytes) -> Answer:
    """Return an answer: its status, the headers that matter, and its body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = (line.partition(":") for line in lines)
    named = {name.lower(): value.strip() for name, _, value in fields}
    answer: Answer = {"status": int(status.split(" ")[1])}
    for name in ("content-type", "allow"):
        if name in named:
            answer[name] = named[name]
    text = body.decode()
    answer["body"] = json.loads(text) if text[:1] in ("{", "[") else text
    return answer
