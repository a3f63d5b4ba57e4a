"""Common parts of the scenarios of our clients on real servers."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable
from typing import Any, TypeVar

import anyio
from pusher.http import POST, Request

from pusher_anyio import Channel, Stream
from pusher_proto import ChannelEvent, Event, Options, OwnKey
from real_servers.process import HOST, App, RealServer

__all__ = [
    "MASTER_KEY",
    "TIMEOUT",
    "Publisher",
    "Said",
    "first",
    "fresh",
    "next_of",
    "options_for",
    "said",
    "take",
]

E = TypeVar("E", bound=Event)

TIMEOUT = 10.0
MASTER_KEY = bytes(range(32))
_numbers = itertools.count(1)

Said = tuple[str, Any]
"""The name and the data of a message."""


def fresh(prefix: str) -> str:
    """Return a name that no other test has used on a shared server."""
    return f"{prefix}-{next(_numbers)}"


def options_for(server: RealServer, app: App, **more: Any) -> Options:
    """Return options for an app of a server. AuthRequests are signed with its secret unless `more` says otherwise."""
    more.setdefault("auth", OwnKey(app.key, app.secret))
    more.setdefault("retry_base", 0.05)
    more.setdefault("retry_cap", 0.2)
    more.setdefault("tls", False)
    constructor = getattr(Options, server.habits.options)
    options: Options = constructor(HOST, key=app.key, port=server.port, **more)
    return options


def said(event: ChannelEvent) -> Said:
    """Return what a message says."""
    return event.name, event.data


async def first(stream: Stream[E]) -> E:
    """Return the next event of a stream."""
    with anyio.fail_after(TIMEOUT):
        return await anext(stream)


async def next_of(channel: Channel) -> ChannelEvent:
    """Return the next message of a channel that was not taken yet."""
    event: ChannelEvent = await channel.wait_for(ChannelEvent, timeout=TIMEOUT)
    return event


async def take(stream: Stream[ChannelEvent], count: int) -> list[Said]:
    """Return what the next messages of a stream say."""
    return [said(await first(stream)) for _ in range(count)]


class Publisher:
    """The official HTTP library, publishing to one app. A refused request is an AssertionError."""

    def __init__(self, server: RealServer, app: App, master_key: bytes | None = None) -> None:
        encoded = None if master_key is None else base64.b64encode(master_key).decode()
        self._server, self._app = server, app
        self._library = server.http_client(app, encryption_master_key_base64=encoded)

    def trigger(self, channels: str | list[str], event: str, data: object, **more: Any) -> None:
        """Publish an event; `socket_id` names who does not get it."""
        answer = self._library.trigger(channels, event, data, **more)
        assert answer == self._server.habits.published

    def batch(self, channel: str, event: str, data: Iterable[object]) -> None:
        """Publish up to ten events of one channel in one request."""
        events = [{"channel": channel, "name": event, "data": each} for each in data]
        assert "error" not in self._library.trigger_batch(events)

    def send_to_user(self, user_id: str, event: str, data: object) -> None:
        """Send an event to a signed-in user."""
        answer = self._library.send_to_user(user_id, event, data)
        assert answer == self._server.habits.published

    def terminate(self, user_id: str) -> None:
        """End all connections of a user. (The library's own call asks for a path that no server has.)"""
        client = self._library._pusher_client
        path = f"/apps/{client.app_id}/users/{user_id}/terminate_connections"
        answer = client.http.send_request(Request(client, POST, path, {}))
        assert answer == self._server.habits.published

    def members(self, channel: str) -> list[str]:
        """Return the ids of the users on a presence channel, sorted."""
        answer = self._server.get(self._app, f"/channels/{channel}/users")
        return sorted(str(user["id"]) for user in answer["users"])
