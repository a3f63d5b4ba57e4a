"""An authorizer with `authorize_many` is asked once for all channels of a turn, in both clients."""

from __future__ import annotations

from typing import Any

import pytest

import pusher_sync
from pusher_anyio import open_pusher
from pusher_anyio.testing import serve, serve_in_thread
from pusher_proto import AuthorizationError, AuthRequest, AuthResponse
from pusher_proto.signing import sign_channel

NAMES = ["private-a", "private-b", "private-no"]


def sign(requests: list[AuthRequest]) -> dict[str | None, object]:
    """AuthResponse all channels but one."""
    return {
        one.channel: AuthResponse(
            sign_channel("demo", "demo-secret", one.socket_id, one.channel or "")
        )
        for one in requests
        if one.channel != "private-no"
    }


class Desk:
    def __init__(self) -> None:
        self.asked: list[list[str | None]] = []

    def authorize_many(self, requests: list[AuthRequest]) -> object:
        self.asked.append([one.channel for one in requests])
        return sign(requests)


class AsyncDesk(Desk):
    async def authorize_many(self, requests: list[AuthRequest]) -> object:
        return super().authorize_many(requests)


class BrokenDesk(Desk):
    def authorize_many(self, requests: list[AuthRequest]) -> object:
        return []


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", [Desk, AsyncDesk])
async def test_the_asynchronous_client_asks_once(kind: type[Desk]) -> None:
    desk: Any = kind()
    async with serve() as server, open_pusher(server.options(auth=None), authorizer=desk) as client:
        channels = [client.subscribe(name) for name in NAMES]
        await channels[0].wait_subscribed(5)
        await channels[1].wait_subscribed(5)
        with pytest.raises(AuthorizationError, match="no answer for this channel"):
            await channels[2].wait_subscribed(5)
    assert desk.asked == [NAMES]


def test_the_blocking_client_asks_once() -> None:
    desk: Any = Desk()
    with serve_in_thread() as server:
        options = server.options(auth=None)
        with pusher_sync.open_pusher(options, authorizer=desk) as client:
            with client._guard:  # or the connection may come about between two of them
                channels = [client.subscribe(name) for name in NAMES]
            channels[0].wait_subscribed(5)
            channels[1].wait_subscribed(5)
            with pytest.raises(AuthorizationError, match="no answer for this channel"):
                channels[2].wait_subscribed(5)
    assert desk.asked == [NAMES]


def test_too_few_answers_are_an_error_of_each_channel() -> None:
    desk: Any = BrokenDesk()
    with serve_in_thread() as server:
        options = server.options(auth=None)
        with pusher_sync.open_pusher(options, authorizer=desk) as client:
            channel = client.subscribe("private-a")
            with pytest.raises(AuthorizationError, match="one for each request"):
                channel.wait_subscribed(5)
