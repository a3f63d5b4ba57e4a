"""The official HTTP library and a WebSocket client on real sockets keep the server honest."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import nacl.secret
import pusher
import pytest
import wsproto.events as ws
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus
from wsproto import ConnectionType, WSConnection

from pusher_proto.testing import App, Server

from .loopback import Loopback

MASTER = bytes(range(32))
APP = App(id="77", key="key77", secret="secret77", encryption_master_key=MASTER)


class Listener:
    """A blocking WebSocket client of few words."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._messages: list[Any] = []
        self._send(ws.Request(host="test", target=f"/app/{APP.key}?protocol=7&version=1.0.0"))
        self.socket_id = json.loads(self.next()["data"])["socket_id"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sock.close()

    def _send(self, event: ws.Event) -> None:
        self._sock.sendall(self._ws.send(event))

    def say(self, event: str, data: Any) -> None:
        self._send(ws.TextMessage(data=json.dumps({"event": event, "data": data})))

    def subscribe(self, channel: str, authorization: dict[str, Any] | None = None) -> Any:
        fields = authorization or {}
        self.say("pusher:subscribe", {"channel": channel} | fields)
        return self.next()

    def next(self) -> Any:
        """Return the next message, or the close."""
        while not self._messages:
            data = self._sock.recv(65536)
            assert data, "the server hung up"
            self._ws.receive_data(data)
            for event in self._ws.events():
                match event:
                    case ws.TextMessage():
                        self._messages.append(json.loads(event.data))
                    case ws.CloseConnection():
                        self._messages.append((event.code, event.reason))
                    case _:
                        pass
        return self._messages.pop(0)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    app = App(
        id=APP.id,
        key=APP.key,
        secret=APP.secret,
        encryption_master_key=MASTER,
        subscription_count=False,
    )
    with Loopback(Server([app], wall_clock=time.time)) as running:
        yield running


@pytest.fixture
def publisher(loopback: Loopback) -> Iterator[Any]:
    client = pusher.Pusher(
        app_id=APP.id,
        key=APP.key,
        secret=APP.secret,
        host="127.0.0.1",
        port=loopback.port,
        ssl=False,
        encryption_master_key_base64=base64.b64encode(MASTER).decode(),
    )
    yield client
    client._pusher_client.http.session.close()


def test_trigger_reaches_subscribers(loopback: Loopback, publisher: Any) -> None:
    with Listener(loopback.port) as listener:
        listener.subscribe("room")
        assert publisher.trigger("room", "price", {"v": "ü"}) == {}
        assert listener.next() == {"event": "price", "channel": "room", "data": '{"v": "ü"}'}
        publisher.trigger(["room", "other"], "text", "as it is")
        assert listener.next() == {"event": "text", "channel": "room", "data": "as it is"}


def test_trigger_leaves_out_the_named_socket(loopback: Loopback, publisher: Any) -> None:
    with Listener(loopback.port) as first, Listener(loopback.port) as second:
        first.subscribe("room")
        second.subscribe("room")
        publisher.trigger("room", "a", "1", first.socket_id)
        publisher.trigger("room", "b", "2")
        assert first.next()["event"] == "b"
        assert [second.next()["event"], second.next()["event"]] == ["a", "b"]


def test_a_batch_is_delivered_in_order(loopback: Loopback, publisher: Any) -> None:
    with Listener(loopback.port) as listener:
        listener.subscribe("room")
        listener.subscribe("hall")
        batch = [
            {"channel": "room", "name": "one", "data": {"n": 1}},
            {"channel": "hall", "name": "two", "data": "text"},
            {"channel": "room", "name": "three", "data": [3], "socket_id": listener.socket_id},
        ]
        assert publisher.trigger_batch(batch) == {}
        assert [listener.next(), listener.next()] == [
            {"event": "one", "channel": "room", "data": '{"n": 1}'},
            {"event": "two", "channel": "hall", "data": "text"},
        ]
        publisher.trigger("room", "last", "")
        assert listener.next()["event"] == "last"


def test_authorizations_of_the_library_are_accepted(loopback: Loopback, publisher: Any) -> None:
    with Listener(loopback.port) as listener:
        authorization = publisher.authenticate("private-x", listener.socket_id)
        assert listener.subscribe("private-x", authorization) == {
            "event": "pusher_internal:subscription_succeeded",
            "channel": "private-x",
            "data": "{}",
        }
        authorization = publisher.authenticate("private-y", listener.socket_id)
        assert listener.subscribe("private-z", authorization)["event"] == "pusher:error"
        authorization = publisher.authenticate(
            "presence-x", listener.socket_id, {"user_id": 7, "user_info": {"name": "Ü"}}
        )
        roster = json.loads(listener.subscribe("presence-x", authorization)["data"])
        assert roster == {"presence": {"ids": ["7"], "hash": {"7": {"name": "Ü"}}, "count": 1}}


def test_events_that_the_library_encrypts_can_be_opened(loopback: Loopback, publisher: Any) -> None:
    channel = "private-encrypted-x"
    with Listener(loopback.port) as listener:
        authorization = publisher.authenticate(channel, listener.socket_id)
        shared_secret = authorization.pop("shared_secret")
        assert base64.b64decode(shared_secret) == APP.shared_secret(channel)
        listener.subscribe(channel, authorization)
        publisher.trigger(channel, "secret", {"a": 1})
        loopback.timed(loopback.server.publish, channel, "secret", {"a": 2})
        box = nacl.secret.SecretBox(base64.b64decode(shared_secret))
        opened = []
        for _ in range(2):
            sealed = json.loads(listener.next()["data"])
            nonce, ciphertext = (base64.b64decode(sealed[n]) for n in ("nonce", "ciphertext"))
            opened.append(json.loads(box.decrypt(ciphertext, nonce)))
        assert opened == [{"a": 1}, {"a": 2}]


def test_channels_and_users_can_be_listed(loopback: Loopback, publisher: Any) -> None:
    with Listener(loopback.port) as listener:
        listener.subscribe("room")
        for channel in ("presence-x", "presence-y"):
            authorization = publisher.authenticate(channel, listener.socket_id, {"user_id": "7"})
            listener.subscribe(channel, authorization)
        assert publisher.channels_info() == {
            "channels": {"room": {}, "presence-x": {}, "presence-y": {}}
        }
        assert publisher.channels_info("presence-", ["user_count"]) == {
            "channels": {"presence-x": {"user_count": 1}, "presence-y": {"user_count": 1}}
        }
        assert publisher.channel_info("presence-x", ["user_count"]) == {
            "occupied": True,
            "user_count": 1,
        }
        assert publisher.channel_info("empty") == {"occupied": False}
        assert publisher.users_info("presence-x") == {"users": [{"id": "7"}]}
        with pytest.raises(PusherBadRequest, match="user_count"):
            publisher.channel_info("room", ["user_count"])


def test_signing_in_receiving_and_being_sent_away(loopback: Loopback, publisher: Any) -> None:
    with Listener(loopback.port) as listener:
        authorization = publisher.authenticate_user(listener.socket_id, {"id": "7"})
        listener.say("pusher:signin", authorization)
        answer = listener.next()
        assert answer["event"] == "pusher:signin_success"
        assert json.loads(answer["data"]["user_data"]) == {"id": "7"}
        listener.subscribe("#server-to-user-7")
        publisher.send_to_user("7", "hello", {"n": 1})
        assert listener.next() == {
            "event": "hello",
            "channel": "#server-to-user-7",
            "data": '{"n": 1}',
        }
        loopback.timed(loopback.server.terminate_user, "7")
        assert listener.next() == (4009, "You got disconnected by the app.")


def test_a_wrong_secret_is_refused(loopback: Loopback, publisher: Any) -> None:
    loopback.timed(loopback.server.rotate_secret, "another")
    with pytest.raises(PusherBadAuth, match="Invalid signature"):
        publisher.trigger("room", "price", "1")


def test_too_much_data_and_unknown_apps_have_their_status(
    loopback: Loopback, publisher: Any
) -> None:
    with pytest.raises(PusherBadStatus, match="413"):
        publisher.trigger("room", "price", "x" * 10241)
    stranger = pusher.Pusher("78", "key", "secret", ssl=False, host="127.0.0.1", port=loopback.port)
    with pytest.raises(PusherBadStatus, match="404"):
        stranger.trigger("room", "price", "1")
    stranger._pusher_client.http.session.close()
