"""Records what Soketi says to a client: `python tests/soketi/record.py` writes tests/transcripts/soketi-*.txt again.

Not a test: what it writes is looked at by a person and committed. Socket ids and signatures differ each time.
"""

from __future__ import annotations

import base64
import json
import random
import selectors
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection

from pusher_proto import CloseTransport, OpenTransport, Options, OwnKey, SendData, Session
from real_servers.process import HOST, PLAIN_APP, USERS_APP, App
from soketi.harness import Soketi, prepare
from transcripts.player import DIRECTORY, play, read, whole

MASTER_KEY = bytes(range(32))
QUIET = 0.3
"""Seconds of silence after which the server has said all."""


class Client:
    """A session on a real connection, and the transcript of what was said on it."""

    def __init__(self, server: Soketi, app: App, **own: Any) -> None:
        auth = OwnKey(app.key, app.secret, master_key=MASTER_KEY, **own)
        options = Options.from_host(HOST, key=app.key, port=server.port, tls=False, auth=auth)
        self.session = Session(options, rng=random.Random(1))
        self.lines = [f"key = {app.key}", f"secret = {app.secret}"]
        self.lines += [f"{name} = {json.dumps(value)}" for name, value in own.items()]
        self.lines += [f"master_key = {MASTER_KEY.hex()}", ""]
        self._socket: socket.socket | None = None
        self._transport = 0
        # Reads along what the server says, from behind the upgrade.
        self._reader = Connection(ConnectionType.CLIENT)
        self._upgraded = False
        self._head = b""

    def do(self, line: str) -> None:
        """Let the application do something, and note what the server says to it."""
        self.lines.append(f"! {line}")
        command, *args = line.split(" ", 3)
        if command == "trigger":
            self.session.trigger(args[0], args[1], json.loads(args[2]), now=time.monotonic())
        else:
            getattr(self.session, command)(*args, now=time.monotonic())
        self.listen()

    def listen(self) -> None:
        """Record messages until the server is silent."""
        with selectors.DefaultSelector() as selector:
            while True:
                self._carry_out()
                if self._socket is None:
                    return
                if not selector.get_map():
                    selector.register(self._socket, selectors.EVENT_READ)
                if not selector.select(QUIET):
                    return
                data = self._socket.recv(65536)
                if not data:
                    self.lines.append("<end")
                    self.session.transport_closed(self._transport, None, now=time.monotonic())
                    self._socket = None
                    return
                self.session.receive_data(self._transport, data, now=time.monotonic())
                self._note(data)

    def _note(self, data: bytes) -> None:
        if not self._upgraded:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._upgraded = True
            assert b" 101 " in head
        self._reader.receive_data(data)
        for event in self._reader.events():
            match event:
                case ws.TextMessage():
                    assert event.message_finished
                    self.lines.append(f"< {event.data}")
                case ws.Ping():
                    self.lines.append(f"<ping {bytes(event.payload).decode()}")
                case ws.CloseConnection():
                    self.lines.append(f"<close {event.code} {event.reason or ''}".rstrip())

    def _carry_out(self) -> None:
        while (effect := self.session.next_effect()) is not None:
            match effect:
                case OpenTransport():
                    self._transport = effect.transport
                    self._socket = socket.create_connection((effect.host, effect.port))
                    self.session.transport_opened(effect.transport, now=time.monotonic())
                case SendData():
                    if self._socket is not None:
                        self._socket.sendall(effect.data)
                case CloseTransport():
                    self._socket = None
        while self.session.next_event() is not None:
            pass


def room(server: Soketi) -> Client:
    """Record channels of every kind, publishing, client events, members, and the end of the server."""
    me = {"user_id": "me", "user_info": {"name": "Me"}}
    client = Client(server, PLAIN_APP, member=me)
    other = Client(server, PLAIN_APP, member={"user_id": 2, "user_info": {}})
    http = server.http_client(
        PLAIN_APP, encryption_master_key_base64=base64.b64encode(MASTER_KEY).decode()
    )
    client.do("connect")
    for channel in ("room", "private-room", "presence-room", "private-encrypted-room"):
        client.do(f"subscribe {channel}")
    client.do("subscribe cache-room")
    other.do("connect")
    other.do("subscribe presence-room")
    client.listen()
    for channel in ("room", "private-room", "private-encrypted-room", "cache-room"):
        http.trigger(channel, "price", {"cents": 250, "of": "tea"})
    client.listen()
    client.do('trigger private-room client-x {"a":1}')
    other.do('trigger presence-room client-y {"b":[2]}')
    client.listen()
    other.do("unsubscribe presence-room")
    client.listen()
    client.do("ping")
    client.do("unsubscribe room")
    http.trigger("room", "price", "too late")
    client.listen()
    server.terminate()
    client.listen()
    return client


def refused(server: Soketi) -> Client:
    """Record refusals: a signature by another secret."""
    wrong = App(id=PLAIN_APP.id, key=PLAIN_APP.key, secret="another-secret")
    client = Client(server, wrong)
    client.do("connect")
    client.do("subscribe private-room")
    client.do("subscribe room")
    return client


def unknown(server: Soketi) -> Client:
    """Record an app that the server does not know."""
    client = Client(server, App(id="7", key="no-such-key", secret="no-secret"))
    client.do("connect")
    return client


def users(server: Soketi) -> Client:
    """Record a user: signing in, and an event for them."""
    client = Client(server, USERS_APP, user={"id": "u-1", "user_info": {"name": "U"}})
    client.do("signin")
    client.do("connect")
    server.http_client(USERS_APP).trigger("#server-to-user-u-1", "note", {"text": "for you"})
    client.listen()
    return client


SCENARIOS: dict[str, Callable[[Soketi], Client]] = {
    "soketi-room": room,
    "soketi-refused": refused,
    "soketi-unknown-key": unknown,
    "soketi-users": users,
}


def main() -> None:
    """Record all."""
    if (reason := prepare()) is not None:
        raise SystemExit(reason)
    for name, scenario in SCENARIOS.items():
        with Soketi.start() as server:
            client = scenario(server)
        what = (scenario.__doc__ or "").replace("Record ", "")
        head = [f"Soketi 1.6.1, recorded: {what}", ""]
        transcript = read("\n".join([*head, *client.lines]))
        lines = [*transcript.head, *play(transcript, whole)]
        (DIRECTORY / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
