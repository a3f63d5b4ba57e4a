"""Records the answers of Reverb's HTTP API: `python tests/reverb/record.py` writes them for the tests of the dialect.

Not a test: a person reads the difference and commits it.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pusher_proto.signing import sign_channel
from real_servers.process import HOST, App, RealServer
from reverb.harness import Reverb
from server.publishing import APP, RECORDING, STEPS, play

TIMEOUT = 5.0
REAL_APP = App(id=APP.id, key=APP.key, secret=APP.secret)
SETTINGS: dict[str, Any] = {"reverb.servers.reverb.max_request_size": 10_000}


class RealSide:
    """A real Reverb with named clients."""

    def __init__(self, server: RealServer) -> None:
        self.port = server.port
        self.clients: dict[str, tuple[ClientConnection, str]] = {}
        self.first: dict[str, list[Any]] = {}
        """The messages of clients since they joined a channel in this step."""

    def join(self, client: str, channel: str, channel_data: str | None) -> None:
        if client not in self.clients:
            connection = connect(f"ws://{HOST}:{self.port}/app/{APP.key}", proxy=None, legacy=True)
            greeting = json.loads(json.loads(connection.recv(TIMEOUT))["data"])
            self.clients[client] = (connection, greeting["socket_id"])
        connection, socket_id = self.clients[client]
        data = {"channel": channel}
        if channel_data is not None:
            data["channel_data"] = channel_data
        if channel.startswith("p"):
            data["auth"] = sign_channel(APP.key, APP.secret, socket_id, channel, channel_data)
        connection.send(json.dumps({"event": "pusher:subscribe", "data": data}))
        self.first[client] = self._until_pong(connection)

    def leave(self, client: str) -> None:
        self.clients.pop(client)[0].close()

    def socket_id(self, client: str) -> str:
        return self.clients[client][1]

    def http(self, data: bytes) -> bytes:
        with socket.create_connection((HOST, self.port), timeout=TIMEOUT) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def heard(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for client, (connection, _) in list(self.clients.items()):
            heard = self.first.pop(client, []) + self._until_pong(connection)
            if heard:
                found[client] = heard
            if heard[-1:] == ["end"]:
                del self.clients[client]
        return found

    def _until_pong(self, connection: ClientConnection) -> list[Any]:
        """Return the messages. Reverb answers in order: everything that it has sent precedes the pong."""
        heard: list[Any] = []
        try:
            connection.send('{"event":"pusher:ping"}')
            while (message := json.loads(connection.recv(TIMEOUT)))["event"] != "pusher:pong":
                heard.append(message)
        except ConnectionClosed:
            heard.append("end")
        return heard


def main() -> None:
    with Reverb.start([REAL_APP], **SETTINGS) as server:
        answers = play(RealSide(server), STEPS)
    lines = ",\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
    RECORDING.write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    main()
